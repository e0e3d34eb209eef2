//! Tensor operations of diffusion networks.
