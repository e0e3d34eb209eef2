//! From a request to frames.
//!
//! [`GenerateRequest`] is what any surface asks; [`Plan::new`] resolves it against a
//! [`ModelDescription`](crate::model::ModelDescription) before anything is loaded;
//! [`Generation`] runs the plan as an iterator of [`Progress`], which a progress bar, a preview
//! and a cancel button consume.

mod clip_plan;
mod clip_run;
mod decode;
mod edit;
mod generation;
mod image_to_video;
mod inputs;
mod interpolate;
mod memory;
mod passes;
mod personal;
mod picture;
mod plan;
mod regions;
mod request;
mod rollout;
mod rollout_folder;
mod rollout_plan;
mod stack;
mod stage;
mod stage_run;
mod stream_decoder;
mod upsample;
mod wavefront;
mod wishes;

pub use clip_plan::{ClipPlan, LastStage};
pub use clip_run::{ClipProgress, ClipRun, FinishedClip};
pub use decode::{DecodeChunks, decode_latents};
pub use edit::{
    EditProgress, InterpolateRun, UpsampleRun, encode_frames, interpolation_factor, pictures,
};
pub use generation::{Generation, Progress, Sample};
pub use inputs::GivenTensors;
pub use memory::{MemoryEstimate, StageMemory};
pub use picture::{frame_to_pixels, pixels_to_frame};
pub use plan::{Plan, Task};
pub use request::GenerateRequest;
pub use rollout::{
    Rollout, RolloutProgress, RolloutRequest, Segment, first_frame, first_frame_of, given_after,
};
pub use rollout_folder::RolloutFolder;
pub use rollout_plan::RolloutPlan;
pub(crate) use stack::usual;
pub use stack::{StackDescription, StageDescription, StageLoader};
pub use stage::StageModel;
pub use stream_decoder::StreamDecoder;
pub use upsample::UpsampleSettings;
pub use wishes::{SampleWishes, Wishes};
