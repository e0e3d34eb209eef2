//! `vldm data scan`: reads everything once, and says what is there and what is broken.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use vldm::data::{Scan, ScanEvent, ScanSettings};
use vldm_media::Fps;

use super::report;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::{complain, say};

/// What to scan.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// A folder of clips and pictures, a WebDataset .tar file, or a folder of them.
    pub(crate) path: PathBuf,

    /// The folder for the report and the previews; beside the data unless given, where training
    /// looks for the report.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    /// Clips on the contact sheet at most.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(crate) previews: usize,

    /// The rate of folders of numbered pictures; 24 unless given.
    #[arg(long, value_name = "FPS")]
    pub(crate) picture_fps: Option<Fps>,

    /// Clips that are read at the same time; as many as there are cores unless given, at most 8.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

impl ScanArgs {
    fn settings(&self) -> ScanSettings {
        let usual = ScanSettings::default();
        ScanSettings {
            out: self.out.clone(),
            previews: self.previews,
            picture_fps: self.picture_fps.unwrap_or(usual.picture_fps),
            threads: self.threads.map_or(usual.threads, NonZeroUsize::get),
        }
    }
}

/// Runs the command. Clips that cannot be used are told of on standard error as they are found.
pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut scan = Scan::start(&args.path, args.settings())?;
    let bar = Bar::steps(format!("scanning {}", args.path.display()), scan.total());
    loop {
        interrupt.check()?;
        match scan.next().transpose()? {
            Some(ScanEvent::Clip {
                done, id, broken, ..
            }) => {
                bar.set(done);
                if let Some(reason) = broken {
                    bar.aside(|| complain("quarantined", format!("{id}: {reason}")));
                }
            }
            Some(ScanEvent::Finished { report, files }) => {
                drop(bar);
                return match args.json {
                    true => say(report::as_json(&report, &files)),
                    false => say(report::as_table(&report, &files)),
                };
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
