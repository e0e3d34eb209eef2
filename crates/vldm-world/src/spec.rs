//! What a caller asks for: the clip's shape, and whatever of the scene is to be pinned.

use serde::{Deserialize, Serialize};
use vldm_media::Fps;

use crate::error::{Error, Result};
use crate::scene::{Curvature, Density, RoadKind, TimeOfDay, Weather};
use crate::vehicle::{Livery, Paint, VehicleKind};

/// The smallest side of a picture, in pixels.
pub const MIN_SIDE: u32 = 8;
/// The largest side of a picture, in pixels.
pub const MAX_SIDE: u32 = 8192;
/// The longest clip, in seconds.
pub const MAX_SECONDS: f64 = 24.0 * 3600.0;

/// The shape of a clip and the seed of everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipSpec {
    /// Width in pixels, 8 to 8192.
    pub width: u32,
    /// Height in pixels, 8 to 8192.
    pub height: u32,
    /// Length in frames, at least 1; the clip lasts at most a day.
    pub num_frames: usize,
    /// Frames per second.
    pub fps: Fps,
    /// What the world is made from. Sizes and rates do not change the world, only its pictures.
    #[serde(default)]
    pub seed: u64,
}

impl ClipSpec {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Input`] names what is out of range.
    pub fn validate(&self) -> Result<()> {
        let sides = MIN_SIDE..=MAX_SIDE;
        if !sides.contains(&self.width) || !sides.contains(&self.height) {
            return Err(Error::Input(format!(
                "the sides of a picture have {MIN_SIDE} to {MAX_SIDE} pixels, not {}x{}",
                self.width, self.height
            )));
        }
        if self.num_frames == 0 {
            return Err(Error::Input(
                "a clip has at least one frame, not 0".to_owned(),
            ));
        }
        let seconds = self.fps.seconds(self.num_frames);
        if seconds > MAX_SECONDS {
            return Err(Error::Input(format!(
                "a clip lasts at most {MAX_SECONDS} s, not {seconds:.0} s: {} frames at {} frames \
                 per second",
                self.num_frames, self.fps
            )));
        }
        Ok(())
    }
}

/// What of the scene is pinned; `None` is drawn from the seed. Pinning one thing leaves the draws
/// of the others as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneOptions {
    /// Where the sun stands.
    pub time_of_day: Option<TimeOfDay>,
    /// What falls from the sky or hangs in the air.
    pub weather: Option<Weather>,
    /// How crowded the road is.
    pub density: Option<Density>,
    /// The kind of road.
    pub road: Option<RoadKind>,
    /// How the road bends at the beginning of the clip.
    pub curvature: Option<Curvature>,
    /// Whether the ego car changes lanes; where it does, it starts to early in the clip.
    pub lane_changes: Option<bool>,
    /// The ego car's speed in its first lane, in metres per second, 2 to 45; it varies by a
    /// sixth with the traffic.
    pub speed: Option<f32>,
    /// A car that stays close in view.
    pub subject: Option<Subject>,
}

/// A particular car that drives ahead of the camera for the whole clip, its rear to the camera.
///
/// Clips of several seeds with the same subject show the same car at different places.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The kind of car.
    pub kind: VehicleKind,
    /// Its paint.
    pub paint: Paint,
    /// What is painted on it.
    #[serde(default)]
    pub livery: Livery,
    /// Metres from the camera to its rear, 4 to 60.
    pub distance: f32,
    /// The lane it drives in.
    #[serde(default)]
    pub place: Place,
}

/// A lane, as seen from the ego car.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The ego car's own lane.
    #[default]
    Ahead,
    /// The lane to its left.
    Left,
    /// The lane to its right.
    Right,
}

impl SceneOptions {
    /// Checks ranges and contradictions.
    ///
    /// # Errors
    /// [`Error::Input`] when a number is out of range, [`Error::Contradiction`] when two pinned
    /// settings exclude each other.
    pub fn validate(&self) -> Result<()> {
        if let Some(speed) = self.speed
            && !(2.0..=45.0).contains(&speed)
        {
            return Err(Error::Input(format!(
                "the ego car drives at 2 to 45 metres per second, not {speed}"
            )));
        }
        if self.lane_changes == Some(true) && self.road == Some(RoadKind::Country) {
            return Err(Error::Contradiction(
                "a country road has one lane in each direction: no lane changes there; choose a \
                 highway or a city street, or leave the road open"
                    .to_owned(),
            ));
        }
        self.subject.map_or(Ok(()), |subject| self.check(subject))
    }

    fn check(&self, subject: Subject) -> Result<()> {
        if !(4.0..=60.0).contains(&subject.distance) {
            return Err(Error::Input(format!(
                "the subject drives 4 to 60 metres ahead, not {}",
                subject.distance
            )));
        }
        if self.lane_changes == Some(true) {
            return Err(Error::Contradiction(
                "the ego car keeps its lane behind a subject: leave the subject or the lane \
                 changes out"
                    .to_owned(),
            ));
        }
        if subject.place != Place::Ahead && self.road == Some(RoadKind::Country) {
            return Err(Error::Contradiction(
                "a country road has one lane in each direction: the subject can only drive ahead; \
                 choose a highway or a city street, or leave the road open"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
