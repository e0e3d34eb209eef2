//! From what was typed to the library's request.

use std::path::Path;

use vldm::model::ModelDescription;
use vldm::pipeline::{GenerateRequest, Task, Wishes};
use vldm::sampler::SamplerConfig;
use vldm::{Error, Result};

use super::{GenerateArgs, like};
use crate::scene;

impl GenerateArgs {
    /// A request with what each sample should be like, as far as the model reads it: boxes say
    /// something of `pictures` only.
    pub(super) fn liken(
        &self,
        mut request: GenerateRequest,
        (model, pictures): (&ModelDescription, bool),
    ) -> Result<GenerateRequest> {
        if let Some(set) = &self.like {
            let each = like::wishes(set, self.count)?.into_iter().map(|wishes| {
                let mut wishes = wishes.known_to_model(model);
                wishes.negative_prompt.clone_from(&self.negative_prompt);
                match pictures {
                    true => wishes,
                    false => wishes.without_boxes(),
                }
            });
            request.each = each.collect();
        }
        Ok(request)
    }

    /// The request as it was typed; what was not is left to the model, which calls the classes of boxes
    /// so.
    pub(super) fn typed(&self, classes: &[String]) -> Result<GenerateRequest> {
        let scene = match &self.scene {
            Some(path) => scene::read(path, classes)?,
            None => Wishes::default(),
        };
        let mut labels = scene.labels;
        labels.extend(self.label.iter().cloned());
        let request = GenerateRequest {
            prompt: self.prompt.clone().or(scene.prompt),
            negative_prompt: self.negative_prompt.clone().or(scene.negative_prompt),
            labels,
            boxes: scene.boxes,
            each: Vec::new(),
            width: self.width,
            height: self.height,
            frames: self.frames,
            fps: self.fps,
            steps: self.steps,
            sampler: self.resolve_sampler()?,
            guidance: self.guidance_scale,
            motion_bucket: self.motion_bucket,
            noise_augmentation: self.noise_augmentation,
            seed: self.seed,
            count: self.count,
            decode_chunk: self.decode_chunk,
            attention_distance: self.attention_distance,
            tile: self.tile,
        };
        request.validate()?;
        Ok(request)
    }

    fn resolve_sampler(&self) -> Result<Option<SamplerConfig>> {
        match (self.sampler, self.eta) {
            (sampler, None) => Ok(sampler),
            (None | Some(SamplerConfig::Ddim { .. }), Some(eta)) => {
                Ok(Some(SamplerConfig::Ddim { eta }))
            }
            (Some(other), Some(_)) => Err(Error::Input(format!(
                "--eta is for ddim, not for {}: leave out one of --eta and --sampler",
                other.name()
            ))),
        }
    }

    /// Refuses what would change nothing on the way through a whole stack.
    pub(super) fn refuse_flags_of_a_model(&self, stack: &Path) -> Result<()> {
        let flags = [
            ("--lora", !self.weights.lora.is_empty()),
            ("--prediction-type", self.weights.prediction_type.is_some()),
            ("--weights-seed", self.weights.weights_seed != 0),
            ("--motion-bucket", self.motion_bucket.is_some()),
            ("--noise-augmentation", self.noise_augmentation.is_some()),
        ];
        let advice = "which it would not reach: leave it out, or name a single model";
        refuse(&flags, |flag| {
            format!(
                "{flag} was given, but {} is a whole stack, {advice}",
                stack.display()
            )
        })
    }

    /// Refuses what would change nothing where a single model works.
    pub(super) fn refuse_flags_of_a_stack(&self) -> Result<()> {
        let flags = [
            ("--until", self.until.is_some()),
            ("--stage-steps", !self.stage_steps.is_empty()),
            ("--tile", self.tile.is_some()),
        ];
        refuse(&flags, |flag| {
            format!(
                "{flag} was given, but a single model makes this (--frames 1, --image, \
                 --initial-latents, --temporal, or a model that is no whole stack): leave it out"
            )
        })
    }

