//! Which objects a picture shows, and where.

use crate::light::Light;
use crate::props::Prop;
use crate::traffic::{Actor, ObjectId};
use crate::vehicle::Class;
use crate::view::{NEAR, View};

/// The most boxes of a frame; the nearest ones are kept.
pub const MAX_BOXES: usize = 32;
/// A box has at least so many pixels on each side.
pub const MIN_PIXELS: f32 = 2.0;
/// A box is dropped when more than this share of it is hidden.
const MAX_HIDDEN: f32 = 0.6;
/// A box is dropped when the air leaves less than this share of its object's colour.
const MIN_CLEAR: f32 = 0.08;

/// One object on a frame.
///
/// Coordinates are shares of the frame's width and height, from the upper left, clipped to the
/// picture: `0 <= x0 < x1 <= 1` and `0 <= y0 < y1 <= 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectBox {
    /// Names the object in all frames of a world.
    pub id: ObjectId,
    /// What it is.
    pub class: Class,
    /// Left edge.
    pub x0: f32,
    /// Upper edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
    /// Metres from the camera to the object's nearer end, at least 0.
    pub distance: f32,
    /// The share of the box that nothing nearer hides, 0 to 1.
    pub visible: f32,
}

impl ObjectBox {
    /// `x0, y0, x1, y1`.
    #[must_use]
    pub fn corners(&self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }
}

/// A box with the object it stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) bounds: ObjectBox,
    pub(crate) actor: Actor,
}

/// What hides things: a distance and a rectangle in pixels.
struct Screen {
    d: f32,
    rect: [f32; 4],
}

/// Everything visible, the nearest first.
pub(crate) fn seen(view: &View, light: &Light, actors: &[Actor], props: &[Prop]) -> Vec<Seen> {
    let mut screens: Vec<Screen> = props
        .iter()
        .filter(|prop| prop.fade > 0.5)
        .filter_map(|prop| {
            let [d, x0, x1, low, high] = prop.screen()?;
            let [[left, bottom], [right, top]] =
                [view.project(d, x0, low), view.project(d, x1, high)];
            Some(Screen {
                d,
                rect: [left, top, right, bottom],
            })
        })
        .collect();
    let mut found: Vec<(&Actor, [f32; 4])> = actors
        .iter()
        .filter_map(|actor| Some((actor, outline(view, actor)?)))
        .collect();
    found.sort_by(|a, b| a.0.d.total_cmp(&b.0.d).then(a.0.id.cmp(&b.0.id)));
    screens.extend(
        found
            .iter()
            .map(|&(actor, rect)| Screen { d: actor.d, rect }),
    );
    let mut boxes: Vec<Seen> = found
        .iter()
        .filter_map(|&(actor, rect)| judge(view, light, actor, rect, &screens))
        .collect();
    boxes.truncate(MAX_BOXES);
    boxes
}

/// The rectangle around an object in pixels, not clipped; `None` behind the camera.
fn outline(view: &View, actor: &Actor) -> Option<[f32; 4]> {
    let [length, width, height] = actor.size();
    let (near, far) = (actor.d - length / 2.0, actor.d + length / 2.0);
    if far < NEAR + 0.3 {
        return None;
    }
    // What is beside the camera comes into the picture only at some distance.
    let aside = |x: f32| view.aside(actor.d.max(0.0), actor.x + x);
    let (left, right) = (aside(-width / 2.0), aside(width / 2.0));
    let inner = left.max(-right).max(0.0);
    let enters = 2.0 * inner * view.focal / view.width as f32;
    let near = near.max(NEAR).max(enters);
    if far <= near {
        return None;
    }
    let mut rect = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
    for d in [near, far] {
        for x in [actor.x - width / 2.0, actor.x + width / 2.0] {
            for y in [0.0, height] {
                let [column, row] = view.project(d, x, y);
                rect = [
                    rect[0].min(column),
                    rect[1].min(row),
                    rect[2].max(column),
                    rect[3].max(row),
                ];
            }
        }
    }
    Some(rect)
}

fn judge(
    view: &View,
    light: &Light,
    actor: &Actor,
    rect: [f32; 4],
    screens: &[Screen],
) -> Option<Seen> {
    let (w, h) = (view.width as f32, view.height as f32);
    let near = (actor.d - actor.size()[0] / 2.0).max(0.0);
    let [x0, y0] = [rect[0].max(0.0), rect[1].max(0.0)];
    let x1 = rect[2].min(w);
    let bottom = view
        .hidden_below(near, actor.x)
        .map_or(rect[3], |row| row.max(0.0));
    let y1 = bottom.min(h);
    if x1 - x0 < MIN_PIXELS || y1 - y0 < MIN_PIXELS || light.clear(near) < MIN_CLEAR {
        return None;
    }
    let visible = 1.0 - hidden([x0, y0, x1, y1], actor, screens);
    (visible >= 1.0 - MAX_HIDDEN).then_some(Seen {
        bounds: ObjectBox {
            id: actor.id,
            class: actor.class(),
            x0: x0 / w,
            y0: y0 / h,
            x1: x1 / w,
            y1: y1 / h,
            distance: near,
            visible,
        },
        actor: *actor,
    })
}

/// The share of a rectangle behind nearer ones, on a grid of points.
fn hidden([x0, y0, x1, y1]: [f32; 4], actor: &Actor, screens: &[Screen]) -> f32 {
    const GRID: usize = 8;
    let nearer: Vec<&[f32; 4]> = screens
        .iter()
        .filter(|screen| screen.d < actor.d)
        .map(|screen| &screen.rect)
        .filter(|r| r[0] < x1 && r[2] > x0 && r[1] < y1 && r[3] > y0)
        .collect();
    if nearer.is_empty() {
        return 0.0;
    }
    let mut covered = 0;
    for i in 0..GRID * GRID {
        let at = |n: usize| (n as f32 + 0.5) / GRID as f32;
        let x = x0 + (x1 - x0) * at(i % GRID);
        let y = y0 + (y1 - y0) * at(i / GRID);
        let under = |r: &&[f32; 4]| r[0] <= x && x <= r[2] && r[1] <= y && y <= r[3];
        covered += usize::from(nearer.iter().any(under));
    }
    covered as f32 / (GRID * GRID) as f32
}
