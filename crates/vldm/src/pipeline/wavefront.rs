//! Sampling a clip in overlapping windows over time, holding a few of them only.
//!
//! Where windows overlap, their estimates are blended at every step, so a window's step needs the step
//! before of its neighbours, and nothing of farther ones. Windows therefore go on like a wave: the
//! leftmost that is not finished asks for what it needs of those to its right. What is on the way are
//! about as many windows as there are steps, however long the clip, and each step of each window is
//! computed once.

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::regions::{Blend, Cut, Region, spans};
use crate::diffusion::{NoiseLevel, StepPlan};
use crate::error::{Error, Result};
use crate::rng::{Draw, Stage as NoiseStage};
use crate::sampler::{SampleNoise, SamplerConfig, SamplingState};

/// What is sampled, and how.
#[derive(Debug)]
pub(crate) struct WavefrontSettings {
    pub(crate) sampler: SamplerConfig,
    pub(crate) plan: StepPlan,
    pub(crate) seed: u64,
    pub(crate) stage: NoiseStage,
    /// Frames of the clip and of a window, and frames that neighbouring windows share at least.
    pub(crate) frames: usize,
    pub(crate) window: usize,
    pub(crate) overlap: usize,
    /// Channels, height and width of a frame.
    pub(crate) shape: [usize; 3],
}

impl WavefrontSettings {
    /// Frames that are on the way at the most, of a clip of `frames`.
    pub(crate) fn frames_under_way(frames: usize, window: usize, steps: usize) -> usize {
        frames.min((steps + 2) * window)
    }
}

/// A run; [`Wavefront::advance`] until it is over.
#[derive(Debug)]
pub(crate) struct Wavefront {
    settings: WavefrontSettings,
    device: Device,
    windows: Vec<Range<usize>>,
    /// Strips on the way, from number `first` on: strip `i` is the frames of window `i` that come
    /// before window `i + 1`.
    strips: VecDeque<Strip>,
    first: usize,
    evaluations: usize,
}

/// Frames that take their steps together.
#[derive(Debug)]
struct Strip {
    state: SamplingState,
    noise: SampleNoise,
    /// The windows' estimates for the next step.
    estimates: Blend,
    /// What is left when there are no steps.
    finished: Option<Tensor<5>>,
}

/// What happened in a run.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub(crate) enum WavefrontStep {
    /// A window was looked at.
    Evaluated,
    /// The next frames are finished: the index of the first, and `[1, frames, channels, height,
    /// width]`.
    Finished(usize, Tensor<5>),
}

/// The clean estimate of a window of frames, `[1, frames, channels, height, width]`.
type Estimate<'a> = &'a dyn Fn(&Range<usize>, Tensor<5>, NoiseLevel) -> Result<Tensor<5>>;

impl Wavefront {
    /// A run from the noise of its seed.
    ///
    /// # Errors
    /// [`Error::Config`] for a sampler that looks at a step twice: its second look would need that of
    /// the neighbours.
    pub(crate) fn new(settings: WavefrontSettings, device: &Device) -> Result<Self> {
        if settings.sampler.network_calls(2) != 2 {
            return Err(Error::Config(format!(
                "the sampler {} calls the network twice in a step, which windows that are blended at \
                 every step cannot do: use ddim, euler, euler_ancestral or dpmpp_2m",
                settings.sampler.name()
            )));
        }
        Ok(Self {
            windows: spans(settings.frames, settings.window, settings.overlap),
            settings,
            device: device.clone(),
            strips: VecDeque::new(),
            first: 0,
            evaluations: 0,
        })
    }

