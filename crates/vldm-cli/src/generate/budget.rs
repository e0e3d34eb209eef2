//! `--max-memory`: decode fewer frames at a time, upsample in smaller tiles, or refuse and say what to
//! reduce.

use vldm::pipeline::{ClipPlan, GenerateRequest, Plan, StageMemory};
use vldm::preset::Stage;
use vldm::{Error, Result};

use crate::bytes::Bytes;

/// Plans `request` so that it is expected to stay within `budget`. The decoding chunk is halved
/// where the user has not chosen it.
pub(super) fn plan_within(
    budget: Option<Bytes>,
    mut request: GenerateRequest,
    make_plan: impl Fn(&GenerateRequest) -> Result<Plan>,
) -> Result<Plan> {
    let chunk_is_chosen = request.decode_chunk.is_some();
    loop {
        let plan = make_plan(&request)?;
        let Some(Bytes(budget)) = budget else {
            return Ok(plan);
        };
        if plan.memory.peak() <= budget {
            return Ok(plan);
        }
        let decoding_decides = plan.memory.weights + plan.memory.sampling <= budget;
        if decoding_decides && !chunk_is_chosen && plan.decode_chunk > 1 {
            request.decode_chunk = Some(plan.decode_chunk / 2);
            continue;
        }
        return Err(Error::Input(format!(
            "this run is expected to take {}, --max-memory allows {}: {}",
            Bytes(plan.memory.peak()),
            Bytes(budget),
            advice(&plan, budget)
        )));
    }
}

/// Sides of tiles are multiples of this many pixels of the small clip.
const TILE_STEP: usize = 8;
/// Smaller tiles would be nearly all overlap.
const SMALLEST_TILE: usize = 32;

/// The same for a whole stack. Where the user has not chosen them, the decoding chunk is halved and
/// tiles are made smaller.
pub(super) fn clip_within(
    budget: Option<Bytes>,
    mut request: GenerateRequest,
    make_plan: impl Fn(&GenerateRequest) -> Result<ClipPlan>,
) -> Result<ClipPlan> {
    let (chunk_is_chosen, tile_is_chosen) =
        (request.decode_chunk.is_some(), request.tile.is_some());
    loop {
        let plan = make_plan(&request)?;
        let Some(Bytes(budget)) = budget else {
            return Ok(plan);
        };
        let over = |need: &&StageMemory| need.weights + need.activations > budget;
        let Some(need) = plan.memory.iter().find(over) else {
            return Ok(plan);
        };
        let tile = smaller_tile(&plan);
        match need.stage {
            Stage::Decoder if !chunk_is_chosen && plan.decode_chunk > 1 => {
                request.decode_chunk = Some(plan.decode_chunk / 2);
            }
            Stage::Upsampler if !tile_is_chosen && tile >= SMALLEST_TILE => {
                request.tile = Some(tile);
            }
            stage => {
                return Err(Error::Input(format!(
                    "{} is expected to take {}, {} of it for weights, --max-memory allows {}: ask for a \
                     smaller --tile, --decode-chunk, --width and --height, fewer --frames, or --dtype \
                     bf16",
                    stage.title(),
                    Bytes(need.weights + need.activations),
                    Bytes(need.weights),
                    Bytes(budget)
                )));
            }
        }
    }
}

/// Three quarters of the present tile, or of the whole frame.
fn smaller_tile(plan: &ClipPlan) -> usize {
    let [width, height] = plan.base_size;
    let side = plan.upsample.tile.unwrap_or(width.max(height));
    side * 3 / 4 / TILE_STEP * TILE_STEP
}

/// What to reduce, by what decides.
fn advice(plan: &Plan, budget: u64) -> String {
    let memory = &plan.memory;
    let smaller = "a smaller --width and --height";
    if memory.weights > budget {
        let weights = Bytes(memory.weights);
        format!("the weights alone take {weights}; choose --dtype bf16 or a smaller model")
    } else if memory.weights + memory.sampling > budget {
        let sampling = Bytes(memory.sampling);
        let fewer = match plan.frames {
            1 => "",
            _ => "fewer --frames or ",
        };
        format!("sampling takes {sampling} beside the weights; ask for {fewer}{smaller}")
    } else {
        let decoding = Bytes(memory.decoding);
        let fewer = match plan.decode_chunk {
            1 => "",
            _ => "a smaller --decode-chunk or ",
        };
        format!("decoding takes {decoding} beside the weights; ask for {fewer}{smaller}")
    }
}
