//! Clips that cannot be read: how many there were, and how many there may be.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// Failed reads in one batch that stop a run.
const MAX_IN_BATCH: usize = 16;
/// Examples in a message.
const EXAMPLES: usize = 5;

/// How many clips may fail before a run stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokenPolicy {
    /// Clips that may fail; a hundredth of all, but at least 8, unless set.
    pub max_broken: Option<usize>,
}

impl BrokenPolicy {
    /// How many of `clips` may fail.
    #[must_use]
    pub fn ceiling(&self, clips: usize) -> usize {
        self.max_broken.unwrap_or_else(|| (clips / 100).max(8))
    }
}

/// A clip that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The clip's name.
    pub id: String,
    /// What happened.
    pub reason: String,
    /// The batch in which it happened first.
    pub batch: u64,
}

/// The count over the batches that were given out.
///
/// Failures are counted when their batch is, not when they happen, so that a run stops at the same
/// batch however far ahead the threads have read.
#[derive(Debug)]
pub(super) struct Tally {
    ceiling: usize,
    failures: usize,
    seen: HashSet<String>,
    broken: Vec<Broken>,
}

impl Tally {
    pub(super) fn new(ceiling: usize) -> Self {
        Self {
            ceiling,
            failures: 0,
            seen: HashSet::new(),
            broken: Vec::new(),
        }
    }

    pub(super) fn broken(&self) -> &[Broken] {
        &self.broken
    }

    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    /// Counts what failed in a batch; an error when it is too much.
    pub(super) fn add(
        &mut self,
        batch: u64,
        failures: Vec<(String, String)>,
        complete: bool,
    ) -> Result<(), String> {
        let in_batch = failures.len();
        self.failures += in_batch;
        for (id, reason) in failures {
            if self.seen.insert(id.clone()) {
                tracing::warn!("batch {batch}: {id} is replaced: {reason}");
                self.broken.push(Broken { id, reason, batch });
            }
        }
        if self.broken.len() > self.ceiling {
            let what = format!(
                "{} clips cannot be read, more than the {} that may fail",
                self.broken.len(),
                self.ceiling
            );
            return Err(self.complaint(&what));
        }
        if in_batch >= MAX_IN_BATCH || !complete {
            return Err(self.complaint(&format!("batch {batch}: {in_batch} clips cannot be read")));
        }
        Ok(())
    }

    fn complaint(&self, what: &str) -> String {
        let examples = self.broken.iter().take(EXAMPLES);
        let list: Vec<String> = examples
            .map(|b| format!("{}: {}", b.id, b.reason))
            .collect();
        format!(
            "{what}; run `vldm data scan` on the data, which finds all such clips and leaves them \
             out:\n  {}",
            list.join("\n  ")
        )
    }
}
