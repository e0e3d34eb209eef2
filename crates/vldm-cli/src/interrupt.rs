//! Ctrl-C: the first asks to stop between steps, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

/// Whether the user asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Once per process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self(asked))
    }

    /// [`vldm::Error::Cancelled`] once the user has asked to stop.
    pub(crate) fn check(&self) -> vldm::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(vldm::Error::Cancelled),
            false => Ok(()),
        }
    }
}
