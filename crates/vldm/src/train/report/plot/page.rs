//! The whole page: its title, and which panels stand where with what in them.

use tiny_skia::Rect;

use super::axis::{Axis, span};
use super::canvas::{Align, Canvas, Color, Lettering};
use super::curves::{Curves, Point, smoothed, thinned, usual_span};
use super::labels;
use super::panel::{GREY, INK, Look, Panel, Series};

const LEFT: f32 = 96.0;
/// The legends stand right of this.
const RIGHT: f32 = 980.0;
const TOP: f32 = 118.0;
const BOTTOM: f32 = 736.0;
/// Between panels; the lower one's heading stands there.
const GAP: f32 = 46.0;
const RATE_HEIGHT: f32 = 78.0;
/// Shares of the training loss and the held-out losses in the rest.
const SHARES: [f32; 2] = [0.54, 0.46];

// Colours that differ for every kind of eye: of Okabe and Ito for kinds of things, and for noise
// levels, which have an order, the darker part of matplotlib's `plasma`.
const LOSS: Color = [0x00, 0x72, 0xb2, 0xff];
const FAINT_LOSS: Color = [0x56, 0xb4, 0xe9, 0x78];
const LOST: Color = [0xd5, 0x5e, 0x00, 0xff];
const RATE: Color = [0x00, 0x9e, 0x73, 0xff];
const LEVELS: [[f32; 3]; 5] = [
    [13.0, 8.0, 135.0],
    [106.0, 0.0, 168.0],
    [177.0, 42.0, 144.0],
    [225.0, 100.0, 98.0],
    [252.0, 166.0, 54.0],
];

/// More evaluations than this have no dots.
const MOST_DOTS: usize = 60;
/// Points of a curve: one for each column of pixels.
const COLUMNS: usize = (RIGHT - LEFT) as usize;

/// What a panel shows.
struct Content {
    heading: &'static str,
    y: Axis,
    series: Vec<Series>,
}

