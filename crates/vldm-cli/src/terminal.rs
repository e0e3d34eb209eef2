//! Lines for people: answers on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

/// Writes an answer to standard output. Who closes it (`vldm … | head`) has read enough.
pub(crate) fn say(text: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// `kind: text` on standard error; when that is closed there is no one left to tell.
pub(crate) fn complain(kind: &str, text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{kind}: {text}");
}

/// Sends the library's log to standard error: `VLDM_LOG` chooses what, else the count of `-v`.
pub(crate) fn log(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "vldm=info",
        _ => "vldm=debug",
    };
    let filter = EnvFilter::try_from_env("VLDM_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // Fails only where a log is installed already.
    let _ = log.try_init();
}
