//! The road: its curves and hills along an endless axis, and its cross-section.
//!
//! Places are told along the road: `s` metres along its axis, `x` metres to the right of the axis,
//! `y` metres up. The axis bends by sums of sine waves, so every point of it can be computed alone.
//! Angles are small and treated so: bends shift the picture sideways and do not rotate it.

use crate::dice::Dice;
use crate::scene::{Curvature, RoadKind};

/// One wave of a profile: `amplitude · sin(wavenumber · s + phase)`.
#[derive(Debug, Clone, Copy)]
struct Wave {
    amplitude: f64,
    wavenumber: f64,
    phase: f64,
}

/// The axis of a road.
#[derive(Debug, Clone)]
pub(crate) struct Road {
    bends: Vec<Wave>,
    hills: Vec<Wave>,
}

/// The cross-section. The axis lies between the directions; traffic keeps right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Section {
    /// Lanes in each direction.
    pub(crate) lanes: usize,
    /// Width of a lane in metres.
    pub(crate) lane_width: f32,
    /// Width of the strip between the directions, 0 where there is none.
    pub(crate) median: f32,
    /// Width of the paved strip outside the edge line.
    pub(crate) shoulder: f32,
    /// Width of the strip where cars park, 0 where there is none.
    pub(crate) parking: f32,
    /// Width of the pavement for pedestrians, 0 where there is none.
    pub(crate) sidewalk: f32,
}

impl Section {
    /// The middle of a lane of the ego car's direction; 0 is the leftmost.
    pub(crate) fn lane_center(&self, lane: usize) -> f32 {
        self.median / 2.0 + (lane as f32 + 0.5) * self.lane_width
    }

    /// Where the outermost lane ends.
    pub(crate) fn lanes_end(&self) -> f32 {
        self.median / 2.0 + self.lanes as f32 * self.lane_width
    }

    /// Where the asphalt ends.
    pub(crate) fn paved_end(&self) -> f32 {
        self.lanes_end() + self.parking + self.shoulder
    }

    /// Where the road and its pavement end and the land begins.
    pub(crate) fn end(&self) -> f32 {
        self.paved_end() + self.sidewalk
    }
}

impl Road {
    /// Draws the axis. `curvature` says how much the road bends around `s = 0` and after.
    pub(crate) fn new(kind: RoadKind, curvature: Curvature, dice: Dice) -> Self {
        // Peak curvature in 1/m and the waves' lengths in metres.
        let (strength, length) = match kind {
            RoadKind::Highway => (1.0 / 420.0, 950.0),
            RoadKind::Country => (1.0 / 190.0, 560.0),
            RoadKind::City => (1.0 / 200.0, 620.0),
        };
        let (share, side) = match curvature {
            Curvature::Straight => (0.02, 1.0),
            Curvature::Right => (1.0, 1.0),
            Curvature::Left => (1.0, -1.0),
        };
        let wave = |n: i64, share: f64, length: f64, phase: f64| {
            let wavenumber = std::f64::consts::TAU / (length * f64::from(dice.range(n, 0.9, 1.1)));
            Wave {
                amplitude: strength * share / (wavenumber * wavenumber),
                wavenumber,
                phase,
            }
        };
        // Curvature is the second derivative, minus the sine: a wave in its trough at s = 90 m is
        // in the middle of a right-hand bend there.
        let mut main = wave(0, share, length, 0.0);
        main.phase = -side * std::f64::consts::FRAC_PI_2 - main.wavenumber * 90.0;
        let free = |n: i64| f64::from(dice.unit(n)) * std::f64::consts::TAU;
        let small = 0.12 * share;
        let bends = vec![main, wave(1, small, 0.43 * length, free(2))];
        let steep = match kind {
            RoadKind::Highway => 0.016,
            RoadKind::Country => 0.036,
            RoadKind::City => 0.004,
        } * f64::from(dice.range(3, 0.3, 1.0));
        let hill = |n: i64, length: f64, slope: f64| {
            let wavenumber = std::f64::consts::TAU / length;
            Wave {
                amplitude: slope / wavenumber,
                wavenumber,
                phase: free(n),
            }
        };
        let hills = vec![hill(4, 780.0, steep), hill(5, 410.0, 0.35 * steep)];
        Self { bends, hills }
    }

    /// Sideways place of the axis in metres, and its slope.
    pub(crate) fn bend(&self, s: f64) -> (f64, f64) {
        sum(&self.bends, s)
    }

    /// Height of the road in metres, and its slope.
    pub(crate) fn height(&self, s: f64) -> (f64, f64) {
        sum(&self.hills, s)
    }

    /// Curvature in 1/m, positive in right-hand bends.
    pub(crate) fn curvature(&self, s: f64) -> f64 {
        let of = |w: &Wave| {
            -w.amplitude * w.wavenumber * w.wavenumber * libm::sin(w.wavenumber * s + w.phase)
        };
        self.bends.iter().map(of).sum()
    }
}

fn sum(waves: &[Wave], s: f64) -> (f64, f64) {
    waves.iter().fold((0.0, 0.0), |(value, slope), wave| {
        let angle = wave.wavenumber * s + wave.phase;
        let (sin, cos) = libm::sincos(angle);
        (
            value + wave.amplitude * sin,
            slope + wave.amplitude * wave.wavenumber * cos,
        )
    })
}
