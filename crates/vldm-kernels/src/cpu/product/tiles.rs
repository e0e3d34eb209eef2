//! Products of bf16 in matrix tiles.

use super::super::element::Element;
use super::{Left, Right, Sink, Task, floats};

/// Computes one task.
pub(super) fn run<L: Left, W: Element>(
    task: &Task,
    left: &L,
    right: Right<'_, W>,
    sink: &impl Sink,
) {
    floats::run(task, left, right, sink);
}
