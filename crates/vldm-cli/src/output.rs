//! Which file each sample goes to.

use std::path::{Path, PathBuf};

use vldm::Error;
use vldm_media::Info;

/// One path per sample.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<PathBuf>);

impl Outputs {
    /// `clip.mp4`; of several samples `clip-0.mp4`, `clip-1.mp4`, … Without a name each sample is
    /// called after its seed.
    pub(crate) fn new(output: Option<&Path>, seeds: &[u64], frames: usize) -> Self {
        let ending = match frames {
            1 => "png",
            _ => "mp4",
        };
        let by_seed = |seed| PathBuf::from(format!("vldm-{seed}.{ending}"));
        Self(match output {
            None => seeds.iter().map(by_seed).collect(),
            Some(path) if seeds.len() == 1 => vec![path.to_owned()],
            Some(path) => (0..seeds.len()).map(|i| numbered(path, i)).collect(),
        })
    }

    /// The paths, by sample.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Whether all of them can be written: before long work.
    pub(crate) fn check(&self, info: &Info) -> vldm::Result<()> {
        for path in &self.0 {
            vldm_media::check_output(path, info)?;
        }
        Ok(())
    }

    /// Whether the settings that are written beside the outputs would take the place of a file that is
    /// read.
    pub(crate) fn spare(&self, inputs: [&Option<PathBuf>; 2]) -> vldm::Result<()> {
        let same = |a: &Path, b: &Path| a == b || same_file(a, b);
        for path in &self.0 {
            let settings = vldm_media::sidecar_path(path);
            let mut read = inputs.into_iter().flatten();
            if let Some(input) = read.find(|input| same(input, &settings)) {
                return Err(Error::Input(format!(
                    "the settings of {} would be written over {}: name another output, or add \
                     --disable-metadata",
                    path.display(),
                    input.display()
                )));
            }
        }
        Ok(())
    }
}

/// Whether both are there, and one file.
fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// `clip.mp4` → `clip-3.mp4`, `frames/` → `frames-3`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{index}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_not_written_over() {
        let outputs = Outputs::new(Some(Path::new("scene.png")), &[0], 1);
        let check = |input: &str| outputs.spare([&Some(input.into()), &None]);
        let error = check("scene.json")
            .expect_err("its own settings")
            .to_string();
        assert!(error.contains("--disable-metadata"), "{error}");
        check("other.json").expect("another file");
        check("folder/scene.json").expect("another file");
    }

    #[test]
    fn numbers_go_before_the_ending() {
        let check = |path: &str, expected: &str| {
            assert_eq!(numbered(Path::new(path), 3), Path::new(expected), "{path}");
        };
        check("clip.mp4", "clip-3.mp4");
        check("out/a.b.gif", "out/a.b-3.gif");
        check("frames/", "frames-3");
        check("out/frames", "out/frames-3");
    }
}
