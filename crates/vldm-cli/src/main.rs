//! The `vldm` command: words in, a library request out, and what came of it shown.
//!
//! Nothing here knows a model: [`generate`], [`model`], [`data`], [`train`], [`evaluate`] and [`bench`] turn arguments
//! into requests and the library's answers into lines, files and exit statuses.

mod bench;
mod bytes;
mod cli;
mod clips_name;
mod compute;
mod data;
mod device;
mod drive;
mod edit;
mod evaluate;
mod exit;
mod generate;
mod interrupt;
mod model;
mod output;
mod plan_table;
mod progress;
mod scene;
mod stack;
mod terminal;
mod train;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, DataCommand, ModelCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    terminal::log(cli.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain("error", exit::message(&error));
            ExitCode::from(exit::status(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let verbose = cli.verbose > 0;
    match cli.command {
        Command::Generate(args) => generate::run(&args, verbose),
        Command::Model {
            command: ModelCommand::Inspect(args),
        } => model::inspect::run(&args),
        Command::Model {
            command: ModelCommand::Convert(args),
        } => model::convert::run(&args, verbose),
        Command::Model {
            command: ModelCommand::Assemble(args),
        } => model::assemble::run(&args),
        Command::Model {
            command: ModelCommand::Verify(args),
        } => model::verify::run(&args, verbose),
        Command::Data {
            command: DataCommand::Scan(args),
        } => data::scan::run(&args),
        Command::Data {
            command: DataCommand::Encode(args),
        } => data::encode::run(&args),
        Command::Data {
            command: DataCommand::World(args),
        } => data::world::run(&args),
        Command::Drive(args) => drive::run(&args),
        Command::Interpolate(args) => edit::interpolate::run(&args),
        Command::Upsample(args) => edit::upsample::run(&args),
        Command::Decode(args) => edit::decode::run(&args),
        Command::Encode(args) => edit::encode::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate { command } => evaluate::run(&command),
        Command::Bench(args) => bench::run(&args),
        Command::ProbeDevice { device } => device::probe_here(device),
    }
}
