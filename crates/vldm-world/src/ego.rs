//! The ego car: how fast the traffic flows, and when the camera's car changes lanes.
//!
//! All traffic of one direction shares a clock `u`, which runs a little faster and slower than
//! time: so everybody speeds up and slows down together and nobody collides. In that clock every
//! lane has a constant speed. The ego car drives at its lane's speed, and blends two lanes' speeds
//! while it changes between them.

use crate::dice::Dice;
use crate::scene::Scene;

/// Seconds a lane change takes.
const CHANGE: f64 = 3.6;
/// Seconds of a slot, in which there is at most one lane change.
const SLOT: f64 = 11.0;

/// The speed of all traffic over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    waves: [(f64, f64, f64); 2],
}

impl Flow {
    fn new(dice: Dice) -> Self {
        let wave = |n: i64, depth: f64, seconds: f64| {
            let rate = std::f64::consts::TAU / (seconds * f64::from(dice.range(n, 0.8, 1.25)));
            (
                depth,
                rate,
                f64::from(dice.unit(n + 1)) * std::f64::consts::TAU,
            )
        };
        Self {
            waves: [wave(10, 0.11, 19.0), wave(12, 0.05, 7.3)],
        }
    }

    /// The clock at `t` seconds.
    pub(crate) fn clock(&self, t: f64) -> f64 {
        let lag = |&(depth, rate, phase): &(f64, f64, f64)| {
            depth / rate * (libm::cos(phase) - libm::cos(rate * t + phase))
        };
        t + self.waves.iter().map(lag).sum::<f64>()
    }

    /// How fast the clock runs, about 0.84 to 1.16, and how fast that changes, per second.
    pub(crate) fn rate(&self, t: f64) -> (f64, f64) {
        self.waves
            .iter()
            .fold((1.0, 0.0), |(speed, change), &(depth, rate, phase)| {
                let (sin, cos) = libm::sincos(rate * t + phase);
                (speed + depth * sin, change + depth * rate * cos)
            })
    }
}

/// From `start` on the car moves from lane `from` to lane `to`, and then stays there.
#[derive(Debug, Clone, Copy)]
struct Leg {
    start: f64,
    s: f64,
    from: usize,
    to: usize,
}

/// The ego car's whole way.
#[derive(Debug, Clone)]
pub(crate) struct Ego {
    flow: Flow,
    legs: Vec<Leg>,
    speeds: Vec<f64>,
    centers: Vec<f64>,
    end: f64,
    sway: [f64; 2],
}

/// The ego car at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Seconds from the clip's beginning.
    pub(crate) t: f64,
    /// The traffic's clock.
    pub(crate) u: f64,
    /// Metres along the road.
    pub(crate) s: f64,
    /// Metres right of the axis.
    pub(crate) x: f64,
    /// Metres per second.
    pub(crate) speed: f64,
    /// Sideways speed over speed: the angle to the road.
    pub(crate) yaw: f64,
    /// Change of the traffic's pace per second; negative while it brakes.
    pub(crate) pace: f64,
    /// The lane it is in, or moves to.
    pub(crate) lane: usize,
    /// −1 while it moves to the left, 1 to the right, else 0.
    pub(crate) changing: i32,
}

impl Ego {
    /// The way of a clip of `seconds`.
    pub(crate) fn new(scene: &Scene, seconds: f64, dice: Dice) -> Self {
        let flow = Flow::new(dice);
        let lanes = scene.section.lanes;
        let speed = |lane: usize| scene.speed + scene.faster * (lanes - 1 - lane) as f64;
        let mut ego = Self {
            flow,
            legs: vec![Leg {
                start: -CHANGE,
                s: -CHANGE * speed(scene.first_lane),
                from: scene.first_lane,
                to: scene.first_lane,
            }],
            speeds: (0..lanes).map(speed).collect(),
            centers: (0..lanes)
                .map(|lane| f64::from(scene.section.lane_center(lane)))
                .collect(),
            end: flow.clock(seconds),
            sway: [0, 1].map(|n| f64::from(dice.unit(n)) * std::f64::consts::TAU),
        };
        if scene.lane_changes {
            ego.plan(seconds, dice);
        }
        ego
    }

    /// Adds lane changes, slot by slot.
    fn plan(&mut self, seconds: f64, dice: Dice) {
        let lanes = self.speeds.len();
        for slot in 0..=(self.end / SLOT) as i64 {
            let dice = dice.at(slot);
            if slot > 0 && dice.chance(0, 0.25) {
                continue;
            }
            // The first change of a scene begins early, so that short clips show it.
            let latest = if slot == 0 {
                (0.3 * seconds).min(3.0)
            } else {
                SLOT - CHANGE - 1.0
            };
            let start = slot as f64 * SLOT + f64::from(dice.unit(1)) * latest;
            let from = self.legs[self.legs.len() - 1].to;
            let to = match from {
                0 => 1,
                lane if lane + 1 == lanes => lane - 1,
                lane if dice.chance(2, 0.5) => lane - 1,
                lane => lane + 1,
            };
            let (s, _) = self.along(start);
            self.legs.push(Leg { start, s, from, to });
        }
    }

