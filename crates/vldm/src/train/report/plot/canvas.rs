//! The sheet on which a plot is drawn: lines, dots and letters through tiny-skia.

use tiny_skia::{
    FillRule, LineCap, LineJoin, Mask, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform,
};

use super::font::Font;

/// Red, green, blue, and how much of what lies below is covered.
pub(super) type Color = [u8; 4];

/// Where a text stands, relative to the point it is given.
#[derive(Clone, Copy)]
pub(super) enum Align {
    /// The text begins there.
    Left,
    /// Its middle is there.
    Middle,
    /// It ends there.
    Right,
}

/// Size and colour of a text.
#[derive(Clone, Copy)]
pub(super) struct Lettering {
    /// Pixels per em.
    pub(super) size: f32,
    pub(super) color: Color,
    pub(super) align: Align,
}

/// A white sheet.
pub(super) struct Canvas {
    pixmap: Pixmap,
    pub(super) font: Font,
    /// Outside of it lines and dots are invisible.
    window: Option<Mask>,
}

fn paint([r, g, b, a]: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, a);
    paint
}

impl Canvas {
    /// `None` when a side is zero or the sheet does not fit in memory.
    pub(super) fn new(width: u32, height: u32) -> Option<Self> {
        let mut pixmap = Pixmap::new(width, height)?;
        pixmap.fill(tiny_skia::Color::WHITE);
        Some(Self {
            pixmap,
            font: Font::new(),
            window: None,
        })
    }

    /// Hides lines and dots outside of a rectangle from now on, or nowhere.
    pub(super) fn set_window(&mut self, window: Option<Rect>) {
        self.window = window.and_then(|window| {
            let mut mask = Mask::new(self.pixmap.width(), self.pixmap.height())?;
            let path = PathBuilder::from_rect(window);
            mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
            Some(mask)
        });
    }

    fn fill(&mut self, path: &Path, color: Color) {
        self.pixmap.fill_path(
            path,
            &paint(color),
            FillRule::Winding,
            Transform::identity(),
            self.window.as_ref(),
        );
    }

    /// Draws a line through the points; a single point is a dot as wide as the line.
    pub(super) fn line(&mut self, points: &[[f32; 2]], color: Color, width: f32) {
        let [first, rest @ ..] = points else {
            return;
        };
        if rest.iter().all(|point| point == first) {
            self.dot(*first, color, width.max(3.0));
            return;
        }
        let mut path = PathBuilder::with_capacity(points.len(), points.len());
        path.move_to(first[0], first[1]);
        for &[x, y] in rest {
            path.line_to(x, y);
        }
        let stroke = Stroke {
            width,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        if let Some(path) = path.finish() {
            self.pixmap.stroke_path(
                &path,
                &paint(color),
                &stroke,
                Transform::identity(),
                self.window.as_ref(),
            );
        }
    }

    /// Draws a filled circle.
    pub(super) fn dot(&mut self, [x, y]: [f32; 2], color: Color, radius: f32) {
        if let Some(circle) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&circle, color);
        }
    }

    /// Draws a triangle that stands on `[x, y]` and points upwards.
    pub(super) fn wedge(&mut self, [x, y]: [f32; 2], color: Color) {
        let mut path = PathBuilder::new();
        path.move_to(x - 4.0, y);
        path.line_to(x + 4.0, y);
        path.line_to(x, y - 8.0);
        path.close();
        if let Some(path) = path.finish() {
            self.fill(&path, color);
        }
    }

    /// Writes a line of text whose base line goes through `[x, y]`.
    pub(super) fn text(&mut self, text: &str, [x, y]: [f32; 2], lettering: Lettering) {
        let Lettering { size, color, align } = lettering;
        let width = self.font.width(text, size);
        let left = match align {
            Align::Left => x,
            Align::Middle => x - width / 2.0,
            Align::Right => x - width,
        };
        if let Some(outline) = self.font.outline(text, size, [left, y]) {
            self.fill(&outline, color);
        }
    }

    /// The sheet as an RGB PNG file.
    pub(super) fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let rgb: Vec<u8> = self
            .pixmap
            .data()
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.pixmap.width(), self.pixmap.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}
