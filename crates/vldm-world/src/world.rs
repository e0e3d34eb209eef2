//! A world: one clip's road, traffic and weather, at any of its frames.

use vldm_media::{Clip, Frame};

use crate::boxes::{ObjectBox, Seen, seen};
use crate::caption;
use crate::dice::{Dice, Purpose};
use crate::ego::{Ego, Moment};
use crate::error::{Error, Result};
use crate::labels::{Labels, LaneChange};
use crate::props::{Prop, props};
use crate::render::Painter;
use crate::road::Road;
use crate::scene::{Curvature, Scene};
use crate::spec::{ClipSpec, SceneOptions};
use crate::traffic::{Actor, Body, ObjectId, Traffic};
use crate::vehicle::{Class, Paint, VehicleKind};
use crate::view::{NEAR, View};

/// Labels and captions describe pictures of this width and height, whatever size is rendered.
const REFERENCE: (u32, u32) = (256, 128);
/// Metres to the farthest vehicles.
const FAR: f32 = 420.0;

/// A driving scene that can be asked for any of its frames.
///
/// Everything is a function of the seed, the options and the time: frames can be rendered in any
/// order, and each is the same bytes on every machine. Nothing is rendered before it is asked for.
///
/// The pictures' size changes nothing but the pictures; the frame rate changes the times at which
/// they are taken. The clip's length takes part in the world, because the ego car's lanes are kept
/// free for as long as it drives.
#[derive(Debug, Clone)]
pub struct World {
    spec: ClipSpec,
    scene: Scene,
    road: Road,
    ego: Ego,
    traffic: Traffic,
    painter: Painter,
    dice: Dice,
}

/// The ego car at one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EgoState {
    /// Seconds from the first frame.
    pub seconds: f64,
    /// Metres driven along the road since the first frame.
    pub travelled: f64,
    /// Metres per second.
    pub speed: f64,
    /// Metres from the middle of the road, positive to the right.
    pub lateral: f64,
    /// The lane it is in or moves to; 0 is the leftmost of its direction.
    pub lane: usize,
    /// The lane change under way.
    pub lane_change: Option<LaneChange>,
    /// Curvature of the road at the car in 1/m, positive to the right.
    pub curvature: f64,
}

impl World {
    /// A scene drawn from the seed alone.
    ///
    /// # Errors
    /// [`Error::Input`] when `spec` is out of range.
    pub fn new(spec: ClipSpec) -> Result<Self> {
        Self::with_options(spec, &SceneOptions::default())
    }

    /// A scene of which `options` pins a part.
    ///
    /// # Errors
    /// [`Error::Input`] when a number is out of range, [`Error::Contradiction`] when options
    /// exclude each other.
    pub fn with_options(spec: ClipSpec, options: &SceneOptions) -> Result<Self> {
        spec.validate()?;
        options.validate()?;
        let dice = Dice::new(spec.seed);
        let scene = Scene::new(options, dice);
        let seconds = spec.fps.seconds(spec.num_frames);
        let ego = Ego::new(&scene, seconds, dice.of(Purpose::Ego));
        let (kind, curvature) = (scene.road, scene.curvature);
        Ok(Self {
            spec,
            road: Road::new(kind, curvature, dice.of(Purpose::Road)),
            traffic: Traffic::new(&scene, &ego, dice.of(Purpose::Lane)),
            painter: Painter::new(&scene, dice),
            ego,
            scene,
            dice,
        })
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &ClipSpec {
        &self.spec
    }

    /// The picture of frame `frame`, counted from 0.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn render(&self, frame: usize) -> Result<Frame> {
        Ok(self.paint(&self.moment(frame)?, None))
    }

