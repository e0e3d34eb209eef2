//! A procedural driving world: clips with boxes, labels and captions, from nothing but a seed.
//!
//! So that every stage can be trained and tested with no data at hand. A [`World`] is a road with
//! lanes, curves and hills, traffic in both directions, roadside and skyline, by day, at dusk and
//! at night, in sun, rain and fog, seen from a car that drives at a changing speed and changes
//! lanes. Every frame is a function of the seed and the time: frames can be rendered in any order,
//! minutes long sequences need no memory, and the same seed gives the same bytes on every machine.
//!
//! - [`ClipSpec`] is the clip's size, length, rate and seed; [`SceneOptions`] pins what should not
//!   be left to the seed, a [`Subject`] among it: one particular car, always close in view.
//! - [`World::render`] gives pictures, [`World::boxes`] what they show and where,
//!   [`World::labels`] and [`World::caption`] what the clip is about.
//! - [`vocabulary`] lists every word a caption can hold.
//!
//! ```
//! # use vldm_world::{ClipSpec, SceneOptions, TimeOfDay, World};
//! let spec = ClipSpec {
//!     width: 128,
//!     height: 64,
//!     num_frames: 8,
//!     fps: "8".parse().unwrap(),
//!     seed: 7,
//! };
//! let night = SceneOptions {
//!     time_of_day: Some(TimeOfDay::Night),
//!     ..SceneOptions::default()
//! };
//! let world = World::with_options(spec, &night)?;
//! assert!(world.labels().night);
//! assert_eq!(world.render(3)?.size(), (128, 64));
//! for object in world.boxes(3)? {
//!     println!("{:?} {:?}", object.class, object.corners());
//! }
//! # Ok::<(), vldm_world::Error>(())
//! ```

mod boxes;
mod caption;
mod color;
mod dice;
mod ego;
mod error;
mod labels;
mod light;
mod props;
mod render;
mod road;
mod scene;
mod spec;
mod traffic;
mod vehicle;
mod view;
mod world;

pub use boxes::{MAX_BOXES, MIN_PIXELS, ObjectBox};
pub use caption::{vocabulary, words};
pub use error::{Error, Result};
pub use labels::{Labels, LaneChange};
pub use scene::{Curvature, Density, RoadKind, TimeOfDay, Weather};
pub use spec::{ClipSpec, MAX_SECONDS, MAX_SIDE, MIN_SIDE, Place, SceneOptions, Subject};
pub use traffic::ObjectId;
pub use vehicle::{Class, Livery, Paint, VehicleKind};
pub use world::{EgoState, World};
