//! Files and folders that appear under their name whole, or not at all.
//!
//! Everything is written beside its place under a temporary name, synced, checked by the caller,
//! and then renamed. Dropping what is pending removes it.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::{Error, Result};

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".vldm-").suffix(".partial");
    builder
}

/// Permissions as any new file or folder gets them, instead of the private ones of temporary files.
fn public(builder: &mut Builder<'_, '_>, is_folder: bool) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = if is_folder { 0o777 } else { 0o666 };
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = (builder, is_folder);
}

/// A file that has no name yet.
#[derive(Debug)]
pub(crate) struct PendingFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl PendingFile {
    /// An empty file beside `path`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut builder = builder();
        public(&mut builder, false);
        let temporary = builder
            .tempfile_in(parent(path))
            .map_err(Error::io("create a file here", path))?;
        Ok(Self {
            temporary,
            path: path.to_path_buf(),
        })
    }

    /// A file with these bytes, on the disk for good.
    pub(crate) fn with(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut pending = Self::create(path)?;
        let file = pending.temporary.as_file_mut();
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", path))?;
        Ok(pending)
    }

    /// The file, opened again from its beginning.
    pub(crate) fn reopen(&self) -> Result<File> {
        let mut file = self
            .temporary
            .reopen()
            .map_err(Error::io("open again", &self.path))?;
        file.rewind().map_err(Error::io("read again", &self.path))?;
        Ok(file)
    }

    /// Gives the file its name, replacing what had it.
    pub(crate) fn commit(self) -> Result<()> {
        self.temporary
            .persist(&self.path)
            .map_err(|error| Error::io("rename to its final name", &self.path)(error.error))?;
        sync_folder(parent(&self.path));
        Ok(())
    }
}

/// A folder that has no name yet; or, where there is an empty one of that name already (a link, a mount
/// point, the working folder), the files that it is to hold, in a folder within it.
#[derive(Debug)]
pub(crate) struct PendingFolder {
    temporary: TempDir,
    path: PathBuf,
    within: bool,
}

impl PendingFolder {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut builder = builder();
        public(&mut builder, true);
        let within = path.is_dir();
        let temporary = builder
            .tempdir_in(if within { path } else { parent(path) })
            .map_err(Error::io("create a folder here", path))?;
        Ok(Self {
            temporary,
            path: path.to_path_buf(),
            within,
        })
    }

    /// Writes a file into the folder and returns where it lies for now.
    pub(crate) fn add(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.temporary.path().join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(Error::io("write", &self.path.join(name)))?;
        Ok(path)
    }

    /// Gives the folder its name, or moves the files to the one that has it.
    pub(crate) fn commit(self) -> Result<()> {
        sync_folder(self.temporary.path());
        if self.within {
            return self.move_files();
        }
        fs::rename(self.temporary.path(), &self.path)
            .map_err(Error::io("rename to its final name", &self.path))?;
        // It has moved: nothing is left to be removed.
        let _ = self.temporary.keep();
        sync_folder(parent(&self.path));
        Ok(())
    }

    fn move_files(self) -> Result<()> {
        let failed = Error::io("move the finished files to", &self.path);
        let files = fs::read_dir(self.temporary.path()).and_then(|files| {
            for file in files {
                let file = file?;
                fs::rename(file.path(), self.path.join(file.file_name()))?;
            }
            Ok(())
        });
        if files.is_err() {
            // They took long to make: they stay where they are.
            let _ = self.temporary.keep();
        }
        files.map_err(failed)?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// Makes a rename last through a power cut, where the system can.
fn sync_folder(folder: &Path) {
    // Not every system opens folders; the file itself is synced already.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_has_no_name_until_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let pending = PendingFile::with(&path, b"words").unwrap();
        assert!(!path.exists());
        assert!(names(folder.path())[0].ends_with(".partial"));
        pending.commit().unwrap();
        assert_eq!(names(folder.path()), ["a.txt"]);
        assert_eq!(fs::read(&path).unwrap(), b"words");
        drop(PendingFile::with(&path, b"other").unwrap());
        assert_eq!(names(folder.path()), ["a.txt"]);
        assert_eq!(fs::read(&path).unwrap(), b"words");
    }

    #[test]
    fn a_folder_likewise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames");
        let pending = PendingFolder::create(&path).unwrap();
        pending.add("a.txt", b"words").unwrap();
        assert!(!path.exists());
        drop(pending);
        assert!(names(folder.path()).is_empty());

        fs::create_dir(&path).unwrap();
        let pending = PendingFolder::create(&path).unwrap();
        pending.add("a.txt", b"words").unwrap();
        pending.commit().unwrap();
        assert_eq!(names(folder.path()), ["frames"]);
        assert_eq!(names(&path), ["a.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_an_empty_folder_is_a_place_too() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["there", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let pending = PendingFolder::create(&link).unwrap();
        pending.add("a.txt", b"words").unwrap();
        assert!(!path.join("a.txt").exists());
        pending.commit().unwrap();
        assert_eq!(names(&path), ["a.txt"]);
        assert!(link.is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_was_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        PendingFile::with(&path, b"words")
            .unwrap()
            .commit()
            .unwrap();
        let plain = folder.path().join("b.txt");
        fs::write(&plain, b"words").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
