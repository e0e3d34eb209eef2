//! The procedural driving world as a source of clips: no file, no codec, any size.
//!
//! Clip `i` is a world of its own, made from the seed and `i`. It has `seconds · fps` frames; a
//! window of a lower rate takes the nearest of them, so windows of any rate show the same drive.
//! Pictures are rendered at the size that is asked for, with no resizing: for [`Fit::Crop`] at the
//! window's size, for [`Fit::Patch`] at that of the full picture (`of`, or else `width` and
//! `height`), from which the patch is cut.
//!
//! Classes of boxes are those of `vldm_world::Class`: 0 a car or van, 1 a truck or bus, 2 somebody
//! on foot. Labels are `night` (0 or 1) and `crowdedness` (vehicles in view on average, at
//! most 31).

use serde::{Deserialize, Serialize};
use vldm_media::Fps;
use vldm_world::{ClipSpec, SceneOptions, World};

use super::framing::Framing;
use super::order::word;
use super::sample::{ClipInfo, ClipSource, Fit, Placement, Sample, Window};
use crate::conditioning::boxes::ObjectBox;
use crate::error::{Error, Result};

/// What the worlds' seeds are drawn for.
const PURPOSE: u64 = 0x0077_6f72_6c64;
/// The highest value of the label `crowdedness`.
const MAX_CROWDEDNESS: usize = 31;

/// Which worlds, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldConfig {
    /// Number of clips, at least 1.
    pub clips: usize,
    /// What all worlds are made from. Another number of clips leaves the first ones as they are.
    #[serde(default)]
    pub seed: u64,
    /// Length of each clip.
    #[serde(default = "default_seconds")]
    pub seconds: f64,
    /// The rate from which lower ones are taken; 30 unless set, which 15, 7.5 and 2 divide.
    #[serde(default = "default_fps")]
    pub fps: Fps,
    /// Height in pixels, by which clips are sorted into buckets; 256 unless set.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Width in pixels; 512 unless set.
    #[serde(default = "default_width")]
    pub width: u32,
    /// What of the scenes is pinned.
    #[serde(default)]
    pub scene: SceneOptions,
}

fn default_seconds() -> f64 {
    8.0
}

fn default_fps() -> Fps {
    Fps::new(30, 1).unwrap_or(Fps::FILM)
}

fn default_height() -> u32 {
    256
}

fn default_width() -> u32 {
    512
}

impl WorldConfig {
    /// `clips` worlds of 8 seconds, drawn from `seed`.
    #[must_use]
    pub fn new(clips: usize, seed: u64) -> Self {
        Self {
            clips,
            seed,
            seconds: default_seconds(),
            fps: default_fps(),
            height: default_height(),
            width: default_width(),
            scene: SceneOptions::default(),
        }
    }

    /// The clip of this number at its full size and rate.
    #[must_use]
    pub fn spec(&self, index: usize) -> ClipSpec {
        ClipSpec {
            width: self.width,
            height: self.height,
            num_frames: ((self.seconds * self.fps.as_f64()).round() as usize).max(1),
            fps: self.fps,
            seed: word(self.seed, PURPOSE, index as u64),
        }
    }
}

/// Worlds as clips. See the [module](self).
#[derive(Debug)]
pub struct WorldSource {
    config: WorldConfig,
    infos: Vec<ClipInfo>,
}

impl WorldSource {
    /// Checks the settings. Renders nothing.
    ///
    /// # Errors
    /// [`Error::Config`] when a number is out of range or pinned settings exclude each other.
    pub fn new(config: WorldConfig) -> Result<Self> {
        if config.clips == 0 || !(config.seconds.is_finite() && config.seconds > 0.0) {
            return Err(Error::Config(format!(
                "{} worlds of {} seconds: expected at least one clip, of more than 0 seconds",
                config.clips, config.seconds
            )));
        }
        let spec = config.spec(0);
        World::with_options(spec, &config.scene).map_err(|error| wrong(&error))?;
        let info = |index| ClipInfo {
            id: format!("world/{index}"),
            width: spec.width,
            height: spec.height,
            frames: spec.num_frames,
            fps: spec.fps.as_f64(),
        };
        Ok(Self {
            infos: (0..config.clips).map(info).collect(),
            config,
        })
    }

    /// The world of a clip at another size.
    fn world(&self, index: usize, (width, height): (u32, u32)) -> Result<World> {
        let spec = ClipSpec {
            width,
            height,
            ..self.config.spec(index)
        };
        World::with_options(spec, &self.config.scene).map_err(|error| wrong(&error))
    }
}

fn wrong(error: &vldm_world::Error) -> Error {
    Error::Config(error.to_string())
}

impl ClipSource for WorldSource {
    fn len(&self) -> usize {
        self.infos.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        &self.infos[index]
    }

    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        self.sample(index, window, (placement, true))
    }

    fn describe(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        self.sample(index, window, (placement, false))
    }

    fn identity(&self, index: usize) -> Result<String> {
        let config = WorldConfig {
            clips: index + 1,
            ..self.config.clone()
        };
        let settings = serde_json::to_string(&config);
        let settings = settings.map_err(|error| Error::Config(error.to_string()))?;
        Ok(format!("the last world of {settings}"))
    }
}

