//! The driving world as the metric networks learn it: clips with everything that is true of them.
//!
//! The same worlds as [`WorldSource`](crate::data::WorldSource) makes from the same settings, with
//! more labels, each counted from 0: `time_of_day`, `weather`, `road` and `lane_change` (0 none, 1
//! left, 2 right, within the window) are the places of `vldm_world`'s names in their lists;
//! `crowdedness` (tenths of a vehicle), `speed` (centimetres per second) and `curvature` (per
//! thousand kilometres, 50,000 is straight) are means over the window, the curvature over the two
//! seconds after it too. A box's class is its [`Look`]'s number.

use vldm_media::Frame;
use vldm_world::{ClipSpec, LaneChange, Paint, RoadKind, TimeOfDay, VehicleKind, Weather, World};

use crate::conditioning::boxes::ObjectBox;
use crate::data::{
    ClipInfo, ClipSource, Placement, Sample, Take, Window, WorldConfig, WorldSource,
};
use crate::error::{Error, Result};

/// Curvature is stored as a count: this much is added to it, per metre.
const CURVATURE_OFFSET: f64 = 0.05;
/// Counts per unit of curvature (1/m).
const CURVATURE_SCALE: f64 = 1e6;
/// Seconds after the window over which the road's curvature is averaged: what is in view.
const AHEAD: f64 = 2.0;

/// What somebody on the road looks like: its number is a box's class here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A vehicle.
    Vehicle {
        /// Its kind.
        kind: VehicleKind,
        /// Its paint.
        paint: Paint,
    },
    /// Somebody on foot.
    Pedestrian,
}

impl Look {
    /// The number as a box's class.
    #[must_use]
    pub fn number(self) -> usize {
        match self {
            Self::Vehicle { kind, paint } => kind as usize * Paint::ALL.len() + paint as usize,
            Self::Pedestrian => VehicleKind::ALL.len() * Paint::ALL.len(),
        }
    }

    /// The look of a number; `None` when no look has it.
    #[must_use]
    pub fn from_number(number: usize) -> Option<Self> {
        let paints = Paint::ALL.len();
        match VehicleKind::ALL.get(number / paints) {
            Some(&kind) => Some(Self::Vehicle {
                kind,
                paint: Paint::ALL[number % paints],
            }),
            None => (number == Self::Pedestrian.number()).then_some(Self::Pedestrian),
        }
    }

    /// The class that boxes of clips have, as `vldm_world::Class` counts.
    #[must_use]
    pub fn class(self) -> usize {
        match self {
            Self::Vehicle { kind, .. } => kind.class().index(),
            Self::Pedestrian => vldm_world::Class::Pedestrian.index(),
        }
    }
}

/// Worlds with their whole truth: the clips of [`WorldSource`] with the labels `time_of_day`,
/// `weather`, `road`, `lane_change`, `crowdedness` (tenths), `speed` (cm/s) and `curvature`, and
/// boxes whose classes are numbers of [`Look`]s.
#[derive(Debug)]
pub struct TruthSource {
    config: WorldConfig,
    infos: Vec<ClipInfo>,
}

impl TruthSource {
    /// Checks the settings. Renders nothing.
    ///
    /// # Errors
    /// As [`WorldSource::new`].
    pub fn new(config: WorldConfig) -> Result<Self> {
        let source = WorldSource::new(config.clone())?;
        let infos = (0..source.len()).map(|index| source.clip(index).clone());
        Ok(Self {
            infos: infos.collect(),
            config,
        })
    }

    fn world(&self, index: usize, window: &Window) -> Result<World> {
        let spec = ClipSpec {
            width: window.width,
            height: window.height,
            ..self.config.spec(index)
        };
        World::with_options(spec, &self.config.scene).map_err(|error| wrong(&error))
    }
}

fn wrong(error: &vldm_world::Error) -> Error {
    Error::Config(error.to_string())
}

impl ClipSource for TruthSource {
    fn len(&self) -> usize {
        self.infos.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        &self.infos[index]
    }

    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let info = &self.infos[index];
        let take = info.take(window, placement.time)?;
        let world = self.world(index, window)?;
        let (frames, boxes) = pictures(&world, &take).map_err(|error| wrong(&error))?;
        let mut labels = labels(&world, &take).map_err(|error| wrong(&error))?;
        let vehicles = |boxes: &Vec<ObjectBox>| {
            let pedestrian = Look::Pedestrian.number();
            boxes.iter().filter(|b| b.class != pedestrian).count()
        };
        let count: usize = boxes.iter().map(vehicles).sum();
        labels.insert("crowdedness", count * 10 / boxes.len().max(1));
        Ok(Sample {
            encoded: None,
            id: info.id.clone(),
            frames,
            fps: take.fps,
            start_seconds: take.start_seconds(),
            caption: Some(world.caption()),
            labels: labels
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            boxes,
        })
    }
}

type Pictures = (Vec<Frame>, Vec<Vec<ObjectBox>>);

