//! Trees, bushes, posts, poles, lamps and signs.

use crate::color::Color;
use crate::props::{Prop, PropKind};

use super::{Detail, Stage};

impl Stage<'_> {
    pub(super) fn prop(&mut self, prop: &Prop) {
        match prop.kind {
            PropKind::Tree {
                conifer: true,
                height,
            } => self.conifer(prop, height),
            PropKind::Tree { height, .. } => self.tree(prop, height),
            PropKind::Bush => self.bush(prop),
            PropKind::Post => self.post(prop),
            PropKind::Pole => self.pole(prop),
            PropKind::Lamp { height } => self.lamp(prop, height),
            PropKind::Sign => self.sign(prop),
            PropKind::House => self.house(prop),
            PropKind::Building { length, height } => self.building(prop, length, height),
            PropKind::Gantry { half } => self.gantry(prop, half),
            PropKind::Bridge { half } => self.bridge(prop, half),
            PropKind::Rail { length } => self.rail(prop, length),
            PropKind::Barrier { length } => self.barrier(prop, length),
        }
    }

    fn trunk(&mut self, prop: &Prop, height: f32) {
        let half = 0.018 * height + 0.05;
        let trunk = self.face(prop.d, [prop.x - half, prop.x + half, 0.0, 0.5 * height]);
        let bark = self.tone(Color::hex(0x4d3b2c), prop.d, prop.x, 0.8);
        self.canvas.rect(trunk, bark, prop.fade);
    }

    /// A crown of leaves: a dark whole, and a lighter part towards the light.
    fn tree(&mut self, prop: &Prop, height: f32) {
        let detail = self.detail(prop.d, height);
        let greens = [0x355927u32, 0x446b2a, 0x2d4d2c, 0x5c702c, 0x3c6035];
        let leaf = Color::hex(prop.dice.pick(12, &greens));
        self.trunk(prop, height);
        let (rx, ry) = (0.29 * height, 0.34 * height);
        let dark = self.tone(leaf, prop.d, prop.x, 0.72);
        let middle = [prop.x, 0.64 * height];
        let whole = self.blob(
            prop,
            middle,
            [rx, ry],
            if detail == Detail::Fine { 16 } else { 8 },
        );
        self.canvas.polygon(&whole, dark, prop.fade);
        if detail == Detail::Fine {
            let light = self.tone(leaf, prop.d, prop.x, 1.05);
            let up = [prop.x - 0.07 * height, 0.72 * height];
            let part = self.blob(prop, up, [0.66 * rx, 0.62 * ry], 12);
            self.canvas.polygon(&part, light, 0.8 * prop.fade);
            let up = [prop.x - 0.1 * height, 0.78 * height];
            let part = self.blob(prop, up, [0.36 * rx, 0.32 * ry], 9);
            let bright = self.tone(leaf.mix(Color::hex(0x9ab050), 0.3), prop.d, prop.x, 1.15);
            self.canvas.polygon(&part, bright, 0.7 * prop.fade);
        }
    }

    /// A round outline with dents, upright at the distance of `prop`.
    fn blob(&self, prop: &Prop, at: [f32; 2], radii: [f32; 2], points: usize) -> Vec<[f32; 2]> {
        super::circle(points)
            .zip(50..)
            .map(|([c, s], n)| {
                let dent = prop.dice.range(n, 0.82, 1.1);
                let (x, y) = (at[0] + radii[0] * dent * c, at[1] + radii[1] * dent * s);
                self.p(prop.d, x, y)
            })
            .collect()
    }

    fn conifer(&mut self, prop: &Prop, height: f32) {
        let detail = self.detail(prop.d, height);
        let leaf = Color::hex(prop.dice.pick(12, &[0x20402bu32, 0x2a4a2a, 0x1d3930]));
        self.trunk(prop, 0.7 * height);
        let tone = self.tone(leaf, prop.d, prop.x, 0.85);
        let half = 0.2 * height;
        let tiers: &[[f32; 3]] = match detail {
            Detail::Fine => &[[0.1, 0.6, 1.0], [0.33, 0.8, 0.76], [0.58, 1.0, 0.5]],
            _ => &[[0.1, 1.0, 1.0]],
        };
        for &[low, high, wide] in tiers {
            let points = [
                self.p(prop.d, prop.x - half * wide, low * height),
                self.p(prop.d, prop.x, high * height),
                self.p(prop.d, prop.x + half * wide, low * height),
            ];
            self.canvas.polygon(&points, tone, prop.fade);
            if detail == Detail::Fine {
                let light = self.tone(leaf, prop.d, prop.x, 1.2);
                let middle = self.p(prop.d, prop.x - 0.06 * half, low * height);
                self.canvas
                    .polygon(&[points[0], points[1], middle], light, 0.55 * prop.fade);
            }
        }
    }

    fn bush(&mut self, prop: &Prop) {
        let leaf = Color::hex(prop.dice.pick(12, &[0x45662cu32, 0x567234, 0x3a552a]));
        let size = prop.dice.range(13, 0.5, 0.95);
        let color = self.tone(leaf, prop.d, prop.x, 0.8);
        let points = self.blob(prop, [prop.x, 0.75 * size], [1.4 * size, size], 8);
        self.canvas.polygon(&points, color, prop.fade);
        if self.detail(prop.d, size) == Detail::Fine {
            let light = self.tone(leaf, prop.d, prop.x, 1.1);
            let at = [prop.x - 0.3 * size, 1.0 * size];
            let points = self.blob(prop, at, [0.8 * size, 0.55 * size], 8);
            self.canvas.polygon(&points, light, 0.7 * prop.fade);
        }
    }

    /// A white post with a reflector.
    fn post(&mut self, prop: &Prop) {
        let (d, x) = (prop.d, prop.x);
        let alpha = prop.fade * self.solidity(d, 2.0);
        let post = self.face(d, [x - 0.07, x + 0.07, 0.0, 1.0]);
        let white = self.tone(Color::gray(0.9), d, x, 0.95);
        self.canvas.rect(post, white, alpha);
        let band = self.face(d, [x - 0.075, x + 0.075, 0.68, 0.86]);
        self.canvas.rect(band, Color::gray(0.06), alpha);
        let shine = self.light.headlight(d, self.view.aside(d, x));
        if shine > 0.03 {
            let at = self.p(d, x, 0.78);
            let amber = Color([1.0, 0.75, 0.4]) * (1.6 * shine).min(0.8);
            self.canvas.glow(
                at,
                [self.spark() * 0.8 + 0.1 * self.view.scale(d); 2],
                amber,
            );
        }
    }

    fn pole(&mut self, prop: &Prop) {
        let (d, x) = (prop.d, prop.x);
        let wood = self.tone(Color::hex(0x4a4036), d, x, 0.85);
        let parts = [
            self.face(d, [x - 0.11, x + 0.11, 0.0, 8.2]),
            self.face(d, [x - 0.9, x + 0.9, 7.4, 7.58]),
        ];
        self.canvas.rects(&parts, wood, prop.fade);
    }

    fn lamp(&mut self, prop: &Prop, height: f32) {
        let (d, x) = (prop.d, prop.x);
        let inward = -x.signum();
        let arm = 2.2 * inward;
        let steel = self.tone(Color::hex(0x6d7275), d, x, 0.8);
        let alpha = prop.fade * self.solidity(d, 4.0);
        let pole = self.face(d, [x - 0.08, x + 0.08, 0.0, height]);
        self.canvas.rect(pole, steel, alpha);
        let beam = self.face(
            d,
            [x.min(x + arm), x.max(x + arm), height - 0.08, height + 0.05],
        );
        self.canvas.rect(beam, steel, alpha);
        let head_x = x + arm;
        let head = self.face(d, [head_x - 0.4, head_x + 0.4, height - 0.2, height]);
        if self.light.windows == 0.0 {
            self.canvas.rect(head, steel, alpha);
            return;
        }
        let warm = Color([1.0, 0.84, 0.56]);
        let lit = self.emit(Color([1.0, 0.93, 0.76]), d);
        self.canvas.rect(head, lit, alpha);
        let strength = libm::sqrtf(self.light.clear(d)) * prop.fade;
        let at = self.p(d, head_x, height - 0.15);
        let size = 1.3 * self.spark() + 0.75 * self.view.scale(d);
        self.canvas.glow(at, [size; 2], warm * (0.6 * strength));
        if self.light.wet > 0.0 {
            let ground = self.p(d, head_x, 0.0)[1];
            let tall = 0.5 * (ground - at[1]);
            let below = [at[0], ground + tall];
            self.canvas
                .glow(below, [0.5 * size, tall], warm * (0.2 * strength));
        }
    }

    /// A traffic sign: a round or triangular or square board on a post.
    fn sign(&mut self, prop: &Prop) {
        let (d, x) = (prop.d, prop.x);
        let steel = self.tone(Color::gray(0.5), d, x, 0.85);
        let post = self.face(d, [x - 0.045, x + 0.045, 0.0, 2.0]);
        self.canvas.rect(post, steel, prop.fade);
        // Sign boards throw headlights back.
        let aside = self.view.aside(d, x);
        let bright = 0.95 + 1.6 * self.light.headlight(d, aside);
        let red = self.tone(Color([0.8, 0.1, 0.1]), d, x, bright);
        let white = self.tone(Color::gray(0.92), d, x, bright);
        let blue = self.tone(Color([0.1, 0.3, 0.7]), d, x, bright);
        let [cx, cy] = self.p(d, x, 2.35);
        let size = self.view.scale(d) * 0.42;
        let ring = |share: f32, points: usize, turn: bool| -> Vec<[f32; 2]> {
            super::circle(points)
                .map(|[c, s]| if turn { [s, -c] } else { [c, s] })
                .map(|[c, s]| [cx + c * size * share, cy + s * size * share])
                .collect()
        };
        match (prop.dice.unit(14) * 3.0) as u32 {
            0 => {
                self.canvas.polygon(&ring(1.0, 14, false), red, prop.fade);
                self.canvas
                    .polygon(&ring(0.68, 14, false), white, prop.fade);
            }
            1 => {
                self.canvas.polygon(&ring(1.15, 3, true), red, prop.fade);
                self.canvas.polygon(&ring(0.68, 3, true), white, prop.fade);
            }
            _ => {
                let board = self.face(d, [x - 0.4, x + 0.4, 1.95, 2.75]);
                self.canvas.rect(board, blue, prop.fade);
            }
        }
    }
}
