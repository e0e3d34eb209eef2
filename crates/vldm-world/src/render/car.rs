//! Cars and vans: a body, a cabin on it, wheels.

use crate::color::Color;
use crate::traffic::Actor;
use crate::vehicle::{Livery, Look, Paint, VehicleKind};
use crate::view::NEAR;

use super::{Detail, Stage};

/// A car as the camera sees it: lengths count from the end that is nearer.
struct Model {
    near: f32,
    length: f32,
    x: f32,
    half: f32,
    roof: f32,
    height: f32,
    belt: f32,
    /// Height of the near and the far end; where their windows begin below and end above.
    end: [f32; 2],
    base: [f32; 2],
    top: [f32; 2],
    /// The distance of its middle, for its sides' light.
    middle: f32,
    oncoming: bool,
    look: Look,
    detail: Detail,
}

/// The underside of a car's body.
pub(super) const FLOOR: f32 = 0.28;
const GLASS: Color = Color([0.13, 0.16, 0.20]);

impl Model {
    fn new(actor: &Actor, look: Look, detail: Detail) -> Self {
        let shape = look.kind.shape();
        let rear = [shape.rear_end, shape.rear_base, shape.rear_top];
        let front = [shape.front_end, shape.front_base, shape.front_top];
        let (near, far) = if actor.oncoming {
            (front, rear)
        } else {
            (rear, front)
        };
        let inset = if look.kind == VehicleKind::Van {
            0.93
        } else {
            0.8
        };
        Self {
            near: actor.d - shape.length / 2.0,
            length: shape.length,
            x: actor.x,
            half: shape.width / 2.0,
            roof: shape.width / 2.0 * inset,
            height: shape.height,
            belt: shape.belt,
            end: [near[0], far[0]],
            base: [near[1], shape.length - far[1]],
            top: [near[2], shape.length - far[2]],
            middle: actor.d.max(NEAR),
            oncoming: actor.oncoming,
            look,
            detail,
        }
    }
}

