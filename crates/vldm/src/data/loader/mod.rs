//! Reads batches ahead of time.
//!
//! Threads read the samples of the next batches, each batch as its [`Order`] plans it. A clip that
//! cannot be read is replaced by another of the same window, drawn for the batch and the slot, so
//! what a batch holds depends neither on the number of threads nor on where a run began.
//!
//! For the same reason a clip that failed is not shut out altogether: a file that is cut short
//! still gives its beginning. But what failed is not tried again: frames that could not be read
//! are known, and a window that holds them counts as failed without being read.

mod broken;
mod queue;
mod worker;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use broken::{Broken, BrokenPolicy};

use broken::Tally;
use queue::{Finished, Queue};
use worker::Worker;

use super::order::Order;
use super::sample::{ClipSource, Sample, Window};
use crate::error::{Error, Result};

/// How batches are read ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderSettings {
    /// Threads that read, at least 1; 2 unless set.
    pub threads: usize,
    /// Batches that are held ready at most, at least 1; 4 unless set.
    pub ahead: usize,
    /// How many clips may fail.
    pub broken: BrokenPolicy,
}

impl Default for LoaderSettings {
    fn default() -> Self {
        Self {
            threads: 2,
            ahead: 4,
            broken: BrokenPolicy::default(),
        }
    }
}

/// A batch.
#[derive(Debug)]
pub struct Loaded {
    /// The batch's number, from 0.
    pub number: u64,
    /// The epoch it belongs to, from 0.
    pub epoch: u64,
    /// What every sample was asked to be.
    pub window: Window,
    /// The samples, in the order of the plan.
    pub samples: Vec<Sample>,
    /// How long the caller had to wait for it: more than nothing means that reading is slower than
    /// training.
    pub waited: Duration,
}

/// Batches, one after the other, read on threads of their own.
///
/// Dropping it stops the threads; they finish the clip they are reading.
#[derive(Debug)]
pub struct Loader {
    queue: Arc<Queue>,
    order: Arc<Order>,
    threads: Vec<JoinHandle<()>>,
    tally: Tally,
    stopped: Option<String>,
}

impl Loader {
    /// Begins to read, with batch `from_batch` first.
    ///
    /// # Errors
    /// [`Error::Config`] when there are to be no threads or no batches ahead,
    /// [`Error::Backend`] when the system gives no threads.
    pub fn start(
        source: Arc<dyn ClipSource>,
        order: Arc<Order>,
        from_batch: u64,
        settings: &LoaderSettings,
    ) -> Result<Self> {
        if settings.threads == 0 || settings.ahead == 0 {
            return Err(Error::Config(format!(
                "a loader with {} threads and {} batches ahead: expected at least 1 of each",
                settings.threads, settings.ahead
            )));
        }
        let mut loader = Self {
            queue: Arc::new(Queue::new(from_batch, settings.ahead as u64)),
            tally: Tally::new(settings.broken.ceiling(source.len())),
            threads: Vec::with_capacity(settings.threads),
            stopped: None,
            order,
        };
        let worker = Arc::new(Worker::new(
            source,
            Arc::clone(&loader.order),
            Arc::clone(&loader.queue),
        ));
        for number in 0..settings.threads {
            let worker = Arc::clone(&worker);
            let thread = thread::Builder::new()
                .name(format!("vldm-loader-{number}"))
                .spawn(move || worker.run())
                .map_err(|error| Error::Backend(format!("cannot start a thread: {error}")))?;
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// The next batch; waits until it is there.
    ///
    /// # Errors
    /// [`Error::Input`] when more clips failed than [`BrokenPolicy`] allows, or too many in this
    /// batch. The loader then gives no more batches.
    pub fn next_batch(&mut self) -> Result<Loaded> {
        if let Some(reason) = &self.stopped {
            return Err(Error::Input(reason.clone()));
        }
        let begin = Instant::now();
        let finished = self.queue.take();
        let waited = begin.elapsed();
        let loaded = finished.and_then(|finished| self.judge(finished, waited));
        loaded.map_err(|reason| {
            self.queue.stop();
            self.stopped = Some(reason.clone());
            Error::Input(reason)
        })
    }

    /// Clips that failed in the batches given so far, each once, with the first reason.
    #[must_use]
    pub fn broken(&self) -> &[Broken] {
        self.tally.broken()
    }

    /// How many reads of a clip failed in the batches given so far.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.tally.failures()
    }

    fn judge(
        &mut self,
        finished: Finished,
        waited: Duration,
    ) -> std::result::Result<Loaded, String> {
        let number = finished.plan.number;
        let mut samples = Vec::with_capacity(finished.slots.len());
        let mut failures = Vec::new();
        let mut bug = None;
        for slot in finished.slots {
            failures.extend(slot.failures);
            samples.extend(slot.sample);
            bug = bug.or(slot.bug);
        }
        if let Some(bug) = bug {
            return Err(bug);
        }
        let complete = samples.len() == finished.plan.clips.len();
        self.tally.add(number, failures, complete)?;
        Ok(Loaded {
            number,
            epoch: self.order.epoch(number),
            window: finished.plan.window.clone(),
            samples,
            waited,
        })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.queue.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to tell: the batch it left is not asked for.
            let _ = thread.join();
        }
    }
}
