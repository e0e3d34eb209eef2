//! People on the pavement.

use crate::color::Color;
use crate::traffic::Actor;
use crate::vehicle::Paint;
use crate::view::NEAR;

use super::{Detail, Stage};

impl Stage<'_> {
    pub(super) fn person(&mut self, actor: &Actor) {
        let (d, x) = (actor.d, actor.x);
        if d < NEAR + 0.3 {
            return;
        }
        let solid = self.solidity(d, 1.7);
        let coat = actor
            .dice
            .pick(30, &Paint::ALL)
            .color()
            .mix(Color::gray(0.4), 0.25);
        let coat = self.tone(coat, d, x, 0.9);
        let legs = actor.dice.pick(31, &[0x2b3142u32, 0x3a342e, 0x202024]);
        let legs = self.tone(Color::hex(legs), d, x, 0.9);
        let skin = actor.dice.pick(32, &[0xe2b895u32, 0xb98560, 0x80553a]);
        let skin = self.tone(Color::hex(skin), d, x, 0.95);
        let torso = self.face(d, [x - 0.23, x + 0.23, 0.78, 1.48]);
        let [head_x, head_y] = self.p(d, x, 1.61);
        let size = self.view.scale(d) * 0.125;
        if self.detail(d, 1.7) == Detail::Coarse {
            let lower = self.face(d, [x - 0.15, x + 0.15, 0.0, 0.8]);
            self.canvas.rect(lower, legs, solid);
            self.canvas.rect(torso, coat, solid);
            let head = [head_x - size, head_y - size, head_x + size, head_y + size];
            self.canvas.rect(head, skin, solid);
            return;
        }
        // Two steps a second, the legs to and fro as one sees them from ahead.
        let phase = 5.6 * self.t + f64::from(actor.dice.unit(33)) * std::f64::consts::TAU;
        let swing = libm::sin(phase) as f32;
        let leg = |side: f32| {
            let lift = 0.1 * (side * swing).max(0.0);
            self.face(
                d,
                [x + side * 0.1 - 0.075, x + side * 0.1 + 0.075, lift, 0.82],
            )
        };
        let rects = [leg(-1.0), leg(1.0)];
        let shade = self.face(d, [x - 0.3, x + 0.3, -0.04, 0.04]);
        self.canvas.rect(shade, Color::BLACK, 0.35);
        self.canvas.rects(&rects, legs, solid);
        let arm = |side: f32| {
            let out = x + side * (0.27 + 0.02 * swing);
            self.face(d, [out - 0.05, out + 0.05, 0.85, 1.42])
        };
        let arms = [arm(-1.0), arm(1.0)];
        self.canvas.rects(&arms, coat * 0.85, solid);
        self.canvas.rect(torso, coat, solid);
        let head: Vec<[f32; 2]> = super::circle(10)
            .map(|[c, s]| [head_x + c * size, head_y + s * size * 1.15])
            .collect();
        self.canvas.polygon(&head, skin, solid);
    }
}
