//! What a thread of the loader does.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::queue::{Filled, Queue, Task};
use crate::data::order::Order;
use crate::data::sample::{ClipSource, Sample};
use crate::data::times::Take;

/// Failed reads for one place of a batch after which it is left empty, which ends the run.
const MAX_FAILURES: usize = 16;
/// Clips that are drawn for one place at most: few clips are drawn again and again.
const MAX_DRAWS: usize = 256;

/// Everything that the threads share.
#[derive(Debug)]
pub(super) struct Worker {
    source: Arc<dyn ClipSource>,
    order: Arc<Order>,
    queue: Arc<Queue>,
    /// Frames that could not be read, by clip.
    failed: Mutex<HashMap<usize, Vec<(Take, String)>>>,
}

impl Worker {
    pub(super) fn new(source: Arc<dyn ClipSource>, order: Arc<Order>, queue: Arc<Queue>) -> Self {
        Self {
            source,
            order,
            queue,
            failed: Mutex::default(),
        }
    }

    /// Fills places until the loader stops.
    pub(super) fn run(&self) {
        while let Some(task) = self.queue.claim(&self.order) {
            let filled = catch_unwind(AssertUnwindSafe(|| self.fill(&task)));
            let filled = filled.unwrap_or_else(|panic| Filled {
                bug: Some(format!(
                    "batch {}: reading a clip panicked, which is a bug: {}",
                    task.plan.number,
                    words(panic.as_ref())
                )),
                ..Filled::default()
            });
            self.queue.put(&task, filled);
        }
    }

    /// Reads the planned clip, or the first of its replacements that can be read.
    fn fill(&self, task: &Task) -> Filled {
        let mut filled = Filled::default();
        let mut tried = Vec::new();
        for draw in 0..MAX_DRAWS {
            if filled.failures.len() == MAX_FAILURES || self.queue.is_stopped() {
                break;
            }
            let clip = match draw {
                0 => task.plan.clips[task.slot],
                _ => self.order.replacement(&task.plan, task.slot, draw - 1),
            };
            if tried.contains(&clip) {
                continue;
            }
            tried.push(clip);
            match self.read(clip, task) {
                Ok(sample) => {
                    filled.sample = Some(sample);
                    break;
                }
                Err(reason) => {
                    let id = self.source.clip(clip).id.clone();
                    filled.failures.push((id, reason));
                }
            }
        }
        filled
    }

    fn read(&self, clip: usize, task: &Task) -> Result<Sample, String> {
        let (window, placement) = (&task.plan.window, task.plan.placements[task.slot]);
        let take = self.source.clip(clip).take(window, placement.time);
        let take = take.map_err(|error| error.to_string())?;
        if let Some(reason) = self.known(clip, &take) {
            return Err(reason);
        }
        self.source.read(clip, window, placement).map_err(|error| {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            let reason = error.to_string();
            failed.entry(clip).or_default().push((take, reason.clone()));
            reason
        })
    }

    /// Why these frames cannot be read, if reading some of them has failed before.
    fn known(&self, clip: usize, take: &Take) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = failed.get(&clip)?.iter();
        let (_, reason) = reasons.find(|(frames, _)| take.covers(frames))?;
        Some(reason.clone())
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
