//! What the detector learns from: pictures of worlds, and per cell what is there.

use burn::tensor::{Device, Tensor, TensorData};
use vldm_media::Frame;
use vldm_world::Class;

use super::blocks::pixels;
use super::detector::{CLASSES, KINDS, PAINTS, grid};
use super::truth::Look;
use crate::conditioning::boxes::ObjectBox;
use crate::data::Sample;
use crate::data::order::uniform;
use crate::error::Result;

/// A blot on the classes' maps has this share of its box as six deviations: Liu et al. 2020
/// (arXiv:1909.00700), section 3.2.
const SPREAD: f32 = 0.54;
/// Cells of a blot that learn the box: from this height on.
const LEARNS: f32 = 0.3;
/// A blot's smallest deviation in cells.
const SMALLEST: f32 = 0.3;

/// A batch of pictures with what is true of every cell.
#[derive(Debug)]
pub(crate) struct DetectorBatch {
    /// `[n, height, width, 3]`
    pub(crate) pixels: Tensor<4>,
    /// 1 in the middle of an object of the class, less around it, `[n, rows, columns, classes]`.
    pub(crate) heat: Tensor<4>,
    /// 1 in the middles, 0 elsewhere, `[n, rows, columns, classes]`.
    pub(crate) middles: Tensor<4>,
    /// Distances to the edges in cells, 1 where there is nothing, `[n, rows, columns, 4]`.
    pub(crate) edges: Tensor<4>,
    /// How much a cell's box counts; 1 for each object together, `[n, rows, columns, 1]`.
    pub(crate) weight: Tensor<4>,
    /// That weight at the cell's kind, `[n, rows, columns, kinds]`.
    pub(crate) kinds: Tensor<4>,
    /// That weight at the cell's paint, `[n, rows, columns, paints]`.
    pub(crate) paints: Tensor<4>,
    /// How many objects there are, at least 1.
    pub(crate) objects: f64,
}

/// Maps of one batch, cell after cell.
struct Maps {
    heat: Vec<f32>,
    edges: Vec<f32>,
    weight: Vec<f32>,
    kinds: Vec<f32>,
    paints: Vec<f32>,
}

/// Frame number `number` of an endless stream drawn from a pool.
pub(crate) fn picture(pool: &[Sample], seed: u64, number: u64) -> (&Frame, &[ObjectBox]) {
    let draw = |choice: u64| uniform(seed, (0x6e << 56) + choice, number);
    let sample = &pool[((draw(0) * pool.len() as f64) as usize).min(pool.len() - 1)];
    let count = sample.frames.len();
    let at = ((draw(1) * count as f64) as usize).min(count - 1);
    (&sample.frames[at], &sample.boxes[at])
}

/// Pictures with their boxes, whose classes are numbers of [`Look`]s, as a batch.
pub(crate) fn collate(
    pictures: &[(&Frame, &[ObjectBox])],
    device: &Device,
) -> Result<DetectorBatch> {
    let [rows, columns] = grid();
    let cells = pictures.len() * rows * columns;
    let mut maps = Maps {
        heat: vec![0.0; cells * CLASSES],
        edges: vec![1.0; cells * 4],
        weight: vec![0.0; cells],
        kinds: vec![0.0; cells * KINDS],
        paints: vec![0.0; cells * PAINTS],
    };
    let mut objects = 0;
    for (number, (_, boxes)) in pictures.iter().enumerate() {
        // The nearest come first, and cover what is behind them.
        for object in boxes.iter().rev() {
            if let Some(look) = Look::from_number(object.class) {
                maps.draw(number * rows * columns, object, look);
                objects += 1;
            }
        }
    }
    let is_middle = |&heat: &f32| f32::from(u8::from(heat > 0.9999));
    let middles = maps.heat.iter().map(is_middle).collect();
    let tensor = |values: Vec<f32>| {
        let depth = values.len() / cells;
        let shape = [pictures.len(), rows, columns, depth];
        Tensor::<4>::from_data(TensorData::new(values, shape), device)
    };
    Ok(DetectorBatch {
        pixels: pixels(pictures.iter().map(|(frame, _)| *frame), device)?,
        middles: tensor(middles),
        heat: tensor(maps.heat),
        edges: tensor(maps.edges),
        weight: tensor(maps.weight),
        kinds: tensor(maps.kinds),
        paints: tensor(maps.paints),
        objects: f64::from(objects.max(1)),
    })
}

impl Maps {
    /// Draws one object onto the picture whose first cell is `first`.
    fn draw(&mut self, first: usize, object: &ObjectBox, look: Look) {
        let [rows, columns] = grid();
        let [x0, x1] = [object.x0, object.x1].map(|x| x * columns as f32);
        let [y0, y1] = [object.y0, object.y1].map(|y| y * rows as f32);
        let (column, row) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
        let middle = [
            (column as usize).min(columns - 1),
            (row as usize).min(rows - 1),
        ];
        let spread = |length: f32| (SPREAD * length / 6.0).max(SMALLEST);
        let (across, down) = (spread(x1 - x0), spread(y1 - y0));
        let mut own = Vec::new();
        for r in 0..rows {
            for c in 0..columns {
                let dx = (c as f32 - middle[0] as f32) / across;
                let dy = (r as f32 - middle[1] as f32) / down;
                let height = libm::expf(-0.5 * (dx * dx + dy * dy));
                if height < 0.01 {
                    continue;
                }
                let cell = first + r * columns + c;
                let heat = &mut self.heat[cell * CLASSES + look.class()];
                *heat = heat.max(height);
                let (x, y) = (c as f32 + 0.5, r as f32 + 0.5);
                let edges = [x - x0, y - y0, x1 - x, y1 - y];
                let inside = edges.iter().all(|&edge| edge > 0.0);
                let is_middle = [c, r] == middle;
                if is_middle || (inside && height >= LEARNS) {
                    own.push((cell, height, edges.map(|edge| edge.max(0.05))));
                }
            }
        }
        let total: f32 = own.iter().map(|(_, height, _)| height).sum();
        for (cell, height, edges) in own {
            self.claim(cell, height / total, edges, look);
        }
    }

    /// Gives a cell to an object, whoever had it before.
    fn claim(&mut self, cell: usize, weight: f32, edges: [f32; 4], look: Look) {
        self.edges[cell * 4..][..4].copy_from_slice(&edges);
        self.weight[cell] = weight;
        self.kinds[cell * KINDS..][..KINDS].fill(0.0);
        self.paints[cell * PAINTS..][..PAINTS].fill(0.0);
        if let Look::Vehicle { kind, paint } = look {
            debug_assert_ne!(look.class(), Class::Pedestrian.index());
            self.kinds[cell * KINDS + kind as usize] = weight;
            self.paints[cell * PAINTS + paint as usize] = weight;
        }
    }
}
