//! What stands beside and above the road.
//!
//! Every kind stands in rows: cells of one length along the road, filled or empty by the dice of
//! the cell. Rails and barriers have no cells; they are cut into stretches between fixed distances
//! from the camera, so that they can be painted between the vehicles.

use crate::dice::{Dice, Purpose};
use crate::scene::{RoadKind, Scene, Weather};

/// A thing that does not move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prop {
    pub(crate) kind: PropKind,
    /// Metres from the camera along the road.
    pub(crate) d: f32,
    /// Metres right of the road's axis.
    pub(crate) x: f32,
    /// How solid it is painted: things appear from nothing at their farthest.
    pub(crate) fade: f32,
    pub(crate) dice: Dice,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PropKind {
    Tree {
        conifer: bool,
        height: f32,
    },
    Bush,
    Post,
    Pole,
    Lamp {
        height: f32,
    },
    Sign,
    House,
    Building {
        length: f32,
        height: f32,
    },
    Gantry {
        half: f32,
    },
    Bridge {
        half: f32,
    },
    /// A stretch of `length` metres of guard rail.
    Rail {
        length: f32,
    },
    /// A stretch of `length` metres of concrete barrier.
    Barrier {
        length: f32,
    },
}

impl Prop {
    /// The distance by which it is sorted among the vehicles.
    pub(crate) fn depth(&self) -> f32 {
        match self.kind {
            PropKind::Building { length, .. } => self.d + 0.5 * length,
            PropKind::Rail { length } | PropKind::Barrier { length } => self.d + length,
            _ => self.d,
        }
    }

    /// Metres to its nearest part.
    pub(crate) fn near(&self) -> f32 {
        match self.kind {
            PropKind::Building { length, .. } => self.d - 0.5 * length,
            _ => self.d,
        }
    }

    /// What it hides: distance, left, right, low and high, in metres; `None` where that is little.
    pub(crate) fn screen(&self) -> Option<[f32; 5]> {
        let x = self.x;
        match self.kind {
            PropKind::Tree { conifer, height } => {
                let half = if conifer { 0.16 } else { 0.26 } * height;
                Some([self.d, x - half, x + half, 0.25 * height, 0.95 * height])
            }
            PropKind::Bush => Some([self.d, x - 1.1, x + 1.1, 0.0, 1.1]),
            PropKind::House => Some([self.d, x - 4.5, x + 4.5, 0.0, 4.0]),
            PropKind::Building { length, height } => {
                let near = (self.d - length / 2.0).max(1.0);
                let (a, b) = (x, x + 14.0 * x.signum());
                Some([near, a.min(b), a.max(b), 0.0, height])
            }
            _ => None,
        }
    }
}

/// One kind of thing in its cells.
struct Row {
    purpose: Purpose,
    number: i64,
    spacing: f32,
    taken: f32,
    /// Where in its cell a thing stands, at most, from the middle: 0 to 0.5.
    loose: f32,
    far: f32,
    near: f32,
    /// Distances from the axis.
    x: [f32; 2],
    /// −1 left, 1 right.
    side: f32,
}

impl Row {
    fn fill(&self, world: Dice, s: f64, out: &mut Vec<Prop>, kind: impl Fn(Dice) -> PropKind) {
        let spacing = f64::from(self.spacing);
        let dice = world.of(self.purpose).at(self.number);
        let first = libm::floor((s + f64::from(self.near)) / spacing) as i64 - 1;
        let last = libm::ceil((s + f64::from(self.far)) / spacing) as i64 + 1;
        for cell in first..=last {
            let dice = dice.at(cell);
            if !dice.chance(0, self.taken) {
                continue;
            }
            let offset = 0.5 + f64::from(dice.range(1, -self.loose, self.loose));
            let d = ((cell as f64 + offset) * spacing - s) as f32;
            if d < self.near || d > self.far {
                continue;
            }
            out.push(Prop {
                kind: kind(dice),
                d,
                x: self.side * dice.range(2, self.x[0], self.x[1]),
                fade: ((self.far - d) / (0.25 * self.far)).clamp(0.0, 1.0),
                dice,
            });
        }
    }
}

