//! `vldm model`: looking at models, writing them anew, comparing them.

pub(crate) mod assemble;
pub(crate) mod convert;
mod describe;
pub(crate) mod inspect;
pub(crate) mod verify;
