//! From a request to frames.
//!
//! [`GenerateRequest`] is what any surface asks; [`Plan::new`] resolves it against a
//! [`ModelDescription`](crate::model::ModelDescription) before anything is loaded;
//! [`Generation`] runs the plan as an iterator of [`Progress`], which a progress bar, a preview
//! and a cancel button consume.

mod decode;
mod generation;
mod inputs;
mod memory;
mod picture;
mod plan;
mod request;

pub use decode::{DecodeChunks, decode_latents};
pub use generation::{Generation, Progress, Sample};
pub use inputs::GivenTensors;
pub use memory::MemoryEstimate;
pub use picture::{frame_to_pixels, pixels_to_frame};
pub use plan::{Plan, Task};
pub use request::GenerateRequest;
