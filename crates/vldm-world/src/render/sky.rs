//! Sky, sun, moon, stars, clouds, and the hills and towers on the horizon.
//!
//! All of it is so far away that it only turns with the camera.

use crate::color::Color;
use crate::dice::{Dice, Purpose, noise};
use crate::light::Light;
use crate::scene::{RoadKind, Scene, TimeOfDay, Weather};
use crate::view::View;

use super::canvas::Canvas;

/// The far surroundings of a scene.
#[derive(Debug, Clone)]
pub(crate) struct Sky {
    sky: Dice,
    layers: Vec<Layer>,
    /// Azimuth and elevation of sun or moon in radians.
    body: Option<[f32; 2]>,
    night: bool,
    dusk: bool,
    stars: bool,
}

/// What a row of sky is painted with: the camera, the light, the time.
struct Air<'a> {
    view: &'a View,
    light: &'a Light,
    t: f64,
}

#[derive(Debug, Clone, Copy)]
enum Outline {
    Hills { waves: [[f32; 3]; 4] },
    Towers { width: f32 },
}

/// A silhouette around the horizon.
#[derive(Debug, Clone, Copy)]
struct Layer {
    outline: Outline,
    /// Its height in radians.
    height: f32,
    color: Color,
    /// Its distance in metres, as far as haze is concerned.
    distance: f32,
    lit: bool,
    dice: Dice,
}

impl Sky {
    pub(crate) fn new(scene: &Scene, world: Dice) -> Self {
        let dice = world.of(Purpose::Backdrop);
        let sky = world.of(Purpose::Sky);
        let night = scene.is_night();
        let dusk = scene.time_of_day == TimeOfDay::Dusk;
        let visible = scene.weather == Weather::Clear;
        let high = if dusk { [0.035, 0.075] } else { [0.13, 0.24] };
        let body = [sky.range(0, -0.55, 0.55), sky.range(1, high[0], high[1])];
        Self {
            sky,
            layers: layers(scene, dice),
            body: visible.then_some(body),
            night,
            dusk,
            stars: night && visible,
        }
    }

    /// Paints everything above the ground.
    pub(crate) fn draw(&self, canvas: &mut Canvas, view: &View, light: &Light, t: f64) {
        let rows = (view.skyline.ceil().max(0.0) as usize).min(view.height);
        let air = Air { view, light, t };
        for row in 0..rows {
            self.draw_row(canvas, &air, row);
        }
        if self.stars {
            self.draw_stars(canvas, view);
        }
        if let Some([azimuth, elevation]) = self.body {
            let at = [view.column(azimuth), view.horizon - view.focal * elevation];
            self.draw_body(canvas, view.focal, at);
        }
        for layer in &self.layers {
            layer.draw(canvas, view, light, rows);
        }
    }

    fn draw_row(&self, canvas: &mut Canvas, air: &Air, row: usize) {
        let Air { view, light, t } = *air;
        let elevation = ((view.horizon - row as f32 - 0.5) / view.focal).max(0.0);
        let share = (elevation / 0.3).min(1.0);
        let base = light
            .horizon
            .mix(light.zenith, share.sqrt() * (0.45 + 0.55 * share));
        let near = (elevation / 0.05).min(1.0);
        let cover = 0.78 - 0.56 * light.clouds;
        let flat = 1.0 / (elevation + 0.07);
        let drift = (t * 0.012) as f32;
        let lit = self.cloud_color(light);
        for column in 0..view.width {
            let mut color = base;
            if light.clouds > 0.0 {
                let azimuth = (column as f32 + 0.5 - view.center[0]) / view.focal + view.heading;
                let (u, v) = (azimuth * flat * 1.1, flat * 0.55 + drift);
                let large = 0.64 * noise(self.sky, u, v);
                // The finer noise adds at most 0.36.
                if large + 0.36 > cover {
                    let small = noise(self.sky, 2.7 * u + 9.0, 2.7 * v);
                    let thick = ((large + 0.36 * small - cover) * 4.0).clamp(0.0, 1.0);
                    let dark = 1.0 - 0.16 * (small - 0.3) * light.clouds;
                    color = color.mix(lit * dark, 0.85 * thick * near);
                }
            }
            canvas.set(column, row, color);
        }
    }

    fn cloud_color(&self, light: &Light) -> Color {
        if self.night {
            light.horizon * 1.15
        } else if self.dusk {
            light.horizon.mix(Color([0.55, 0.36, 0.44]), 0.6)
        } else if light.clouds > 0.8 {
            light.zenith.mix(light.horizon, 0.45)
        } else {
            Color([0.97, 0.97, 0.98])
        }
    }

