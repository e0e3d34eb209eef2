//! The camera: how the road ahead falls onto the picture at one moment.
//!
//! A point is told by `d` metres from the camera along the road, `x` metres right of the road's
//! axis and `y` metres above it. Its place on the picture is in pixels from the upper left.

use crate::ego::Moment;
use crate::road::Road;

/// Nothing nearer than this is drawn; shapes that reach nearer are cut here.
pub(crate) const NEAR: f32 = 0.7;
/// The road is known to this distance; beyond it goes on straight.
pub(crate) const FAR: f32 = 441.0;
/// Height of the camera above the road in metres.
const EYE: f32 = 1.5;
/// Samples of the road stand at `(i / 10)²` metres: dense where the picture is large.
const SAMPLES: usize = 211;

/// A camera at one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Pixels per metre at a distance of one metre.
    pub(crate) focal: f32,
    /// Where the driving direction is on the picture.
    pub(crate) center: [f32; 2],
    /// Metres right of the axis.
    pub(crate) eye_x: f32,
    /// Metres along the road, of the world.
    pub(crate) s: f64,
    /// The direction of view against the world's, in radians, positive to the right.
    pub(crate) heading: f32,
    /// The row of the horizon: of what lies infinitely far on the camera's level.
    pub(crate) horizon: f32,
    /// Sideways and upward bend of the road at the samples, in metres.
    bends: Vec<[f32; 2]>,
    /// At the samples, the highest row of the ground up to there.
    crests: Vec<f32>,
    /// For each edge between rows from the top, the distance of the ground seen there; infinite
    /// above the ground.
    pub(crate) ground: Vec<f32>,
    /// The row where the ground ends and the sky begins.
    pub(crate) skyline: f32,
}

impl View {
    pub(crate) fn new(width: u32, height: u32, road: &Road, now: &Moment) -> Self {
        let (w, h) = (width as f32, height as f32);
        let focal = 1.27 * (w * h).sqrt();
        let (bend, slope) = road.bend(now.s);
        let (level, grade) = road.height(now.s);
        // The driver looks a little into the bend.
        let gaze = 0.35 * (road.bend(now.s + 25.0).1 - slope);
        let toward = slope + now.yaw + gaze;
        let bends = (0..SAMPLES)
            .map(|i| {
                let d = distance(i);
                let at = now.s + f64::from(d);
                let (b, _) = road.bend(at);
                let (l, _) = road.height(at);
                [
                    (b - bend - toward * f64::from(d)) as f32,
                    (l - level - grade * f64::from(d)) as f32,
                ]
            })
            .collect();
        let bump = 0.0012 * libm::sin(now.s * 0.43) + 0.0008 * libm::sin(now.s * 0.171 + 1.0);
        let middle = 0.46 * h + focal * bump as f32;
        let mut view = Self {
            width: width as usize,
            height: height as usize,
            focal,
            center: [0.5 * w, middle],
            eye_x: now.x as f32,
            s: now.s,
            heading: toward as f32,
            horizon: middle + focal * grade as f32,
            bends,
            crests: Vec::new(),
            ground: Vec::new(),
            skyline: 0.0,
        };
        let mut crest = f32::MAX;
        view.crests = (0..SAMPLES)
            .map(|i| {
                // What is nearer than a car's length hides nothing.
                if i >= 20 {
                    crest = crest.min(view.ground_row(i));
                }
                crest
            })
            .collect();
        view.find_ground();
        view
    }

    /// Sideways and upward bend of the road at distance `d`.
    fn bend(&self, d: f32) -> [f32; 2] {
        let at = 10.0 * d.max(0.0).sqrt();
        let i = (at as usize).min(SAMPLES - 2);
        let (near, far) = (distance(i), distance(i + 1));
        let share = (d.max(0.0) - near) / (far - near);
        let [a, b] = [self.bends[i], self.bends[i + 1]];
        [0, 1].map(|n| a[n] + (b[n] - a[n]) * share)
    }

    /// Pixels per metre at distance `d`.
    pub(crate) fn scale(&self, d: f32) -> f32 {
        self.focal / d.max(NEAR)
    }