/// Everything within sight of a camera at `s`.
pub(crate) fn props(scene: &Scene, world: Dice, s: f64) -> Vec<Prop> {
    let sight = if scene.weather == Weather::Fog {
        0.55
    } else {
        1.0
    };
    let mut props = Vec::new();
    for (number, side) in [(0, -1.0), (1, 1.0)] {
        let row = |purpose, spacing: f32, taken: f32, far: f32, x: [f32; 2]| Row {
            purpose,
            number,
            spacing,
            taken,
            loose: 0.0,
            far: far * sight,
            near: 0.9,
            x,
            side,
        };
        lamps(scene, world, s, &row, &mut props);
        match scene.road {
            RoadKind::City => city(scene, world, s, &row, &mut props),
            RoadKind::Country => country(scene, world, s, &row, &mut props),
            RoadKind::Highway => highway(scene, world, s, &row, &mut props),
        }
    }
    if scene.road == RoadKind::Highway {
        overhead(scene, world, s, sight, &mut props);
    }
    props
}

fn lamps(
    scene: &Scene,
    world: Dice,
    s: f64,
    row: &impl Fn(Purpose, f32, f32, f32, [f32; 2]) -> Row,
    props: &mut Vec<Prop>,
) {
    if !scene.lamps {
        return;
    }
    let city = scene.road == RoadKind::City;
    let spacing = if city { 28.0 } else { 42.0 };
    let x = scene.section.paved_end() + 0.7;
    let lamp = row(Purpose::Lamps, spacing, 1.0, 260.0, [x, x]);
    // The lamps of the left side stand half a cell before those of the right; so do their pools.
    let shift = if lamp.side < 0.0 {
        f64::from(spacing) / 2.0
    } else {
        0.0
    };
    let height = if city { 7.5 } else { 9.5 };
    lamp.fill(world, s + shift, props, |_| PropKind::Lamp { height });
}

fn tree(dice: Dice, conifers: f32) -> PropKind {
    PropKind::Tree {
        conifer: dice.chance(10, conifers),
        height: dice.range(11, 5.0, 11.0),
    }
}

fn city(
    scene: &Scene,
    world: Dice,
    s: f64,
    row: &impl Fn(Purpose, f32, f32, f32, [f32; 2]) -> Row,
    props: &mut Vec<Prop>,
) {
    let section = &scene.section;
    let end = section.end();
    let tall = world.of(Purpose::Buildings).range(-1, 10.0, 24.0);
    let buildings = Row {
        near: -14.0,
        ..row(Purpose::Buildings, 21.0, 0.9, 330.0, [end + 0.6, end + 2.5])
    };
    buildings.fill(world, s, props, |dice| PropKind::Building {
        length: dice.range(20, 14.0, 20.8),
        height: tall * dice.range(21, 0.5, 1.3),
    });
    let green = world.of(Purpose::Trees).range(-1, 0.0, 0.75);
    let curb = section.paved_end() + 0.9;
    let trees = Row {
        loose: 0.1,
        ..row(Purpose::Trees, 14.0, green, 200.0, [curb, curb])
    };
    trees.fill(world, s, props, |dice| PropKind::Tree {
        conifer: false,
        height: dice.range(11, 4.5, 7.0),
    });
    let signs = Row {
        loose: 0.4,
        ..row(Purpose::Signs, 60.0, 0.7, 120.0, [curb, curb])
    };
    signs.fill(world, s, props, |_| PropKind::Sign);
}