impl WorldSource {
    /// A window, with its pictures where they are wanted.
    fn sample(
        &self,
        index: usize,
        window: &Window,
        (placement, pictures): (Placement, bool),
    ) -> Result<Sample> {
        let info = &self.infos[index];
        let take = info.take(window, placement.time)?;
        let picture = match window.fit {
            Fit::Crop => (window.width, window.height),
            Fit::Patch { of: Some([h, w]) } => (w, h),
            Fit::Patch { of: None } => (info.width, info.height),
        };
        let world = self.world(index, picture)?;
        let framing = Framing::new(picture, window, placement);
        let mut frames = Vec::with_capacity(take.frames);
        let mut boxes = Vec::with_capacity(take.frames);
        for at in take.indices() {
            if pictures {
                let frame = world.render(at).map_err(|error| wrong(&error))?;
                frames.push(framing.frame(&frame)?);
            }
            let seen = world.boxes(at).map_err(|error| wrong(&error))?;
            let seen: Vec<ObjectBox> = seen.iter().map(object).collect();
            boxes.push(framing.boxes(&seen));
        }
        let labels = world.labels();
        let crowdedness = labels.crowdedness.min(MAX_CROWDEDNESS);
        Ok(Sample {
            id: info.id.clone(),
            frames,
            fps: take.fps,
            start_seconds: take.start_seconds(),
            caption: Some(world.caption()),
            labels: [
                ("crowdedness".to_owned(), crowdedness),
                ("night".to_owned(), usize::from(labels.night)),
            ]
            .into(),
            boxes,
            encoded: None,
        })
    }
}

/// A world's box as the networks know it.
fn object(seen: &vldm_world::ObjectBox) -> ObjectBox {
    ObjectBox {
        x0: seen.x0,
        y0: seen.y0,
        x1: seen.x1,
        y1: seen.y1,
        class: seen.class.index(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(clips: usize, seed: u64) -> WorldSource {
        WorldSource::new(WorldConfig {
            seconds: 2.0,
            height: 64,
            width: 128,
            ..WorldConfig::new(clips, seed)
        })
        .unwrap()
    }

    fn window(fit: Fit) -> Window {
        Window {
            frames: 3,
            fps: Some(7.5),
            height: 32,
            width: 64,
            fit,
        }
    }

    #[test]
    fn windows_are_rendered_at_their_size_and_rate() {
        let source = source(2, 5);
        let late = Placement {
            time: 0.5,
            ..Placement::default()
        };
        let sample = source.read(1, &window(Fit::Crop), late).unwrap();
        assert_eq!(sample.id, "world/1");
        assert_eq!(sample.frames[0].size(), (64, 32));
        assert_eq!([sample.frames.len(), sample.boxes.len()], [3, 3]);
        let spec = ClipSpec {
            width: 64,
            height: 32,
            ..source.config.spec(1)
        };
        let world = World::new(spec).unwrap();
        let first = (sample.start_seconds * 30.0).round() as usize;
        for (k, frame) in sample.frames.iter().enumerate() {
            assert!(*frame == world.render(first + 4 * k).unwrap());
        }
        assert_eq!(sample.caption, Some(world.caption()));
        assert_eq!(sample.labels["night"], usize::from(world.labels().night));
        assert!(sample.labels["crowdedness"] <= 31);
    }

    #[test]
    fn clips_depend_on_their_number_and_the_seed_alone() {
        let check = |a: &WorldSource, b: &WorldSource, index, same| {
            let [a, b] = [a, b].map(|source| {
                let sample = source.read(index, &window(Fit::Crop), Placement::default());
                sample.unwrap().frames
            });
            assert_eq!(a == b, same);
        };
        check(&source(2, 5), &source(9, 5), 1, true);
        check(&source(2, 5), &source(2, 6), 1, false);
    }

    #[test]
    fn a_patch_is_cut_from_the_full_picture() {
        let source = source(1, 3);
        let place = Placement {
            time: 0.0,
            x: 0.5,
            y: 0.25,
        };
        let patch = window(Fit::Patch { of: None });
        let sample = source.read(0, &patch, place).unwrap();
        let full = World::new(source.config.spec(0))
            .unwrap()
            .render(0)
            .unwrap();
        let (left, top) = (32, 8);
        assert_eq!(sample.frames[0].pixel(0, 0), full.pixel(left, top));
        assert_eq!(
            sample.frames[0].pixel(63, 31),
            full.pixel(left + 63, top + 31)
        );
    }

    #[test]
    fn settings_out_of_range_are_told() {
        let check = |config: WorldConfig, expected: &str| {
            let error = WorldSource::new(config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let config = WorldConfig::new(1, 0);
        check(WorldConfig::new(0, 0), "expected at least one clip");
        check(
            WorldConfig {
                seconds: f64::NAN,
                ..config.clone()
            },
            "of more than 0 seconds",
        );
        check(WorldConfig { width: 4, ..config }, "8 to 8192 pixels");
    }
}
