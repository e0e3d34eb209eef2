//! The real program on tiny models: what it prints, writes, refuses and returns.

mod convert;
mod errors;
mod generate;
mod help;
mod inspect;
mod interrupt;
mod support;
mod temporal;
mod verify;