    /// Refuses what belongs to another kind of model than this, and asks for what it needs;
    /// `text_alone`: it reads no labels and no boxes.
    pub(super) fn check_task(&self, task: Task, text_alone: bool) -> Result<()> {
        let (kind, advice, unread): (_, _, &[(&str, bool)]) = match task {
            Task::TextToVideo => (
                "reads text",
                "leave it out, or choose an image-to-video model",
                &[
                    ("--image", self.image.is_some()),
                    ("--motion-bucket", self.motion_bucket.is_some()),
                    ("--noise-augmentation", self.noise_augmentation.is_some()),
                ],
            ),
            Task::ImageToVideo => (
                "turns a picture into a clip",
                "leave it out, or choose a text model",
                &[
                    ("--prompt", self.prompt.is_some()),
                    ("--negative-prompt", self.negative_prompt.is_some()),
                    ("--label", !self.label.is_empty()),
                    ("--scene", self.scene.is_some()),
                    ("--like", self.like.is_some()),
                ],
            ),
        };
        refuse(unread, |flag| {
            format!("{flag} was given, but this model {kind}: {advice}")
        })?;
        let (needed, given) = match task {
            Task::TextToVideo => (
                "--prompt TEXT",
                self.prompt.is_some() || self.scene.is_some() || self.like.is_some() || !text_alone,
            ),
            Task::ImageToVideo => ("--image FILE", self.image.is_some()),
        };
        match given {
            true => Ok(()),
            false => Err(Error::Input(format!("this model {kind}: add {needed}"))),
        }
    }
}

/// Refuses the first of these flags that was given.
fn refuse(flags: &[(&str, bool)], say: impl Fn(&str) -> String) -> Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Error::Input(say(flag))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use vldm::diffusion::Guidance;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &str) -> std::result::Result<Box<GenerateArgs>, clap::Error> {
        let words = ["vldm", "generate"]
            .into_iter()
            .chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Generate(args) => args,
            _ => unreachable!("the command is `generate`"),
        })
    }

    fn resolve(line: &str) -> Result<GenerateRequest> {
        args(line).expect("grammatical").typed(&[])
    }

    #[test]
    fn nothing_typed_is_left_to_the_model() {
        assert_eq!(resolve("").expect("resolves"), GenerateRequest::default());
    }

    #[test]
    fn every_flag_reaches_the_request() {
        let line = "-p cat -n dog --width 64 --height 32 --frames 8 --fps 29.97 --steps 7 \
                    --sampler euler --guidance-scale 1:3 --motion-bucket 40 \
                    --noise-augmentation 0.1 --seed 9 --count 2 --decode-chunk 3 \
                    --attention-distance 4 --tile 32 --label night=1";
        let expected = GenerateRequest {
            prompt: Some("cat".into()),
            negative_prompt: Some("dog".into()),
            width: Some(64),
            height: Some(32),
            frames: Some(8),
            fps: Some("30000/1001".parse().expect("a rate")),
            steps: Some(7),
            sampler: Some(SamplerConfig::Euler {}),
            guidance: Some(Guidance::PerFrame {
                first: 1.0,
                last: 3.0,
            }),
            motion_bucket: Some(40.0),
            noise_augmentation: Some(0.1),
            seed: 9,
            count: 2,
            decode_chunk: Some(3),
            attention_distance: Some(4),
            tile: Some(32),
            labels: [("night".to_owned(), 1)].into(),
            ..GenerateRequest::default()
        };
        assert_eq!(resolve(line).expect("resolves"), expected);
    }

    #[test]
    fn eta_chooses_ddim_and_nothing_else() {
        let check = |line, expected: Option<SamplerConfig>| {
            assert_eq!(
                resolve(line).ok().and_then(|r| r.sampler),
                expected,
                "{line}"
            );
        };
        check("--eta 0.5", Some(SamplerConfig::Ddim { eta: 0.5 }));
        check(
            "--sampler ddim --eta 1",
            Some(SamplerConfig::Ddim { eta: 1.0 }),
        );
        check("--sampler heun --eta 1", None);
        check("--eta 2", None);
    }

    #[test]
    fn grammar_refuses_what_is_no_value() {
        for line in [
            "--guidance-scale x",
            "--guidance-scale 1:",
            "--guidance-scale inf",
            "--sampler plms",
            "--fps fast",
            "--device gpu",
            "--dtype f64",
            "--threads 0",
            "--max-memory much",
            "--json",
        ] {
            assert!(args(line).is_err(), "{line}");
        }
    }

    #[test]
    fn each_task_has_its_own_inputs() {
        let check = |line, task, expected: Option<&str>| {
            let message = args(line).expect("grammatical").check_task(task, true);
            let message = message.err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(message, None, "{line}"),
                Some(part) => assert!(message.is_some_and(|m| m.contains(part)), "{line}"),
            }
        };
        check("-p cat", Task::TextToVideo, None);
        check("--image a.png", Task::ImageToVideo, None);
        check("", Task::TextToVideo, Some("--prompt TEXT"));
        check("", Task::ImageToVideo, Some("--image FILE"));
        check("-p cat --image a.png", Task::TextToVideo, Some("--image"));
        check("-p cat --image a.png", Task::ImageToVideo, Some("--prompt"));
        check(
            "-p cat --motion-bucket 1",
            Task::TextToVideo,
            Some("--motion-bucket"),
        );
    }
}
