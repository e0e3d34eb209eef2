//! Labels of a clip.

use serde::{Deserialize, Serialize};

use crate::scene::{Curvature, Density, RoadKind, TimeOfDay, Weather};

/// What a whole clip shows. Counts are those of pictures of 256×128 pixels, whatever size is
/// rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Where the sun stands.
    pub time_of_day: TimeOfDay,
    /// Whether it is night; dusk counts as day.
    pub night: bool,
    /// The weather.
    pub weather: Weather,
    /// How crowded the road was made.
    pub density: Density,
    /// Vehicles in view, parked ones included: the mean over up to nine frames, rounded. At most
    /// [`MAX_BOXES`](crate::MAX_BOXES).
    pub crowdedness: usize,
    /// The kind of road.
    pub road: RoadKind,
    /// How the road in view bends, on average.
    pub curvature: Curvature,
    /// The ego car's first lane change.
    pub lane_change: Option<LaneChange>,
}

/// Which way the ego car changes lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneChange {
    /// To the left.
    Left,
    /// To the right.
    Right,
}
