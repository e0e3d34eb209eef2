//! Land and road, row by row.
//!
//! A row of pixels shows a strip of ground between two distances. Everything on it is a span of
//! `x`, painted with the share of each pixel that it covers, and of the strip's length that it
//! covers: so lane markings move smoothly however small the picture is.

use std::ops::Range;

use crate::color::Color;
use crate::dice::{Dice, noise};
use crate::light::Light;
use crate::road::Section;
use crate::scene::{RoadKind, Scene};
use crate::view::View;

use super::canvas::Canvas;

/// A painted line along the road.
#[derive(Debug, Clone, Copy)]
struct Line {
    x: f32,
    width: f32,
    /// Lengths of a dash and of a dash with its gap, in metres.
    dash: Option<(f64, f64)>,
    color: Color,
}

/// What the ground of a scene looks like, in daylight.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    lines: Vec<Line>,
    land: [Color; 3],
    asphalt: Color,
    median: Option<Color>,
    sidewalk: Option<Color>,
    crossings: bool,
    section: Section,
    barrier: bool,
    dice: Dice,
}

/// One row of pixels while it is painted: red, green, blue, and how much the surface shines.
struct Strip {
    pixels: Vec<[f32; 4]>,
    /// `x` of the left edge of column 0, and metres per column.
    left: f32,
    per_pixel: f32,
    /// The row of the picture, its distance, and how much of it is ground.
    row: usize,
    d: f32,
    cover: f32,
}

impl Ground {
    pub(crate) fn new(scene: &Scene, dice: Dice) -> Self {
        let land = match scene.road {
            RoadKind::Highway => [0x5d7f3a, 0x6a8740, 0x557337],
            RoadKind::Country => [0x5f8638, 0xa8974c, 0x77923f],
            RoadKind::City => [0x7b7d76, 0x6f7a63, 0x807c74],
        };
        let grass = Color::hex(0x5c7a3c);
        Self {
            lines: lines(scene),
            land: land.map(Color::hex),
            asphalt: Color::gray(dice.range(0, 0.29, 0.40)),
            median: (scene.section.median > 0.0).then(|| {
                if scene.barrier {
                    Color::gray(0.5)
                } else {
                    grass
                }
            }),
            sidewalk: (scene.section.sidewalk > 0.0).then(|| Color::hex(0xa6a29a)),
            crossings: scene.road == RoadKind::City,
            section: scene.section,
            barrier: scene.barrier,
            dice,
        }
    }

    /// Paints all ground.
    pub(crate) fn draw(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let mut strip = Strip {
            pixels: vec![[0.0; 4]; view.width],
            left: 0.0,
            per_pixel: 0.0,
            row: 0,
            d: 0.0,
            cover: 1.0,
        };
        let top = view.skyline.clamp(0.0, view.height as f32);
        for row in top as usize..view.height {
            let (near, far) = (view.ground[row + 1], view.ground[row]);
            // The row of the horizon has no upper end.
            let far = if far.is_finite() { far } else { 1.5 * near };
            let d = 2.0 / (1.0 / near + 1.0 / far);
            let (left, per_pixel) = view.across(d);
            strip.left = left;
            strip.per_pixel = per_pixel;
            let from = view.s + f64::from(near);
            let to = view.s + f64::from(far);
            self.lay(&mut strip, from, to);
            strip.row = row;
            strip.d = d;
            strip.cover = (row as f32 + 1.0 - top).clamp(0.0, 1.0);
            shade(canvas, view, light, &strip);
        }
    }

