//! `vldm data world`: clips of the procedural driving world, as a folder of training data.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use vldm::data::{Export, ExportEvent, WorldConfig, WorldSource};
use vldm_media::Fps;

use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;

/// Which worlds, and where to.
#[derive(Debug, Args)]
pub(crate) struct WorldArgs {
    /// How many clips.
    #[arg(long, value_name = "N")]
    pub(crate) clips: NonZeroUsize,

    /// The folder to write, new or empty: MP4 files, metadata.jsonl and a contact sheet.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// What the worlds are made from; the same seed gives the same clips.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Length of each clip; 8 unless given.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,

    /// Frames per second; 30 unless given.
    #[arg(long, value_name = "FPS")]
    pub(crate) fps: Option<Fps>,

    /// Width in pixels, even; 512 unless given.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) width: Option<u32>,

    /// Height in pixels, even; 256 unless given.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) height: Option<u32>,
}

impl WorldArgs {
    fn config(&self) -> WorldConfig {
        let usual = WorldConfig::new(self.clips.get(), self.seed);
        WorldConfig {
            seconds: self.seconds.unwrap_or(usual.seconds),
            fps: self.fps.unwrap_or(usual.fps),
            width: self.width.unwrap_or(usual.width),
            height: self.height.unwrap_or(usual.height),
            ..usual
        }
    }
}

/// Runs the command: prints the files beside the clips.
pub(crate) fn run(args: &WorldArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let source = Arc::new(WorldSource::new(args.config())?);
    let mut export = Export::start(source, &args.out)?;
    let bar = Bar::steps(format!("writing {}", args.out.display()), export.total());
    loop {
        interrupt.check()?;
        match export.next().transpose()? {
            Some(ExportEvent::Clip { done, .. }) => bar.set(done),
            Some(ExportEvent::Finished { files }) => {
                drop(bar);
                return files.iter().try_for_each(|file| say(file.display()));
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