    /// Evaluations of windows so far, and in all.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let all = self.windows.len() * self.settings.plan.num_steps();
        (self.evaluations, all)
    }

    /// Looks at one window, or hands over finished frames; `None` when the run is over.
    pub(crate) fn advance(&mut self, estimate: Estimate<'_>) -> Option<Result<WavefrontStep>> {
        if self.first == self.windows.len() {
            return None;
        }
        Some(self.step(estimate))
    }

    fn step(&mut self, estimate: Estimate<'_>) -> Result<WavefrontStep> {
        if let Some(latents) = self.strips.front().and_then(|strip| strip.finished.clone()) {
            let start = self.frames_of(self.first).start;
            self.strips.pop_front();
            self.first += 1;
            return Ok(WavefrontStep::Finished(start, latents));
        }
        let window = self.next_window()?;
        self.evaluate(window, estimate)?;
        self.evaluations += 1;
        Ok(WavefrontStep::Evaluated)
    }

    /// Frames of a strip.
    fn frames_of(&self, strip: usize) -> Range<usize> {
        let end = self.windows.get(strip + 1);
        self.windows[strip].start..end.map_or(self.settings.frames, |next| next.start)
    }

    /// The strips that a window looks at.
    fn strips_of(&self, window: usize) -> Range<usize> {
        let end = self.windows[window].end;
        let beyond = self.windows.iter().position(|other| other.start >= end);
        window..beyond.unwrap_or(self.windows.len())
    }

    /// The window that the leftmost unfinished strip waits for. It looks at strips that have all
    /// taken equally many steps.
    fn next_window(&mut self) -> Result<usize> {
        let mut window = self.first;
        loop {
            let strips = self.strips_of(window);
            while self.first + self.strips.len() < strips.end {
                let strip = self.new_strip(self.first + self.strips.len())?;
                self.strips.push_back(strip);
            }
            let taken = |strip: usize| self.strips[strip - self.first].state.steps_taken();
            let steps = taken(window);
            match strips.clone().find(|&strip| taken(strip) < steps) {
                Some(behind) => window = behind,
                None => return Ok(window),
            }
        }
    }

    fn new_strip(&self, index: usize) -> Result<Strip> {
        let settings = &self.settings;
        let frames = self.frames_of(index);
        let noise = SampleNoise::from_frame(settings.seed, frames.start as u64, settings.stage);
        let [channels, height, width] = settings.shape;
        let shape = [1, frames.len(), channels, height, width];
        let initial = noise.tensor(Draw::Initial, shape, &self.device)?;
        Ok(Strip {
            state: SamplingState::new(settings.sampler.build(), settings.plan.clone(), initial),
            noise,
            estimates: Blend::new(shape, &self.device),
            finished: None,
        })
    }

    /// Estimates a window, adds that to the strips it looks at, and lets its own take a step: windows
    /// farther left have had their say, and others do not reach it.
    fn evaluate(&mut self, window: usize, estimate: Estimate<'_>) -> Result<()> {
        let span = self.windows[window].clone();
        let strips = self.strips_of(window);
        let held = strips.start - self.first..strips.end - self.first;
        let own = &self.strips[held.start].state;
        let no_more = || Error::Input("a run of no steps makes nothing".into());
        let level = own.next_step().ok_or_else(no_more)?.from;
        let parts = self
            .strips
            .range(held.clone())
            .map(|strip| strip.state.x().cloned().ok_or_else(no_more))
            .collect::<Result<Vec<_>>>()?;
        let x = Tensor::cat(parts, 1).narrow(1, 0, span.len());
        let part = estimate(&span, x, level)?;
        let [_, height, width] = self.settings.shape;
        let cut = Cut {
            size: [self.settings.frames, height, width],
            window: [span.len(), height, width],
            overlap: [self.settings.overlap, 0, 0],
        };
        let weights = cut.weights(&Region([span.clone(), 0..height, 0..width]), &self.device);
        for strip in strips {
            let frames = self.frames_of(strip);
            let count = frames.end.min(span.end) - frames.start;
            let of = |whole: &Tensor<5>| whole.clone().narrow(1, frames.start - span.start, count);
            let region = Region([0..count, 0..height, 0..width]);
            let estimates = &mut self.strips[strip - self.first].estimates;
            estimates.add(&region, of(&part), of(&weights));
        }
        self.strips[held.start].take_step()
    }
}

