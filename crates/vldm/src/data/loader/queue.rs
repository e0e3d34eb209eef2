//! The batches under way, between the threads that read and the one that trains.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::data::order::{BatchPlan, Order};
use crate::data::sample::Sample;

/// How often a waiting caller looks whether the threads are still there.
const LOOK: Duration = Duration::from_millis(500);

/// One place of a batch to be filled.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) plan: Arc<BatchPlan>,
    pub(super) slot: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Missing where too many clips failed.
    pub(super) sample: Option<Sample>,
    /// Clips that failed, and why.
    pub(super) failures: Vec<(String, String)>,
    /// A panic in the reader.
    pub(super) bug: Option<String>,
}

/// A batch of which every place was filled.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) plan: Arc<BatchPlan>,
    pub(super) slots: Vec<Filled>,
}

#[derive(Debug)]
struct Building {
    plan: Arc<BatchPlan>,
    slots: Vec<Option<Filled>>,
}

#[derive(Debug)]
struct State {
    /// The batch that the caller gets next.
    wanted: u64,
    /// The place that is filled next.
    batch: u64,
    slot: usize,
    building: BTreeMap<u64, Building>,
    stopped: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Queue {
    ahead: u64,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Queue {
    pub(super) fn new(from_batch: u64, ahead: u64) -> Self {
        Self {
            ahead,
            state: Mutex::new(State {
                wanted: from_batch,
                batch: from_batch,
                slot: 0,
                building: BTreeMap::new(),
                stopped: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// The next place to fill; nothing when the loader has stopped.
    pub(super) fn claim(&self, order: &Order) -> Option<Task> {
        let mut state = self.state.lock().ok()?;
        loop {
            if state.stopped {
                return None;
            }
            if state.batch < state.wanted.saturating_add(self.ahead) {
                return Some(state.claim(order));
            }
            state = self.work.wait(state).ok()?;
        }
    }

    /// Puts a filled place into its batch.
    pub(super) fn put(&self, task: &Task, filled: Filled) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if let Some(building) = state.building.get_mut(&task.plan.number) {
            building.slots[task.slot] = Some(filled);
        }
        drop(state);
        self.done.notify_all();
    }

    /// Whether the threads are to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().map_or(true, |state| state.stopped)
    }

    /// Tells the threads to end.
    pub(super) fn stop(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.stopped = true;
            state.building.clear();
        }
        self.work.notify_all();
    }

    /// Waits for the next batch.
    pub(super) fn take(&self) -> Result<Finished, String> {
        let bug = || "a thread that reads clips has panicked: this is a bug".to_owned();
        let mut state = self.state.lock().map_err(|_| bug())?;
        loop {
            if let Some(finished) = state.take() {
                drop(state);
                self.work.notify_all();
                return Ok(finished);
            }
            let waited = self.done.wait_timeout(state, LOOK);
            state = waited.map_err(|_| bug())?.0;
        }
    }
}

impl State {
    fn claim(&mut self, order: &Order) -> Task {
        let number = self.batch;
        let building = self.building.entry(number).or_insert_with(|| {
            let plan = Arc::new(order.batch(number));
            Building {
                slots: plan.clips.iter().map(|_| None).collect(),
                plan,
            }
        });
        let task = Task {
            plan: Arc::clone(&building.plan),
            slot: self.slot,
        };
        self.slot += 1;
        if self.slot == building.slots.len() {
            self.slot = 0;
            self.batch += 1;
        }
        task
    }

    /// The wanted batch, if it is whole.
    fn take(&mut self) -> Option<Finished> {
        let building = self.building.get(&self.wanted)?;
        if building.slots.iter().any(Option::is_none) {
            return None;
        }
        let building = self.building.remove(&self.wanted)?;
        self.wanted += 1;
        Some(Finished {
            plan: building.plan,
            slots: building.slots.into_iter().flatten().collect(),
        })
    }
}