    /// Colours of the strip in even white light.
    fn lay(&self, strip: &mut Strip, from: f64, to: f64) {
        let section = &self.section;
        let covered = strip.columns(-section.paved_end(), section.paved_end());
        self.lay_land(strip, &covered, from, to);
        if let Some(color) = self.sidewalk {
            let slabs = 1.0 - 0.12 * dashes(from, to, 0.15, 2.0);
            strip.span([-section.end(), section.end()], color * slabs, 1.0, 0.5);
            let curb = section.paved_end() + 0.22;
            strip.span([-curb, curb], Color::gray(0.72), 1.0, 0.5);
        }
        let paved = section.paved_end();
        strip.span([-paved, paved], self.asphalt, 1.0, 1.0);
        self.wear(strip, from, to);
        if let Some(color) = self.median {
            let half = section.median / 2.0 - 0.45;
            let shine = if self.barrier { 1.0 } else { 0.0 };
            strip.span([-half, half], color, 1.0, shine);
        }
        for line in &self.lines {
            let share = line
                .dash
                .map_or(1.0, |(dash, period)| dashes(from, to, dash, period));
            let half = line.width / 2.0;
            strip.span(
                [line.x - half, line.x + half],
                line.color,
                0.92 * share,
                1.0,
            );
        }
        if self.crossings {
            self.lay_crossing(strip, from, to);
        }
    }

    /// Grass, fields and their furrows, but for the columns `covered`.
    fn lay_land(&self, strip: &mut Strip, covered: &Range<usize>, from: f64, to: f64) {
        let middle = ((from + to) / 2.0 % 1e6) as f32;
        let length = (to - from) as f32;
        // Patches of a size are painted as far as the pixels can show them.
        let shown = |size: f32| (1.5 - 1.5 * (length.max(strip.per_pixel)) / size).clamp(0.0, 1.0);
        let (large, small) = (shown(40.0), shown(7.0));
        let mowed = dashes(from, to, 5.0, 10.0) - 0.5;
        let [a, b, c] = self.land;
        for column in (0..covered.start).chain(covered.end..strip.pixels.len()) {
            let x = strip.left + strip.per_pixel * (column as f32 + 0.5);
            let mut color = a.mix(b, 0.35);
            if large > 0.0 {
                let field = noise(self.dice, x / 45.0 + 300.0, middle / 60.0);
                let share = ((field - 0.45) * 6.0).clamp(0.0, 1.0);
                color = color.mix(if x < 0.0 { b } else { c }, share * large);
            }
            let mut tone = 1.0 + 0.05 * mowed * small;
            if small > 0.0 {
                tone += 0.3 * (noise(self.dice, x / 2.2, middle / 4.5) - 0.5) * small;
            }
            let [r, g, b] = (color * tone).0;
            strip.pixels[column] = [r, g, b, 0.0];
        }
    }

    /// Patched asphalt and the tracks of wheels.
    fn wear(&self, strip: &mut Strip, from: f64, to: f64) {
        let section = &self.section;
        let middle = ((from + to) / 2.0 % 1e6) as f32;
        let shown = (1.0 - (to - from) as f32 / 12.0).clamp(0.0, 1.0);
        for lane in 0..section.lanes {
            for side in [-1.0, 1.0] {
                let x = section.lane_center(lane) * side;
                let half = section.lane_width / 2.0;
                if shown > 0.0 {
                    let row = lane as f32 * 7.3 + side * 40.0;
                    let patch = noise(self.dice, row, middle / 9.0);
                    let fine = noise(self.dice, row + 3.0, middle / 2.1);
                    let dark = (0.16 * (patch - 0.35) + 0.12 * (fine - 0.4)).max(0.0) * shown;
                    strip.span([x - half, x + half], Color::BLACK, dark, 1.0);
                }
                for track in [-0.8, 0.8] {
                    let at = x + track;
                    strip.span([at - 0.35, at + 0.35], Color::BLACK, 0.045, 1.0);
                }
            }
        }
    }

    /// Zebra crossings, every 140 metres.
    fn lay_crossing(&self, strip: &mut Strip, from: f64, to: f64) {
        let share = dashes(from + 70.0, to + 70.0, 3.2, 140.0);
        if share <= 0.01 {
            return;
        }
        let end = self.section.lanes_end() + self.section.parking;
        let mut x = -end + 0.3;
        while x + 0.5 < end {
            strip.span([x, x + 0.5], Color::gray(0.9), 0.9 * share, 1.0);
            x += 1.0;
        }
    }
}

impl Strip {
    /// The columns that lie wholly between `x0` and `x1`.
    fn columns(&self, x0: f32, x1: f32) -> Range<usize> {
        let column =
            |x: f32| ((x - self.left) / self.per_pixel).clamp(0.0, self.pixels.len() as f32);
        let (first, end) = (column(x0).ceil() as usize, column(x1) as usize);
        first..end.max(first)
    }

