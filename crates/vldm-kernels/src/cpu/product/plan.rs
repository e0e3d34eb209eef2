//! How the outputs of a product are divided into tasks.

use std::ops::Range;

use rayon::prelude::*;

use super::{PANEL, ROWS};

/// Most columns of a task: its sums stay in the second-level cache.
const COLUMNS: usize = 512;

/// Fewest rows that a task is cut down to.
const FEWEST_ROWS: usize = 28;

/// Multiply-adds below which starting a task costs more than it saves.
const LEAST_WORK: usize = 1 << 18;

/// A grid of tasks over rows and columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    rows: usize,
    columns: usize,
    rows_per_task: usize,
    columns_per_task: usize,
}

impl Plan {
    pub(super) fn new(rows: usize, columns: usize, depth: usize) -> Self {
        let mut plan = Self {
            rows,
            columns,
            rows_per_task: even_part(rows, ROWS, 1),
            columns_per_task: even_part(columns, COLUMNS, PANEL),
        };
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 { 1 } else { 4 * threads };
        while plan.tasks() < wanted && plan.work(depth) > 2 * LEAST_WORK && plan.halve() {}
        plan
    }

    /// Makes tasks smaller along their longer side; false when they are as small as they get.
    fn halve(&mut self) -> bool {
        let can_rows = self.rows_per_task >= 2 * FEWEST_ROWS;
        let can_columns = self.columns_per_task > PANEL;
        if can_columns && (self.columns_per_task >= self.rows_per_task || !can_rows) {
            self.columns_per_task = (self.columns_per_task / 2).next_multiple_of(PANEL);
        } else if can_rows {
            self.rows_per_task = self.rows_per_task.div_ceil(2);
        }
        can_rows || can_columns
    }

    fn work(&self, depth: usize) -> usize {
        self.rows_per_task * self.columns_per_task * depth
    }

    fn across(&self) -> usize {
        self.columns.div_ceil(self.columns_per_task)
    }

    /// Parts into which the rows are divided.
    pub(super) fn row_blocks(&self) -> usize {
        self.rows.div_ceil(self.rows_per_task)
    }

    fn tasks(&self) -> usize {
        self.row_blocks() * self.across()
    }

    /// Runs all tasks.
    pub(super) fn for_each(&self, task: impl Fn(usize) + Sync + Send) {
        match self.tasks() {
            1 => task(0),
            tasks => (0..tasks).into_par_iter().for_each(task),
        }
    }

    pub(super) fn rows(&self, task: usize) -> Range<usize> {
        part(task / self.across(), self.rows_per_task, self.rows)
    }

    pub(super) fn columns(&self, task: usize) -> Range<usize> {
        part(task % self.across(), self.columns_per_task, self.columns)
    }
}

/// The size of equal parts of `whole`, none above `most`, in multiples of `unit`.
fn even_part(whole: usize, most: usize, unit: usize) -> usize {
    let parts = whole.div_ceil(most);
    whole.div_ceil(parts).next_multiple_of(unit)
}

fn part(index: usize, size: usize, end: usize) -> Range<usize> {
    index * size..((index + 1) * size).min(end)
}