fn pictures(world: &World, take: &Take) -> vldm_world::Result<Pictures> {
    let (mut frames, mut boxes) = (Vec::new(), Vec::new());
    for at in take.indices() {
        frames.push(world.render(at)?);
        let looks = world.looks(at)?;
        let seen = world.boxes(at)?.into_iter().zip(looks);
        let object = |(seen, look): (vldm_world::ObjectBox, Option<(VehicleKind, Paint)>)| {
            let look = match look {
                Some((kind, paint)) => Look::Vehicle { kind, paint },
                None => Look::Pedestrian,
            };
            ObjectBox {
                x0: seen.x0,
                y0: seen.y0,
                x1: seen.x1,
                y1: seen.y1,
                class: look.number(),
            }
        };
        boxes.push(seen.map(object).collect());
    }
    Ok((frames, boxes))
}

type Labels = std::collections::BTreeMap<&'static str, usize>;

fn labels(world: &World, take: &Take) -> vldm_world::Result<Labels> {
    let clip = world.labels();
    let (mut speed, mut change) = (0.0, 0);
    for at in take.indices() {
        let ego = world.ego(at)?;
        speed += ego.speed / take.frames as f64;
        change = match ego.lane_change {
            Some(LaneChange::Left) => 1,
            Some(LaneChange::Right) => 2,
            None => change,
        };
    }
    let spec = world.spec();
    let ahead = (AHEAD * spec.fps.as_f64()) as usize;
    let end = (take.span().end + ahead).min(spec.num_frames);
    let road = take.first..end;
    let mut curvature = 0.0;
    for at in road.clone() {
        curvature += world.ego(at)?.curvature / road.len() as f64;
    }
    let time = match clip.time_of_day {
        TimeOfDay::Day => 0,
        TimeOfDay::Dusk => 1,
        TimeOfDay::Night => 2,
    };
    let weather = match clip.weather {
        Weather::Clear => 0,
        Weather::Cloudy => 1,
        Weather::Rain => 2,
        Weather::Fog => 3,
    };
    let road = match clip.road {
        RoadKind::Highway => 0,
        RoadKind::Country => 1,
        RoadKind::City => 2,
    };
    let curvature = (curvature + CURVATURE_OFFSET).max(0.0) * CURVATURE_SCALE;
    Ok([
        ("time_of_day", time),
        ("weather", weather),
        ("road", road),
        ("lane_change", change),
        ("speed", (speed * 100.0).round() as usize),
        ("curvature", curvature.round() as usize),
    ]
    .into())
}

/// What a sample of a [`TruthSource`] says in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Facts {
    /// Time of day, weather, road, lane change.
    pub(crate) classes: [usize; 4],
    /// Vehicles in view.
    pub(crate) crowdedness: f64,
    /// Metres per second.
    pub(crate) speed: f64,
    /// 1/m, positive to the right.
    pub(crate) curvature: f64,
}

impl Facts {
    pub(crate) fn of(sample: &Sample) -> Result<Self> {
        let label = |name: &str| {
            sample.labels.get(name).copied().ok_or_else(|| {
                Error::Input(format!(
                    "{}: it has no label `{name}`: metric networks learn from the driving world",
                    sample.id
                ))
            })
        };
        Ok(Self {
            classes: [
                label("time_of_day")?,
                label("weather")?,
                label("road")?,
                label("lane_change")?,
            ],
            crowdedness: label("crowdedness")? as f64 / 10.0,
            speed: label("speed")? as f64 / 100.0,
            curvature: label("curvature")? as f64 / CURVATURE_SCALE - CURVATURE_OFFSET,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Fit;

    #[test]
    fn looks_are_numbered_without_gaps() {
        let all = VehicleKind::ALL.len() * Paint::ALL.len() + 1;
        for number in 0..all {
            assert_eq!(Look::from_number(number).unwrap().number(), number);
        }
        assert_eq!(Look::from_number(all), None);
    }

    #[test]
    fn the_truth_is_that_of_the_same_world() {
        let config = WorldConfig::new(3, 11);
        let (truth, plain) = (
            TruthSource::new(config.clone()).unwrap(),
            WorldSource::new(config).unwrap(),
        );
        let window = Window {
            frames: 3,
            fps: Some(7.5),
            height: 32,
            width: 64,
            fit: Fit::Crop,
        };
        let place = Placement {
            time: 0.4,
            ..Placement::default()
        };
        for index in 0..3 {
            let [a, b] = [
                truth.read(index, &window, place).unwrap(),
                plain.read(index, &window, place).unwrap(),
            ];
            assert!(a.frames == b.frames);
            let facts = Facts::of(&a).unwrap();
            assert_eq!(facts.classes[0] == 2, b.labels["night"] == 1);
            for (a, b) in a.boxes.iter().flatten().zip(b.boxes.iter().flatten()) {
                assert_eq!(Look::from_number(a.class).unwrap().class(), b.class);
                assert_eq!([a.x0, a.y1], [b.x0, b.y1]);
            }
            assert!((0.0..50.0).contains(&facts.speed) && facts.curvature.abs() < 0.04);
        }
    }
}