fn country(
    scene: &Scene,
    world: Dice,
    s: f64,
    row: &impl Fn(Purpose, f32, f32, f32, [f32; 2]) -> Row,
    props: &mut Vec<Prop>,
) {
    let end = scene.section.end();
    let wooded = world.of(Purpose::Trees).range(-1, 0.15, 0.75);
    let conifers = world.of(Purpose::Trees).range(-2, 0.0, 1.0);
    for (spacing, x, share) in [
        (11.0, [end + 4.0, end + 9.0], 1.0),
        (13.0, [end + 9.0, end + 34.0], 0.8),
    ] {
        let mut trees = Row {
            loose: 0.45,
            ..row(Purpose::Trees, spacing, wooded * share, 260.0, x)
        };
        trees.number += 2 * spacing as i64;
        trees.fill(world, s, props, |dice| tree(dice, conifers));
    }
    let bushes = Row {
        loose: 0.45,
        ..row(Purpose::Bushes, 9.0, 0.3, 90.0, [end + 2.2, end + 6.0])
    };
    bushes.fill(world, s, props, |_| PropKind::Bush);
    let posts = row(Purpose::Posts, 25.0, 1.0, 130.0, [end + 0.6, end + 0.6]);
    posts.fill(world, s, props, |_| PropKind::Post);
    let houses = Row {
        loose: 0.4,
        ..row(
            Purpose::Buildings,
            110.0,
            0.4,
            300.0,
            [end + 14.0, end + 38.0],
        )
    };
    houses.fill(world, s, props, |_| PropKind::House);
    let signs = Row {
        loose: 0.4,
        ..row(Purpose::Signs, 150.0, 0.6, 130.0, [end + 1.3, end + 1.3])
    };
    signs.fill(world, s, props, |_| PropKind::Sign);
    let with_poles = if world.of(Purpose::Poles).chance(0, 0.5) {
        -1.0
    } else {
        1.0
    };
    let poles = row(Purpose::Poles, 38.0, 1.0, 240.0, [end + 4.5, end + 4.5]);
    if poles.side == with_poles {
        poles.fill(world, s, props, |_| PropKind::Pole);
    }
}

fn highway(
    scene: &Scene,
    world: Dice,
    s: f64,
    row: &impl Fn(Purpose, f32, f32, f32, [f32; 2]) -> Row,
    props: &mut Vec<Prop>,
) {
    let end = scene.section.end();
    let wooded = world.of(Purpose::Trees).range(-1, 0.1, 0.8);
    let conifers = world.of(Purpose::Trees).range(-2, 0.0, 0.9);
    for (spacing, x, share) in [
        (12.0, [end + 6.0, end + 14.0], 1.0),
        (14.0, [end + 14.0, end + 48.0], 0.8),
    ] {
        let mut trees = Row {
            loose: 0.45,
            ..row(Purpose::Trees, spacing, wooded * share, 280.0, x)
        };
        trees.number += 2 * spacing as i64;
        trees.fill(world, s, props, |dice| tree(dice, conifers));
    }
    let bushes = Row {
        loose: 0.45,
        ..row(Purpose::Bushes, 12.0, 0.25, 90.0, [end + 3.0, end + 8.0])
    };
    bushes.fill(world, s, props, |_| PropKind::Bush);
    let posts = row(Purpose::Posts, 25.0, 1.0, 130.0, [end + 1.0, end + 1.0]);
    let side = posts.side;
    posts.fill(world, s, props, |_| PropKind::Post);
    let rail = world
        .of(Purpose::Posts)
        .chance(-1 - (side > 0.0) as i64, 0.6);
    let cuts: &[f32] = if scene.is_night() {
        // In headlights the light changes quickly along the rail.
        &[
            0.8, 3.0, 4.5, 6.0, 8.0, 10.5, 14.0, 19.0, 26.0, 36.0, 52.0, 80.0, 150.0, 300.0,
        ]
    } else {
        &[0.8, 6.0, 12.0, 24.0, 50.0, 110.0, 300.0]
    };
    for pair in cuts.windows(2) {
        let stretch = |kind: PropKind, x: f32| Prop {
            kind,
            d: pair[0],
            x,
            fade: 1.0,
            dice: world,
        };
        let length = pair[1] - pair[0];
        if rail {
            props.push(stretch(PropKind::Rail { length }, side * (end + 0.45)));
        }
        if scene.barrier && side > 0.0 {
            props.push(stretch(PropKind::Barrier { length }, 0.0));
        }
    }
}

/// Bridges and sign gantries over a highway.
fn overhead(scene: &Scene, world: Dice, s: f64, sight: f32, props: &mut Vec<Prop>) {
    let half = scene.section.end() + 1.5;
    let row = |purpose, spacing: f32, taken: f32| Row {
        purpose,
        number: 9,
        spacing,
        taken,
        loose: 0.2,
        far: 430.0 * sight,
        near: 0.9,
        x: [0.0, 0.0],
        side: 1.0,
    };
    row(Purpose::Bridges, 640.0, 0.6).fill(world, s, props, |_| PropKind::Bridge { half });
    row(Purpose::Signs, 380.0, 0.65).fill(world, s, props, |_| PropKind::Gantry { half });
}