    /// Paints from `x0` to `x1`, at most opaque by `alpha`.
    fn span(&mut self, [x0, x1]: [f32; 2], color: Color, alpha: f32, shine: f32) {
        let a = ((x0 - self.left) / self.per_pixel).max(0.0);
        let b = ((x1 - self.left) / self.per_pixel).min(self.pixels.len() as f32);
        if a >= b || alpha <= 0.0 {
            return;
        }
        let [red, green, blue] = color.0;
        let last = (b.ceil() as usize).min(self.pixels.len());
        for column in a as usize..last {
            let (l, r) = (column as f32, column as f32 + 1.0);
            let cover = (b.min(r) - a.max(l)).max(0.0) * alpha;
            let pixel = &mut self.pixels[column];
            for (value, new) in pixel.iter_mut().zip([red, green, blue, shine]) {
                *value += (new - *value) * cover;
            }
        }
    }
}

/// The share of the stretch `from..to` under dashes of length `dash` that start at multiples of
/// `period`.
fn dashes(from: f64, to: f64, dash: f64, period: f64) -> f32 {
    let before = |s: f64| {
        let turns = libm::floor(s / period);
        turns * dash + (s - turns * period).min(dash)
    };
    ((before(to) - before(from)) / (to - from).max(1e-6)) as f32
}

/// Light, reflections and haze, and into the picture.
fn shade(canvas: &mut Canvas, view: &View, light: &Light, strip: &Strip) {
    let Strip { row, d, cover, .. } = *strip;
    // Beyond this the land would fade to a bright line before the hills behind it.
    let clear = light.clear(d.min(500.0));
    let s = view.s + f64::from(d);
    let lamp = Color([1.0, 0.82, 0.55]);
    let beam = Color([1.0, 0.96, 0.86]);
    let base = light.ambient + light.sun * 0.85;
    // Water mirrors the more the flatter one looks at it.
    let mirror = light.wet * (0.12 + 0.45 * d / (d + 22.0));
    let sky = light.zenith.mix(light.horizon, 0.7);
    for (column, &[r, g, b, shine]) in strip.pixels.iter().enumerate() {
        let offset = column as f32 + 0.5;
        let mut lit = base;
        if light.beam > 0.0 {
            let aside = (offset - view.center[0]) * strip.per_pixel;
            lit = lit + beam * light.headlight(d, aside);
        }
        if light.pools > 0.0 {
            lit = lit + lamp * light.pool(s, strip.left + strip.per_pixel * offset);
        }
        let mut color = Color([r, g, b]) * lit;
        if mirror > 0.0 {
            color = (color * (1.0 - 0.35 * shine)).mix(sky, mirror * shine);
        }
        let color = light.haze.mix(color, clear);
        if cover < 1.0 {
            canvas.blend(column, row, color, cover);
        } else {
            canvas.set(column, row, color);
        }
    }
}

fn lines(scene: &Scene) -> Vec<Line> {
    let section = &scene.section;
    let white = Color::gray(0.93);
    let yellow = Color::hex(0xe3b52a);
    let center = if scene.yellow_center { yellow } else { white };
    let solid = |x: f32, color: Color| Line {
        x,
        width: 0.2,
        dash: None,
        color,
    };
    let dashed = |x: f32, dash: (f64, f64), color: Color| Line {
        dash: Some(dash),
        ..solid(x, color)
    };
    let mut lines = Vec::new();
    for side in [-1.0, 1.0] {
        lines.push(solid(side * (section.lanes_end() + 0.05), white));
        for lane in 1..section.lanes {
            let x = section.median / 2.0 + lane as f32 * section.lane_width;
            lines.push(dashed(side * x, (4.0, 12.0), white));
        }
        if section.median > 0.0 {
            lines.push(solid(side * (section.median / 2.0 + 0.1), center));
        } else if scene.road == RoadKind::City && section.lanes > 1 {
            lines.push(solid(side * 0.17, center));
        }
    }
    if section.median == 0.0 && (scene.road == RoadKind::Country || section.lanes == 1) {
        lines.push(dashed(0.0, (4.0, 9.0), center));
    }
    lines
}
