//! Errors into one message and an exit status.

use vldm::Error;

/// Shown at the end of every `--help`.
pub(crate) const EXIT_STATUS: &str = "Exit status:
  0    done
  1    it failed: damaged files, no such device, outputs that differ from the reference
  2    the command asks for what cannot be done: change it
  130  interrupted; no half-written file is left";

/// The exit status that belongs to an error.
pub(crate) fn status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Input(_) | Error::Config(_)) => return 2,
        Some(Error::Cancelled) => return 130,
        Some(Error::Media(error)) => return media_status(error),
        _ => {}
    }
    error
        .downcast_ref::<vldm_media::Error>()
        .map_or(1, media_status)
}

fn media_status(error: &vldm_media::Error) -> u8 {
    match error {
        vldm_media::Error::Input(_) | vldm_media::Error::Unsupported { .. } => 2,
        _ => 1,
    }
}

/// The error and its causes in one message; a cause that the message already tells is left out.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.contains(&cause) {
            continue;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&cause);
    }
    message
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn statuses_by_what_the_user_can_do() {
        let check = |error: anyhow::Error, expected| assert_eq!(status(&error), expected);
        check(Error::Input("steps is 0".into()).into(), 2);
        check(Error::Config("bad preset".into()).into(), 2);
        check(Error::Cancelled.into(), 130);
        check(Error::Backend("no such device".into()).into(), 1);
        check(Error::NonFinite { step: 3 }.into(), 1);
        check(vldm_media::Error::Input("no name".into()).into(), 2);
        check(
            Error::Media(vldm_media::Error::Input("no name".into())).into(),
            2,
        );
        check(anyhow!("anything else"), 1);
        let inner: anyhow::Result<()> = Err(Error::Input("x".into()).into());
        check(inner.context("while planning").expect_err("an error"), 2);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file").context("cannot read a.json: no such file");
        assert_eq!(message(&error), "cannot read a.json: no such file");
        let error = anyhow!("no such file").context("cannot read a.json");
        assert_eq!(message(&error), "cannot read a.json: no such file");
    }
}