    fn draw_stars(&self, canvas: &mut Canvas, view: &View) {
        for number in 0..90 {
            let star = self.sky.at(100 + number);
            let azimuth = star.range(0, -1.4, 1.4);
            let elevation = star.range(1, 0.03, 0.45);
            let at = [view.column(azimuth), view.horizon - view.focal * elevation];
            let bright = star.range(2, 0.15, 0.8);
            let radius = (0.0016 * view.focal).max(1.1);
            let tint = Color([0.9, 0.93, 1.0]).mix(Color([1.0, 0.9, 0.75]), star.unit(3));
            canvas.glow(at, [radius; 2], tint * bright);
        }
    }

    fn draw_body(&self, canvas: &mut Canvas, focal: f32, at: [f32; 2]) {
        let (halo, disc, light) = if self.night {
            (0.16, 0.021, Color([0.93, 0.93, 0.88]))
        } else if self.dusk {
            (0.5, 0.034, Color([1.0, 0.78, 0.45]))
        } else {
            (0.42, 0.03, Color([1.0, 0.98, 0.9]))
        };
        let share = if self.night { 0.12 } else { 0.42 };
        canvas.glow(at, [halo * focal; 2], light * share);
        let points: Vec<[f32; 2]> = crate::render::circle(24)
            .map(|[c, s]| [at[0] + c * disc * focal, at[1] + s * disc * focal])
            .collect();
        canvas.polygon(&points, light, 1.0);
    }
}

fn layers(scene: &Scene, dice: Dice) -> Vec<Layer> {
    let hills = |n: i64, length: f32| {
        let waves = [1.0f32, 2.3, 5.1, 11.0].map(|octave| {
            let at = n + (octave * 10.0) as i64;
            let rate = octave * dice.range(at, 0.85, 1.15) * 6.0 / length;
            [
                rate,
                dice.range(at + 1, 0.0, std::f32::consts::TAU),
                0.55 / octave,
            ]
        });
        Outline::Hills { waves }
    };
    let layer = |outline, height: f32, color: u32, distance: f32, n: i64| Layer {
        outline,
        height,
        color: Color::hex(color),
        distance,
        lit: false,
        dice: dice.at(n),
    };
    let mut layers = Vec::new();
    let mountains = dice.range(200, 0.02, 0.11);
    layers.push(layer(hills(210, 1.1), mountains, 0x566886, 2600.0, 1));
    if scene.road == RoadKind::City || dice.chance(201, 0.35) {
        let height = if scene.road == RoadKind::City {
            0.15
        } else {
            0.08
        };
        let towers = Outline::Towers { width: 0.045 };
        layers.push(Layer {
            lit: true,
            ..layer(towers, height, 0x5a606c, 1100.0, 2)
        });
    }
    let wooded = layer(
        hills(400, 0.5),
        dice.range(202, 0.012, 0.03),
        0x3d5633,
        700.0,
        3,
    );
    layers.push(wooded);
    layers
}

impl Layer {
    /// The silhouette's height in radians in direction `azimuth`.
    fn top(&self, azimuth: f32) -> f32 {
        let share = match self.outline {
            Outline::Hills { waves } => {
                let sum: f32 = waves
                    .iter()
                    .map(|[rate, phase, size]| size * libm::sinf(rate * azimuth + phase))
                    .sum();
                (0.5 + 0.4 * sum).max(0.05)
            }
            Outline::Towers { width } => {
                let block = self.dice.at(libm::floorf(azimuth / width) as i64);
                let tall = block.unit(0);
                let slim = (azimuth / width).fract().abs() < block.range(1, 0.5, 1.0);
                if slim {
                    0.25 + 0.75 * tall * tall
                } else {
                    0.12
                }
            }
        };
        share * self.height
    }

    fn draw(&self, canvas: &mut Canvas, view: &View, light: &Light, rows: usize) {
        let lit = light.ambient + light.sun * 0.5;
        let color = light.through_air(self.color * lit, self.distance);
        let clear = light.clear(self.distance);
        for column in 0..view.width {
            let azimuth =
                |part: f32| (column as f32 + part - view.center[0]) / view.focal + view.heading;
            let tops =
                [0.17, 0.5, 0.83].map(|part| view.horizon - view.focal * self.top(azimuth(part)));
            let highest = tops.iter().copied().fold(f32::MAX, f32::min).max(0.0);
            for row in highest as usize..rows {
                let below = row as f32 + 1.0;
                let cover: f32 = tops.iter().map(|top| (below - top).clamp(0.0, 1.0)).sum();
                let mut color = color;
                if self.lit && light.windows > 0.0 {
                    let up = (view.horizon - row as f32) / view.focal;
                    let grain = noise(self.dice, azimuth(0.5) / 0.009, up / 0.011);
                    let shine = ((grain - 0.66) * 6.0).clamp(0.0, 1.0) * light.windows * 1.6;
                    color = color.mix(Color([1.0, 0.82, 0.5]), shine * clear.sqrt());
                }
                canvas.blend(column, row, color, cover / 3.0);
            }
        }
    }
}
