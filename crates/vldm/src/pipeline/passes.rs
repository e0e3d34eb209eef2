//! Interpolation pass after pass, each at a higher rate than the one before.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::interpolate::Interpolation;
use super::stage::StageModel;
use super::stage_run::StageRun;
use super::wishes::WishTokens;
use crate::error::{Error, Result};

/// Passes under way over one clip.
#[derive(Debug)]
pub(crate) struct Passes {
    tokens: WishTokens,
    seed: u64,
    /// The stage's rates by number, of this pass and those to come.
    regimes: VecDeque<usize>,
    pass: Option<Interpolation>,
    run: Option<StageRun>,
    done: usize,
    of: usize,
}

/// What a step results in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub(crate) enum PassStep {
    /// Steps of the network taken, and how many there are in all passes.
    Stepped { done: usize, of: usize },
    /// All frames, `[1, frames, channels, height, width]`.
    Done(Tensor<5>),
}

impl Passes {
    /// Passes over `given`, `[1, frames, channels, height, width]`, whose first frame is the `first`-th
    /// of its clip.
    ///
    /// # Errors
    /// As [`Interpolation::new`].
    pub(crate) fn new(
        stage: &StageModel,
        given: Tensor<5>,
        tokens: WishTokens,
        (regimes, seed, first): (Vec<usize>, u64, u64),
    ) -> Result<Self> {
        let frames = given.dims()[1];
        let regimes = VecDeque::from(regimes);
        let regime = *regimes.front().ok_or_else(over)?;
        let which = (regime, seed, first);
        let pass = Interpolation::new(stage, given, tokens.clone(), which)?;
        let steps = stage.config.usual.steps.unwrap_or(50);
        Ok(Self {
            of: pass.runs_of(frames, regimes.len()) * steps,
            tokens,
            seed,
            regimes,
            pass: Some(pass),
            run: None,
            done: 0,
        })
    }

    /// Takes a step.
    ///
    /// # Errors
    /// What the network reports. Nothing comes after an error, or after the end.
    pub(crate) fn advance(&mut self, stage: &StageModel) -> Result<PassStep> {
        while let Some(mut pass) = self.pass.take() {
            let run = match self.run.take() {
                Some(run) => Some(run),
                None => pass.next_run(stage)?,
            };
            let Some(mut run) = run else {
                let first = pass.first_made();
                let frames = pass.finish();
                self.regimes.pop_front();
                let Some(&regime) = self.regimes.front() else {
                    return Ok(PassStep::Done(frames));
                };
                let which = (regime, self.seed, first);
                self.pass = Some(Interpolation::new(
                    stage,
                    frames,
                    self.tokens.clone(),
                    which,
                )?);
                continue;
            };
            if let Some(progress) = run.advance(stage) {
                progress?;
                self.done += 1;
                (self.run, self.pass) = (Some(run), Some(pass));
                return Ok(PassStep::Stepped {
                    done: self.done,
                    of: self.of,
                });
            }
            pass.take(run)?;
            self.pass = Some(pass);
        }
        Err(over())
    }
}

fn over() -> Error {
    Error::Input("there is nothing left to interpolate".into())
}
