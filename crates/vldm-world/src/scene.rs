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

/// How crowded the road is.
///
/// How many vehicles a clip then shows is counted in [`Labels`](crate::Labels); the means over 60
/// seeds each, on highways, country roads and in cities, are noted at the levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Density {
    /// No vehicle at all, but for a subject.
    Empty,
    /// A vehicle here and there: 2.4, 1.6 and 4.3.
    Light,
    /// Vehicles in most views of most lanes: 7.9, 4.5 and 7.2.
    Moderate,
    /// Lanes filled with slow vehicles, which hide each other: 12.7, 7.9 and 6.9.
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

// How often things are drawn.
const TIMES: [(TimeOfDay, f32); 3] = [
    (TimeOfDay::Day, 0.5),
    (TimeOfDay::Dusk, 0.14),
    (TimeOfDay::Night, 0.36),
];
const AIRS: [(Weather, f32); 4] = [
    (Weather::Clear, 0.45),
    (Weather::Cloudy, 0.25),
    (Weather::Rain, 0.18),
    (Weather::Fog, 0.12),
];
const CROWDS: [(Density, f32); 4] = [
    (Density::Empty, 0.1),
    (Density::Light, 0.33),
    (Density::Moderate, 0.33),
    (Density::Heavy, 0.24),
];
const BENDS: [(Curvature, f32); 3] = [
    (Curvature::Straight, 0.4),
    (Curvature::Left, 0.3),
    (Curvature::Right, 0.3),
];

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
        let dice = world.of(Purpose::Scene);
        let aside = options.subject.is_some_and(|s| s.place != Place::Ahead);
        let needs_lanes = aside || options.lane_changes == Some(true);
        let country = if needs_lanes { 0.0 } else { 0.3 };
        let roads = [
            (RoadKind::Highway, 0.4),
            (RoadKind::City, 0.3),
            (RoadKind::Country, country),
        ];
        let road = options.road.unwrap_or(weighted(dice.unit(3), &roads));
        let weather = options.weather.unwrap_or(weighted(dice.unit(1), &AIRS));
        let density = options.density.unwrap_or(weighted(dice.unit(2), &CROWDS));
        let section = section(road, needs_lanes, dice);
        let first_lane = first_lane(options, &section, dice);
        let cruise = pace(road, density, weather, dice);
        let first_speed = options.speed.map_or(cruise, f64::from);
        let most = if density == Density::Heavy { 0.9 } else { 2.8 };
        let faster = (0.12 * first_speed).min(most);
        let above = faster * (section.lanes - 1 - first_lane) as f64;
        let speed = options.speed.map_or(cruise, |_| first_speed - above);
        let times = weighted(dice.unit(0), &TIMES);
        let bends = weighted(dice.unit(4), &BENDS);
        let highway = road == RoadKind::Highway;
        Self {
            time_of_day: options.time_of_day.unwrap_or(times),
            weather,
            density,
            road,
            curvature: options.curvature.unwrap_or(bends),
            section,
            barrier: highway && section.median < 5.0,
            yellow_center: dice.chance(7, 0.55),
            lamps: road == RoadKind::City || (highway && dice.chance(8, 0.45)),
            lane_changes: section.lanes > 1
                && options.subject.is_none()
                && options.lane_changes.unwrap_or(dice.chance(9, 0.4)),
            first_lane,
            speed,
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
