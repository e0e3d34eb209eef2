//! `--max-memory`: decode fewer frames at a time, or refuse and say what to reduce.

use vldm::pipeline::{GenerateRequest, Plan};
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
