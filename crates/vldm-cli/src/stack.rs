//! Which stack a command runs: a folder's, a preset's with random weights, or the one that ships.

use std::path::{Path, PathBuf};

use vldm::pipeline::StackDescription;
use vldm::preset::{Preset, Stage};
use vldm::{Error, Result};

/// The model that is used where none is named.
const DEFAULT_MODEL: &str = "assets/default";

/// The stack of this name; `None` where it is a single model's.
///
/// # Errors
/// When a part of the stack is missing or damaged.
pub(crate) fn find(model: &Path) -> Result<Option<StackDescription>> {
    if !model.exists()
        && let Some(name) = model.to_str()
        && let Ok(preset) = Preset::load(name)
        && preset.is_stack()
    {
        return StackDescription::from_preset(&preset, 0).map(Some);
    }
    StackDescription::open(model)
}

/// The stack of this name, or the one that ships; for commands that take no single model.
///
/// # Errors
/// As [`find`], and [`Error::Input`] when it is no stack.
pub(crate) fn needed(model: Option<&Path>) -> Result<StackDescription> {
    let model = model_path(model)?;
    find(&model)?.ok_or_else(|| {
        Error::Input(format!(
            "{} has no stack.toml: expected the folder of a stack, or a stack's preset",
            model.display()
        ))
    })
}

/// The stack of this name, a single model, or the stack that ships; for commands that read an autoencoder
/// and nothing else.
///
/// # Errors
/// As [`find`], and when the model cannot be read.
pub(crate) fn or_model(model: Option<&Path>) -> Result<StackDescription> {
    let model = model_path(model)?;
    match find(&model)? {
        Some(stack) => Ok(stack),
        None => StackDescription::of_model(&model),
    }
}

/// The stack with other numbers of steps in some of its stages.
///
/// # Errors
/// [`Error::Input`] for a stage that it does not have, or that takes no steps.
pub(crate) fn with_steps(
    mut stack: StackDescription,
    each: &[(Stage, usize)],
) -> Result<StackDescription> {
    for (stage, steps) in each {
        if stack.needed(*stage)?.model.noise.is_none() || *stage == Stage::Decoder {
            return Err(Error::Input(format!(
                "the stage \"{}\" takes no sampling steps",
                stage.title()
            )));
        }
        stack = stack.with_steps(*stage, *steps);
    }
    Ok(stack)
}

/// The model named, or the one that ships with the program: here, or above the program.
///
/// # Errors
/// [`Error::Input`] when it is not there.
pub(crate) fn model_path(model: Option<&Path>) -> Result<PathBuf> {
    if let Some(model) = model {
        return Ok(model.to_owned());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let above = program
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(DEFAULT_MODEL));
    std::iter::once(PathBuf::from(DEFAULT_MODEL))
        .chain(above)
        .find(|path| path.is_dir())
        .ok_or_else(|| {
            Error::Input(format!(
                "no --model was given, and there is no {DEFAULT_MODEL} here or in a folder above \
                     {}: name a model's folder or .safetensors file",
                program.display()
            ))
        })
}
