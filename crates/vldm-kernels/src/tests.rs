//! Every operation against plain f64 loops, forward and backward.

mod check;
mod reference;

mod activation;
mod attention;
mod batch;
mod conv;
mod fast;
mod linear;
mod mix;
mod norm;
mod optim;
mod resample;
