//! How a picture becomes one of the window's size, and its boxes with it.

use vldm_media::{Filter, Frame, resize};

use super::sample::{Fit, Placement, Window};
use crate::conditioning::boxes::ObjectBox;
use crate::error::Result;

/// A box is kept when at least this share of its area remains in the picture.
const KEPT: f64 = 0.2;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rect {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// The way from a picture to the window: a part of it, that part at another size, and of this
/// again a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framing {
    picture: (u32, u32),
    outer: Rect,
    scaled: (u32, u32),
    inner: Rect,
}

impl Framing {
    /// For pictures of `picture` (width, height); the window has been checked against them.
    pub(super) fn new(picture: (u32, u32), window: &Window, placement: Placement) -> Self {
        let target = (window.width, window.height);
        let scaled = match window.fit {
            Fit::Crop => target,
            Fit::Patch { of: Some([h, w]) } => (w, h),
            Fit::Patch { of: None } => picture,
        };
        let place = |at: f64, room: u32| ((at * f64::from(room + 1)) as u32).min(room);
        Self {
            picture,
            outer: middle(picture, scaled),
            scaled,
            inner: Rect {
                left: place(placement.x, scaled.0.saturating_sub(target.0)),
                top: place(placement.y, scaled.1.saturating_sub(target.1)),
                width: target.0,
                height: target.1,
            },
        }
    }

    /// The picture as the window shows it.
    pub(super) fn frame(&self, frame: &Frame) -> Result<Frame> {
        let (width, height) = self.scaled;
        let outer = cut(frame, self.outer)?;
        let scaled = resize(&outer, width, height, Filter::Bicubic)?;
        cut(&scaled, self.inner)
    }

    /// The boxes as the window shows them: cut at its edges, dropped when less than a fifth of
    /// their area remains.
    pub(super) fn boxes(&self, boxes: &[ObjectBox]) -> Vec<ObjectBox> {
        boxes
            .iter()
            .filter_map(|object| self.moved(object))
            .collect()
    }

    fn moved(&self, object: &ObjectBox) -> Option<ObjectBox> {
        let x = |share: f32| {
            let pixel = f64::from(share) * f64::from(self.picture.0) - f64::from(self.outer.left);
            let scaled = pixel * f64::from(self.scaled.0) / f64::from(self.outer.width);
            (scaled - f64::from(self.inner.left)) / f64::from(self.inner.width)
        };
        let y = |share: f32| {
            let pixel = f64::from(share) * f64::from(self.picture.1) - f64::from(self.outer.top);
            let scaled = pixel * f64::from(self.scaled.1) / f64::from(self.outer.height);
            (scaled - f64::from(self.inner.top)) / f64::from(self.inner.height)
        };
        let whole = [x(object.x0), y(object.y0), x(object.x1), y(object.y1)];
        let cut = whole.map(|edge| edge.clamp(0.0, 1.0));
        let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0) * (y1 - y0);
        let [x0, y0, x1, y1] = cut.map(|edge| edge as f32);
        let kept = area(cut) >= KEPT * area(whole) && x0 < x1 && y0 < y1;
        kept.then_some(ObjectBox {
            x0,
            y0,
            x1,
            y1,
            class: object.class,
        })
    }
}

/// The largest rectangle of the shape of `shape`, in the middle of a picture.
fn middle(picture: (u32, u32), shape: (u32, u32)) -> Rect {
    let (w, h) = (u64::from(picture.0), u64::from(picture.1));
    let (a, b) = (u64::from(shape.0), u64::from(shape.1));
    let round = |num: u64, den: u64| ((num + den / 2) / den).max(1);
    let (width, height) = match w * b > h * a {
        true => (round(h * a, b).min(w), h),
        false => (w, round(w * b, a).min(h)),
    };
    Rect {
        left: ((w - width) / 2) as u32,
        top: ((h - height) / 2) as u32,
        width: width as u32,
        height: height as u32,
    }
}

