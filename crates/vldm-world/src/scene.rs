//! The scene: what stays the same throughout a clip, drawn from the seed or pinned.

use serde::{Deserialize, Serialize};

use crate::dice::{Dice, Purpose};
use crate::road::Section;
use crate::spec::{Place, SceneOptions, Subject};

/// Where the sun stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeOfDay {
    /// Full daylight.
    Day,
    /// The sun is low; cars have their lights on. Counts as day in [`Labels`](crate::Labels).
    Dusk,
    /// Dark: headlights, street lamps and lit windows.
    Night,
}

/// What falls from the sky or hangs in the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weather {
    /// Few clouds, far sight.
    Clear,
    /// An overcast sky.
    Cloudy,
    /// Rain on a wet, shining road.
    Rain,
    /// Sight ends within a hundred metres or so.
    Fog,
}

/// How crowded the road is. How many vehicles a picture then shows is counted in
/// [`Labels`](crate::Labels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Density {
    /// No vehicle at all, but for a subject.
    Empty,
    /// A vehicle here and there.
    Light,
    /// Vehicles in most views of most lanes.
    Moderate,
    /// Lanes filled with slow vehicles.
    Heavy,
}

/// The kind of road.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoadKind {
    /// Two or three lanes in each direction, a barrier or grass between them.
    Highway,
    /// One lane in each direction through fields and woods.
    Country,
    /// One or two lanes in each direction, parked cars, pavements and buildings.
    City,
}

/// How the road bends at the beginning of a clip; longer clips wind on in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curvature {
    /// Not at all.
    Straight,
    /// To the left.
    Left,
    /// To the right.
    Right,
}

/// All that is drawn once per clip.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) time_of_day: TimeOfDay,
    pub(crate) weather: Weather,
    pub(crate) density: Density,
    pub(crate) road: RoadKind,
    pub(crate) curvature: Curvature,
    pub(crate) section: Section,
    /// Whether a concrete or steel barrier stands on the median.
    pub(crate) barrier: bool,
    /// Whether the line between the directions is yellow.
    pub(crate) yellow_center: bool,
    /// Whether street lamps stand along the road.
    pub(crate) lamps: bool,
    pub(crate) lane_changes: bool,
    /// The lane in which the ego car starts, 0 is the leftmost.
    pub(crate) first_lane: usize,
    /// Metres per second in the rightmost lane.
    pub(crate) speed: f64,
    /// Added per lane to the left.
    pub(crate) faster: f64,
    pub(crate) subject: Option<Subject>,
}

fn weighted<T: Copy>(at: f32, of: &[(T, f32)]) -> T {
    let mut left = at * of.iter().map(|(_, weight)| weight).sum::<f32>();
    for &(item, weight) in of {
        if left < weight {
            return item;
        }
        left -= weight;
    }
    of[of.len() - 1].0
}

