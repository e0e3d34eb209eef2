//! The detector: vehicles and people on single pictures, with kinds and paints.
//!
//! Every cell of a grid of half the picture's resolution says whether an object of a class has its
//! middle there, how far its edges are, and of a vehicle its kind and paint. The grid is finer than
//! usual, because most cars of the driving world are a few pixels large.
//!
//! # Source
//! Zhou et al. 2019 (arXiv:1904.07850), section 3: objects as points. Distances to the four edges
//! as Tian et al. 2019 (arXiv:1904.01355), section 3.1. Ours: the network, much smaller, and the
//! heads of kind and paint.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use vldm_media::Frame;
use vldm_world::{Class, Paint, VehicleKind};

use super::blocks::{ConvNorm, SIZE, pixels};
use super::boxes::{Detection, suppress};
use crate::conditioning::boxes::ObjectBox;
use crate::error::{Error, Result};
use crate::nn::{Conv2d, Init};

/// Pixels per cell.
pub(crate) const STRIDE: usize = 2;
/// Outputs per cell: classes, logarithms of the distances to the left, upper, right and lower edge
/// in cells, kinds, paints.
pub(crate) const OUTPUTS: usize = CLASSES + 4 + KINDS + PAINTS;
/// Classes of boxes.
pub(crate) const CLASSES: usize = Class::ALL.len();
/// Kinds of vehicles.
pub(crate) const KINDS: usize = VehicleKind::ALL.len();
/// Paints.
pub(crate) const PAINTS: usize = Paint::ALL.len();
/// Objects are rare: what a fresh network says of every cell is about 1 in 10.
const RARE: f64 = 2.2;
/// Detections below this score are not given.
const LEAST: f32 = 0.05;
/// Pictures that go through the network at once.
const BATCH: usize = 32;

/// The sizes of a [`Detector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// Channels at a half, a quarter, an eighth and a sixteenth of the picture's sides; multiples
    /// of 8.
    pub channels: [usize; 4],
    /// Channels before the last layer, a multiple of 8.
    pub hidden: usize,
}

impl DetectorConfig {
    /// The sizes of the detector that is shipped.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            channels: [24, 48, 96, 96],
            hidden: 48,
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        let mut sizes = self.channels.iter().chain([&self.hidden]);
        if !sizes.all(|size| *size > 0 && size.is_multiple_of(8)) {
            return Err(Error::Config(format!(
                "a detector of {:?} and {} channels: expected multiples of 8",
                self.channels, self.hidden
            )));
        }
        Ok(())
    }
}

/// Pictures to boxes.
#[derive(Module, Debug)]
pub struct Detector {
    /// Each halves the picture.
    pub down: Vec<ConvNorm>,
    /// One after each of them.
    pub look: Vec<ConvNorm>,
    /// From each level to the one above it, from the smallest on.
    pub lift: Vec<Conv2d>,
    /// One on each level after that.
    pub join: Vec<ConvNorm>,
    /// To what each cell says.
    pub heads: Conv2d,
}

impl Detector {
    /// A detector with fresh parameters; `config` has been validated.
    pub fn new(config: &DetectorConfig, init: &Init) -> Self {
        let channels = config.channels;
        let mut width = 3;
        let (mut down, mut look) = (Vec::new(), Vec::new());
        for &c in &channels {
            down.push(ConvNorm::new([width, c], (3, 2), init));
            look.push(ConvNorm::new([c, c], (3, 1), init));
            width = c;
        }
        let (mut lift, mut join) = (Vec::new(), Vec::new());
        for level in (0..channels.len() - 1).rev() {
            let (from, to) = (channels[level + 1], channels[level]);
            lift.push(Conv2d::new(from, to, 1, init));
            let outputs = if level == 0 { config.hidden } else { to };
            join.push(ConvNorm::new([to, outputs], (3, 1), init));
        }
        Self {
            down,
            look,
            lift,
            join,
            heads: Conv2d::zeros(config.hidden, OUTPUTS, 1, init),
        }
    }

    /// # Shapes
    /// - `x`: pixels in \[−1, 1\], `[n, height, width, 3]`, sides multiples of 16
    /// - returns: `[n, height / 2, width / 2, outputs]`, f32
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut levels: Vec<Tensor<4>> = Vec::new();
        let mut x = x;
        for (down, look) in self.down.iter().zip(&self.look) {
            x = look.forward_residual(down.forward(x));
            levels.push(x.clone());
        }
        levels.pop();
        for (lift, join) in self.lift.iter().zip(&self.join) {
            let Some(beside) = levels.pop() else { break };
            let [_, h, w, _] = beside.dims();
            x = join.forward(lift.forward_upsampled(x, [h, w]) + beside);
        }
        self.heads.forward(x).cast(DType::F32)
    }

    /// What is seen on each picture of [`SIZE`], the most certain first.
    ///
    /// # Errors
    /// [`Error::Input`] when a picture has another size.
    pub fn detect(&self, frames: &[&Frame], device: &Device) -> Result<Vec<Vec<Detection>>> {
        let mut found = Vec::with_capacity(frames.len());
        for batch in frames.chunks(BATCH) {
            let outputs = self.forward(pixels(batch.iter().copied(), device)?);
            let cells: usize = outputs.dims()[1..].iter().product();
            let values: Vec<f32> = outputs.into_data().iter::<f32>().collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::Backend(
                    "the detector computed values that are not finite: are its weights whole?"
                        .into(),
                ));
            }
            found.extend(values.chunks(cells).map(decode));
        }
        Ok(found)
    }
}

