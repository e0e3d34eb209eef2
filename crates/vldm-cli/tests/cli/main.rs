//! The real program on tiny models: what it prints, writes, refuses and returns.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

mod bench;
mod convert;
mod data;
mod encode;
mod errors;
mod evaluate;
mod generate;
mod help;
mod inspect;
mod interrupt;
mod stack;
mod support;
mod temporal;
mod train;
mod train_memory;
mod verify;
