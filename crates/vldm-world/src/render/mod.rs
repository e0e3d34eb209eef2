//! From a moment of the world to a picture: sky, ground, then everything else from far to near.

mod canvas;
mod car;
mod ground;
mod lights;
mod lorry;
mod person;
mod prop;
mod rain;
mod sky;
mod structure;

use vldm_media::Frame;

use crate::color::Color;
use crate::dice::{Dice, Purpose};
use crate::light::Light;
use crate::props::Prop;
use crate::scene::{Scene, Weather};
use crate::traffic::{Actor, Body};
use crate::vehicle::VehicleKind;
use crate::view::View;

use canvas::Canvas;
use ground::Ground;
use sky::Sky;

/// What a scene looks like, whatever the moment.
#[derive(Debug, Clone)]
pub(crate) struct Painter {
    pub(crate) light: Light,
    ground: Ground,
    sky: Sky,
    rain: Option<Dice>,
}

/// The picture being painted, and all that shapes need to know.
pub(crate) struct Stage<'a> {
    canvas: Canvas,
    view: &'a View,
    light: &'a Light,
    /// Seconds from the clip's beginning.
    t: f64,
}

/// How much of a thing's own parts a picture can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Coarse,
    Middle,
    Fine,
}

impl Painter {
    pub(crate) fn new(scene: &Scene, world: Dice) -> Self {
        Self {
            light: Light::new(scene),
            ground: Ground::new(scene, world.of(Purpose::Texture)),
            sky: Sky::new(scene, world),
            rain: (scene.weather == Weather::Rain).then(|| world.of(Purpose::Rain)),
        }
    }

    /// Paints a picture; `speed` in metres per second slants the rain.
    pub(crate) fn paint(
        &self,
        view: &View,
        [t, speed]: [f64; 2],
        actors: &[Actor],
        props: &[Prop],
    ) -> Frame {
        let mut canvas = Canvas::new(view.width, view.height).expect("sizes were checked");
        self.sky.draw(&mut canvas, view, &self.light, t);
        self.ground.draw(&mut canvas, view, &self.light);
        let mut stage = Stage {
            canvas,
            view,
            light: &self.light,
            t,
        };
        // From far to near; what is at the same distance keeps its order.
        let mut order: Vec<(f32, Item)> = props
            .iter()
            .map(|prop| (prop.depth(), Item::Prop(prop)))
            .chain(actors.iter().map(|actor| (actor.d, Item::Actor(actor))))
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, item) in order {
            let (near, x) = match item {
                Item::Prop(prop) => (prop.near(), prop.x),
                Item::Actor(actor) => (actor.d - actor.size()[0] / 2.0, actor.x),
            };
            // The ground was painted first: what a hill hides of the item is painted back.
            let hidden = view.hidden_below(near, x);
            let saved = hidden.map(|row| (row, stage.canvas.save(row)));
            match item {
                Item::Prop(prop) => stage.prop(prop),
                Item::Actor(actor) => stage.actor(actor),
            }
            if let Some((row, pixels)) = saved {
                stage.canvas.restore(row, &pixels);
            }
        }
        if let Some(dice) = self.rain {
            stage.rain(dice, speed as f32);
        }
        stage.canvas.into_frame()
    }
}

enum Item<'a> {
    Prop(&'a Prop),
    Actor(&'a Actor),
}

impl Stage<'_> {
    fn actor(&mut self, actor: &Actor) {
        match actor.body {
            Body::Pedestrian => self.person(actor),
            Body::Vehicle(look) => match look.kind {
                VehicleKind::Truck => self.truck(actor, look),
                VehicleKind::Bus => self.bus(actor, look),
                _ => self.car(actor, look),
            },
        }
    }

    /// A point of the world on the picture.
    fn p(&self, d: f32, x: f32, y: f32) -> [f32; 2] {
        self.view.project(d, x, y)
    }

    /// A colour in the light at distance `d` and place `x`, `face` being how well its surface is
    /// lit, seen through the air.
    fn tone(&self, color: Color, d: f32, x: f32, face: f32) -> Color {
        let aside = self.view.aside(d, x);
        let s = self.view.s + f64::from(d);
        let lit = color * self.light.on(d, aside, s, x) * face;
        self.light.through_air(lit, d)
    }

    /// A colour that gives light itself, seen through the air.
    fn emit(&self, color: Color, d: f32) -> Color {
        self.light.through_air(color, 0.5 * d)
    }

    /// How large something of `height` metres is drawn.
    fn detail(&self, d: f32, height: f32) -> Detail {
        match self.view.scale(d) * height {
            size if size < 5.0 => Detail::Coarse,
            size if size < 14.0 => Detail::Middle,
            _ => Detail::Fine,
        }
    }

    /// How solid something of `height` metres is painted: what is smaller than a pixel fades.
    fn solidity(&self, d: f32, height: f32) -> f32 {
        (self.view.scale(d) * height - 0.4).clamp(0.0, 1.0)
    }

    /// An upright rectangle facing the camera, at distance `d`, `sides` being left, right, lower
    /// and upper.
    fn face(&self, d: f32, [x0, x1, y0, y1]: [f32; 4]) -> [f32; 4] {
        let [left, bottom] = self.p(d, x0, y0);
        let [right, top] = self.p(d, x1, y1);
        [left, top, right, bottom]
    }

    /// The smallest radius in pixels of a light that does not flicker.
    fn spark(&self) -> f32 {
        (0.012 * self.view.focal).max(1.3)
    }
}

/// `points` cosines and sines around a circle.
fn circle(points: usize) -> impl Iterator<Item = [f32; 2]> {
    (0..points).map(move |i| {
        let angle = std::f32::consts::TAU * i as f32 / points as f32;
        let (sin, cos) = libm::sincosf(angle);
        [cos, sin]
    })
}
