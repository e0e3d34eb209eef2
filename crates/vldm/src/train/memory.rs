//! How much memory a run will take, before it starts.
//!
//! Parameters and the optimiser are counted exactly. Of activations, what each layer's gradient
//! keeps is counted (what [`vldm_kernels`] saves of its operands, output and sums), block by block
//! along the U-Net, and the walk back is followed: activations go, gradients of parameters come.

use burn::module::Param;
use burn::tensor::Tensor;

use super::lora::Lora;
use super::networks::Networks;
use super::parameters::{count_learning, param_learns};
use crate::nn::temporal::{TemporalResnet, TemporalTransformer};
use crate::nn::{Attention, FeedForward, ResnetBlock, SpatialTransformer};
use crate::unet::{Site, Step, StepLayers, UNet};

/// Expected memory of a run, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// Parameters, their moments and averages.
    pub state: u64,
    /// Activations and gradients of a pass that keeps all activations, at their most.
    pub activations: u64,
    /// The same with the activations of one block of the U-Net at a time; `None` where there is no
    /// such pass.
    pub by_block: Option<u64>,
    /// Encoding a batch, before its activations are there.
    pub encoding: u64,
    /// Parameters that learn.
    pub learning: u64,
}

/// The program itself, and clips read ahead.
const PROGRAM: u64 = 50 << 20;

impl TrainingMemory {
    /// The most that is held at the same time.
    #[must_use]
    pub fn peak(&self, by_block: bool) -> u64 {
        let activations = match self.by_block {
            Some(bytes) if by_block => bytes,
            _ => self.activations,
        };
        // Memory of other sizes than those in use stays in the pool of results, about as much as
        // has been in use: measured, see `docs/recipes/train-a-stage.md`.
        let idle = activations + self.encoding + self.learning;
        let idle = idle.min(vldm_kernels::memory::pool::MOST_IDLE as u64);
        self.state + activations.max(self.encoding) + idle + PROGRAM
    }
}

/// Bytes of the machine's memory, or of what this process may use of it where a control group says
/// less; `None` where the system does not tell.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let installed = read("/proc/meminfo").and_then(|text| from_meminfo(&text))?;
    let limit = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .into_iter()
    .find_map(|path| read(path)?.trim().parse().ok());
    Some(limit.unwrap_or(installed).min(installed))
}

/// Linux's `MemTotal`, in units of 1024 bytes.
fn from_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// A batch as the U-Net sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// Frames of all clips together.
    pub(crate) images: usize,
    /// Of the latents.
    pub(crate) size: [usize; 2],
    /// Bytes of a value in the working data type.
    pub(crate) bytes: usize,
}

/// Activations and gradients of a pass at their most: with everything kept, and by block. `front`
/// is what is kept before the blocks either way.
pub(crate) fn pass_memory(
    (networks, unet): (&Networks, &UNet),
    batch: Batch,
    front: u64,
) -> [u64; 2] {
    let blocks = blocks(unet, networks, batch);
    let all_kept: u64 = blocks.iter().map(|block| block.kept).sum();
    let all_cast: u64 = blocks.iter().map(|block| block.cast).sum();
    let (mut kept, mut inputs) = (
        all_kept,
        blocks.iter().map(|block| block.input).sum::<u64>(),
    );
    let (mut gradients, mut waiting) = (0, Vec::new());
    let mut peaks = [kept, inputs];
    for block in blocks.iter().rev() {
        let skips: u64 = waiting.iter().sum();
        let common = gradients + skips + block.gradients + block.transient;
        peaks[0] = peaks[0].max(kept + all_cast + common);
        peaks[1] = peaks[1].max(inputs + block.kept + block.cast + common);
        kept -= block.kept;
        inputs -= block.input;
        gradients += block.gradients;
        if block.reads_kept {
            waiting.push(block.skip);
        }
        if block.keeps_result {
            waiting.pop();
        }
    }
    // What learns outside the blocks gets gradients too.
    let others = 4 * count_learning(networks) as u64 - gradients;
    let adapted = networks.lora.as_ref();
    let adapted = adapted.map_or(0, |lora| lora.adapted_bytes(batch.bytes)) as u64;
    [peaks[0] + adapted, peaks[1]].map(|peak| peak + front + others)
}

