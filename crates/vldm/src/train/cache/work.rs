//! What is missing in a cache, encoded piece by piece.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::encode::{EncodeReport, Setting};
use super::existing::next_number;
use super::index::{self, ClipKey, Held, Line, Part};
use super::plan::Wanted;
use super::reader::prompt_hash;
use super::shard::{PromptShard, Shard};
use crate::data::{ClipSource, Encoded, Fit, Placement, Window};
use crate::error::{Error, Result};

/// Frames of a clip that are read at once, those between wanted ones included.
const READ_AT_ONCE: usize = 32;
/// Prompts that are encoded at once.
const PROMPTS_AT_ONCE: usize = 8;
/// Prompts of a file.
const PROMPTS_PER_FILE: usize = 256;

/// What one step did.
pub(super) enum Done {
    /// A few frames or prompts.
    Some { done: usize, total: usize },
    /// Found that a clip cannot be read.
    Broken { id: String, reason: String },
    /// There is nothing left to do.
    All(EncodeReport),
}

/// Frames of one clip that go into one file.
#[derive(Debug)]
struct Todo {
    source: usize,
    clip: usize,
    key: ClipKey,
    frames: Vec<usize>,
    encoded: Option<Encoded>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Work {
    todo: VecDeque<Todo>,
    prompts: VecDeque<String>,
    shard: Shard,
    prompt_shard: PromptShard,
    numbers: [usize; 2],
    done: usize,
    total: usize,
    report: EncodeReport,
}

impl Work {
    /// What is missing beside the lines that are there, of which some were lost.
    pub(super) fn new(setting: &Setting, (lines, damaged): (Vec<Line>, usize)) -> Result<Self> {
        let numbers = ["latents", "prompts"].map(|kind| next_number(&lines, kind));
        let mut report = EncodeReport {
            damaged,
            bytes: lines
                .iter()
                .filter_map(Line::file)
                .map(|file| file.bytes)
                .sum(),
            ..EncodeReport::default()
        };
        let held = Held::new(lines);
        let mut todo = VecDeque::new();
        for (number, (_, wanted)) in setting.sources.iter().enumerate() {
            for clip in wanted {
                report.clips += 1;
                report.frames += clip.frames.len();
                let is_missing = |frame: &&usize| held.frame(&clip.key, **frame).is_none();
                let missing: Vec<usize> = clip.frames.iter().filter(is_missing).copied().collect();
                if held.broken(&clip.key).is_some() {
                    report.broken += 1;
                    continue;
                }
                let parts = missing.chunks(setting.settings.frames_per_file);
                todo.extend(parts.map(|frames| Todo {
                    source: number,
                    clip: clip.clip,
                    key: clip.key.clone(),
                    frames: frames.to_vec(),
                    encoded: None,
                }));
            }
        }
        let prompts = match setting.with_prompts {
            true => prompts(setting)?,
            false => BTreeSet::new(),
        };
        report.prompts = prompts.len();
        let is_missing = |prompt: &String| held.prompt(&prompt_hash(prompt)).is_none();
        let prompts: VecDeque<String> = prompts.into_iter().filter(is_missing).collect();
        Ok(Self {
            total: todo.iter().map(|todo| todo.frames.len()).sum::<usize>() + prompts.len(),
            todo,
            prompts,
            shard: Shard::default(),
            prompt_shard: PromptShard::default(),
            numbers,
            done: 0,
            report,
        })
    }

    pub(super) fn step(&mut self, setting: &Setting) -> Result<Done> {
        if let Some(todo) = self.todo.pop_front() {
            return self.frames(setting, todo);
        }
        if self.shard.frames() > 0 {
            self.write(setting)?;
        }
        if !self.prompts.is_empty() {
            return self.some_prompts(setting);
        }
        if self.prompt_shard.len() > 0 {
            self.write_prompts(setting)?;
        }
        Ok(Done::All(self.report.clone()))
    }

    /// Encodes a few frames of a clip.
    fn frames(&mut self, setting: &Setting, mut todo: Todo) -> Result<Done> {
        let behind = todo.encoded.as_ref().map_or(0, |encoded| encoded.shape[0]);
        let ahead = &todo.frames[behind..];
        let end = ahead[0] + READ_AT_ONCE;
        let count = ahead.iter().take_while(|&&frame| frame < end).count();
        let source = &*setting.sources[todo.source].0;
        let begin = Instant::now();
        let read = read(source, (todo.clip, todo.key.size), &ahead[..count]);
        self.report.shares.reading += begin.elapsed().as_secs_f64();
        let frames = match read {
            Ok(frames) => frames,
            Err(Error::Media(error @ vldm_media::Error::Io { .. })) => return Err(error.into()),
            Err(error) => return self.broken(setting, &todo, &error),
        };
        let begin = Instant::now();
        let encoded = setting.preparation.encode(&setting.networks, &frames)?;
        self.report.shares.encoding += begin.elapsed().as_secs_f64();
        match &mut todo.encoded {
            None => todo.encoded = Some(encoded),
            Some(before) => before.append(encoded),
        }
        self.done += count;
        self.report.new_frames += count;
        let is_whole = behind + count == todo.frames.len();
        match (is_whole, todo.encoded.take()) {
            (true, Some(encoded)) => {
                self.shard.push(Part::new(todo.key, &todo.frames), encoded);
                if self.shard.frames() >= setting.settings.frames_per_file {
                    self.write(setting)?;
                }
            }
            (_, encoded) => self.todo.push_front(Todo { encoded, ..todo }),
        }
        Ok(self.some())
    }

