//! Axes: which values they span, where a value lies, and which numbers stand beside them.

use super::labels;

/// A mark beside an axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    /// The value it stands at.
    pub(super) value: f64,
    /// The number beside it; finer marks have none.
    pub(super) label: Option<String>,
}

/// The values between two ends of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Of the values, or of their logarithms to base 10.
    low: f64,
    high: f64,
    is_log: bool,
}

/// The smallest and the largest of the finite values.
pub(super) fn span(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |span, value| match span {
        None => Some([value, value]),
        Some([low, high]) => Some([value.min(low), value.max(high)]),
    })
}

impl Axis {
    /// An axis for values in `span`, with some air above and below: logarithmic when they are
    /// positive and more than a decade apart.
    pub(super) fn of([low, high]: [f64; 2]) -> Self {
        if low > 0.0 && high / low > 10.0 {
            let (low, high) = (low.log10(), high.log10());
            let air = 0.04 * (high - low);
            return Self {
                low: low - air,
                high: high + air,
                is_log: true,
            };
        }
        Self::linear([low, high])
    }

    /// An axis that is not logarithmic.
    pub(super) fn linear([low, high]: [f64; 2]) -> Self {
        let size = low.abs().max(high.abs());
        // Values that differ less could not be told apart by their numbers.
        let air = if high - low > size * 1e-4 {
            0.05 * (high - low)
        } else if size > 0.0 {
            0.1 * size
        } else {
            1.0
        };
        Self {
            low: low - air,
            high: high + air,
            is_log: false,
        }
    }

    /// An axis from 0 to a bit above `high`, which is not negative.
    pub(super) fn from_zero(high: f64) -> Self {
        let high = if high > 0.0 { high * 1.1 } else { 1.0 };
        Self {
            low: 0.0,
            high,
            is_log: false,
        }
    }

    /// An axis of steps: from 0, unless that would waste much of it.
    pub(super) fn steps([first, last]: [f64; 2]) -> Self {
        let (low, high) = if first == last {
            ((first - 1.0).max(0.0), last + 1.0)
        } else if first <= 0.25 * last {
            (0.0, last)
        } else {
            (first, last)
        };
        Self {
            low,
            high,
            is_log: false,
        }
    }

    /// Whether equal distances are equal ratios.
    pub(super) fn is_log(&self) -> bool {
        self.is_log
    }

    /// Where a value lies: 0 is the low end, 1 the high one. Not finite where there is no place.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.is_log { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// About `count` marks with numbers, and finer ones where there is room.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.is_log {
            self.log_ticks(count)
        } else {
            self.linear_ticks(count, 0.0)
        }
    }

    /// About `count` marks at whole numbers.
    pub(super) fn whole_ticks(&self, count: usize) -> Vec<Tick> {
        let mut ticks = self.linear_ticks(count, 1.0);
        for tick in &mut ticks {
            tick.label = Some(labels::grouped(tick.value.round().max(0.0) as u64));
        }
        ticks
    }

    fn linear_ticks(&self, count: usize, least: f64) -> Vec<Tick> {
        let spacing = round_up((self.high - self.low) / count.max(1) as f64).max(least);
        let first = (self.low / spacing).ceil();
        let largest = self.low.abs().max(self.high.abs());
        (0..=count)
            .map(|i| (first + i as f64) * spacing)
            .take_while(|&value| value <= self.high)
            .map(|value| Tick {
                value,
                label: Some(labels::tick(value, spacing, largest)),
            })
            .collect()
    }

    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        let decades = self.low.floor() as i32..=self.high.floor() as i32;
        let every = ((self.high - self.low) / count.max(1) as f64).ceil() as i32;
        // Two numbers within a decade, while there are few decades.
        let has_halves = 1.5 * (self.high - self.low) <= count as f64;
        let factors = if every == 1 { 1..=9 } else { 1..=1 };
        let marks = decades.flat_map(|decade| factors.clone().map(move |factor| (decade, factor)));
        marks
            .map(|(decade, factor)| {
                let power = 10_f64.powi(decade);
                let value = f64::from(factor) * power;
                let is_named = factor == 1 && decade.rem_euclid(every) == 0
                    || has_halves && [2, 5].contains(&factor);
                let is_plain = (-4..=6).contains(&decade);
                let label = is_named.then(|| {
                    let largest = if is_plain { 0.0 } else { f64::INFINITY };
                    labels::tick(value, power, largest)
                });
                Tick { value, label }
            })
            .filter(|tick| tick.label.is_some() || every < 5)
            .filter(|tick| (0.0..=1.0).contains(&self.place(tick.value)))
            .collect()
    }
}

/// The next of 1, 2, 5 and their multiples by powers of ten.
fn round_up(spacing: f64) -> f64 {
    let power = 10_f64.powi(labels::exponent(spacing));
    let factors = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let enough = factors.into_iter().find(|&factor| factor >= spacing);
    enough.unwrap_or(spacing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ticks: Vec<Tick>) -> String {
        let labels = ticks.into_iter().filter_map(|tick| tick.label);
        labels.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_are_round() {
        let check = |span, expected: &str| assert_eq!(numbers(Axis::of(span).ticks(5)), expected);
        check([0.3, 0.9], "0.4 0.6 0.8");
        check([-1.0, 1.0], "−1.0 −0.5 0 0.5 1.0");
        check([5.0, 5.0], "4.6 4.8 5.0 5.2 5.4");
        check([0.0, 0.0], "−1.0 −0.5 0 0.5 1.0");
        check([0.01, 2.0], "0.01 0.02 0.05 0.1 0.2 0.5 1 2");
        check([1e-4, 2.0], "0.0001 0.001 0.01 0.1 1");
        check([0.1, 1.2], "0.1 0.2 0.5 1");
        check([1e-30, 1e30], "10⁻²⁶ 10⁻¹³ 1 10¹³ 10²⁶");
        check([-1e300, 1e300], "−10³⁰⁰ −5×10²⁹⁹ 0 5×10²⁹⁹ 10³⁰⁰");
    }

    #[test]
    fn steps_are_whole() {
        let check = |span, expected: &str| {
            assert_eq!(numbers(Axis::steps(span).whole_ticks(5)), expected);
        };
        check(
            [1.0, 1_000_000.0],
            "0 200,000 400,000 600,000 800,000 1,000,000",
        );
        check([7.0, 7.0], "6 7 8");
        check([0.0, 0.0], "0 1");
        check([1.0, 3.0], "1 2 3");
        check([900.0, 1_000.0], "900 920 940 960 980 1,000");
    }

    #[test]
    fn values_have_places() {
        let axis = Axis::of([0.001, 1.0]);
        assert!(axis.is_log() && axis.place(0.0) == f64::NEG_INFINITY);
        assert!((axis.place(0.001) - 0.04 / 1.08).abs() < 1e-12);
        let axis = Axis::from_zero(2.0);
        assert!(axis.place(0.0) == 0.0 && axis.place(2.2) == 1.0);
        assert_eq!(
            span([f64::NAN, 3.0, f64::INFINITY, -1.0]),
            Some([-1.0, 3.0])
        );
        assert_eq!(span([f64::NAN]), None);
    }
}