/// What one block takes, in bytes.
#[derive(Debug, Default)]
struct BlockMemory {
    /// What its gradient keeps of the forward pass, its result included.
    kept: u64,
    /// What its backward pass holds beside that, at its most.
    transient: u64,
    /// The features that it reads.
    input: u64,
    /// The kept features that it reads.
    skip: u64,
    reads_kept: bool,
    keeps_result: bool,
    /// The gradients of its parameters.
    gradients: u64,
    /// Its parameters that learn, in the working data type.
    cast: u64,
}

fn blocks(unet: &UNet, networks: &Networks, batch: Batch) -> Vec<BlockMemory> {
    let [mut height, mut width] = batch.size;
    let mut sizes = vec![[height, width]];
    let mut channels = unet.conv_in.weight.dims()[0];
    let mut blocks = Vec::new();
    let count = Count(networks.lora.as_ref());
    for step in unet.steps(networks.temporal.as_ref()) {
        let before = (batch.images * height * width, channels);
        let (kept, transient);
        let mut skip = 0;
        match &step {
            Step::Down(site) | Step::Mid(site) | Step::Up(site) => {
                let [outputs, inputs, ..] = site.resnet.conv1.weight.dims();
                skip = inputs.saturating_sub(channels);
                (kept, transient) = count.site(site);
                channels = outputs;
            }
            Step::Downsample(_) => {
                [height, width] = [height.div_ceil(2), width.div_ceil(2)];
                kept = channels;
                // The gradient of the larger image is four times its own.
                transient = 5 * channels;
            }
            Step::Upsample(layer) => {
                [height, width] = sizes.last().copied().unwrap_or([2 * height, 2 * width]);
                kept = channels + count.read_by(&layer.conv.weight, channels);
                transient = 2 * channels;
            }
        }
        if step.reads_kept() {
            sizes.pop();
        }
        if step.keeps_result() {
            sizes.push([height, width]);
        }
        let positions = batch.images * height * width;
        let bytes = |values: usize| (values * batch.bytes) as u64;
        let learning = count_learning(&StepLayers::of(&step));
        blocks.push(BlockMemory {
            kept: bytes(kept * positions),
            transient: bytes(transient * positions),
            input: bytes(before.0 * before.1),
            skip: bytes(skip * positions),
            reads_kept: step.reads_kept(),
            keeps_result: step.keeps_result(),
            gradients: 4 * learning as u64,
            cast: match batch.bytes {
                4 => 0,
                _ => bytes(learning),
            },
        });
    }
    blocks
}

/// Counts values per position: those that a layer's gradient keeps, its result included, and those
/// that its backward pass holds beside them.
struct Count<'a>(Option<&'a Lora>);