impl Stage<'_> {
    pub(super) fn car(&mut self, actor: &Actor, look: Look) {
        let [length, _, height] = actor.size();
        let detail = self.detail(actor.d - length / 2.0, height);
        let model = Model::new(actor, look, detail);
        self.shadow(actor);
        self.wet_mirror(actor, look.paint.color(), model.belt);
        if detail == Detail::Coarse && look.livery == Livery::Plain {
            self.small_car(&model);
        } else {
            for side in [-1.0, 1.0] {
                self.car_side(&model, side);
            }
            if model.near > NEAR {
                self.car_upper(&model);
                self.car_end(&model);
            }
        }
        self.lights(
            actor,
            [0.62 * model.belt + 0.12, model.half - 0.24],
            model.near,
        );
    }

    /// A car of few pixels.
    fn small_car(&mut self, model: &Model) {
        let look = model.look;
        let (d, x) = (model.near.max(NEAR), model.x);
        let solid = self.solidity(d, model.height);
        let body = self.tone(look.paint.color(), d, x, 0.95);
        let cabin = body.mix(self.tone(GLASS, d, x, 1.0), 0.72);
        let mut lower = self.face(d, [x - model.half, x + model.half, 0.2, model.belt]);
        let far = self.face(
            model.near + model.length,
            [x - model.half, x + model.half, 0.2, model.belt],
        );
        lower[0] = lower[0].min(far[0]);
        lower[2] = lower[2].max(far[2]);
        let shrink = (model.half - model.roof) * self.view.scale(d) + 0.05;
        let [_, top] = self.p(d + model.top[0].min(1.0), x, model.height);
        let upper = [lower[0] + shrink, top, lower[2] - shrink, lower[1] + 0.05];
        self.canvas.rect(upper, cabin, solid);
        self.canvas.rect(lower, body, solid);
    }

    fn car_side(&mut self, model: &Model, side: f32) {
        let (m, look) = (model, model.look);
        let (x, inner) = (m.x + side * m.half, m.x + side * m.roof);
        let p = |stage: &Self, z: f32, x: f32, y: f32| stage.p(m.near + z, x, y);
        let turn = p(self, m.length, x, 0.5)[0] - p(self, 0.0, x, 0.5)[0];
        if turn * side < 0.25 && m.near > NEAR {
            return;
        }
        let belt_x = m.x + side * m.half * 0.97;
        let body = [
            p(self, 0.0, x, FLOOR),
            p(self, 0.0, x, m.end[0]),
            p(self, m.base[0], belt_x, m.belt),
            p(self, m.base[1], belt_x, m.belt),
            p(self, m.length, x, m.end[1]),
            p(self, m.length, x, FLOOR),
        ];
        let middle = m.middle;
        let paint = self.tone(look.paint.color(), middle, x, 0.72);
        self.canvas.polygon(&body, paint, 1.0);
        let cabin = |stage: &Self, z: f32, y: f32| {
            [
                p(stage, m.base[0] + 1.4 * z, belt_x, m.belt + 0.3 * y),
                p(stage, m.top[0] + z, inner, m.height - y),
                p(stage, m.top[1] - z, inner, m.height - y),
                p(stage, m.base[1] - 1.4 * z, belt_x, m.belt + 0.3 * y),
            ]
        };
        let glass = self.tone(GLASS, middle, x, 0.9);
        let frame = cabin(self, 0.0, 0.0);
        self.canvas.polygon(&frame, paint, 1.0);
        if look.kind != VehicleKind::Van {
            let window = cabin(self, 0.14, 0.1);
            self.canvas.polygon(&window, glass, 1.0);
        }
        let band = |stage: &Self, low: f32, high: f32| {
            [(0.0, low), (0.0, high), (m.length, high), (m.length, low)]
                .map(|(z, y)| p(stage, z, x, y))
        };
        match look.livery {
            Livery::Plain => {}
            Livery::Stripe { paint } => self.band(&band(self, 0.52, 0.78), paint, [middle, x]),
            Livery::TwoTone { paint } => {
                self.band(&band(self, FLOOR, 0.62), paint, [middle, x]);
            }
        }
        if m.detail == Detail::Fine {
            let pillar = [0.47, 0.5].map(|share| m.length * share);
            let post = [
                p(self, pillar[0], belt_x, m.belt),
                p(self, pillar[0], inner, m.height),
                p(self, pillar[1], inner, m.height),
                p(self, pillar[1], belt_x, m.belt),
            ];
            self.canvas.polygon(&post, paint, 1.0);
        }
        self.wheels(m.near, x, &[0.18 * m.length, 0.81 * m.length], 0.34);
    }

    fn band(&mut self, points: &[[f32; 2]], paint: Paint, [d, x]: [f32; 2]) {
        let color = self.tone(paint.color(), d, x, 0.73);
        self.canvas.polygon(points, color, 1.0);
    }

    /// Round wheels on the side of a vehicle, `at` metres from its near end.
    pub(super) fn wheels(&mut self, near: f32, x: f32, at: &[f32], radius: f32) {
        let rubber = self.tone(Color::gray(0.07), near.max(NEAR), x, 1.0);
        let rim = self.tone(Color::gray(0.55), near.max(NEAR), x, 0.8);
        for &z in at.iter().filter(|&&z| near + z - radius > NEAR) {
            let size = self.view.scale(near + z) * radius;
            let ring = |stage: &Self, share: f32, points: usize| -> Vec<[f32; 2]> {
                super::circle(points)
                    .map(|[c, s]| {
                        let (c, s) = (c * radius * share, s * radius * share);
                        stage.p(near + z + c, x, radius + s)
                    })
                    .collect()
            };
            let points = if size < 6.0 { 6 } else { 14 };
            let tyre = ring(self, 1.0, points);
            self.canvas.polygon(&tyre, rubber, 1.0);
            if size > 4.0 {
                let hub = ring(self, 0.58, points);
                self.canvas.polygon(&hub, rim, 1.0);
            }
        }
    }

    /// Boot or bonnet, window and roof of the near end.
    fn car_upper(&mut self, model: &Model) {
        let (m, look) = (model, model.look);
        let d = m.near;
        let paint = look.paint.color();
        let body = self.tone(paint, d, m.x, 0.9);
        let level = |stage: &Self, z: f32, half: f32, y: f32| {
            [stage.p(d + z, m.x - half, y), stage.p(d + z, m.x + half, y)]
        };
        let quad = |a: [[f32; 2]; 2], b: [[f32; 2]; 2]| [a[0], b[0], b[1], a[1]];
        let hood = [
            level(self, 0.0, m.half, m.end[0]),
            level(self, m.base[0], m.half * 0.97, m.belt),
            level(self, m.top[0], m.roof, m.height),
            level(self, m.top[1], m.roof, m.height),
        ];
        let shine = self.tone(paint.mix(Color::WHITE, 0.12), d, m.x, 1.1);
        // Roofs above the camera's height are not seen.
        if m.height < 1.5 && m.detail == Detail::Fine {
            self.canvas.polygon(&quad(hood[2], hood[3]), shine, 1.0);
        }
        self.canvas.polygon(&quad(hood[0], hood[1]), shine, 1.0);
        self.canvas.polygon(&quad(hood[1], hood[2]), body, 1.0);
        let frame = 0.06 * m.height;
        let glass = quad(
            level(self, m.base[0], m.half * 0.9, m.belt + 0.02),
            level(self, m.top[0], m.roof * 0.93, m.height - frame),
        );
        // Windows mirror a little of the sky.
        let sky = self.light.zenith.mix(self.light.horizon, 0.6);
        let pane = self
            .tone(GLASS, d, m.x, 1.0)
            .mix(sky, 0.16 * self.light.clear(d));
        self.canvas.polygon(&glass, pane, 1.0);
        if let Livery::Stripe { paint } = look.livery {
            let stripe = self.tone(paint.color(), d, m.x, 1.0);
            let wide = 0.3 * m.half;
            for [a, b] in [[2, 3], [0, 1]] {
                let z = [0.0, m.base[0], m.top[0], m.top[1]];
                let y = [m.end[0], m.belt, m.height, m.height];
                let strip = quad(level(self, z[a], wide, y[a]), level(self, z[b], wide, y[b]));
                self.canvas.polygon(&strip, stripe, 1.0);
            }
        }
        if m.detail == Detail::Fine {
            let rim = quad(
                level(self, m.top[0], m.roof * 0.93, m.height - frame * 0.6),
                level(self, m.top[0], m.roof * 0.93, m.height - frame),
            );
            self.canvas.polygon(&rim, body, 1.0);
        }
    }

    /// The flat face of the near end, and the wheels below it.
    fn car_end(&mut self, model: &Model) {
        let (m, look) = (model, model.look);
        let (d, x, half) = (m.near, m.x, m.half);
        let rubber = self.tone(Color::gray(0.05), d, x, 1.0);
        let tyre = |side: f32| {
            let outer = x + side * (half - 0.05);
            let inner = x + side * (half - 0.29);
            [outer.min(inner), outer.max(inner), 0.0, 0.4]
        };
        let tyres = [self.face(d, tyre(-1.0)), self.face(d, tyre(1.0))];
        self.canvas.rects(&tyres, rubber, 1.0);
        let paint = self.tone(look.paint.color(), d, x, 0.92);
        let round = 0.06;
        let outline = [
            (-half + round, FLOOR),
            (-half, FLOOR + 0.15),
            (-half, m.end[0] - round),
            (-half + round, m.end[0]),
            (half - round, m.end[0]),
            (half, m.end[0] - round),
            (half, FLOOR + 0.15),
            (half - round, FLOOR),
        ]
        .map(|(dx, y)| self.p(d, x + dx, y));
        self.canvas.polygon(&outline, paint, 1.0);
        match look.livery {
            Livery::Plain => {}
            Livery::Stripe { paint } => {
                let rect = self.face(d, [x - 0.3 * half, x + 0.3 * half, FLOOR, m.end[0]]);
                let color = self.tone(paint.color(), d, x, 0.95);
                self.canvas.rect(rect, color, 1.0);
            }
            Livery::TwoTone { paint } => {
                let rect = self.face(d, [x - half, x + half, FLOOR + 0.02, 0.62]);
                let color = self.tone(paint.color(), d, x, 0.92);
                self.canvas.rect(rect, color, 1.0);
            }
        }
        let bumper = self.face(d, [x - half * 0.97, x + half * 0.97, FLOOR, 0.4]);
        let dark = self.tone(Color::gray(0.12), d, x, 0.9);
        self.canvas.rect(bumper, dark, 0.8);
        if m.detail == Detail::Fine {
            let plate_y = if m.oncoming { 0.42 } else { 0.5 };
            let plate = self.face(d, [x - 0.26, x + 0.26, plate_y, plate_y + 0.13]);
            let white = self.tone(Color::gray(0.88), d, x, 0.95);
            if m.oncoming {
                let grille = self.face(d, [x - 0.5, x + 0.5, 0.42, 0.64]);
                self.canvas.rect(grille, dark, 0.9);
            } else {
                let seam = self.face(d, [x - half * 0.9, x + half * 0.9, 0.66, 0.68]);
                self.canvas.rect(seam, Color::BLACK, 0.25);
            }
            self.canvas.rect(plate, white, 1.0);
        }
    }
}
