//! `vldm evaluate`: numbers about clips, and the networks that some of them need.

mod baselines;
mod boxes;
mod clips;
mod drift;
mod frechet;
mod labels;
mod networks;
mod pixels;
mod prompts;
mod report;
mod spread;
mod train;

use clap::Subcommand;

use crate::exit::EXIT_STATUS;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum EvaluateCommand {
    /// Fréchet video distance between two sets of clips, in features trained on the driving world.
    #[command(after_help = EXIT_STATUS)]
    Fvd(frechet::FrechetArgs),

    /// The same between the middle frames of the clips.
    #[command(after_help = EXIT_STATUS)]
    Fid(frechet::FrechetArgs),

    /// Whether clips show the night or day and the crowdedness that they are labelled with.
    #[command(after_help = EXIT_STATUS)]
    Labels(labels::LabelsArgs),

    /// Whether vehicles and people are where the boxes say: recall, precision, average precision.
    #[command(after_help = EXIT_STATUS)]
    Boxes(boxes::BoxesArgs),

    /// Whether colours and kinds of vehicles named in captions are seen more often than by chance.
    #[command(after_help = EXIT_STATUS)]
    Prompts(prompts::PromptsArgs),

    /// Colour and sharpness of a long clip, segment by segment.
    #[command(after_help = EXIT_STATUS)]
    Drift(drift::DriftArgs),

    /// How different rollouts become, frame by frame.
    #[command(after_help = EXIT_STATUS)]
    Spread(spread::SpreadArgs),

    /// PSNR, SSIM and the error of the changes between frames of a clip against a true one.
    #[command(after_help = EXIT_STATUS)]
    Pixels(pixels::PixelsArgs),

    /// Distances of true clips and of spoilt ones: what other distances are to be read against.
    #[command(after_help = EXIT_STATUS)]
    Baselines(baselines::BaselinesArgs),

    /// Train one of the networks that measure, on the driving world.
    #[command(after_help = EXIT_STATUS)]
    Train(train::TrainArgs),
}

/// Runs the command.
pub(crate) fn run(command: &EvaluateCommand) -> anyhow::Result<()> {
    match command {
        EvaluateCommand::Fvd(args) => frechet::run(args, frechet::Of::Clips),
        EvaluateCommand::Fid(args) => frechet::run(args, frechet::Of::Frames),
        EvaluateCommand::Labels(args) => labels::run(args),
        EvaluateCommand::Boxes(args) => boxes::run(args),
        EvaluateCommand::Prompts(args) => prompts::run(args),
        EvaluateCommand::Drift(args) => drift::run(args),
        EvaluateCommand::Spread(args) => spread::run(args),
        EvaluateCommand::Pixels(args) => pixels::run(args),
        EvaluateCommand::Baselines(args) => baselines::run(args),
        EvaluateCommand::Train(args) => train::run(args),
    }
}