/// Draws everything.
pub(super) fn draw(canvas: &mut Canvas, curves: &Curves, title: &str) {
    draw_title(canvas, curves, title);
    let Some(steps) = curves.steps() else {
        let lettering = lettering(20.0, GREY, Align::Middle);
        let middle = [(LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0];
        canvas.text("nothing recorded yet", middle, lettering);
        return;
    };
    let x = Axis::steps(steps);
    let mut top = TOP;
    let contents = contents(curves);
    let last = contents.len() - 1;
    for (i, (content, height)) in contents.into_iter().enumerate() {
        let Some(frame) = Rect::from_ltrb(LEFT, top, RIGHT, top + height) else {
            continue;
        };
        let panel = Panel {
            heading: content.heading.to_owned(),
            frame,
            x,
            y: content.y,
            has_step_numbers: i == last,
            series: content.series,
        };
        panel.draw(canvas);
        top += height + GAP;
    }
    let below = [(LEFT + RIGHT) / 2.0, BOTTOM + 46.0];
    canvas.text("step", below, lettering(16.0, INK, Align::Middle));
}

fn lettering(size: f32, color: Color, align: Align) -> Lettering {
    Lettering { size, color, align }
}

fn draw_title(canvas: &mut Canvas, curves: &Curves, title: &str) {
    let room = super::PLOT_WIDTH as f32 - LEFT - 24.0;
    let title = canvas.font.fitted(title, 26.0, room);
    canvas.text(&title, [LEFT, 46.0], lettering(26.0, INK, Align::Left));
    let line = canvas.font.fitted(&summary(curves), 16.0, room);
    canvas.text(&line, [LEFT, 74.0], lettering(16.0, GREY, Align::Left));
}

/// The run in one line.
fn summary(curves: &Curves) -> String {
    let mut parts = Vec::new();
    if let Some([_, last]) = curves.steps() {
        parts.push(format!("step {}", labels::grouped(last as u64)));
    }
    if curves.seconds > 0.0 {
        parts.push(labels::duration(curves.seconds));
    }
    let finite = curves.means.iter().filter(|mean| mean[1].is_finite());
    if let Some([step, mean]) = finite.min_by(|a, b| a[1].total_cmp(&b[1])) {
        let (mean, step) = (labels::measured(*mean), labels::grouped(*step as u64));
        parts.push(format!("lowest held-out mean {mean} at step {step}"));
    }
    if !curves.lost.is_empty() {
        let number = labels::grouped(curves.lost.len() as u64);
        parts.push(format!("{number} skipped or not finite"));
    }
    parts.join("  ·  ")
}

/// The panels that there is something for, from above, with their heights.
fn contents(curves: &Curves) -> Vec<(Content, f32)> {
    let rate = (!curves.rates.is_empty()).then(|| (rates(curves), RATE_HEIGHT));
    let rest = BOTTOM - TOP - rate.as_ref().map_or(0.0, |(_, height)| height + GAP);
    let training = (!curves.losses.is_empty()).then(|| training(curves));
    let held_out = (!curves.means.is_empty()).then(|| held_out(curves));
    let losses: Vec<_> = [training, held_out].into_iter().flatten().collect();
    let heights = match losses.len() {
        2 => SHARES.map(|share| share * (rest - GAP)),
        _ => [rest; 2],
    };
    losses.into_iter().zip(heights).chain(rate).collect()
}

/// The legend's two words for a curve: its name and its last value.
fn named(name: String, points: &[Point]) -> [String; 2] {
    let last = points.last().map_or(f64::NAN, |point| point[1]);
    [name, labels::measured(last)]
}

fn training(curves: &Curves) -> Content {
    let losses = &curves.losses;
    let mut series = Vec::new();
    let mut values = usual_span(losses).map_or_else(Vec::new, Vec::from);
    let is_short = losses.len() <= MOST_DOTS;
    // Lines of one pixel or less would be painted piece by piece, and darker where pieces overlap.
    let width = if losses.len() > COLUMNS { 1.1 } else { 1.5 };
    if let Some(smooth) = smoothed(losses, COLUMNS) {
        values.extend(smooth.points.iter().map(|point| point[1]));
        series.push(Series {
            points: thinned(losses, COLUMNS),
            look: Look::Line(width),
            color: FAINT_LOSS,
            legend: ["each step".into(), String::new()],
        });
        let name = format!("mean of {}", labels::grouped(smooth.window as u64));
        series.push(Series {
            legend: named(name, &smooth.points),
            points: smooth.points,
            look: Look::Line(2.5),
            color: LOSS,
        });
    } else {
        series.push(Series {
            points: losses.clone(),
            look: if is_short {
                Look::Dotted(2.0)
            } else {
                Look::Line(2.0)
            },
            color: LOSS,
            legend: named("each step".into(), losses),
        });
    }
    if !curves.lost.is_empty() {
        series.push(Series {
            points: curves.lost.iter().map(|&step| [step, 0.0]).collect(),
            look: Look::Wedges,
            color: LOST,
            legend: ["skipped, not finite".into(), String::new()],
        });
    }
    Content {
        heading: "Training loss",
        y: Axis::of(span(values).unwrap_or([0.0, 1.0])),
        series,
    }
}

fn held_out(curves: &Curves) -> Content {
    let look = |points: &[Point], width: f32| match points.len() {
        0..=MOST_DOTS => Look::Dotted(width),
        _ => Look::Line(width),
    };
    let lists = curves.levels.iter().map(|(_, points)| points);
    let values = lists.chain([&curves.means]).flatten().map(|point| point[1]);
    let y = Axis::of(span(values).unwrap_or([0.0, 1.0]));
    let highest = curves.levels.len().saturating_sub(1).max(1) as f32;
    let levels = curves.levels.iter().enumerate();
    let mut series: Vec<_> = levels
        .map(|(i, (sigma, points))| Series {
            points: thinned(points, COLUMNS),
            look: look(points, 1.6),
            color: level_color(i as f32 / highest),
            legend: named(format!("σ = {}", labels::setting(*sigma)), points),
        })
        .collect();
    if is_rising(curves) {
        series.reverse();
    }
    series.push(Series {
        points: thinned(&curves.means, COLUMNS),
        look: look(&curves.means, 2.4),
        color: INK,
        legend: named("mean".into(), &curves.means),
    });
    Content {
        heading: "Held-out loss at noise levels σ",
        y,
        series,
    }
}

/// Whether the highest noise level has a higher loss than the lowest: it then comes first in the
/// legend, as in the panel.
fn is_rising(curves: &Curves) -> bool {
    let last = |level: Option<&(f64, Vec<Point>)>| level?.1.last().map(|point| point[1]);
    last(curves.levels.last()) > last(curves.levels.first())
}

fn rates(curves: &Curves) -> Content {
    let highest = span(curves.rates.iter().map(|point| point[1]));
    Content {
        heading: "Learning rate",
        y: Axis::from_zero(highest.map_or(0.0, |[_, highest]| highest)),
        series: vec![Series {
            legend: named("last".into(), &curves.rates),
            points: thinned(&curves.rates, COLUMNS),
            look: Look::Line(2.0),
            color: RATE,
        }],
    }
}

/// The colour of a noise level, 0 for the lowest and 1 for the highest.
fn level_color(place: f32) -> Color {
    let place = place.clamp(0.0, 1.0) * (LEVELS.len() - 1) as f32;
    let first = (place as usize).min(LEVELS.len() - 2);
    let share = place - first as f32;
    let [r, g, b] = [0, 1, 2].map(|channel| {
        let (a, b) = (LEVELS[first][channel], LEVELS[first + 1][channel]);
        (a + (b - a) * share).round() as u8
    });
    [r, g, b, 0xff]
}
