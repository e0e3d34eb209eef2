//! Frame rates as exact fractions.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Frames per second, an exact fraction in lowest terms.
///
/// Video rates are often not decimal numbers: the rate called 29.97 is 30000/1001, and a file that
/// says 29.97 drifts from its sound. Between 1/1000 and 1000 frames per second.
///
/// ```
/// # use vldm_media::Fps;
/// assert_eq!("29.97".parse::<Fps>()?, Fps::new(30_000, 1001)?);
/// assert_eq!("7.5".parse::<Fps>()?.to_string(), "15/2");
/// # Ok::<(), vldm_media::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fps {
    num: u32,
    den: u32,
}

impl Fps {
    /// 24 frames per second: the rate given to pictures, which carry none.
    pub const FILM: Self = Self { num: 24, den: 1 };

    /// `num / den` frames per second.
    ///
    /// # Errors
    /// [`Error::Input`] when the rate is not between 1/1000 and 1000.
    pub fn new(num: u32, den: u32) -> Result<Self> {
        let (n, d) = (u64::from(num), u64::from(den));
        if d == 0 || n * 1000 < d || n > d * 1000 {
            return Err(Error::Input(format!(
                "a frame rate is between 1/1000 and 1000 frames per second, not {num}/{den}"
            )));
        }
        let divisor = gcd(n, d);
        Ok(Self {
            num: num / divisor as u32,
            den: den / divisor as u32,
        })
    }

    /// The nearest usable rate to `frames` shown in `ticks / ticks_per_second` seconds.
    ///
    /// `None` when nothing was shown for no time, or the rate is out of range.
    pub(crate) fn from_duration(frames: u64, ticks: u64, ticks_per_second: u64) -> Option<Self> {
        let num = u128::from(frames) * u128::from(ticks_per_second);
        let den = u128::from(ticks);
        if num == 0 || den == 0 {
            return None;
        }
        let divisor = gcd_wide(num, den);
        let (mut num, mut den) = (num / divisor, den / divisor);
        // An average over a long, uneven clip can be a fraction of huge numbers.
        while num > u128::from(u32::MAX) || den > u128::from(u32::MAX) {
            num = num.div_ceil(2);
            den = den.div_ceil(2);
        }
        Self::new(num as u32, den as u32).ok()
    }

    /// The rate of a decimal number, where 23.976, 23.98, 29.97, 59.94 and so on mean their
    /// broadcast rates (24000/1001, 30000/1001, 60000/1001).
    ///
    /// # Errors
    /// [`Error::Input`] when the rate is not between 1/1000 and 1000.
    pub fn from_f64(fps: f64) -> Result<Self> {
        if !(0.001..=1000.0).contains(&fps) {
            return Err(Error::Input(format!(
                "a frame rate is between 1/1000 and 1000 frames per second, not {fps}"
            )));
        }
        let whole = (fps * 1.001).round();
        let is_whole = (fps - fps.round()).abs() < 1e-9;
        if !is_whole && whole >= 10.0 && (fps - whole / 1.001).abs() < 0.006 {
            return Self::new(whole as u32 * 1000, 1001);
        }
        Self::new((fps * 1e6).round() as u32, 1_000_000)
    }

    /// The numerator of the fraction in lowest terms.
    #[must_use]
    pub fn num(self) -> u32 {
        self.num
    }

    /// The denominator of the fraction in lowest terms.
    #[must_use]
    pub fn den(self) -> u32 {
        self.den
    }

    /// Frames per second as a floating-point number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// How long `num_frames` last, in seconds.
    #[must_use]
    pub fn seconds(self, num_frames: usize) -> f64 {
        num_frames as f64 / self.as_f64()
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn gcd_wide(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd_wide(b, a % b) }
}

impl fmt::Display for Fps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 {
            write!(f, "{}", self.num)
        } else {
            write!(f, "{}/{}", self.num, self.den)
        }
    }
}

impl FromStr for Fps {
    type Err = Error;

    /// Reads `24`, `29.97` or `30000/1001`.
    fn from_str(text: &str) -> Result<Self> {
        let complain = || {
            Error::Input(format!(
                "expected a frame rate such as 24, 29.97 or 30000/1001, not `{text}`"
            ))
        };
        if let Some((num, den)) = text.split_once('/') {
            let num = num.trim().parse().map_err(|_| complain())?;
            let den = den.trim().parse().map_err(|_| complain())?;
            return Self::new(num, den);
        }
        Self::from_f64(text.trim().parse().map_err(|_| complain())?)
    }
}

impl serde::Serialize for Fps {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fps {
    /// Reads a number (`24`, `29.97`) or a string (`"30000/1001"`).
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(fps) => Self::from_f64(fps),
            Written::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, num: u32, den: u32) {
        let fps: Fps = text.parse().unwrap();
        assert_eq!((fps.num(), fps.den()), (num, den), "{text}");
    }

    #[test]
    fn reads_rates_as_people_write_them() {
        check("24", 24, 1);
        check("24.0", 24, 1);
        check("7.5", 15, 2);
        check("12.34", 617, 50);
        check("29.97", 30_000, 1001);
        check("23.976", 24_000, 1001);
        check("23.98", 24_000, 1001);
        check("59.94", 60_000, 1001);
        check("30000/1001", 30_000, 1001);
        check("60/2", 30, 1);
        check("0.5", 1, 2);
        check("1000", 1000, 1);
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for text in [
            "", "fast", "0", "-24", "nan", "inf", "24/0", "1e9", "1/2/3", "1001",
        ] {
            let error = text.parse::<Fps>().unwrap_err().to_string();
            assert!(error.contains("frame rate"), "{text}: {error}");
        }
    }

    #[test]
    fn measures_a_rate_from_a_duration() {
        assert_eq!(Fps::from_duration(30, 125, 100), Fps::new(24, 1).ok());
        assert_eq!(Fps::from_duration(0, 5, 100), None);
        assert_eq!(Fps::from_duration(5, 0, 100), None);
        let uneven = Fps::from_duration(1_000_003, u64::MAX / 7 * 2, u64::MAX / 7 / 20_001);
        assert!(
            uneven.is_some_and(|fps| (fps.as_f64() - 25.0).abs() < 0.1),
            "{uneven:?}"
        );
    }

    #[test]
    fn serde_takes_numbers_and_fractions() {
        let fps: Fps = serde_json::from_str("29.97").unwrap();
        assert_eq!(serde_json::to_string(&fps).unwrap(), "\"30000/1001\"");
        assert_eq!(
            serde_json::from_str::<Fps>("\"15/2\"").unwrap().as_f64(),
            7.5
        );
        assert!(serde_json::from_str::<Fps>("0").is_err());
    }
}