impl Count<'_> {
    fn site(&self, site: &Site) -> (usize, usize) {
        let parts = [
            Some(self.resnet(site.resnet)),
            site.temporal_resnet
                .map(|layer| self.temporal_resnet(layer)),
            site.transformer.map(|layer| self.transformer(layer)),
            site.temporal_transformer
                .map(|layer| self.temporal_transformer(layer)),
        ];
        let parts = parts.into_iter().flatten();
        parts.fold((0, 0), |(kept, transient), part| {
            (kept + part.0, transient.max(part.1))
        })
    }

    /// `values` where a layer's weight learns, and so keeps what it reads.
    fn read_by<const D: usize>(&self, weight: &Param<Tensor<D>>, values: usize) -> usize {
        match param_learns(weight, self.0) {
            true => values,
            false => 0,
        }
    }

    fn resnet(&self, layer: &ResnetBlock) -> (usize, usize) {
        let [outputs, inputs, ..] = layer.conv1.weight.dims();
        let normed =
            self.read_by(&layer.conv1.weight, inputs) + self.read_by(&layer.conv2.weight, outputs);
        // Between the convolutions, and the result.
        (2 * outputs + normed, 2 * (inputs + outputs))
    }

    fn temporal_resnet(&self, layer: &TemporalResnet) -> (usize, usize) {
        let block = &layer.temporal_res_block;
        let [outputs, inputs, ..] = block.conv1.weight.dims();
        let normed =
            self.read_by(&block.conv1.weight, inputs) + self.read_by(&block.conv2.weight, outputs);
        // As above, the context beside the input, and the blend.
        let observed = inputs - outputs;
        (3 * outputs + observed + normed, 2 * (inputs + outputs))
    }

    fn transformer(&self, layer: &SpatialTransformer) -> (usize, usize) {
        let [inner, channels] = layer.proj_in.weight.dims();
        let mut kept = inner + channels + self.read_by(&layer.proj_in.weight, channels);
        for block in &layer.transformer_blocks {
            kept += self.attention(&block.attn1, inner, block.reads_context());
            kept += block
                .attn2
                .as_ref()
                .map_or(0, |layer| self.attention(layer, inner, true));
            kept += self.feed_forward(&block.ff, inner);
        }
        (kept, 13 * inner)
    }

    fn temporal_transformer(&self, layer: &TemporalTransformer) -> (usize, usize) {
        let (mut kept, mut widest) = (0, 0);
        for block in &layer.temporal_transformer_blocks {
            let [inner, _] = block.attn1.to_out.weight.dims();
            // With the frame's index added, and the blend.
            kept += 2 * inner
                + self.feed_forward(&block.ff_in, inner)
                + self.feed_forward(&block.ff, inner);
            kept += self.attention(&block.attn1, inner, block.reads_context());
            kept += block
                .attn2
                .as_ref()
                .map_or(0, |layer| self.attention(layer, inner, true));
            widest = inner;
        }
        (kept, 13 * widest)
    }

    /// Queries, what was attended to and the result; keys and values where they are as many.
    fn attention(&self, layer: &Attention, channels: usize, of_context: bool) -> usize {
        let [inner, _] = layer.to_q.weight.dims();
        let keys = if of_context { 0 } else { 2 * inner };
        let normed = self.read_by(&layer.to_q.weight, channels);
        2 * inner + keys + channels + normed
    }

    /// Both halves before the gate, and the result; the gated half where it is read by what learns.
    fn feed_forward(&self, layer: &FeedForward, channels: usize) -> usize {
        let [_, inner] = layer.proj_out.weight.dims();
        let normed = self.read_by(&layer.proj_in.weight, channels);
        2 * inner + channels + normed + self.read_by(&layer.proj_out.weight, inner)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::preset::Preset;
    use crate::train::fresh_networks;
    use crate::train::parameters::learn;

    #[test]
    fn the_installed_memory_is_read() {
        let check = |text: &str, expected| assert_eq!(from_meminfo(text), expected, "{text}");
        check("MemFree: 1 kB\nMemTotal:    12 kB\n", Some(12 * 1024));
        check("MemFree: 1 kB\n", None);
        check("MemTotal: many kB\n", None);
        check("", None);
    }

    #[test]
    fn blocks_take_less_than_the_whole_and_frozen_layers_less_than_others() {
        let preset = Preset::load("tiny-sd15-video").unwrap();
        let memory = |learns: &str| {
            let networks = fresh_networks(&preset, 0, &Device::flex());
            let networks = learn(networks, &|name| name.starts_with(learns), DType::F32);
            let batch = Batch {
                images: 8,
                size: [16, 16],
                bytes: 4,
            };
            let unet = networks.unet.as_ref().unwrap();
            pass_memory((&networks, unet), batch, 0)
        };
        let [all, all_by_block] = memory("");
        let [temporal, temporal_by_block] = memory("temporal.");
        assert!(2 * all_by_block < all, "{all_by_block} of {all}");
        assert!(2 * temporal_by_block < temporal);
        assert!(temporal < all && temporal_by_block < all_by_block);
    }
}
