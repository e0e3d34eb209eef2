//! Everybody else on the road.
//!
//! A lane is an endless train of slots that moves at the lane's speed; a slot holds a vehicle or
//! nothing, by the dice of its number. So the traffic at any time and place is known without
//! knowing what came before. Vehicles drift within their slots, never out of them. Slots that the
//! ego car would drive into, in a lane it uses, hold nothing for the whole clip.

use crate::dice::Dice;
use crate::ego::{Ego, Moment};
use crate::scene::{Density, RoadKind, Scene};
use crate::spec::{Place, Subject};
use crate::vehicle::{Class, Look};

/// Names one object of a world, in all its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// The subject, where there is one.
    pub const SUBJECT: Self = Self(0);
}

/// A vehicle or a person, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) id: ObjectId,
    /// Metres from the camera along the road to its middle.
    pub(crate) d: f32,
    /// Metres right of the road's axis.
    pub(crate) x: f32,
    /// Whether it shows its front.
    pub(crate) oncoming: bool,
    pub(crate) braking: bool,
    pub(crate) parked: bool,
    pub(crate) body: Body,
    /// Its own random numbers.
    pub(crate) dice: Dice,
}

/// What an actor is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    Vehicle(Look),
    Pedestrian,
}

impl Actor {
    pub(crate) fn class(&self) -> Class {
        match self.body {
            Body::Vehicle(look) => look.kind.class(),
            Body::Pedestrian => Class::Pedestrian,
        }
    }

    /// Length, width and height in metres.
    pub(crate) fn size(&self) -> [f32; 3] {
        match self.body {
            Body::Vehicle(look) => {
                let shape = look.kind.shape();
                [shape.length, shape.width, shape.height]
            }
            Body::Pedestrian => [0.4, 0.62, 1.74],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Driving,
    Parking,
    Walking,
}

/// A train of slots.
#[derive(Debug, Clone)]
struct Lane {
    x: f32,
    /// Metres per second of the traffic's clock; negative towards the camera.
    speed: f64,
    spacing: f64,
    /// The share of slots that are taken.
    taken: f32,
    usage: Use,
    dice: Dice,
    /// Where, in the lane's moving frame, nobody may be.
    kept_free: Vec<(f64, f64)>,
}

/// All lanes, and the subject.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    lanes: Vec<Lane>,
    subject: Option<(Subject, f32)>,
    dice: Dice,
}

impl Traffic {
    pub(crate) fn new(scene: &Scene, ego: &Ego, dice: Dice) -> Self {
        let section = &scene.section;
        let mut lanes = Vec::new();
        if scene.density != Density::Empty {
            for lane in 0..section.lanes {
                let speed = ego.lane_speed(lane);
                let x = section.lane_center(lane);
                lanes.push(Lane::driving(scene, x, speed));
                let last = lanes.len() - 1;
                lanes[last].kept_free = room(&ego.stays(lane, speed), speed);
                lanes.push(Lane::driving(scene, -x, -speed * 0.97));
            }
            lanes.extend(Lane::parking(scene));
        }
        lanes.extend(Lane::walking(scene));
        for (number, lane) in (0..).zip(&mut lanes) {
            lane.dice = dice.at(number);
        }
        let mut traffic = Self {
            lanes,
            subject: None,
            dice,
        };
        if let Some(subject) = scene.subject {
            traffic.place(subject, scene, ego);
        }
        traffic
    }

    /// Gives the subject its lane, and room in it.
    fn place(&mut self, subject: Subject, scene: &Scene, ego: &Ego) {
        let lane = match subject.place {
            Place::Ahead => scene.first_lane,
            Place::Left => scene.first_lane.saturating_sub(1),
            Place::Right => scene.first_lane + 1,
        };
        let x = scene.section.lane_center(lane);
        self.subject = Some((subject, x));
        let speed = ego.lane_speed(scene.first_lane);
        for other in &mut self.lanes {
            if other.usage == Use::Driving && other.x == x {
                other.speed = speed;
                let far = f64::from(subject.distance) + 10.0;
                other.kept_free = room(&ego.stays(scene.first_lane, speed), speed);
                for (_, high) in &mut other.kept_free {
                    *high += far;
                }
            }
        }
    }

    /// Everybody between `near` and `far` metres from the camera, in no particular order.
    pub(crate) fn actors(&self, now: &Moment, near: f32, far: f32) -> Vec<Actor> {
        let mut actors = Vec::new();
        for lane in &self.lanes {
            lane.actors(now, near, far, &mut actors);
        }
        if let Some((subject, x)) = self.subject {
            let look = Look {
                kind: subject.kind,
                paint: subject.paint,
                livery: subject.livery,
            };
            let half = look.kind.shape().length / 2.0;
            let drift = libm::sin(0.4 * now.t + f64::from(self.dice.unit(0)) * 6.0) as f32;
            actors.push(Actor {
                id: ObjectId::SUBJECT,
                d: subject.distance * (1.0 + 0.03 * drift) + half,
                x: x + 0.12 * drift,
                oncoming: false,
                braking: now.pace < -0.03,
                parked: false,
                body: Body::Vehicle(look),
                dice: self.dice,
            });
        }
        actors
    }
}

impl Lane {
    fn driving(scene: &Scene, x: f32, speed: f64) -> Self {
        let (spacing, taken) = match (scene.density, scene.road) {
            (Density::Empty, _) => (60.0, 0.0),
            (Density::Light, RoadKind::Highway) => (55.0, 0.16),
            (Density::Light, _) => (45.0, 0.22),
            (Density::Moderate, RoadKind::Highway) => (36.0, 0.42),
            (Density::Moderate, _) => (30.0, 0.5),
            (Density::Heavy, RoadKind::City) => (16.0, 0.85),
            (Density::Heavy, _) => (19.0, 0.85),
        };
        Self {
            x,
            speed,
            spacing,
            taken,
            usage: Use::Driving,
            dice: Dice::new(0),
            kept_free: Vec::new(),
        }
    }

