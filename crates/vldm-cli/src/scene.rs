//! Scene files: what a frame should show, as a person writes it down.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use vldm::Error;
use vldm::conditioning::boxes::ObjectBox;
use vldm::pipeline::Wishes;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Scene {
    prompt: Option<String>,
    negative_prompt: Option<String>,
    labels: BTreeMap<String, usize>,
    boxes: Vec<SceneBox>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SceneBox {
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
    #[serde(default)]
    class: Class,
}

/// A kind of object, by its place in the model's list or by its name there.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Class {
    Number(usize),
    Name(String),
}

impl Default for Class {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// Reads a scene for a model that calls its classes so.
pub(crate) fn read(path: &Path, classes: &[String]) -> Result<Wishes, Error> {
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let scene: Scene = serde_json::from_str(&text).map_err(|error| {
        wrong(format!(
            "{error}; expected {{\"prompt\": …, \"labels\": {{\"night\": 0}}, \"boxes\": [{{\"x0\": 0.4, \
             \"y0\": 0.5, \"x1\": 0.5, \"y1\": 0.6, \"class\": \"car\"}}]}}"
        ))
    })?;
    let number = |class: Class| match class {
        Class::Number(number) => Ok(number),
        Class::Name(name) => classes
            .iter()
            .position(|class| *class == name)
            .ok_or_else(|| {
                let known = match classes.is_empty() {
                    true => "the model numbers its classes, from 0".to_owned(),
                    false => format!("expected one of {}", classes.join(", ")),
                };
                wrong(format!("no class is called \"{name}\": {known}"))
            }),
    };
    let boxes: Result<Vec<ObjectBox>, Error> = scene
        .boxes
        .into_iter()
        .map(|one| {
            Ok(ObjectBox {
                x0: one.x0,
                y0: one.y0,
                x1: one.x1,
                y1: one.y1,
                class: number(one.class)?,
            })
        })
        .collect();
    Ok(Wishes {
        prompt: scene.prompt,
        negative_prompt: scene.negative_prompt,
        labels: scene.labels,
        boxes: boxes?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn classes_are_names_or_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scene.json");
        let read = |class: &str| {
            let text = format!(
                "{{\"boxes\": [{{\"x0\": 0, \"y0\": 0, \"x1\": 1, \"y1\": 1, \"class\": {class}}}]}}"
            );
            std::fs::write(&path, text).unwrap();
            super::read(&path, &["car".to_owned(), "truck".to_owned()])
        };
        assert_eq!(read("\"truck\"").unwrap().boxes[0].class, 1);
        assert_eq!(read("1").unwrap().boxes[0].class, 1);
        let error = read("\"bus\"").unwrap_err().to_string();
        assert!(error.ends_with("expected one of car, truck"), "{error}");
    }
}