    /// Leaves out the rest of a clip that cannot be read. Of one that is damaged that is noted for good;
    /// one of a kind that ffmpeg might read is tried again by the next run.
    fn broken(&mut self, setting: &Setting, todo: &Todo, error: &Error) -> Result<Done> {
        let (id, reason) = (todo.key.id.clone(), error.to_string());
        let rest = self.todo.iter().filter(|other| other.key == todo.key);
        let behind = todo.encoded.as_ref().map_or(0, |encoded| encoded.shape[0]);
        self.total -= rest.map(|other| other.frames.len()).sum::<usize>();
        self.total -= todo.frames.len() - behind;
        self.todo.retain(|other| other.key != todo.key);
        if !matches!(error, Error::Media(vldm_media::Error::Unsupported { .. })) {
            let line = Line::Broken {
                clip: todo.key.clone(),
                reason: reason.clone(),
            };
            index::append(&setting.folder, &line)?;
        }
        self.report.broken += 1;
        self.report.new_frames -= behind;
        match self.report.broken > setting.ceiling {
            false => Ok(Done::Broken { id, reason }),
            true => Err(Error::Input(format!(
                "{} clips cannot be read, more than the {} that may fail; run `vldm data scan` on \
                 the data, which finds all such clips and leaves them out; the last was {id}: \
                 {reason}",
                self.report.broken, setting.ceiling
            ))),
        }
    }

    /// Encodes a few prompts.
    fn some_prompts(&mut self, setting: &Setting) -> Result<Done> {
        let count = self.prompts.len().min(PROMPTS_AT_ONCE);
        let prompts: Vec<String> = self.prompts.drain(..count).collect();
        let begin = Instant::now();
        let encoded = setting
            .preparation
            .encode_prompts(&setting.networks, &prompts);
        let (values, [_, tokens, width]) = encoded?;
        self.report.shares.encoding += begin.elapsed().as_secs_f64();
        for (prompt, values) in prompts.iter().zip(values.chunks(tokens * width)) {
            let hash = prompt_hash(prompt);
            self.prompt_shard
                .push(hash, values.to_vec(), [tokens, width]);
        }
        self.done += count;
        self.report.new_prompts += count;
        if self.prompt_shard.len() >= PROMPTS_PER_FILE {
            self.write_prompts(setting)?;
        }
        Ok(self.some())
    }

    fn some(&self) -> Done {
        Done::Some {
            done: self.done,
            total: self.total,
        }
    }

    fn write(&mut self, setting: &Setting) -> Result<()> {
        let begin = Instant::now();
        let (folder, stored) = (&setting.folder, setting.settings.stored);
        let line = self.shard.write(folder, self.numbers[0], stored)?;
        self.numbers[0] += 1;
        self.add(setting, (line, begin))
    }

    fn write_prompts(&mut self, setting: &Setting) -> Result<()> {
        let begin = Instant::now();
        let (folder, stored) = (&setting.folder, setting.settings.stored);
        let line = self.prompt_shard.write(folder, self.numbers[1], stored)?;
        self.numbers[1] += 1;
        self.add(setting, (line, begin))
    }

    /// Adds the line of a file that is on the disk.
    fn add(&mut self, setting: &Setting, (line, begin): (Line, Instant)) -> Result<()> {
        index::append(&setting.folder, &line)?;
        self.report.bytes += line.file().map_or(0, |file| file.bytes);
        self.report.shares.writing += begin.elapsed().as_secs_f64();
        Ok(())
    }
}

/// Every prompt that a run can ask for: the captions, and none.
fn prompts(setting: &Setting) -> Result<BTreeSet<String>> {
    let mut prompts = BTreeSet::from([String::new()]);
    for (source, wanted) in &setting.sources {
        for Wanted { clip, key, .. } in wanted {
            let (window, place) = picture(key.size, 1);
            prompts.extend(source.describe(*clip, &window, place)?.caption);
        }
    }
    Ok(prompts)
}

/// Reads frames of a clip that are near to each other.
fn read(
    source: &dyn ClipSource,
    (clip, size): (usize, [u32; 2]),
    wanted: &[usize],
) -> Result<Vec<vldm_media::Frame>> {
    let (first, last) = (wanted[0], wanted[wanted.len() - 1]);
    let (window, mut place) = picture(size, last - first + 1);
    let places = source.clip(clip).frames + 1 - window.frames;
    place.time = (first as f64 + 0.5) / places as f64;
    let frames = source.read(clip, &window, place)?.frames;
    let all = frames.into_iter().enumerate();
    let kept = all.filter(|(index, _)| wanted.contains(&(first + index)));
    Ok(kept.map(|(_, frame)| frame).collect())
}

/// Frames at a clip's own rate, from its beginning.
fn picture([height, width]: [u32; 2], frames: usize) -> (Window, Placement) {
    let window = Window {
        frames,
        fps: None,
        height,
        width,
        fit: Fit::Crop,
    };
    (window, Placement::default())
}

impl Encoded {
    /// Adds frames of the same size behind these.
    fn append(&mut self, more: Encoded) {
        self.shape[0] += more.shape[0];
        self.mean.extend(more.mean);
        if let (Some(all), Some(more)) = (&mut self.logvar, more.logvar) {
            all.extend(more);
        }
    }
}