    /// The picture of frame `frame` as if the object `id` were not there; its light and shadow go
    /// with it.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn render_without(&self, frame: usize, id: ObjectId) -> Result<Frame> {
        Ok(self.paint(&self.moment(frame)?, Some(id)))
    }

    /// All frames as a clip. Takes width · height · frames · 3 bytes of memory.
    ///
    /// # Errors
    /// [`Error::Input`] when the frames make no clip.
    pub fn clip(&self) -> Result<Clip> {
        let frames = (0..self.spec.num_frames)
            .map(|frame| self.render(frame))
            .collect::<Result<Vec<_>>>()?;
        Clip::new(frames, self.spec.fps).map_err(|error| Error::Input(error.to_string()))
    }

    /// The vehicles and people that frame `frame` shows, the nearest first, at most
    /// [`MAX_BOXES`](crate::MAX_BOXES).
    ///
    /// A box is the rectangle around the object's box in space, clipped to the picture. An object
    /// has none when it would have less than two pixels on a side, when more than three fifths of
    /// its rectangle lie behind nearer vehicles, people, trees or buildings, when a hill hides it,
    /// or when fog or rain leaves less than a twelfth of its colour.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn boxes(&self, frame: usize) -> Result<Vec<ObjectBox>> {
        let now = self.moment(frame)?;
        let size = (self.spec.width, self.spec.height);
        Ok(self
            .seen(&now, size)
            .iter()
            .map(|seen| seen.bounds)
            .collect())
    }

    /// Kind and paint of everything that [`World::boxes`] finds in frame `frame`, in its order;
    /// `None` for people.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn looks(&self, frame: usize) -> Result<Vec<Option<(VehicleKind, Paint)>>> {
        let now = self.moment(frame)?;
        let seen = self.seen(&now, (self.spec.width, self.spec.height));
        let look = |seen: &Seen| match seen.actor.body {
            Body::Vehicle(look) => Some((look.kind, look.paint)),
            Body::Pedestrian => None,
        };
        Ok(seen.iter().map(look).collect())
    }

    /// How many vehicles frame `frame` shows at the reference size of [`Labels`].
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn crowdedness(&self, frame: usize) -> Result<usize> {
        Ok(vehicles(&self.seen(&self.moment(frame)?, REFERENCE)))
    }

    /// The clip's labels. Renders nothing.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let moments = self.samples();
        let counts: Vec<usize> = moments
            .iter()
            .map(|now| vehicles(&self.seen(now, REFERENCE)))
            .collect();
        let sum: usize = counts.iter().sum();
        let changing = moments.iter().find(|now| now.changing != 0);
        Labels {
            time_of_day: self.scene.time_of_day,
            night: self.scene.is_night(),
            weather: self.scene.weather,
            density: self.scene.density,
            crowdedness: (2 * sum + counts.len()) / (2 * counts.len()),
            road: self.scene.road,
            curvature: self.visible_curvature(&moments),
            lane_change: changing.and_then(lane_change),
        }
    }

    /// A sentence in varied words that says what the clip shows. Renders nothing. Its words are
    /// among [`vocabulary`](crate::vocabulary).
    #[must_use]
    pub fn caption(&self) -> String {
        let middle = self.at(self.seconds(self.spec.num_frames / 2));
        let seen = self.seen(&middle, REFERENCE);
        let dice = self.dice.of(Purpose::Caption);
        caption::caption(&self.labels(), &seen, &middle, dice)
    }

    /// The ego car at frame `frame`.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`].
    pub fn ego(&self, frame: usize) -> Result<EgoState> {
        let now = self.moment(frame)?;
        Ok(EgoState {
            seconds: now.t,
            travelled: now.s - self.ego.at(0.0).s,
            speed: now.speed,
            lateral: now.x,
            lane: now.lane,
            lane_change: lane_change(&now),
            curvature: self.road.curvature(now.s),
        })
    }

    fn seconds(&self, frame: usize) -> f64 {
        self.spec.fps.seconds(frame)
    }

    fn at(&self, t: f64) -> Moment {
        self.ego.at(t)
    }

    fn moment(&self, frame: usize) -> Result<Moment> {
        let num_frames = self.spec.num_frames;
        if frame >= num_frames {
            return Err(Error::NoSuchFrame { frame, num_frames });
        }
        Ok(self.at(self.seconds(frame)))
    }

    /// Up to nine moments spread over the clip.
    fn samples(&self) -> Vec<Moment> {
        let last = self.spec.num_frames - 1;
        let count = last.min(8);
        (0..=count)
            .map(|n| self.at(self.seconds(last * n / count.max(1))))
            .collect()
    }

    fn surroundings(&self, now: &Moment, view: &View) -> (Vec<Actor>, Vec<Prop>) {
        let light = &self.painter.light;
        let mut actors = self.traffic.actors(now, -8.0, FAR);
        actors.retain(|actor| {
            let [length, _, height] = actor.size();
            let far = actor.d + length / 2.0;
            far > NEAR && view.scale(actor.d) * height > 0.45 && light.clear(actor.d) > 0.01
        });
        let mut props = props(&self.scene, self.dice, now.s);
        props.retain(|prop| {
            prop.fade > 0.0 && light.clear(prop.d) > 0.02 && view.scale(prop.d) > 0.1
        });
        (actors, props)
    }

    fn seen(&self, now: &Moment, (width, height): (u32, u32)) -> Vec<Seen> {
        let view = View::new(width, height, &self.road, now);
        let (actors, props) = self.surroundings(now, &view);
        seen(&view, &self.painter.light, &actors, &props)
    }

    fn paint(&self, now: &Moment, without: Option<ObjectId>) -> Frame {
        let view = View::new(self.spec.width, self.spec.height, &self.road, now);
        let (mut actors, props) = self.surroundings(now, &view);
        actors.retain(|actor| Some(actor.id) != without);
        let motion = [now.t, now.speed];
        self.painter.paint(&view, motion, &actors, &props)
    }

    /// How the road bends over the 80 metres before the camera, on average over the clip.
    fn visible_curvature(&self, moments: &[Moment]) -> Curvature {
        let mean = |now: &Moment| {
            (0..9)
                .map(|n| self.road.curvature(now.s + 10.0 * f64::from(n)))
                .sum::<f64>()
                / 9.0
        };
        let mean = moments.iter().map(mean).sum::<f64>() / moments.len() as f64;
        match mean {
            mean if mean > 1.0 / 900.0 => Curvature::Right,
            mean if mean < -1.0 / 900.0 => Curvature::Left,
            _ => Curvature::Straight,
        }
    }
}

fn vehicles(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| seen.bounds.class != Class::Pedestrian)
        .count()
}

fn lane_change(now: &Moment) -> Option<LaneChange> {
    match now.changing {
        0 => None,
        side if side < 0 => Some(LaneChange::Left),
        _ => Some(LaneChange::Right),
    }
}