impl Scene {
    /// Draws what `options` (validated) leave open.
    pub(crate) fn new(options: &SceneOptions, world: Dice) -> Self {
        use {Density as D, RoadKind as R, TimeOfDay as T, Weather as W};
        let dice = world.of(Purpose::Scene);
        let time = weighted(
            dice.unit(0),
            &[(T::Day, 0.5), (T::Dusk, 0.14), (T::Night, 0.36)],
        );
        let air = [
            (W::Clear, 0.45),
            (W::Cloudy, 0.25),
            (W::Rain, 0.18),
            (W::Fog, 0.12),
        ];
        let crowd = [
            (D::Empty, 0.1),
            (D::Light, 0.33),
            (D::Moderate, 0.33),
            (D::Heavy, 0.24),
        ];
        let aside = options.subject.is_some_and(|s| s.place != Place::Ahead);
        let needs_lanes = aside || options.lane_changes == Some(true);
        let country = if needs_lanes { 0.0 } else { 0.3 };
        let roads = [(R::Highway, 0.4), (R::City, 0.3), (R::Country, country)];
        let road = options
            .road
            .unwrap_or_else(|| weighted(dice.unit(3), &roads));
        let weather = options
            .weather
            .unwrap_or_else(|| weighted(dice.unit(1), &air));
        let density = options
            .density
            .unwrap_or_else(|| weighted(dice.unit(2), &crowd));
        let bends = [
            (Curvature::Straight, 0.4),
            (Curvature::Left, 0.3),
            (Curvature::Right, 0.3),
        ];
        let curvature = options
            .curvature
            .unwrap_or_else(|| weighted(dice.unit(4), &bends));
        let section = section(road, needs_lanes, dice);
        let first_lane = first_lane(options, &section, dice);
        let faster = if density == D::Heavy { 0.9 } else { 2.8 };
        let cruise = pace(road, density, weather, dice);
        let above = faster * (section.lanes - 1 - first_lane) as f64;
        Self {
            time_of_day: options.time_of_day.unwrap_or(time),
            weather,
            density,
            road,
            curvature,
            section,
            barrier: road == R::Highway && section.median < 5.0,
            yellow_center: dice.chance(7, 0.55),
            lamps: road == R::City || (road == R::Highway && dice.chance(8, 0.45)),
            lane_changes: section.lanes > 1
                && options.subject.is_none()
                && options.lane_changes.unwrap_or(dice.chance(9, 0.4)),
            first_lane,
            speed: options
                .speed
                .map_or(cruise, |speed| (f64::from(speed) - above).max(1.0)),
            faster,
            subject: options.subject,
        }
    }

    /// Whether cars have their lights on.
    pub(crate) fn lights_on(&self) -> bool {
        self.time_of_day != TimeOfDay::Day || matches!(self.weather, Weather::Rain | Weather::Fog)
    }

    pub(crate) fn is_night(&self) -> bool {
        self.time_of_day == TimeOfDay::Night
    }
}

fn section(road: RoadKind, needs_lanes: bool, dice: Dice) -> Section {
    match road {
        RoadKind::Highway => Section {
            lanes: if dice.chance(10, 0.5) { 3 } else { 2 },
            lane_width: 3.6,
            median: if dice.chance(11, 0.6) { 2.4 } else { 9.0 },
            shoulder: 2.4,
            parking: 0.0,
            sidewalk: 0.0,
        },
        RoadKind::Country => Section {
            lanes: 1,
            lane_width: 3.5,
            median: 0.0,
            shoulder: 0.7,
            parking: 0.0,
            sidewalk: 0.0,
        },
        RoadKind::City => Section {
            lanes: if needs_lanes || dice.chance(10, 0.5) {
                2
            } else {
                1
            },
            lane_width: 3.4,
            median: 0.0,
            shoulder: 0.4,
            parking: if dice.chance(11, 0.7) { 2.2 } else { 0.0 },
            sidewalk: 3.2,
        },
    }
}

fn first_lane(options: &SceneOptions, section: &Section, dice: Dice) -> usize {
    let place = options.subject.map(|subject| subject.place);
    let (low, high) = match place {
        Some(Place::Left) => (1, section.lanes),
        Some(Place::Right) => (0, section.lanes - 1),
        _ => (0, section.lanes),
    };
    low + (dice.unit(12) * (high - low) as f32) as usize
}

/// Metres per second in the rightmost lane.
fn pace(road: RoadKind, density: Density, weather: Weather, dice: Dice) -> f64 {
    let (low, high, jam) = match road {
        RoadKind::Highway => (22.0, 29.0, 0.45),
        RoadKind::Country => (17.0, 23.0, 0.6),
        RoadKind::City => (9.0, 13.0, 0.65),
    };
    let crowd = match density {
        Density::Heavy => jam,
        Density::Moderate => 0.92,
        Density::Light | Density::Empty => 1.0,
    };
    let air = match weather {
        Weather::Clear | Weather::Cloudy => 1.0,
        Weather::Rain => 0.9,
        Weather::Fog => 0.75,
    };
    f64::from(dice.range(13, low, high) * crowd * air)
}
