//! Sizes as people write them: `16GB`, `512MiB`.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, f64); 9] = [
    ("KIB", 1024.0),
    ("MIB", 1048576.0),
    ("GIB", 1073741824.0),
    ("TIB", 1099511627776.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("B", 1.0),
];

/// A number of bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_uppercase();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((upper.strip_suffix(name)?, *unit)))
            .unwrap_or((&upper, 1.0));
        match number.trim().parse::<f64>() {
            Ok(number) if number * unit >= 1.0 && number * unit < 1e18 => {
                Ok(Self((number * unit) as u64))
            }
            _ => Err(format!(
                "expected a size such as 16GB, 512MiB or 2000000000, not \"{text}\""
            )),
        }
    }
}

impl fmt::Display for Bytes {
    /// Three digits or so: `1.52 GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        let (unit, name) = match self.0 {
            0..1_000 => return write!(f, "{} B", self.0),
            1_000..1_000_000 => (1e3, "kB"),
            1_000_000..1_000_000_000 => (1e6, "MB"),
            1_000_000_000..1_000_000_000_000 => (1e9, "GB"),
            _ => (1e12, "TB"),
        };
        let digits = match bytes / unit {
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{:.digits$} {name}", bytes / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<Bytes>().ok(), expected.map(Bytes), "{text}");
        };
        check("16GB", Some(16_000_000_000));
        check("1.5 GiB", Some(1_610_612_736));
        check("500mb", Some(500_000_000));
        check("4096", Some(4096));
        check("12B", Some(12));
        check("", None);
        check("0", None);
        check("-1GB", None);
        check("NaN", None);
        check("16 G", None);
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        let check = |bytes, expected: &str| assert_eq!(Bytes(bytes).to_string(), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1_520_000_000, "1.52 GB");
        check(15_200_000, "15.2 MB");
        check(152_000, "152 kB");
    }
}
