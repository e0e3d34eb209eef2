//! The command line's grammar.

use clap::{ArgAction, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::data::scan::ScanArgs;
use crate::data::world::WorldArgs;
use crate::device::DeviceName;
use crate::evaluate::EvaluateCommand;
use crate::exit::EXIT_STATUS;
use crate::generate::GenerateArgs;
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

    /// Look at models, write them anew, compare them with a reference.
    #[command(after_help = EXIT_STATUS)]
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },

    /// Train a stage of a model by a recipe.
    #[command(after_help = EXIT_STATUS)]
    Train(Box<TrainArgs>),

    /// Look at training data, make some.
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
