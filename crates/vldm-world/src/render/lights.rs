//! What every vehicle has: lights and their glow, a shadow, a reflection on a wet road.

use crate::color::Color;
use crate::traffic::Actor;
use crate::vehicle::Class;
use crate::view::NEAR;

use super::Stage;
use super::car::FLOOR;

/// Two lamps that shine.
struct Lamps {
    /// Metres right of the axis, and up.
    places: [[f32; 2]; 2],
    near: f32,
    color: Color,
    /// How strongly.
    on: f32,
}

impl Stage<'_> {
    /// The dark below a vehicle.
    pub(super) fn shadow(&mut self, actor: &Actor) {
        let [length, width, height] = actor.size();
        let (near, far) = (actor.d - length / 2.0 - 0.05, actor.d + length / 2.0);
        let half = width / 2.0 + 0.04;
        let left = [
            self.p(near, actor.x - half, 0.0),
            self.p(far, actor.x - half, 0.0),
        ];
        let right = [
            self.p(far, actor.x + half, 0.0),
            self.p(near, actor.x + half, 0.0),
        ];
        let soft = self.light.clear(actor.d) * self.solidity(near, height);
        // What can be seen of the gap below the body is dark too.
        let [_, raised] = self.p(near.max(NEAR), actor.x, FLOOR);
        let bottom = left[0][1].max(right[1][1]);
        if near > NEAR && bottom - raised > 0.2 {
            let inset = 0.08 * (right[1][0] - left[0][0]);
            let gap = [left[0][0] + inset, raised, right[1][0] - inset, bottom];
            self.canvas.rect(gap, Color::gray(0.02), 0.6 * soft);
        }
        self.canvas.polygon(
            &[left[0], left[1], right[0], right[1]],
            Color::BLACK,
            0.5 * soft,
        );
    }

    /// The body's reflection on a wet road.
    pub(super) fn wet_mirror(&mut self, actor: &Actor, color: Color, height: f32) {
        let [length, width, _] = actor.size();
        let near = actor.d - length / 2.0;
        if self.light.wet == 0.0 || near < NEAR || self.view.scale(near) * height < 2.5 {
            return;
        }
        let half = width / 2.0 * 0.95;
        let color = self.tone(color, near, actor.x, 0.7);
        // Fading downwards, in steps.
        for share in [0.35, 0.75] {
            let sides = [actor.x - half, actor.x + half, -share * height, -0.05];
            let rect = self.face(near, sides);
            self.canvas.rect(rect, color, 0.14);
        }
    }

    /// Head or tail lights at height `y`, `out` metres to both sides, and their glow.
    pub(super) fn lights(&mut self, actor: &Actor, [y, out]: [f32; 2], near: f32) {
        if near < NEAR {
            return;
        }
        let on = if actor.parked { 0.0 } else { self.light.lamps };
        let braking = actor.braking && !actor.oncoming;
        let lens = if actor.oncoming {
            [0.17, 0.075]
        } else {
            [0.17, 0.085]
        };
        let places = [-out, out].map(|dx| [actor.x + dx, y]);
        let rects = places
            .map(|[x, y]| self.face(near, [x - lens[0], x + lens[0], y - lens[1], y + lens[1]]));
        let solid = self.solidity(near, 1.2);
        let off = if actor.oncoming {
            Color::gray(0.8)
        } else {
            Color([0.5, 0.06, 0.05])
        };
        let lit = match (actor.oncoming, braking) {
            (true, _) => Color([1.0, 0.98, 0.9]),
            (_, true) => Color([1.0, 0.16, 0.12]),
            _ => Color([0.86, 0.09, 0.07]),
        };
        let shining = on > 0.0 || braking;
        let color = self.tone(off, near, actor.x, 1.0);
        let color = if shining { self.emit(lit, near) } else { color };
        self.canvas.rects(&rects, color, solid);
        if shining {
            let lamps = Lamps {
                places,
                near,
                color: lit,
                on: if braking { on.max(0.35) } else { on },
            };
            self.lamp_glow(actor, &lamps);
        }
        if braking && actor.class() == Class::Car && self.view.scale(near) > 8.0 {
            let top = actor.size()[2] - 0.14;
            let bar = self.face(near + 0.5, [actor.x - 0.2, actor.x + 0.2, top, top + 0.06]);
            let color = self.emit(lit, near);
            self.canvas.rect(bar, color, 1.0);
        }
    }

    fn lamp_glow(&mut self, actor: &Actor, lamps: &Lamps) {
        let Lamps {
            near, color, on, ..
        } = *lamps;
        let scale = self.view.scale(near);
        let clear = libm::sqrtf(self.light.clear(near)) * on;
        // Light spreads in the eye the darker it is around.
        let dark = 0.55 + 0.45 * on;
        let (size, strength) = match (actor.oncoming, actor.braking) {
            (true, _) => (1.5 * self.spark() + 0.55 * scale, 0.95),
            (_, true) => (1.15 * self.spark() + 0.42 * scale, 0.85),
            _ => (0.95 * self.spark() + 0.28 * scale, 0.6),
        };
        let size = size * dark;
        for [x, y] in lamps.places {
            let [column, row] = self.p(near, x, y);
            self.canvas
                .glow([column, row], [size; 2], color * (strength * clear));
            if self.light.wet > 0.0 {
                let ground = self.p(near, x, 0.0)[1];
                let tall = 1.5 * (ground - row) + size;
                let below = [column, ground + 0.55 * tall];
                self.canvas
                    .glow(below, [0.6 * size, tall], color * (0.4 * strength * clear));
            }
        }
    }
}