    /// A point's place on the picture. Points nearer than [`NEAR`] are taken as if there.
    pub(crate) fn project(&self, d: f32, x: f32, y: f32) -> [f32; 2] {
        let [bend, level] = self.bend(d);
        let scale = self.scale(d);
        [
            self.center[0] + scale * (x - self.eye_x + bend),
            self.center[1] - scale * (y + level - EYE),
        ]
    }

    /// Metres right of the line straight ahead of the camera.
    pub(crate) fn aside(&self, d: f32, x: f32) -> f32 {
        x - self.eye_x + self.bend(d)[0]
    }

    /// What `x` the pixel column `column` shows on ground at distance `d`: `x = a + b · column`.
    pub(crate) fn across(&self, d: f32) -> (f32, f32) {
        let per_pixel = d / self.focal;
        let axis = self.eye_x - self.bend(d)[0];
        (axis - self.center[0] * per_pixel, per_pixel)
    }

    /// The column of the world's direction `azimuth`, in radians.
    pub(crate) fn column(&self, azimuth: f32) -> f32 {
        self.center[0] + self.focal * (azimuth - self.heading)
    }

    /// The row below which the ground between the camera and distance `d` hides everything.
    pub(crate) fn crest(&self, d: f32) -> f32 {
        let last = (10.0 * d.max(0.0).sqrt()) as usize;
        self.crests[last.min(SAMPLES - 1)]
    }

    /// The row below which something at distance `d` is hidden behind a hill; `None` where nothing
    /// of it is.
    pub(crate) fn hidden_below(&self, d: f32, x: f32) -> Option<f32> {
        let d = d.max(NEAR);
        let crest = self.crest(d);
        (crest + 0.3 < self.project(d, x, 0.0)[1]).then_some(crest)
    }

    fn ground_row(&self, i: usize) -> f32 {
        self.center[1] - self.focal / distance(i) * (self.bends[i][1] - EYE)
    }

    /// Walks away from the camera, and notes for each edge between rows where it meets the ground.
    fn find_ground(&mut self) {
        let mut edges = vec![f32::INFINITY; self.height + 1];
        let first = 10;
        let mut open = self.height as f32;
        let mut low = self.ground_row(first);
        let mut next = self.height as isize;
        for i in first..SAMPLES - 1 {
            let high = self.ground_row(i + 1);
            while next >= 0 && high <= next as f32 {
                let share = ((low - next as f32) / (low - high).max(1e-6)).clamp(0.0, 1.0);
                let (a, b) = (1.0 / distance(i), 1.0 / distance(i + 1));
                edges[next as usize] = 1.0 / (a + (b - a) * share);
                next -= 1;
            }
            open = open.min(high);
            low = high;
        }
        // Beyond the last sample the land goes on straight to the horizon.
        let top = open.min(self.horizon);
        while next >= 0 && next as f32 >= top {
            let left = (next as f32 - top) / (open - top).max(1e-6);
            edges[next as usize] = FAR / left.clamp(0.02, 1.0);
            next -= 1;
        }
        self.skyline = top;
        self.ground = edges;
    }
}

fn distance(i: usize) -> f32 {
    let root = i as f32 / 10.0;
    root * root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::ego::Ego;
    use crate::scene::Scene;
    use crate::spec::SceneOptions;

    #[test]
    fn rows_show_the_ground_at_the_distance_they_say() {
        for seed in 0..40 {
            let dice = Dice::new(seed);
            let scene = Scene::new(&SceneOptions::default(), dice);
            let road = Road::new(scene.road, scene.curvature, dice);
            let now = Ego::new(&scene, 60.0, dice).at(seed as f64);
            let view = View::new(256, 128, &road, &now);
            let first = view.skyline.ceil() as usize;
            assert!(view.ground[first..].iter().all(|d| d.is_finite()));
            let mut last = f32::INFINITY;
            for (row, &d) in view.ground.iter().enumerate() {
                assert!(d <= last, "seed {seed}: the ground comes nearer downwards");
                last = d;
                if d < 300.0 {
                    let [_, y] = view.project(d, 0.0, 0.0);
                    assert!((y - row as f32).abs() < 0.2, "seed {seed}: {y}, row {row}");
                }
            }
            assert!(last < 6.0 && view.skyline > 40.0 && view.skyline < 80.0);
        }
    }
}