/// Cells down and across.
pub(crate) fn grid() -> [usize; 2] {
    SIZE.map(|side| side as usize / STRIDE)
}

/// The logit of a class, from the raw output.
pub(crate) fn rare(logit: Tensor<4>) -> Tensor<4> {
    logit - RARE
}

/// Peaks of the classes' maps, as boxes.
fn decode(cells: &[f32]) -> Vec<Detection> {
    let [rows, columns] = grid();
    let score = |row: usize, column: usize, class: usize| {
        let logit = cells[(row * columns + column) * OUTPUTS + class] - RARE as f32;
        1.0 / (1.0 + libm::expf(-logit))
    };
    let mut found = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let cell = &cells[(row * columns + column) * OUTPUTS..][..OUTPUTS];
            for class in 0..CLASSES {
                let own = score(row, column, class);
                let around = |at: usize, most: usize| at.saturating_sub(1)..(at + 2).min(most);
                let is_peak = || {
                    let columns = || around(column, columns);
                    around(row, rows).all(|r| columns().all(|c| score(r, c, class) <= own))
                };
                if own >= LEAST && is_peak() {
                    found.extend(one((row, column), (class, own), cell));
                }
            }
        }
    }
    suppress(found)
}

/// A box with what the cell says of it; `None` where it has no area within the picture.
fn one(
    (row, column): (usize, usize),
    (class, score): (usize, f32),
    cell: &[f32],
) -> Option<Detection> {
    let [rows, columns] = grid().map(|side| side as f32);
    let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
    let far = |at: usize| libm::expf(cell[CLASSES + at].clamp(-6.0, 6.0));
    let [x0, x1] = [x - far(0), x + far(2)].map(|x| (x / columns).clamp(0.0, 1.0));
    let [y0, y1] = [y - far(1), y + far(3)].map(|y| (y / rows).clamp(0.0, 1.0));
    let place = |from: usize, count: usize| {
        let of = &cell[from..from + count];
        (0..count)
            .max_by(|&a, &b| of[a].total_cmp(&of[b]))
            .unwrap_or(0)
    };
    let is_vehicle = class != Class::Pedestrian.index();
    (x0 < x1 && y0 < y1).then(|| Detection {
        bounds: ObjectBox {
            x0,
            y0,
            x1,
            y1,
            class,
        },
        score,
        look: is_vehicle.then(|| {
            let kind = VehicleKind::ALL[place(CLASSES + 4, KINDS)];
            (kind, Paint::ALL[place(CLASSES + 4 + KINDS, PAINTS)])
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_becomes_a_box() {
        let [rows, columns] = grid();
        let mut cells = vec![0.0; rows * columns * OUTPUTS];
        for cell in cells.chunks_mut(OUTPUTS) {
            cell[..CLASSES].fill(-20.0);
        }
        let cell = &mut cells[(10 * columns + 20) * OUTPUTS..][..OUTPUTS];
        cell[1] = 6.0;
        // 1.5 cells to the left, 0.5 up, 2.5 to the right, 3.5 down.
        for (at, far) in [1.5_f32, 0.5, 2.5, 3.5].into_iter().enumerate() {
            cell[CLASSES + at] = far.ln();
        }
        cell[CLASSES + 4 + VehicleKind::Truck as usize] = 3.0;
        cell[CLASSES + 4 + KINDS + Paint::Red as usize] = 3.0;
        let found = decode(&cells);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].look, Some((VehicleKind::Truck, Paint::Red)));
        let b = found[0].bounds;
        assert_eq!(b.class, 1);
        for (found, expected) in [
            (b.x0, 19.0 / 64.0),
            (b.y0, 10.0 / 32.0),
            (b.x1, 23.0 / 64.0),
            (b.y1, 14.0 / 32.0),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_fresh_detector_sees_nothing_for_sure() {
        let init = Init::new(&Device::flex(), 0);
        let detector = Detector::new(&DetectorConfig::shipped(), &init);
        let count = crate::checkpoint::count_parameters(&detector);
        assert!((200_000..500_000).contains(&count), "{count}");
        let frame = Frame::filled(128, 64, [90; 3]).unwrap();
        let found = detector.detect(&[&frame, &frame], &Device::flex()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().flatten().all(|d| d.score < 0.2));
    }
}
