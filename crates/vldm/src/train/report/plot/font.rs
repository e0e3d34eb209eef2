//! Letters as outlines, from a font that is compiled in: a plot looks the same on every machine,
//! with or without fonts. Its origin and licence are told in `font/README.md`.

use tiny_skia::{Path, PathBuilder, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

const BYTES: &[u8] = include_bytes!("font/Roboto-Regular-subset.ttf");

/// The font of all plots.
pub(super) struct Font {
    face: Face<'static>,
}

impl Font {
    pub(super) fn new() -> Self {
        let face = Face::parse(BYTES, 0).expect("the font that is compiled in can be read");
        Self { face }
    }

    /// Pixels per unit of the font at `size` pixels per em.
    fn scale(&self, size: f32) -> f32 {
        size / f32::from(self.face.units_per_em())
    }

    /// The letter, or the empty box that stands for letters which the font lacks.
    fn glyph(&self, letter: char) -> GlyphId {
        let letter = if letter.is_control() { ' ' } else { letter };
        self.face.glyph_index(letter).unwrap_or_default()
    }

    fn advance(&self, glyph: GlyphId) -> f32 {
        f32::from(self.face.glyph_hor_advance(glyph).unwrap_or(0))
    }

    /// Width of a line in pixels.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        let advances = text.chars().map(|letter| self.advance(self.glyph(letter)));
        advances.sum::<f32>() * self.scale(size)
    }

    /// The line, or as much of its beginning as fits into `width` pixels, and an ellipsis.
    pub(super) fn fitted(&self, text: &str, size: f32, width: f32) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let room = width / self.scale(size) - self.advance(self.glyph('…'));
        let mut end = 0.0;
        let fits = |letter: &char| {
            end += self.advance(self.glyph(*letter));
            end <= room
        };
        let mut kept: String = text.chars().take_while(fits).collect();
        kept.truncate(kept.trim_end().len());
        kept + "…"
    }

    /// The outline of a line that begins at `[x, y]` on its base line; `None` of blanks.
    pub(super) fn outline(&self, text: &str, size: f32, [x, y]: [f32; 2]) -> Option<Path> {
        let scale = self.scale(size);
        let mut pen = Pen {
            path: PathBuilder::new(),
            x: 0.0,
        };
        for letter in text.chars() {
            let glyph = self.glyph(letter);
            self.face.outline_glyph(glyph, &mut pen);
            pen.x += self.advance(glyph);
        }
        // Fonts count upwards, pictures downwards.
        let place = Transform::from_row(scale, 0.0, 0.0, -scale, x, y);
        pen.path.finish()?.transform(place)
    }
}

/// Puts letters beside one another, in units of the font.
struct Pen {
    path: PathBuilder,
    x: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let left = self.x;
        self.path
            .cubic_to(left + x1, y1, left + x2, y2, left + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_what_plots_write() {
        let font = Font::new();
        let letters = "0123456789.,−×⁰¹²³⁴⁵⁶⁷⁸⁹⁻σ=·…ÅβЖ";
        for letter in letters.chars().chain('!'..='~') {
            assert_ne!(font.glyph(letter), GlyphId(0), "{letter}");
            assert!(
                font.outline(&letter.to_string(), 14.0, [0.0, 0.0])
                    .is_some()
            );
        }
        // Columns of numbers stand straight.
        for digit in '0'..='9' {
            assert_eq!(font.width(&digit.to_string(), 14.0), font.width("0", 14.0));
        }
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        let font = Font::new();
        let check = |text: &str, expected: &str| {
            let fitted = font.fitted(text, 10.0, 60.0);
            assert_eq!(fitted, expected);
            assert!(font.width(&fitted, 10.0) <= 60.0);
        };
        check("short", "short");
        check("longer than the place for it", "longer than…");
        check("车车", "车车");
        check("", "");
    }

    #[test]
    fn letters_without_a_shape_are_boxes_or_blanks() {
        let font = Font::new();
        assert!(font.outline("车", 14.0, [0.0, 0.0]).is_some());
        assert!(font.outline(" \n\t", 14.0, [0.0, 0.0]).is_none());
    }
}
