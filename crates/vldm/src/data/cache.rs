//! The few last values of something that is computed again and again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by key; the oldest go first.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    size: usize,
    values: Mutex<VecDeque<(K, Arc<V>)>>,
}

impl<K: PartialEq, V> Cache<K, V> {
    /// Keeps `size` values.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            values: Mutex::default(),
        }
    }

    /// The value of a key, made if it is not there.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = values.iter().find(|(other, _)| *other == key) {
            return Arc::clone(value);
        }
        let value = Arc::new(make());
        values.truncate(self.size - 1);
        values.push_front((key, Arc::clone(&value)));
        value
    }
}
