//! Trucks and buses: boxes on wheels.

use crate::color::Color;
use crate::traffic::Actor;
use crate::vehicle::Look;
use crate::view::NEAR;

use super::{Detail, Stage};

/// An upright box: from `near` over `length`, left to right, low to high.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) near: f32,
    pub(super) length: f32,
    pub(super) sides: [f32; 2],
    pub(super) low: f32,
    pub(super) high: f32,
}

const GLASS: Color = Color([0.12, 0.15, 0.19]);

impl Stage<'_> {
    /// Paints the sides of a block that the camera sees; `true` for each that it does.
    pub(super) fn block(&mut self, block: &Block, color: Color, solid: f32) {
        let far = block.near + block.length;
        let [left, right] = block.sides;
        let middle = (block.near + block.length / 2.0).max(NEAR);
        for (x, outward) in [(left, -1.0), (right, 1.0)] {
            if self.shows(block, x, outward) {
                let side = [
                    self.p(block.near, x, block.low),
                    self.p(block.near, x, block.high),
                    self.p(far, x, block.high),
                    self.p(far, x, block.low),
                ];
                let color = self.tone(color, middle, x, 0.7);
                self.canvas.polygon(&side, color, solid);
            }
        }
        if block.near > NEAR {
            let face = self.face(block.near, [left, right, block.low, block.high]);
            let color = self.tone(color, block.near, (left + right) / 2.0, 0.92);
            self.canvas.rect(face, color, solid);
        }
    }

    /// Whether the camera sees the side of a block at `x`.
    pub(super) fn shows(&self, block: &Block, x: f32, outward: f32) -> bool {
        let near = self.p(block.near, x, block.low)[0];
        let far = self.p(block.near + block.length, x, block.low)[0];
        (far - near) * outward > 0.2
    }

    pub(super) fn truck(&mut self, actor: &Actor, look: Look) {
        let shape = look.kind.shape();
        let (near, half) = (actor.d - shape.length / 2.0, shape.width / 2.0);
        let paint = look.paint.color();
        let cargo = if actor.dice.chance(40, 0.4) {
            Color::hex(0xe4e4e0)
        } else {
            paint
        };
        let (cargo_length, cab_length) = (shape.length - 2.1, 1.9);
        let (cab_at, cargo_at) = if actor.oncoming {
            (near, near + 2.1)
        } else {
            (near + shape.length - cab_length, near)
        };
        let block = |near: f32, length: f32, half: f32, low: f32, high: f32| Block {
            near,
            length,
            sides: [actor.x - half, actor.x + half],
            low,
            high,
        };
        let solid = self.solidity(near, shape.height);
        self.shadow(actor);
        self.wet_mirror(actor, cargo, shape.height);
        let under = block(near + 0.2, shape.length - 0.4, half * 0.82, 0.25, 0.95);
        self.block(&under, Color::gray(0.1), solid);
        let cargo_block = block(cargo_at, cargo_length, half, 0.9, shape.height);
        let cab = block(cab_at, cab_length, half * 0.95, 0.4, 2.75);
        if actor.oncoming {
            self.block(&cargo_block, cargo, solid);
            self.block(&cab, paint, solid);
        } else {
            self.block(&cab, paint, solid);
            self.block(&cargo_block, cargo, solid);
        }
        self.side_wheels(actor, near, half, shape.length);
        if near > NEAR {
            if actor.oncoming {
                self.windscreen(actor, near, half * 0.84, [1.45, 2.5]);
            } else {
                self.truck_doors(actor, near, half, shape.height);
            }
        }
        let y = if actor.oncoming { 0.75 } else { 0.85 };
        self.lights(actor, [y, half - 0.3], near);
    }

    fn truck_doors(&mut self, actor: &Actor, d: f32, half: f32, height: f32) {
        let x = actor.x;
        let detail = self.detail(d, height);
        let tyres = [-1.0, 1.0].map(|side: f32| {
            let (a, b) = (x + side * (half - 0.1), x + side * (half - 0.62));
            self.face(d, [a.min(b), a.max(b), 0.0, 0.85])
        });
        let rubber = self.tone(Color::gray(0.05), d, x, 1.0);
        self.canvas.rects(&tyres, rubber, 1.0);
        if detail == Detail::Coarse {
            return;
        }
        let seam = self.face(d, [x - 0.03, x + 0.03, 1.0, height - 0.1]);
        self.canvas.rect(seam, Color::BLACK, 0.35);
        let bar = self.face(d, [x - half, x + half, 0.9, 1.0]);
        self.canvas.rect(bar, Color::BLACK, 0.4);
        if detail == Detail::Fine {
            let bumper = self.face(d, [x - half * 0.95, x + half * 0.95, 0.5, 0.64]);
            let red = self.tone(Color([0.75, 0.1, 0.08]), d, x, 0.9);
            self.canvas.rect(bumper, red, 0.9);
            let edge = self.face(d, [x - half, x + half, height - 0.1, height]);
            self.canvas.rect(edge, Color::BLACK, 0.2);
        }
    }

    fn windscreen(&mut self, actor: &Actor, d: f32, half: f32, [low, high]: [f32; 2]) {
        let x = actor.x;
        let sky = self.light.zenith.mix(self.light.horizon, 0.6);
        let pane = self
            .tone(GLASS, d, x, 1.0)
            .mix(sky, 0.15 * self.light.clear(d));
        let glass = self.face(d, [x - half, x + half, low, high]);
        self.canvas.rect(glass, pane, 1.0);
        if self.detail(d, high) != Detail::Coarse {
            let grille = self.face(d, [x - half * 0.7, x + half * 0.7, 0.6, 1.1]);
            self.canvas.rect(grille, Color::BLACK, 0.45);
        }
    }

    fn side_wheels(&mut self, actor: &Actor, near: f32, half: f32, length: f32) {
        let at = if actor.oncoming {
            [0.14 * length, 0.72 * length, 0.85 * length]
        } else {
            [0.15 * length, 0.28 * length, 0.86 * length]
        };
        for side in [-1.0, 1.0] {
            let x = actor.x + side * half;
            let turn = self.p(near + length, x, 0.5)[0] - self.p(near, x, 0.5)[0];
            if turn * side > 0.5 {
                self.wheels(near, x, &at, 0.48);
            }
        }
    }

    pub(super) fn bus(&mut self, actor: &Actor, look: Look) {
        let shape = look.kind.shape();
        let (near, half) = (actor.d - shape.length / 2.0, shape.width / 2.0);
        let solid = self.solidity(near, shape.height);
        let block = Block {
            near,
            length: shape.length,
            sides: [actor.x - half, actor.x + half],
            low: 0.35,
            high: shape.height,
        };
        self.shadow(actor);
        self.wet_mirror(actor, look.paint.color(), shape.height);
        self.block(&block, look.paint.color(), solid);
        // After dark one sees into the lit bus.
        let inside = (self.light.windows > 0.3).then_some(Color([0.75, 0.7, 0.5]));
        for (x, outward) in [(block.sides[0], -1.0), (block.sides[1], 1.0)] {
            if self.shows(&block, x, outward) {
                let (a, b) = (near + 0.5, near + shape.length - 0.5);
                let band = [(a, 1.3), (a, 2.5), (b, 2.5), (b, 1.3)].map(|(d, y)| self.p(d, x, y));
                let glass = self.tone(GLASS, actor.d.max(NEAR), x, 0.9);
                let pane = inside.map_or(glass, |inside| self.emit(inside, actor.d));
                self.canvas.polygon(&band, pane, solid);
            }
        }
        self.side_wheels(actor, near, half, shape.length);
        if near > NEAR {
            self.bus_end(actor, near, half, inside);
        }
        self.lights(actor, [0.8, half - 0.3], near);
    }

    fn bus_end(&mut self, actor: &Actor, near: f32, half: f32, inside: Option<Color>) {
        let x = actor.x;
        let [low, high] = if actor.oncoming {
            [1.1, 2.6]
        } else {
            [1.6, 2.5]
        };
        let pane = self.face(near, [x - half * 0.88, x + half * 0.88, low, high]);
        let sky = self.light.zenith.mix(self.light.horizon, 0.6);
        let glass = self.tone(GLASS, near, x, 1.0);
        let glass = glass.mix(sky, 0.15 * self.light.clear(near));
        let glass = inside.map_or(glass, |inside| glass.mix(inside, 0.35));
        self.canvas.rect(pane, glass, self.solidity(near, high));
        if actor.oncoming && self.detail(near, 3.0) != Detail::Coarse {
            let sign = self.face(near, [x - 0.7, x + 0.7, 2.68, 2.92]);
            let amber = self.emit(Color([0.95, 0.65, 0.15]), near);
            self.canvas.rect(sign, amber, 1.0);
        }
    }
}