impl Strip {
    fn take_step(&mut self) -> Result<()> {
        let estimate = self.estimates.restart();
        let denoiser = |_: Tensor<5>, _: NoiseLevel| Ok(estimate.clone());
        if let Some(progress) = self.state.advance(&denoiser, &mut self.noise) {
            let progress = progress?;
            if progress.step.is_last() {
                self.finished = Some(progress.latents());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{
        BetaRange, FinalSigma, LevelSpacing, NoiseSchedule, NoiseScheduleConfig, StepSpacing,
        StepsConfig,
    };

    fn settings(sampler: SamplerConfig, (frames, window): (usize, usize)) -> WavefrontSettings {
        let schedule = NoiseScheduleConfig::Linear(BetaRange {
            beta_start: 1e-4,
            beta_end: 2e-2,
            steps: 1000,
            zero_terminal_snr: false,
        });
        let schedule = NoiseSchedule::new(schedule).expect("a schedule");
        let steps = StepsConfig {
            spacing: StepSpacing::Trailing {},
            levels: LevelSpacing::Table {},
            final_sigma: FinalSigma::Zero,
        };
        WavefrontSettings {
            plan: sampler.plan(&schedule, &steps, 4).expect("a plan"),
            sampler,
            seed: 5,
            stage: NoiseStage::Upsampling,
            frames,
            window,
            overlap: 1,
            shape: [2, 3, 4],
        }
    }

    /// An estimate in which every frame of a window tells on every other.
    fn estimate(span: &Range<usize>, x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
        let mean = x.clone().mean_dim(1);
        Ok((x * 0.3 + mean * 0.5).div_scalar(level.sigma + 1.0) + span.start as f64 * 0.1)
    }

    /// The same in one piece: all windows' estimates blended, then a step of the whole clip.
    fn whole(settings: WavefrontSettings, device: &Device) -> Tensor<5> {
        let [channels, height, width] = settings.shape;
        let shape = [1, settings.frames, channels, height, width];
        let mut noise = SampleNoise::single(settings.seed, settings.stage);
        let initial = noise.tensor(Draw::Initial, shape, device).expect("noise");
        let cut = Cut {
            size: [settings.frames, height, width],
            window: [settings.window, height, width],
            overlap: [settings.overlap, 0, 0],
        };
        let denoiser = |x: Tensor<5>, level: NoiseLevel| {
            let mut blend = Blend::new(x.dims(), &x.device());
            for region in cut.regions() {
                let part = estimate(&region.0[0], region.of(&x, 1), level)?;
                blend.add(&region, part, cut.weights(&region, &x.device()));
            }
            Ok(blend.finish())
        };
        let mut state = SamplingState::new(settings.sampler.build(), settings.plan, initial);
        let mut latents = None;
        while let Some(progress) = state.advance(&denoiser, &mut noise) {
            latents = Some(progress.expect("a step").latents());
        }
        latents.expect("steps")
    }

    #[test]
    fn a_wave_of_windows_is_the_clip_in_one_piece() {
        let device = Device::flex();
        let samplers = [
            SamplerConfig::Ddim { eta: 0.7 },
            SamplerConfig::Euler {},
            SamplerConfig::EulerAncestral {},
            SamplerConfig::Dpmpp2m {},
        ];
        for sampler in samplers {
            for (frames, window) in [(1, 8), (5, 8), (9, 8), (17, 4), (12, 5), (30, 3), (7, 2)] {
                let mut run = Wavefront::new(settings(sampler, (frames, window)), &device)
                    .expect("a sampler of single calls");
                let (mut pieces, mut next, mut most) = (Vec::new(), 0, 0);
                while let Some(step) = run.advance(&estimate) {
                    let held: usize = (0..run.strips.len())
                        .map(|strip| run.frames_of(run.first + strip).len())
                        .sum();
                    most = most.max(held);
                    if let WavefrontStep::Finished(start, latents) = step.expect("a step") {
                        assert_eq!(start, next);
                        next += latents.dims()[1];
                        pieces.push(latents);
                    }
                }
                let (done, of) = run.progress();
                assert_eq!(done, of, "every window takes every step once");
                assert!(most <= WavefrontSettings::frames_under_way(frames, window, 4));
                let expected = whole(settings(sampler, (frames, window)), &device);
                let difference = (Tensor::cat(pieces, 1) - expected).abs().max();
                let difference: f32 = difference.into_scalar();
                assert!(
                    difference < 1e-5,
                    "{} {frames} {window}: {difference}",
                    sampler.name()
                );
            }
        }
    }

    #[test]
    fn a_sampler_that_looks_twice_is_refused() {
        let heun = settings(SamplerConfig::Heun {}, (9, 4));
        let message = Wavefront::new(heun, &Device::flex()).expect_err("refused");
        assert!(message.to_string().contains("heun"), "{message}");
    }
}
