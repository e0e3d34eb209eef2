//! One panel of a plot: a frame with numbers, curves in it, and a legend beside it.

use tiny_skia::Rect;

use super::axis::Axis;
use super::canvas::{Align, Canvas, Color, Lettering};
use super::curves::Point;

/// What is written is dark, what helps to read is grey.
pub(super) const INK: Color = [0x22, 0x22, 0x22, 0xff];
pub(super) const GREY: Color = [0x66, 0x66, 0x66, 0xff];
const GRID: Color = [0xe4, 0xe4, 0xe4, 0xff];
const FINE_GRID: Color = [0xf3, 0xf3, 0xf3, 0xff];

/// Pixels from one entry of a legend to the next.
const LEGEND_LINE: f32 = 20.0;

/// Pixels, a place on the canvas, are bounded by this: paths take no numbers that are much larger.
const FAR: f64 = 1e4;

/// How a series looks.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// A line of that width.
    Line(f32),
    /// A line with a dot at each point.
    Dotted(f32),
    /// Wedges at the foot of the panel, whatever the values.
    Wedges,
}

/// Points of one kind.
pub(super) struct Series {
    pub(super) points: Vec<Point>,
    pub(super) look: Look,
    pub(super) color: Color,
    /// What the legend says; last a value, in grey.
    pub(super) legend: [String; 2],
}

/// A panel and where it is.
pub(super) struct Panel {
    pub(super) heading: String,
    /// Inside of the frame.
    pub(super) frame: Rect,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Whether the steps' numbers stand below.
    pub(super) has_step_numbers: bool,
    /// From back to front.
    pub(super) series: Vec<Series>,
}

impl Panel {
    pub(super) fn draw(&self, canvas: &mut Canvas) {
        self.draw_grid(canvas);
        // The last point lies on the frame's edge and is to be seen whole.
        canvas.set_window(self.frame.outset(5.0, 0.0));
        for series in &self.series {
            self.draw_series(canvas, series);
        }
        canvas.set_window(None);
        self.draw_frame(canvas);
        self.draw_legend(canvas);
    }

    fn column(&self, step: f64) -> f32 {
        let place = self.x.place(step) * f64::from(self.frame.width());
        self.frame.left() + place.clamp(-FAR, FAR) as f32
    }

    fn row(&self, value: f64) -> f32 {
        let place = self.y.place(value) * f64::from(self.frame.height());
        self.frame.bottom() - place.clamp(-FAR, FAR) as f32
    }

    fn draw_grid(&self, canvas: &mut Canvas) {
        let frame = self.frame;
        let numbers = Lettering {
            size: 14.0,
            color: GREY,
            align: Align::Middle,
        };
        for tick in self.x.whole_ticks((frame.width() / 110.0) as usize) {
            let x = self.column(tick.value);
            canvas.line(&[[x, frame.top()], [x, frame.bottom()]], GRID, 1.0);
            if let Some(label) = tick.label.filter(|_| self.has_step_numbers) {
                canvas.text(&label, [x, frame.bottom() + 21.0], numbers);
            }
        }
        let ticks = self.y.ticks((frame.height() / 42.0).max(3.0) as usize);
        let numbers = Lettering {
            align: Align::Right,
            ..numbers
        };
        // Fine lines first: they must not cross the others.
        for tick in ticks.iter().filter(|tick| tick.label.is_none()) {
            let y = self.row(tick.value);
            canvas.line(&[[frame.left(), y], [frame.right(), y]], FINE_GRID, 1.0);
        }
        for tick in &ticks {
            let Some(label) = &tick.label else { continue };
            let y = self.row(tick.value);
            canvas.line(&[[frame.left(), y], [frame.right(), y]], GRID, 1.0);
            canvas.text(label, [frame.left() - 10.0, y + 5.0], numbers);
        }
    }

    fn draw_frame(&self, canvas: &mut Canvas) {
        let frame = self.frame;
        let corners = [
            [frame.left(), frame.top()],
            [frame.left(), frame.bottom()],
            [frame.right(), frame.bottom()],
        ];
        canvas.line(&corners, GREY, 1.0);
        let heading = Lettering {
            size: 16.0,
            color: INK,
            align: Align::Left,
        };
        let scale = if self.y.is_log() { ", logarithmic" } else { "" };
        let text = format!("{}{scale}", self.heading);
        canvas.text(&text, [frame.left(), frame.top() - 11.0], heading);
    }

    fn draw_series(&self, canvas: &mut Canvas, series: &Series) {
        let place = |point: &Point| [self.column(point[0]), self.row(point[1])];
        let (width, radius) = match series.look {
            Look::Line(width) => (width, None),
            Look::Dotted(width) => (width, Some(width + 1.2)),
            Look::Wedges => {
                let mut columns: Vec<_> = series.points.iter().map(|p| self.column(p[0])).collect();
                columns.dedup_by_key(|x| *x as i32);
                for x in columns {
                    canvas.wedge([x, self.frame.bottom()], series.color);
                }
                return;
            }
        };
        // What has no place on the axis is a gap.
        let is_placed = |point: &Point| self.y.place(point[1]).is_finite();
        let pieces = series.points.chunk_by(|a, b| is_placed(a) == is_placed(b));
        for piece in pieces.filter(|piece| is_placed(&piece[0])) {
            let piece: Vec<_> = piece.iter().map(place).collect();
            canvas.line(&piece, series.color, width);
            for &point in radius.iter().flat_map(|_| &piece) {
                canvas.dot(point, series.color, radius.unwrap_or(width));
            }
        }
    }

    fn draw_legend(&self, canvas: &mut Canvas) {
        let named = self.series.iter().filter(|s| !s.legend[0].is_empty());
        let named: Vec<_> = named.collect();
        let room = (self.frame.height() / LEGEND_LINE) as usize;
        let shown = evenly(named.len(), room.max(1));
        let left = self.frame.right() + 16.0;
        for (line, &series) in shown.iter().map(|&at| &named[at]).enumerate() {
            let y = self.frame.top() + 8.0 + LEGEND_LINE * line as f32;
            let ends = [[left, y], [left + 22.0, y]];
            match series.look {
                Look::Line(width) => canvas.line(&ends, series.color, width.max(1.5)),
                Look::Dotted(width) => {
                    canvas.line(&ends, series.color, width);
                    canvas.dot([left + 11.0, y], series.color, width + 1.2);
                }
                Look::Wedges => canvas.wedge([left + 11.0, y + 4.0], series.color),
            }
            let mut lettering = Lettering {
                size: 14.0,
                color: INK,
                align: Align::Left,
            };
            let [name, value] = &series.legend;
            canvas.text(name, [left + 30.0, y + 5.0], lettering);
            lettering.color = GREY;
            let after = left + 30.0 + canvas.font.width(name, 14.0) + 10.0;
            canvas.text(value, [after, y + 5.0], lettering);
        }
    }
}

/// At most `room` of the numbers below `count`, evenly, with the first and the last.
fn evenly(count: usize, room: usize) -> Vec<usize> {
    if count <= room || room < 2 {
        return (0..count.min(room)).collect();
    }
    let place = |i: usize| (i * (count - 1) + (room - 1) / 2) / (room - 1);
    (0..room).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legends_leave_out_evenly() {
        assert_eq!(evenly(3, 5), [0, 1, 2]);
        assert_eq!(evenly(9, 5), [0, 2, 4, 6, 8]);
        assert_eq!(evenly(100, 2), [0, 99]);
        assert_eq!(evenly(4, 1), [0]);
        assert!(evenly(0, 4).is_empty());
    }
}
