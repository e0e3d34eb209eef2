//! What a run says on the terminal.

use vldm::train::report::{EvaluationRecord, StepRecord};
use vldm::train::{
    Decoded, DecoderReport, Look, OverfitReport, Summary, TrainingStage, machine_memory,
};

use crate::bytes::Bytes;

/// What a run is about to do.
pub(super) fn summary(summary: &Summary) -> String {
    let mut text = format!(
        "{}: {} parameters learn, {} do not\n{}\n{}",
        summary.stage.name(),
        thousands(summary.learning),
        thousands(summary.frozen),
        memory(summary),
        summary.data,
    );
    if summary.done > 0 {
        text += &format!(
            "\ngoing on after step {} of {}",
            summary.done, summary.steps
        );
    }
    text
}

/// The expected memory, and what the other kind of pass would take.
fn memory(summary: &Summary) -> String {
    let memory = &summary.memory;
    let mut text = format!(
        "memory: about {}, of which {} for parameters and optimiser",
        Bytes(memory.peak(summary.by_block)),
        Bytes(memory.state),
    );
    if memory.by_block.is_some() {
        let other = Bytes(memory.peak(!summary.by_block));
        text += &match summary.by_block {
            true => {
                format!("; activations are computed again block by block, {other} without that")
            }
            false => format!("; {other} with activation_checkpointing = true"),
        };
    }
    if let Some(machine) = machine_memory().filter(|&most| memory.peak(summary.by_block) > most) {
        text += &format!("; this machine has {}: expect it to fail", Bytes(machine));
    }
    text
}

/// The text of the progress bar.
pub(super) fn progress(stage: TrainingStage, step: &StepRecord) -> String {
    format!(
        "{}, loss {:.4}, {:.1} examples/s",
        stage.name(),
        step.loss,
        step.examples_per_second
    )
}

/// Whether a step gets a line of its own where there is no terminal: seldom, but early.
pub(super) fn is_due(step: u64) -> bool {
    step == 1 || step.is_multiple_of(100)
}

pub(super) fn line(step: &StepRecord) -> String {
    format!(
        "{}: loss {:.5}, gradient norm {:.3}, rate {:.2e}, {:.1} examples/s, {:.0} s",
        step.step,
        step.loss,
        step.gradient_norm,
        step.learning_rate,
        step.examples_per_second,
        step.seconds
    )
}

pub(super) fn skipped(step: &StepRecord) -> String {
    format!(
        "step {}: loss {} and gradient norm {} are not finite; nothing moved",
        step.step, step.loss, step.gradient_norm
    )
}

pub(super) fn evaluation(record: &EvaluationRecord) -> String {
    let losses: Vec<String> = record
        .losses
        .iter()
        .map(|(level, loss)| format!("{loss:.4} at sigma {level:.3}"))
        .collect();
    format!(
        "step {}: loss {:.5} ({})",
        record.step,
        record.mean,
        losses.join(", ")
    )
}

pub(super) fn overfit(found: &OverfitReport) -> String {
    let knows = |look: &Look| {
        format!(
            "loss {:.4}, {:.1} % of its start; a sample reaches {:.1} dB",
            look.loss,
            100.0 * look.loss / found.fresh,
            look.psnr
        )
    };
    let mut text = format!(
        "{}, {} steps; loss at fixed noise levels {:.4} at the start\n",
        found.clip, found.steps, found.fresh
    );
    if let Some(image) = &found.image {
        text += &format!("the image model alone: {}\n", knows(image));
    }
    text += &format!(
        "in the end: {} ({}); asked for: at most {:.0} % and at least {:.0} dB\n{}",
        knows(&found.learnt),
        found.compared,
        100.0 * OverfitReport::LOSS_SHARE,
        OverfitReport::PSNR,
        verdict(found.passed())
    );
    text
}

pub(super) fn decoders(found: &DecoderReport) -> String {
    let line = |name: &str, decoded: &Decoded| {
        format!(
            "{name}: error of changes {:.5}, {:.3} dB, sharpness {:.4}\n",
            decoded.change_error, decoded.psnr, decoded.sharpness
        )
    };
    let mut text = format!(
        "decoders after {} steps each, on {} held-out clips\n",
        found.steps, found.clips
    );
    text += &line("on single frames", &found.single);
    text += &line("with temporal layers", &found.temporal);
    text += &line("the first, blurred in time", &found.blurred[0]);
    text += &line("the first, blurred in space", &found.blurred[1]);
    text + verdict(found.passed())
}

fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

/// The share of a run's time that was spent waiting for data.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waited: f64,
    seconds: f64,
    steps: u64,
}

impl Waiting {
    pub(super) fn add(&mut self, step: &StepRecord) {
        self.steps += 1;
        // The first batch has nothing to be read behind.
        if self.steps > 1 && step.examples_per_second > 0.0 {
            let seconds = 1.0 / step.examples_per_second;
            self.waited += step.waited_share * seconds;
            self.seconds += seconds;
        }
    }

    pub(super) fn line(&self) -> String {
        let share = match self.seconds > 0.0 {
            true => 100.0 * self.waited / self.seconds,
            false => 0.0,
        };
        format!("{share:.1} % of the time was spent waiting for clips")
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
