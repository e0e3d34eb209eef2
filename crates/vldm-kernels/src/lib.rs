//! Tensor operations of diffusion networks.

pub mod memory;
