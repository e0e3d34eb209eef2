//! The `vldm` command.

fn main() {}
