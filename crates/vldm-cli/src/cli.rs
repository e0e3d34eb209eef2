//! The command line's grammar.

use clap::{ArgAction, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::data::encode::EncodeArgs;
use crate::data::scan::ScanArgs;
use crate::data::world::WorldArgs;
use crate::device::DeviceName;
use crate::drive::DriveArgs;
use crate::edit::decode::DecodeArgs;
use crate::edit::encode::EncodeClipArgs;
use crate::edit::interpolate::InterpolateArgs;
use crate::edit::upsample::UpsampleArgs;
use crate::evaluate::EvaluateCommand;
use crate::exit::EXIT_STATUS;
use crate::generate::GenerateArgs;
use crate::model::assemble::AssembleArgs;
use crate::model::convert::ConvertArgs;
use crate::model::inspect::InspectArgs;
use crate::model::verify::VerifyArgs;
use crate::train::TrainArgs;

/// Video latent diffusion: pictures and clips from text and pictures.
#[derive(Debug, Parser)]
#[command(name = "vldm", version, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more: what was loaded; twice for debugging.
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 1000)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a picture or a clip, from text or from a picture.
    #[command(after_help = EXIT_STATUS)]
    Generate(Box<GenerateArgs>),

    /// Roll out minutes of driving from a first frame: generated, from boxes, or given.
    #[command(after_help = EXIT_STATUS)]
    Drive(Box<DriveArgs>),

    /// Make more frames between those of a clip.
    #[command(after_help = EXIT_STATUS)]
    Interpolate(Box<InterpolateArgs>),

    /// Make a clip larger.
    #[command(after_help = EXIT_STATUS)]
    Upsample(Box<UpsampleArgs>),

    /// Make a clip of latents.
    #[command(after_help = EXIT_STATUS)]
    Decode(Box<DecodeArgs>),

    /// Make latents of a clip.
    #[command(after_help = EXIT_STATUS)]
    Encode(Box<EncodeClipArgs>),

    /// Look at models, write them anew, compare them with a reference.
    #[command(after_help = EXIT_STATUS)]
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },

    /// Train a stage of a model by a recipe.
    #[command(after_help = EXIT_STATUS)]
    Train(Box<TrainArgs>),

    /// Look at training data, make some, encode it.
    #[command(after_help = EXIT_STATUS)]
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },

    /// Measure clips: distances, labels, boxes, prompts, drift.
    #[command(after_help = EXIT_STATUS)]
    Evaluate {
        #[command(subcommand)]
        command: Box<EvaluateCommand>,
    },

    /// Measure a part of a preset on random weights: time, arithmetic, memory.
    #[command(after_help = EXIT_STATUS)]
    Bench(Box<BenchArgs>),

    /// Computes something small on a device; run by vldm itself in a process of its own.
    #[command(hide = true)]
    ProbeDevice { device: DeviceName },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Read everything once: what is there, what cannot be used and why.
    #[command(after_help = EXIT_STATUS)]
    Scan(ScanArgs),

    /// Compute once what frozen encoders make of a recipe's clips and captions.
    #[command(after_help = EXIT_STATUS)]
    Encode(EncodeArgs),

    /// Write clips of the procedural driving world, with captions, labels and boxes.
    #[command(after_help = EXIT_STATUS)]
    World(WorldArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Show what a model is made of, with exact parameter counts; reads no weights.
    #[command(after_help = EXIT_STATUS)]
    Inspect(InspectArgs),

    /// Write a model anew: another data type, a folder from a single file, temporal layers alone.
    #[command(after_help = EXIT_STATUS)]
    Convert(ConvertArgs),

    /// Put a stack together from models that were trained for its stages.
    #[command(after_help = EXIT_STATUS)]
    Assemble(AssembleArgs),

    /// Compute a reference's cases with a model and compare.
    #[command(after_help = EXIT_STATUS)]
    Verify(VerifyArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
