//! Windows of driving worlds, rendered once and kept.

use std::sync::Arc;

use super::blocks::SIZE;
use super::trainer::{TrainingEvent, Watch};
use super::truth::TruthSource;
use crate::data::{
    ClipSource, Fit, Loader, LoaderSettings, Order, OrderSettings, Sample, WorldConfig,
};
use crate::error::Result;

/// Rates of playback that the metric networks see, in frames per second.
pub const RATES: [f64; 5] = [30.0, 15.0, 7.5, 3.75, 2.0];

/// Which windows are rendered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolSettings {
    /// What the worlds are drawn from.
    pub(crate) seed: u64,
    /// How many windows; each is of a world of its own as far as the rates permit.
    pub(crate) windows: usize,
    /// Frames of each.
    pub(crate) frames: usize,
    /// Frames per second; windows take turns.
    pub(crate) rates: Vec<f64>,
    /// Threads that render.
    pub(crate) threads: usize,
}

/// Renders the windows, in an order that depends on the settings but the threads.
pub(crate) fn render(settings: &PoolSettings, watch: &mut Watch) -> Result<Vec<Sample>> {
    let config = WorldConfig::new(settings.windows, settings.seed);
    let source: Arc<dyn ClipSource> = Arc::new(TruthSource::new(config)?);
    let order = OrderSettings {
        seed: settings.seed,
        batch: 1,
        buckets: vec![SIZE],
        lengths: vec![settings.frames],
        rates: settings.rates.clone(),
        fit: Fit::Crop,
    };
    let order = Arc::new(Order::new(&*source, &order)?);
    let loader = LoaderSettings {
        threads: settings.threads.max(1),
        ahead: 8,
        ..LoaderSettings::default()
    };
    let mut loader = Loader::start(source, order, 0, &loader)?;
    let mut samples = Vec::with_capacity(settings.windows);
    for done in 1..=settings.windows {
        samples.extend(loader.next_batch()?.samples);
        watch(TrainingEvent::Rendered(done, settings.windows))?;
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_do_not_depend_on_threads() {
        let pool = |threads| {
            let settings = PoolSettings {
                seed: 5,
                windows: 6,
                frames: 2,
                rates: vec![30.0, 2.0],
                threads,
            };
            render(&settings, &mut |_| Ok(())).unwrap()
        };
        let (one, two) = (pool(1), pool(2));
        assert_eq!(one.len(), 6);
        for (a, b) in one.iter().zip(&two) {
            assert!(a.frames == b.frames && a.labels == b.labels && a.boxes == b.boxes);
        }
        assert!(one.iter().any(|s| s.fps == 30.0) && one.iter().any(|s| s.fps == 2.0));
    }
}
