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
    /// Tasks that sum over all of `depth`.
    pub(super) fn new(rows: usize, columns: usize, depth: usize) -> Self {
        let mut plan = Self::uncut(rows, columns);
        plan.cut(1, depth);
        plan
    }

    /// Tasks as large as they can be, and in how many parts they should sum over `depth`: as many
    /// as give a few threads enough to do, by the product's shape alone.
    pub(super) fn in_parts(rows: usize, columns: usize, depth: usize) -> (Self, usize) {
        /// Tasks to aim for.
        const TASKS: usize = 8;
        /// Least depth of a part.
        const DEPTH: usize = 128;
        let mut plan = Self::uncut(rows, columns);
        let parts = (TASKS / plan.tasks().max(1)).clamp(1, (depth / DEPTH).max(1));
        plan.cut(parts, depth.div_ceil(parts));
        (plan, parts)
    }

    /// Tasks as large as they can be.
    pub(super) fn uncut(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            rows_per_task: even_part(rows, ROWS, 1),
            columns_per_task: even_part(columns, COLUMNS, PANEL),
        }
    }

    /// Makes tasks smaller until there are some for each thread, where each of them is there
    /// `times`.
    fn cut(&mut self, times: usize, depth: usize) {
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 { 1 } else { 4 * threads };
        while self.tasks() * times < wanted && self.work(depth) > 2 * LEAST_WORK && self.halve() {}
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

    pub(super) fn tasks(&self) -> usize {
        self.row_blocks() * self.across()
    }

    /// Elements of the sums of the largest task.
    pub(super) fn most_sums(&self) -> usize {
        self.rows_per_task * self.columns_per_task.next_multiple_of(PANEL)
    }

    /// Runs all tasks.
    pub(super) fn for_each(&self, task: impl Fn(usize) + Sync + Send) {
        for_each(self.tasks(), task);
    }

    pub(super) fn rows(&self, task: usize) -> Range<usize> {
        part(task / self.across(), self.rows_per_task, self.rows)
    }

    pub(super) fn columns(&self, task: usize) -> Range<usize> {
        part(task % self.across(), self.columns_per_task, self.columns)
    }
}

/// Runs `tasks` tasks.
pub(super) fn for_each(tasks: usize, task: impl Fn(usize) + Sync + Send) {
    match tasks {
        1 => task(0),
        tasks => (0..tasks).into_par_iter().for_each(task),
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
