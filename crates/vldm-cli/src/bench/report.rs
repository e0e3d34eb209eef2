//! What was measured, as a table and as JSON.

use serde_json::{Value, json};
use vldm::bench::{Bench, Peak, Trained};
use vldm::preset::Preset;

use super::{BenchArgs, PartName};
use crate::bytes::Bytes;

/// The times of all runs, sorted; there is at least one.
#[derive(Debug)]
pub(super) struct Seconds(Vec<f64>);

impl Seconds {
    pub(super) fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The value below which this share of the runs lies, between two runs where it falls there.
    fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.0.len() - 1) as f64;
        let (below, above) = (
            self.0[place.floor() as usize],
            self.0[place.ceil() as usize],
        );
        below + (above - below) * place.fract()
    }
}

/// One measurement.
pub(super) struct Report<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) preset: &'a Preset,
    pub(super) bench: &'a Bench,
    pub(super) threads: usize,
    pub(super) seconds: Seconds,
    pub(super) flops: u64,
    pub(super) peak: Option<Peak>,
    pub(super) memory: Option<u64>,
}

impl Report<'_> {
    fn tflop(&self) -> f64 {
        self.flops as f64 / 1e12
    }

    fn tflop_per_second(&self) -> f64 {
        self.tflop() / self.seconds.quantile(0.5)
    }

    fn share_of_peak(&self) -> Option<f64> {
        let peak = self.peak?.flops_per_second / 1e12;
        Some(self.tflop_per_second() / peak)
    }

    fn part(&self) -> &'static str {
        self.args.request().part.name()
    }

    fn trained(&self) -> Option<&'static str> {
        self.bench.trained.map(|trained| match trained {
            Trained::All => "all",
            Trained::Temporal => "temporal",
        })
    }

    /// Text has no frames and no pixels.
    fn has_pixels(&self) -> bool {
        self.args.part != PartName::Text
    }

    pub(super) fn as_json(&self) -> Value {
        let size = &self.bench.size;
        let pixels = |value: usize| self.has_pixels().then_some(value);
        let parameters = self.bench.parameters();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "preset": self.preset.name,
            "part": self.part(),
            "trained": self.trained(),
            "batch": size.batch,
            "frames": pixels(size.frames),
            "width": pixels(size.width),
            "height": pixels(size.height),
            "dtype": self.args.compute.dtype().name(),
            "device": self.args.compute.device.to_string(),
            "threads": self.threads,
            "parameters": parameters.count,
            "trained_parameters": parameters.trained,
            "weight_bytes": parameters.bytes,
            "runs": self.seconds.0.len(),
            "median_seconds": self.seconds.quantile(0.5),
            "lower_quartile_seconds": self.seconds.quantile(0.25),
            "upper_quartile_seconds": self.seconds.quantile(0.75),
            "min_seconds": self.seconds.quantile(0.0),
            "max_seconds": self.seconds.quantile(1.0),
            "flop": self.flops,
            "tflop": self.tflop(),
            "tflop_per_second": self.tflop_per_second(),
            "peak_tflop_per_second": self.peak.map(|peak| peak.flops_per_second / 1e12),
            "peak_instructions": self.peak.map(|peak| peak.instructions),
            "share_of_peak": self.share_of_peak(),
            "peak_memory_bytes": self.memory,
        })
    }

    pub(super) fn as_table(&self) -> String {
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| self.seconds.quantile(share));
        let mut rows = vec![
            ("parameters", self.parameters()),
            (
                "time",
                format!(
                    "{} (median of {}; quartiles {} and {})",
                    duration(median),
                    self.seconds.0.len(),
                    duration(low),
                    duration(high)
                ),
            ),
            ("work", format!("{} TFLOP", digits(self.tflop()))),
            ("rate", self.rate()),
        ];
        if let Some(bytes) = self.memory {
            rows.push(("peak memory", Bytes(bytes).to_string()));
        }
        let lines = rows
            .iter()
            .map(|(name, text)| format!("  {name:<14}{text}"));
        let lines: Vec<String> = std::iter::once(self.title()).chain(lines).collect();
        lines.join("\n")
    }

    /// "svd, unet: batch 1, 8 frames of 512×320 pixels, f32 on cpu with 2 threads"
    fn title(&self) -> String {
        let size = &self.bench.size;
        let what = match (self.has_pixels(), size.frames) {
            (false, _) => format!("batch {}", size.batch),
            (true, 1) => format!(
                "batch {}, {}×{} pixels",
                size.batch, size.width, size.height
            ),
            (true, frames) => format!(
                "batch {}, {frames} frames of {}×{} pixels",
                size.batch, size.width, size.height
            ),
        };
        let compute = &self.args.compute;
        let place = match self.peak {
            Some(_) => format!("{} with {} threads", compute.device, self.threads),
            None => compute.device.to_string(),
        };
        let dtype = compute.dtype().name();
        format!(
            "{}, {}: {what}, {dtype} on {place}",
            self.preset.name,
            self.part()
        )
    }

    fn parameters(&self) -> String {
        let parameters = self.bench.parameters();
        let weights = Bytes(parameters.bytes as u64);
        match self.bench.trained {
            None => format!("{} ({weights})", parameters.count),
            Some(_) => format!(
                "{} ({weights}), {} learn",
                parameters.count, parameters.trained
            ),
        }
    }

    fn rate(&self) -> String {
        let rate = format!("{} TFLOP/s", digits(self.tflop_per_second()));
        match (self.share_of_peak(), self.peak) {
            (Some(share), Some(peak)) => format!(
                "{rate}, {:.0} % of the {} TFLOP/s that {} multiply-adds reach here",
                100.0 * share,
                digits(peak.flops_per_second / 1e12),
                peak.instructions
            ),
            _ => rate,
        }
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    if !value.is_normal() {
        return "0".into();
    }
    let before = value.abs().log10().floor() as i32 + 1;
    format!("{value:.*}", usize::try_from(3 - before).unwrap_or(0))
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{} µs", digits(seconds * 1e6)),
        seconds if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        seconds => format!("{} s", digits(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_runs() {
        let check = |seconds: &[f64], share, expected: f64| {
            let found = Seconds::new(seconds.to_vec()).quantile(share);
            assert!(
                (found - expected).abs() < 1e-12,
                "{found}, expected {expected}"
            );
        };
        check(&[3.0], 0.25, 3.0);
        check(&[3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 0.5, 2.5);
        check(&[4.0, 1.0, 2.0, 3.0], 0.0, 1.0);
        check(&[4.0, 1.0, 2.0, 3.0, 5.0], 0.75, 4.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        let check = |value, expected: &str| assert_eq!(digits(value), expected);
        check(0.948_73, "0.949");
        check(6.127, "6.13");
        check(79.94, "79.9");
        check(1234.0, "1234");
        check(0.000_123_4, "0.000123");
        check(0.0, "0");
        assert_eq!(duration(0.0123), "12.3 ms");
        assert_eq!(duration(1.5), "1.50 s");
        assert_eq!(duration(0.000_45), "450 µs");
    }
}
