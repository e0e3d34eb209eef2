//! Numbers as people write them.

/// A whole number in groups of three digits.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A number with so many decimals, its whole part in groups of three digits.
fn plain(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    let is_zero = !digits.contains(|c: char| ('1'..='9').contains(&c));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    format!("{sign}{whole}{rest}")
}

/// A number as a power of ten and a factor with so many decimals.
fn scientific(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$e}", value.abs());
    let (factor, power) = digits.split_once('e').unwrap_or((&digits, "0"));
    let raised: String = power.chars().map(superscript).collect();
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{factor}×10{raised}")
}

fn superscript(digit: char) -> char {
    match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        _ => digit
            .to_digit(10)
            .and_then(|digit| char::from_u32(0x2070 + digit))
            .unwrap_or(digit),
    }
}

/// The power of ten in a number other than 0.
pub(super) fn exponent(value: f64) -> i32 {
    // Unlike the logarithm, this is exact at powers of ten.
    let digits = format!("{value:e}");
    let power = digits.split_once('e').map(|(_, power)| power.parse());
    power.and_then(Result::ok).unwrap_or(0)
}

/// A number on an axis whose numbers are `spacing` apart and at most `largest`.
pub(super) fn tick(value: f64, spacing: f64, largest: f64) -> String {
    if value.abs() < spacing / 2.0 {
        return "0".to_owned();
    }
    let last_digit = exponent(spacing);
    if last_digit < -4 || largest >= 1e7 {
        // Multiples of a spacing may be a last bit too small.
        let decimals = exponent(value * (1.0 + f64::EPSILON)) - last_digit;
        return shortened(&scientific(value, decimals.clamp(0, 6) as usize));
    }
    plain(value, (-last_digit).max(0) as usize)
}

/// The same without zeros at the end of the factor, or without the factor if it is 1.
fn shortened(number: &str) -> String {
    let Some((factor, power)) = number.split_once('×') else {
        return number.to_owned();
    };
    let factor = match factor.contains('.') {
        true => factor.trim_end_matches('0').trim_end_matches('.'),
        false => factor,
    };
    match factor {
        "1" => power.to_owned(),
        "−1" => format!("−{power}"),
        _ => format!("{factor}×{power}"),
    }
}

/// A measured value, in four digits or so.
pub(super) fn measured(value: f64) -> String {
    if !value.is_finite() {
        return "not finite".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    match exponent(value) {
        power @ -3..=4 => plain(value, (3 - power).max(0) as usize),
        _ => scientific(value, 2),
    }
}

/// A setting, in four digits at most.
pub(super) fn setting(value: f64) -> String {
    let digits = format!("{value:.3e}");
    let rounded = digits.parse().unwrap_or(value);
    if rounded != 0.0 && rounded.is_finite() && !(-4..7).contains(&exponent(rounded)) {
        return shortened(&scientific(rounded, 3));
    }
    format!("{rounded}").replace('-', "−")
}

/// A length of time.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", grouped(days), hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_that_tell_them_apart() {
        let check = |value, spacing, largest, expected: &str| {
            assert_eq!(tick(value, spacing, largest), expected);
        };
        check(0.1 + 0.2, 0.1, 1.0, "0.3");
        check(-0.25, 0.05, 1.0, "−0.25");
        check(1e-17, 0.1, 1.0, "0");
        check(20_000.0, 5_000.0, 30_000.0, "20,000");
        check(1.5e-4, 5e-5, 2e-4, "1.5×10⁻⁴");
        check(1e-4, 5e-5, 2e-4, "10⁻⁴");
        check(3.0 * 1e-5, 1e-5, 2e-4, "3×10⁻⁵");
        check(2e12, 1e12, 5e12, "2×10¹²");
        check(-1e-9, 1e-9, 1e-8, "−10⁻⁹");
    }

    #[test]
    fn measured_values_have_four_digits() {
        let check = |value, expected: &str| assert_eq!(measured(value), expected);
        check(0.123_456, "0.1235");
        check(0.001_234_56, "0.001235");
        check(12_345.6, "12,346");
        check(1.234e-5, "1.23×10⁻⁵");
        check(0.0, "0");
        check(f64::NAN, "not finite");
        check(f64::MAX, "1.80×10³⁰⁸");
    }

    #[test]
    fn settings_and_times_are_short() {
        assert_eq!(setting(0.5), "0.5");
        assert_eq!(setting(700.0), "700");
        assert_eq!(setting(1e-9), "10⁻⁹");
        assert_eq!(setting(-2.5e12), "−2.5×10¹²");
        assert_eq!(setting(172.867_373_96), "172.9");
        assert_eq!(setting(f64::INFINITY), "inf");
        let check = |seconds, expected: &str| assert_eq!(duration(seconds), expected);
        check(59.9, "59 s");
        check(61.0, "1 min 1 s");
        check(7_260.0, "2 h 1 min");
        check(90_000.0, "1 d 1 h");
        check(f64::NAN, "0 s");
        check(f64::INFINITY, "213,503,982,334,601 d 7 h");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
