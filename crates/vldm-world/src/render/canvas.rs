//! The picture while it is painted: pixels, and shapes through tiny-skia.

use tiny_skia::{FillRule, Paint, PathBuilder, Pixmap, Rect, Transform};
use vldm_media::Frame;

use crate::color::Color;

/// An opaque picture with anti-aliased shapes.
pub(crate) struct Canvas {
    pixmap: Pixmap,
    builder: PathBuilder,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Canvas {
    /// `None` when a side is zero or the picture does not fit in memory.
    pub(crate) fn new(width: usize, height: usize) -> Option<Self> {
        Some(Self {
            pixmap: Pixmap::new(width as u32, height as u32)?,
            builder: PathBuilder::new(),
            width,
            height,
        })
    }

    fn at(&self, x: usize, y: usize) -> usize {
        (y * self.width + x) * 4
    }

    /// Replaces a pixel.
    #[inline]
    pub(crate) fn set(&mut self, x: usize, y: usize, color: Color) {
        let [r, g, b] = color.bytes();
        let at = self.at(x, y);
        self.pixmap.data_mut()[at..at + 4].copy_from_slice(&[r, g, b, 255]);
    }

    #[inline]
    pub(crate) fn get(&self, x: usize, y: usize) -> Color {
        let at = self.at(x, y);
        let data = self.pixmap.data();
        Color([0, 1, 2].map(|c| f32::from(data[at + c]) / 255.0))
    }

    /// Covers the share `alpha` of a pixel.
    #[inline]
    pub(crate) fn blend(&mut self, x: usize, y: usize, color: Color, alpha: f32) {
        if alpha >= 1.0 {
            self.set(x, y, color);
        } else if alpha > 0.0 {
            let mixed = self.get(x, y).mix(color, alpha);
            self.set(x, y, mixed);
        }
    }

    /// The rows from `top` on, to be put back by [`Canvas::restore`].
    pub(crate) fn save(&self, top: f32) -> Vec<u8> {
        let first = (top.max(0.0) as usize).min(self.height);
        self.pixmap.data()[self.at(0, first)..].to_vec()
    }

    /// Undoes what was painted below the row `top` since `rows` were saved.
    pub(crate) fn restore(&mut self, top: f32, rows: &[u8]) {
        let top = top.max(0.0);
        let first = (top as usize).min(self.height);
        let start = self.at(0, first);
        let stride = (self.width * 4).min(rows.len());
        let kept = top - first as f32;
        let data = &mut self.pixmap.data_mut()[start..];
        let (edge, below) = data.split_at_mut(stride);
        // The first row is hidden in part.
        for (new, &old) in edge.iter_mut().zip(rows) {
            let (a, b) = (f32::from(old), f32::from(*new));
            *new = (a + (b - a) * kept + 0.5) as u8;
        }
        below.copy_from_slice(&rows[stride..]);
    }

    fn outside(&self, points: &[[f32; 2]]) -> bool {
        let (w, h) = (self.width as f32, self.height as f32);
        points.iter().all(|p| p[0] <= 0.0)
            || points.iter().all(|p| p[0] >= w)
            || points.iter().all(|p| p[1] <= 0.0)
            || points.iter().all(|p| p[1] >= h)
    }

    /// Fills a polygon with the share `alpha` of a colour.
    pub(crate) fn polygon(&mut self, points: &[[f32; 2]], color: Color, alpha: f32) {
        self.polygons(&[points], color, alpha);
    }

    /// Fills several polygons of one colour at once; they turn in the same direction.
    pub(crate) fn polygons(&mut self, shapes: &[&[[f32; 2]]], color: Color, alpha: f32) {
        let mut builder = std::mem::take(&mut self.builder);
        for points in shapes.iter().filter(|points| !self.outside(points)) {
            builder.move_to(points[0][0], points[0][1]);
            for point in &points[1..] {
                builder.line_to(point[0], point[1]);
            }
            builder.close();
        }
        if builder.is_empty() {
            self.builder = builder;
            return;
        }
        if let Some(path) = builder.finish() {
            let paint = paint(color, alpha);
            let pixmap = &mut self.pixmap;
            pixmap.fill_path(
                &path,
                &paint,
                FillRule::Winding,
                Transform::identity(),
                None,
            );
            self.builder = path.clear();
        }
    }

    /// Fills an upright rectangle `[left, top, right, bottom]`.
    pub(crate) fn rect(&mut self, [x0, y0, x1, y1]: [f32; 4], color: Color, alpha: f32) {
        let (w, h) = (self.width as f32, self.height as f32);
        let sides = [x0.max(0.0), y0.max(0.0), x1.min(w), y1.min(h)];
        let [x0, y0, x1, y1] = sides;
        if let Some(rect) = Rect::from_ltrb(x0, y0, x1, y1).filter(|_| x0 < x1 && y0 < y1) {
            let paint = paint(color, alpha);
            self.pixmap
                .fill_rect(rect, &paint, Transform::identity(), None);
        }
    }

    /// Fills several rectangles of one colour at once.
    pub(crate) fn rects(&mut self, rects: &[[f32; 4]], color: Color, alpha: f32) {
        if let [one] = rects {
            return self.rect(*one, color, alpha);
        }
        let corners: Vec<[[f32; 2]; 4]> = rects
            .iter()
            .map(|&[x0, y0, x1, y1]| [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
            .collect();
        let shapes: Vec<&[[f32; 2]]> = corners.iter().map(<[_; 4]>::as_slice).collect();
        self.polygons(&shapes, color, alpha);
    }

    /// Adds a round light with soft edges: full at `center`, nothing at the distances `radii` from
    /// it, in pixels.
    pub(crate) fn glow(&mut self, center: [f32; 2], radii: [f32; 2], light: Color) {
        let span = |middle: f32, radius: f32, end: usize| {
            let low = (middle - radius).max(0.0) as usize;
            low..((middle + radius + 1.0).clamp(0.0, end as f32) as usize)
        };
        let columns = span(center[0], radii[0], self.width);
        if columns.is_empty() {
            return;
        }
        for y in span(center[1], radii[1], self.height) {
            let v = (y as f32 + 0.5 - center[1]) / radii[1];
            let at = self.at(0, y);
            let row = &mut self.pixmap.data_mut()[at..at + self.width * 4];
            for x in columns.clone() {
                let u = (x as f32 + 0.5 - center[0]) / radii[0];
                let fall = (1.0 - u * u - v * v).max(0.0);
                let strength = fall * fall * fall * 255.0;
                for (byte, light) in row[4 * x..4 * x + 3].iter_mut().zip(light.0) {
                    let sum = f32::from(*byte) + light * strength;
                    *byte = sum.min(255.0) as u8;
                }
            }
        }
    }

    pub(crate) fn into_frame(self) -> Frame {
        let (w, h) = (self.width as u32, self.height as u32);
        let mut rgb = Vec::with_capacity(self.width * self.height * 3);
        for pixel in self.pixmap.data().chunks_exact(4) {
            rgb.extend_from_slice(&pixel[..3]);
        }
        Frame::new(w, h, rgb).expect("three bytes were taken of each pixel")
    }
}

fn paint(color: Color, alpha: f32) -> Paint<'static> {
    let [r, g, b] = color.bytes();
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, (alpha.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
    paint
}