    fn leg(&self, u: f64) -> Leg {
        let after = self.legs.partition_point(|leg| leg.start <= u);
        self.legs[after.max(1) - 1]
    }

    /// Metres along and across the road at clock `u`.
    fn along(&self, u: f64) -> (f64, f64) {
        let leg = self.leg(u);
        let [v0, v1] = [leg.from, leg.to].map(|lane| self.speeds[lane]);
        let [x0, x1] = [leg.from, leg.to].map(|lane| self.centers[lane]);
        let (passed, q) = (u - leg.start, ((u - leg.start) / CHANGE).clamp(0.0, 1.0));
        let share = q * q * q * (q * (6.0 * q - 15.0) + 10.0);
        let sum = q * q * q * q * (q * (q - 3.0) + 2.5) * CHANGE + (passed - CHANGE).max(0.0);
        (
            leg.s + v0 * passed + (v1 - v0) * sum,
            x0 + (x1 - x0) * share,
        )
    }

    fn place(&self, t: f64) -> (f64, f64) {
        let (s, x) = self.along(self.flow.clock(t));
        let [a, b] = self.sway;
        (
            s + 0.8 * libm::sin(0.31 * t + a),
            x + 0.1 * libm::sin(0.47 * t + b) + 0.05 * libm::sin(1.13 * t + a),
        )
    }

    /// The ego car at `t` seconds.
    pub(crate) fn at(&self, t: f64) -> Moment {
        const STEP: f64 = 0.01;
        let (s, x) = self.place(t);
        let [before, after] = [self.place(t - STEP), self.place(t + STEP)];
        let speed = (after.0 - before.0) / (2.0 * STEP);
        let sideways = (after.1 - before.1) / (2.0 * STEP);
        let u = self.flow.clock(t);
        let leg = self.leg(u);
        let moving = u - leg.start < CHANGE;
        Moment {
            t,
            u,
            s,
            x,
            speed,
            yaw: sideways / speed.max(2.0),
            pace: self.flow.rate(t).1,
            lane: leg.to,
            changing: if moving {
                leg.to as i32 - leg.from as i32
            } else {
                0
            },
        }
    }

    /// The range of the ego car's place minus `speed · u`, over the times at which it is in `lane`:
    /// one range per stay. What rests in that range, in a frame that moves at `speed`, would be hit.
    pub(crate) fn stays(&self, lane: usize, speed: f64) -> Vec<(f64, f64)> {
        let mut stays = Vec::new();
        for (number, leg) in self.legs.iter().enumerate() {
            if leg.to != lane {
                continue;
            }
            let until = self
                .legs
                .get(number + 1)
                .map_or(self.end, |next| next.start + CHANGE);
            let steps = ((until - leg.start) / 0.25) as usize + 1;
            let (mut low, mut high) = (f64::MAX, f64::MIN);
            for step in 0..=steps {
                let u = leg.start + 0.25 * step as f64;
                let rest = self.along(u).0 - speed * u;
                (low, high) = (low.min(rest), high.max(rest));
            }
            stays.push((low - 0.8, high + 0.8));
        }
        stays
    }

    /// Metres per second and clock second in a lane.
    pub(crate) fn lane_speed(&self, lane: usize) -> f64 {
        self.speeds[lane]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::SceneOptions;

    #[test]
    fn the_car_moves_smoothly_through_lane_changes() {
        let options = SceneOptions {
            lane_changes: Some(true),
            ..SceneOptions::default()
        };
        for seed in 0..20 {
            let dice = Dice::new(seed);
            let ego = Ego::new(&Scene::new(&options, dice), 120.0, dice);
            let mut changed = 0;
            let mut last = ego.at(0.0);
            for step in 1..3600 {
                let now = ego.at(f64::from(step) / 30.0);
                let moved = now.s - last.s;
                assert!(moved > 0.05 && moved < 1.8, "seed {seed}: {moved} m");
                assert!((now.x - last.x).abs() < 0.12, "seed {seed}");
                assert!((moved * 30.0 - now.speed).abs() < 0.2, "seed {seed}");
                assert!((now.speed - last.speed).abs() < 0.2, "seed {seed}");
                changed += i32::from(now.lane != last.lane);
                last = now;
            }
            assert!(changed > 3, "seed {seed}: {changed} lane changes");
        }
    }
}
