//! Houses, buildings, bridges, gantries, rails and barriers.

use crate::color::Color;
use crate::dice::Dice;
use crate::props::Prop;
use crate::view::NEAR;

use super::lorry::Block;
use super::{Detail, Stage};

const STOREY: f32 = 3.4;

/// The windows of one wall: how many, how far, and the dice that say which are lit.
struct Wall {
    bays: i64,
    storeys: i64,
    d: f32,
    dice: Dice,
}

impl Stage<'_> {
    /// A town house: its front along the road and the wall that faces the camera.
    pub(super) fn building(&mut self, prop: &Prop, length: f32, height: f32) {
        let walls = [
            0xa08a72u32,
            0x8c7666,
            0xb0a89a,
            0x868c92,
            0x9c6250,
            0xc0b49c,
            0x747880,
        ];
        let wall = Color::hex(prop.dice.pick(22, &walls));
        let (near, far) = (prop.d - length / 2.0, prop.d + length / 2.0);
        let out = prop.x.signum();
        let sides = [
            prop.x.min(prop.x + 14.0 * out),
            prop.x.max(prop.x + 14.0 * out),
        ];
        let block = Block {
            near,
            length,
            sides,
            low: 0.0,
            high: height,
        };
        if far < NEAR {
            return;
        }
        self.block(&block, wall, prop.fade);
        let shopfront = self.tone(wall * 0.55, prop.d.max(NEAR), prop.x, 0.8);
        if self.view.scale(prop.d) > 0.9 && self.shows(&block, prop.x, -out) {
            let base = [(near, 0.0), (near, 3.0), (far, 3.0), (far, 0.0)];
            let base = base.map(|(d, y)| self.p(d, prop.x, y));
            self.canvas.polygon(&base, shopfront, 0.7 * prop.fade);
        }
        self.front_windows(prop, [near, far], height, &block);
        if near > NEAR + 2.0 {
            self.end_windows(prop, near, sides, height);
        }
    }

    fn window_tones(&self, prop: &Prop, d: f32) -> [Color; 2] {
        let d = d.max(NEAR);
        let sky = self.light.zenith.mix(self.light.horizon, 0.5);
        let pane = self.tone(Color([0.22, 0.26, 0.31]), d, prop.x, 0.9);
        let pane = pane.mix(sky, 0.2 * self.light.clear(d));
        let warm = prop.dice.pick(23, &[0xffd48au32, 0xffe6b4, 0xf6c06c]);
        [pane, self.emit(Color::hex(warm), d)]
    }

    /// Windows of the wall along the road.
    fn front_windows(&mut self, prop: &Prop, [near, far]: [f32; 2], height: f32, block: &Block) {
        let pixels = self.view.scale(prop.d.max(4.0)) * 1.5;
        if pixels < 2.5 || !self.shows(block, prop.x, -prop.x.signum()) {
            return;
        }
        let bays = ((far - near) / 3.2) as i64;
        let step = (far - near) / bays as f32;
        let window = |stage: &Self, bay: i64, storey: i64| {
            let d = near + (bay as f32 + 0.25) * step;
            let y = STOREY * storey as f32 + 0.9;
            let points = [
                (d, y),
                (d, y + 1.6),
                (d + 0.5 * step, y + 1.6),
                (d + 0.5 * step, y),
            ];
            (d > NEAR).then(|| points.map(|(d, y)| stage.p(d, prop.x, y)).to_vec())
        };
        let wall = Wall {
            bays,
            storeys: (height / STOREY) as i64,
            d: prop.d,
            dice: prop.dice.at(60),
        };
        self.windows(prop, &wall, window);
    }

    /// Windows of the wall that faces the camera.
    fn end_windows(&mut self, prop: &Prop, near: f32, sides: [f32; 2], height: f32) {
        if self.view.scale(near) * 1.5 < 1.6 {
            return;
        }
        let window = |stage: &Self, bay: i64, storey: i64| {
            let x = sides[0] + (bay as f32 + 0.3) * 3.5;
            let y = STOREY * storey as f32 + 0.9;
            let [left, top, right, bottom] = stage.face(near, [x, x + 1.4, y, y + 1.6]);
            Some(vec![
                [left, bottom],
                [left, top],
                [right, top],
                [right, bottom],
            ])
        };
        let wall = Wall {
            bays: 4,
            storeys: (height / STOREY) as i64,
            d: near,
            dice: prop.dice.at(61),
        };
        self.windows(prop, &wall, window);
    }

    fn windows(
        &mut self,
        prop: &Prop,
        wall: &Wall,
        window: impl Fn(&Self, i64, i64) -> Option<Vec<[f32; 2]>>,
    ) {
        let Wall {
            bays,
            storeys,
            d,
            dice,
        } = *wall;

        let mut panes = [Vec::new(), Vec::new()];
        for storey in 1..storeys {
            for bay in 0..bays {
                let lit = dice.at(storey).chance(bay, self.light.windows);
                panes[usize::from(lit)].extend(window(self, bay, storey));
            }
        }
        for (panes, tone) in panes.iter().zip(self.window_tones(prop, d)) {
            let shapes: Vec<&[[f32; 2]]> = panes.iter().map(Vec::as_slice).collect();
            self.canvas.polygons(&shapes, tone, 0.9 * prop.fade);
        }
    }

    /// A house with a gabled roof.
    pub(super) fn house(&mut self, prop: &Prop) {
        let (d, x) = (prop.d, prop.x);
        let walls = [0xe6dfcfu32, 0xd8c4a0, 0xb86a50, 0xeeeae2];
        let wall = self.tone(Color::hex(prop.dice.pick(22, &walls)), d, x, 0.9);
        let roof = prop.dice.pick(24, &[0x7d3a2cu32, 0x504440, 0x8c4a34]);
        let roof = self.tone(Color::hex(roof), d, x, 0.9);
        let body = self.face(d, [x - 4.6, x + 4.6, 0.0, 3.4]);
        self.canvas.rect(body, wall, prop.fade);
        let gable = [(-5.1, 3.3), (-3.0, 6.2), (3.0, 6.2), (5.1, 3.3)];
        let gable = gable.map(|(dx, y)| self.p(d, x + dx, y));
        self.canvas.polygon(&gable, roof, prop.fade);
        if self.view.scale(d) * 1.2 > 1.5 {
            let [pane, lit] = self.window_tones(prop, d);
            let tone = if prop.dice.chance(25, 1.6 * self.light.windows) {
                lit
            } else {
                pane
            };
            let windows = [-3.0, 0.2, 2.6].map(|dx| {
                let low = if dx == 0.2 { 0.0 } else { 1.0 };
                self.face(d, [x + dx - 0.55, x + dx + 0.55, low, 2.3])
            });
            self.canvas.rects(&windows, tone, 0.9 * prop.fade);
        }
    }

    /// A bridge over the road.
    pub(super) fn bridge(&mut self, prop: &Prop, half: f32) {
        let d = prop.d;
        let concrete = Color::hex(0x9a9892);
        let wide = half + 40.0;
        let dark = self.tone(concrete, d, 0.0, 0.4);
        let face = self.tone(concrete, d, 0.0, 0.85);
        for side in [-1.0, 1.0] {
            let x = side * (half + 1.5);
            let pier = self.face(d, [x - 0.8, x + 0.8, 0.0, 5.6]);
            self.canvas.rect(pier, face, prop.fade);
        }
        let under = [(d, -wide), (d, wide), (d + 9.0, wide), (d + 9.0, -wide)];
        let under = under.map(|(d, x)| self.p(d, x, 5.5));
        self.canvas.polygon(&under, dark, prop.fade);
        let deck = self.face(d, [-wide, wide, 5.5, 6.7]);
        self.canvas.rect(deck, face, prop.fade);
        let rail = self.face(d, [-wide, wide, 7.3, 7.42]);
        self.canvas.rect(rail, face, 0.8 * prop.fade);
        let edge = self.face(d, [-wide, wide, 6.55, 6.7]);
        self.canvas.rect(edge, Color::WHITE, 0.18 * prop.fade);
    }

    /// Signs above the lanes.
    pub(super) fn gantry(&mut self, prop: &Prop, half: f32) {
        let d = prop.d;
        let steel = self.tone(Color::gray(0.48), d, 0.0, 0.85);
        let parts = [
            self.face(d, [0.0, half, 5.9, 6.15]),
            self.face(d, [half - 0.2, half + 0.2, 0.0, 6.3]),
            self.face(d, [-0.2, 0.2, 0.0, 6.3]),
        ];
        self.canvas.rects(&parts, steel, prop.fade);
        let colors = [Color([0.05, 0.36, 0.22]), Color([0.08, 0.25, 0.62])];
        let board = prop.dice.pick(26, &colors);
        let shine = if self.light.windows > 0.3 { 3.2 } else { 1.0 };
        let board = self.tone(board, d, 0.0, shine);
        let white = self.tone(Color::gray(0.9), d, 0.0, shine);
        let boards = 1 + (half > 12.5) as usize + usize::from(prop.dice.chance(27, 0.5));
        for number in 0..boards.min(2) {
            let x = 0.32 * half + 0.42 * half * number as f32;
            let rect = self.face(d, [x - 1.9, x + 1.9, 5.2, 7.5]);
            self.canvas.rect(rect, board, prop.fade);
            if self.view.scale(d) > 2.0 {
                let words = [
                    [-1.4, 0.9, 6.7, 7.0],
                    [-1.4, 0.3, 6.1, 6.4],
                    [1.0, 1.5, 5.6, 7.0],
                ];
                let words = words.map(|[a, b, low, high]| self.face(d, [x + a, x + b, low, high]));
                self.canvas.rects(&words, white, 0.85 * prop.fade);
            }
        }
    }

    /// Places along a stretch, dense where it is near.
    fn along(&self, prop: &Prop, length: f32, x: f32, y: [f32; 2]) -> Vec<[f32; 2]> {
        let steps = if prop.d > 100.0 { 8 } else { 5 };
        let at = |i: usize| prop.d + length * i as f32 / steps as f32;
        let low = (0..=steps).map(|i| self.p(at(i), x, y[0]));
        let high = (0..=steps).rev().map(|i| self.p(at(i), x, y[1]));
        low.chain(high).collect()
    }

    /// A steel guard rail on posts.
    pub(super) fn rail(&mut self, prop: &Prop, length: f32) {
        let (d, x) = (prop.d, prop.x);
        let middle = d + 0.4 * length;
        let steel = self.tone(Color::gray(0.66), middle, x, 0.9);
        if self.view.scale(d) > 6.0 {
            let dark = self.tone(Color::gray(0.4), middle, x, 0.9);
            let first = libm::ceil((self.view.s + f64::from(d)) / 4.0) as i64;
            let last = libm::floor((self.view.s + f64::from(d + length)) / 4.0) as i64;
            let posts: Vec<[f32; 4]> = (first..=last)
                .map(|post| (post as f64 * 4.0 - self.view.s) as f32)
                .map(|d| self.face(d, [x - 0.06, x + 0.06, 0.0, 0.6]))
                .collect();
            self.canvas.rects(&posts, dark, 1.0);
        }
        let rail = self.along(prop, length, x, [0.42, 0.75]);
        self.canvas.polygon(&rail, steel, 1.0);
        if self.detail(d, 0.5) == Detail::Fine {
            let groove = self.along(prop, length, x, [0.56, 0.61]);
            self.canvas.polygon(&groove, Color::BLACK, 0.3);
        }
    }

    /// A concrete barrier between the directions.
    pub(super) fn barrier(&mut self, prop: &Prop, length: f32) {
        let middle = prop.d + 0.4 * length;
        let concrete = Color::hex(0xa8a6a0);
        let side = self.tone(concrete, middle, prop.x, 0.75);
        let top = self.tone(concrete, middle, prop.x, 1.05);
        let wall = self.along(prop, length, prop.x + 0.25, [0.0, 0.85]);
        self.canvas.polygon(&wall, side, 1.0);
        let edge = self.along(prop, length, prop.x + 0.2, [0.78, 0.88]);
        self.canvas.polygon(&edge, top, 1.0);
    }
}
