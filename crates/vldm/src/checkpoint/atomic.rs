//! Files that appear whole: written beside the target, synced, and renamed.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// Calls `fill` with a temporary file in the target's folder, syncs it, and gives it the target's
/// name; on any error the temporary file is gone and the target is as it was. Missing folders are
/// created.
///
/// # Errors
///
/// Those of `fill`, and the file system's.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    write_checked(path, fill, |_| Ok(()))
}

/// [`write_atomically`], with a last look at the temporary file before it takes its name.
pub(super) fn write_checked(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = |error| CheckpointError::write(path, error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vldm-").suffix(".partial");
    // Readable like any other new file: the process's mask decides, not the temporary file's 0600.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary);
    fill(&mut out)?;
    let temporary = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    temporary.as_file().sync_all().map_err(failed)?;
    check(temporary.path())?;
    temporary
        .persist(path)
        .map_err(|error| failed(error.error))?;
    // The new name itself survives a power cut only when the folder has been synced.
    #[cfg(unix)]
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(())
}