fn cut(frame: &Frame, rect: Rect) -> Result<Frame> {
    if frame.size() == (rect.width, rect.height) {
        return Ok(frame.clone());
    }
    let (left, bytes) = (rect.left as usize * 3, rect.width as usize * 3);
    let mut rgb = Vec::with_capacity(bytes * rect.height as usize);
    for y in rect.top..rect.top + rect.height {
        rgb.extend_from_slice(&frame.row(y)[left..left + bytes]);
    }
    Ok(Frame::new(rect.width, rect.height, rgb)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: (u32, u32), fit: Fit) -> Window {
        Window {
            frames: 1,
            fps: None,
            height: size.1,
            width: size.0,
            fit,
        }
    }

    fn at(x: f64, y: f64) -> Placement {
        Placement { time: 0.0, x, y }
    }

    /// The picture is black but for the box, which is white: where the white went is where the box
    /// should have gone.
    fn check(size: (u32, u32), window: &Window, placement: Placement, edges: [u32; 4]) {
        let [x0, y0, x1, y1] = edges;
        let picture = Frame::from_fn(size.0, size.1, |x, y| {
            let inside = (x0..x1).contains(&x) && (y0..y1).contains(&y);
            [if inside { 255 } else { 0 }; 3]
        });
        let framing = Framing::new(size, window, placement);
        let frame = framing.frame(&picture.unwrap()).unwrap();
        assert_eq!(frame.size(), (window.width, window.height));
        let share = |edge: u32, side: u32| edge as f32 / side as f32;
        let object = ObjectBox {
            x0: share(x0, size.0),
            y0: share(y0, size.1),
            x1: share(x1, size.0),
            y1: share(y1, size.1),
            class: 2,
        };
        let white = |x: u32, y: u32| frame.pixel(x, y)[0] > 127;
        let lit = |x: u32| (0..frame.height()).any(|y| white(x, y));
        let columns: Vec<u32> = (0..frame.width()).filter(|&x| lit(x)).collect();
        let rows: Vec<u32> = (0..frame.height())
            .filter(|&y| (0..frame.width()).any(|x| white(x, y)))
            .collect();
        let moved = framing.boxes(&[object]);
        let (Some(left), Some(top)) = (columns.first(), rows.first()) else {
            assert!(moved.is_empty(), "{moved:?}");
            return;
        };
        let Some(moved) = moved.first() else {
            // Dropped: at most a fifth of its area remains.
            let (_, sy) = (framing.scaled.0, framing.scaled.1);
            let scale = f64::from(sy) / f64::from(framing.outer.height);
            let whole = f64::from((x1 - x0) * (y1 - y0)) * scale * scale;
            let rest = (columns.len() * rows.len()) as f64;
            assert!(rest < 0.35 * whole, "{rest} of {whole} pixels remain");
            return;
        };
        let pixels = [
            moved.x0 * window.width as f32 - *left as f32,
            moved.y0 * window.height as f32 - *top as f32,
            moved.x1 * window.width as f32 - (columns[columns.len() - 1] + 1) as f32,
            moved.y1 * window.height as f32 - (rows[rows.len() - 1] + 1) as f32,
        ];
        assert_eq!(moved.class, 2);
        assert!(
            pixels.iter().all(|miss| miss.abs() <= 1.0),
            "{window:?} {placement:?} {edges:?}: off by {pixels:?} pixels"
        );
    }

    #[test]
    fn boxes_move_with_the_picture() {
        let fits = [
            window((40, 40), Fit::Crop),
            window((96, 30), Fit::Crop),
            window((40, 40), Fit::Patch { of: None }),
            window((40, 40), Fit::Patch { of: Some([60, 80]) }),
            window((40, 40), Fit::Patch { of: Some([40, 90]) }),
        ];
        for window in &fits {
            for placement in [at(0.0, 0.0), at(0.4, 0.7), at(0.999, 0.999)] {
                for x in [0, 20, 60, 90] {
                    for y in [0, 10, 40] {
                        check((120, 60), window, placement, [x, y, x + 30, y + 20]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_box_is_dropped_when_less_than_a_fifth_remains() {
        let framing = Framing::new((100, 50), &window((50, 50), Fit::Crop), at(0.0, 0.0));
        let object = |x0: f32, x1: f32| ObjectBox {
            x0,
            y0: 0.0,
            x1,
            y1: 1.0,
            class: 0,
        };
        // The window shows the columns 25 to 75.
        assert_eq!(framing.boxes(&[object(0.05, 0.29)]), []);
        assert_eq!(framing.boxes(&[object(0.05, 0.20)]), []);
        let kept = framing.boxes(&[object(0.05, 0.31)]);
        assert_eq!(kept[0].x0, 0.0);
        assert!((kept[0].x1 - 0.12).abs() < 1e-6, "{kept:?}");
    }

    #[test]
    fn a_crop_is_that_of_the_media_crate() {
        let picture = Frame::from_fn(37, 50, |x, y| [x as u8 * 5, y as u8 * 4, 99]).unwrap();
        for (width, height) in [(16, 16), (64, 20), (7, 31), (37, 50)] {
            let window = window((width, height), Fit::Crop);
            let ours = Framing::new((37, 50), &window, at(0.9, 0.9)).frame(&picture);
            let theirs =
                vldm_media::resize_to_fill(&picture, width, height, Filter::Bicubic).unwrap();
            assert!(ours.unwrap() == theirs, "{width}x{height}");
        }
    }
}