    fn parking(scene: &Scene) -> Vec<Self> {
        let section = &scene.section;
        if section.parking == 0.0 {
            return Vec::new();
        }
        let taken = match scene.density {
            Density::Empty => 0.0,
            Density::Light => 0.15,
            Density::Moderate => 0.4,
            Density::Heavy => 0.65,
        };
        let x = section.lanes_end() + section.parking / 2.0 + 0.1;
        let lane = |x: f32| Self {
            spacing: 6.6,
            taken,
            usage: Use::Parking,
            ..Self::driving(scene, x, 0.0)
        };
        vec![lane(x), lane(-x)]
    }

    fn walking(scene: &Scene) -> Vec<Self> {
        let section = &scene.section;
        if section.sidewalk == 0.0 {
            return Vec::new();
        }
        let taken = match scene.density {
            Density::Empty => 0.0,
            Density::Light => 0.1,
            Density::Moderate => 0.2,
            Density::Heavy => 0.35,
        };
        let lane = |x: f32, speed: f64| Self {
            spacing: 9.0,
            taken,
            usage: Use::Walking,
            ..Self::driving(scene, x, speed)
        };
        let x = section.paved_end() + 0.45 * section.sidewalk;
        vec![
            lane(x, 1.3),
            lane(x + 0.9, -1.2),
            lane(-x, 1.2),
            lane(-x - 0.9, -1.4),
        ]
    }

    fn actors(&self, now: &Moment, near: f32, far: f32, out: &mut Vec<Actor>) {
        let clock = if self.usage == Use::Driving {
            now.u
        } else {
            now.t
        };
        let origin = self.speed * clock - now.s;
        let first = libm::floor((f64::from(near) - origin) / self.spacing) as i64 - 1;
        let last = libm::ceil((f64::from(far) - origin) / self.spacing) as i64 + 1;
        for slot in first..=last {
            let dice = self.dice.at(slot);
            if !dice.chance(2, self.taken) {
                continue;
            }
            let loose = if self.usage == Use::Parking {
                0.04
            } else {
                0.12
            };
            let rest = (slot as f64 + f64::from(dice.range(3, -loose, loose))) * self.spacing;
            let drift = self.drift(dice, clock);
            let d = (rest + drift + origin) as f32;
            if d < near || d > far {
                continue;
            }
            let body = self.body(dice);
            let actor = Actor {
                id: ObjectId(dice.bits() | 1),
                d,
                x: self.x + self.sway(dice, now.t),
                oncoming: self.speed < 0.0 || (self.speed == 0.0 && self.x < 0.0),
                braking: self.usage == Use::Driving && brakes(dice, now),
                parked: self.usage == Use::Parking,
                body,
                dice,
            };
            if !self.hits(rest, f64::from(actor.size()[0]) / 2.0) {
                out.push(actor);
            }
        }
    }

    fn body(&self, dice: Dice) -> Body {
        match self.usage {
            Use::Walking => Body::Pedestrian,
            Use::Parking => Body::Vehicle(Look::draw(dice.at(1), 5.5)),
            Use::Driving => {
                let longest = (self.spacing as f32 * 0.64 - 2.0).min(11.0);
                Body::Vehicle(Look::draw(dice.at(1), longest))
            }
        }
    }

    /// Slow movement along the lane within the slot.
    fn drift(&self, dice: Dice, clock: f64) -> f64 {
        if self.usage == Use::Parking {
            return 0.0;
        }
        let rate = f64::from(dice.range(4, 0.08, 0.22));
        let phase = f64::from(dice.unit(5)) * std::f64::consts::TAU;
        0.06 * self.spacing * libm::sin(rate * clock + phase)
    }

    /// Slow movement within the lane's width.
    fn sway(&self, dice: Dice, t: f64) -> f32 {
        let still = dice.range(6, -0.2, 0.2);
        if self.usage == Use::Parking {
            return 0.5 * still;
        }
        let phase = f64::from(dice.unit(7)) * std::f64::consts::TAU;
        still + 0.1 * libm::sin(0.5 * t + phase) as f32
    }

    /// Whether a vehicle resting at `rest` would meet the ego car.
    fn hits(&self, rest: f64, half: f64) -> bool {
        let slack = 0.06 * self.spacing + half;
        self.kept_free
            .iter()
            .any(|&(low, high)| rest > low - slack && rest < high + slack)
    }
}

/// The ego car's stays with the distance that drivers keep at `speed` behind it and before it.
fn room(stays: &[(f64, f64)], speed: f64) -> Vec<(f64, f64)> {
    let (behind, ahead) = (6.0 + 0.2 * speed, 4.0 + 0.35 * speed);
    stays
        .iter()
        .map(|&(low, high)| (low - behind, high + ahead))
        .collect()
}

/// Some brake when the traffic slows down, some for reasons of their own.
fn brakes(dice: Dice, now: &Moment) -> bool {
    let turn = libm::floor(now.t / 4.0 + f64::from(dice.unit(8))) as i64;
    now.pace < -0.02 - 0.03 * f64::from(dice.unit(9)) || dice.at(9).chance(turn, 0.08)
}
