//! Reads everything else through the `ffmpeg` program, when it is installed.
//!
//! The frames come as portable pixmaps through a pipe, each with its own size, at the stream's
//! average rate; so variable rates become constant, and turned phone videos stand upright. Only
//! the file itself may be opened: playlists that point elsewhere are refused.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use crate::animation::Collector;
use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::frame::{Clip, Frame};
use crate::options::ReadOptions;
use crate::probe::Info;

/// Reads the frames that `options` asks for. `why` says why ffmpeg is needed, for the message
/// when it is missing.
pub(crate) fn read(path: &Path, options: &ReadOptions, why: &str) -> Result<Clip> {
    let info = probe(path, options, why)?;
    options.limits.check_frame(path, info.width, info.height)?;
    let mut running = Running::start(path, options, info.fps, why)?;
    let mut kept = Collector::new(path, options);
    let mut done = false;
    while !done {
        let Some(size) = running.next_size().map_err(|_| running_failed(path))? else {
            break;
        };
        options.limits.check_frame(path, size.0, size.1)?;
        let mut rgb = vec![0; size.0 as usize * size.1 as usize * 3];
        running
            .frames
            .read_exact(&mut rgb)
            .map_err(|_| running_failed(path))?;
        done = kept.push(size, || Frame::new(size.0, size.1, rgb))?;
    }
    running.finish(path, done)?;
    kept.finish(info.fps)
}

fn running_failed(path: &Path) -> Error {
    Error::damaged(path, "ffmpeg stopped within a frame")
}

/// Asks ffprobe what the file holds.
pub(crate) fn probe(path: &Path, options: &ReadOptions, why: &str) -> Result<Info> {
    let output = own_group(&mut Command::new(ffprobe(&options.ffmpeg)))
        .args([
            "-v",
            "error",
            "-protocol_whitelist",
            "file,pipe",
            "-select_streams",
            "v:0",
        ])
        .args([
            "-show_entries",
            "stream=width,height,avg_frame_rate,r_frame_rate,nb_frames,duration",
        ])
        .args([
            "-show_entries",
            "stream_tags=rotate:stream_side_data=rotation:format=duration",
            "-of",
            "json",
        ])
        .arg(input(path))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(path, "ffprobe", why, &error))?;
    if !output.status.success() {
        return Err(Error::damaged(path, complaint(&output.stderr)));
    }
    parse_probe(&output.stdout).ok_or_else(|| {
        Error::unsupported(
            path,
            "ffprobe found no video in it; give a video or a picture",
        )
    })
}

fn parse_probe(json: &[u8]) -> Option<Info> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    let stream = json["streams"].get(0)?;
    let side = |name: &str| u32::try_from(stream[name].as_u64()?).ok();
    let rate = |name: &str| stream[name].as_str()?.parse::<Fps>().ok();
    let seconds = |value: &serde_json::Value| value.as_str()?.parse::<f64>().ok();
    let fps = rate("avg_frame_rate").or_else(|| rate("r_frame_rate"))?;
    let counted = stream["nb_frames"]
        .as_str()
        .and_then(|count| count.parse().ok());
    let estimated = || {
        let duration =
            seconds(&stream["duration"]).or_else(|| seconds(&json["format"]["duration"]));
        duration.map(|duration| (duration * fps.as_f64()).round() as usize)
    };
    let (mut width, mut height) = (side("width")?, side("height")?);
    if stands_on_its_side(stream) {
        std::mem::swap(&mut width, &mut height);
    }
    Some(Info {
        width,
        height,
        num_frames: counted.or_else(estimated).unwrap_or(0),
        fps,
    })
}

/// Whether ffmpeg turns the frames by a quarter, as phones ask for. Newer versions say it beside the
/// stream, older ones in a tag.
fn stands_on_its_side(stream: &serde_json::Value) -> bool {
    let beside = stream["side_data_list"].as_array();
    let beside = beside.and_then(|list| list.iter().find_map(|data| data["rotation"].as_f64()));
    let tag = || stream["tags"]["rotate"].as_str()?.parse::<f64>().ok();
    let degrees = beside.or_else(tag).unwrap_or(0.0);
    (degrees / 90.0).round().rem_euclid(2.0) == 1.0
}

/// Apart from this program's group: Ctrl-C in a terminal is for us alone, else each clip that is being
/// read would look damaged.
fn own_group(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command
}

/// `ffprobe` in the place where `ffmpeg` is.
fn ffprobe(ffmpeg: &Path) -> PathBuf {
    let name = ffmpeg
        .file_name()
        .map(|name| name.to_string_lossy().replace("ffmpeg", "ffprobe"));
    ffmpeg.with_file_name(name.unwrap_or_else(|| "ffprobe".into()))
}

/// The path as ffmpeg takes no other way than as a file.
fn input(path: &Path) -> OsString {
    let mut input = OsString::from("file:");
    input.push(path);
    input
}

fn missing(path: &Path, program: &str, why: &str, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return Error::unsupported(
            path,
            format!(
                "{why}; {program} would read it but was not found: install ffmpeg, or convert \
                     the file to MP4 with H.264"
            ),
        );
    }
    Error::unsupported(
        path,
        format!("{why}; {program} would read it but did not start: {error}"),
    )
}

/// The last line of what a program complained.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    format!("ffmpeg says: {}", line.unwrap_or("nothing").trim())
}

/// A running ffmpeg; killed when dropped.
struct Running {
    child: Child,
    frames: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    fn start(path: &Path, options: &ReadOptions, fps: Fps, why: &str) -> Result<Self> {
        let mut child = own_group(&mut Command::new(&options.ffmpeg))
            .args([
                "-v",
                "error",
                "-nostdin",
                "-protocol_whitelist",
                "file,pipe",
                "-i",
            ])
            .arg(input(path))
            .args(["-map", "0:v:0", "-an", "-sn", "-dn"])
            .args(["-r", &format!("{}/{}", fps.num(), fps.den())])
            .args(["-sws_flags", "bicubic+accurate_rnd+full_chroma_int"])
            .args([
                "-pix_fmt",
                "rgb24",
                "-f",
                "image2pipe",
                "-c:v",
                "ppm",
                "pipe:1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| missing(path, "ffmpeg", why, &error))?;
        let frames = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take();
        let mut running = Self {
            child,
            frames: frames.expect("stdout was asked to be piped"),
            complaints: None,
        };
        // Drained beside, else a talkative ffmpeg waits for us while we wait for it.
        running.complaints = stderr.map(|mut stderr| {
            std::thread::spawn(move || {
                let mut tail = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    tail.extend_from_slice(&buffer[..count]);
                    tail.drain(..tail.len().saturating_sub(4096));
                }
                tail
            })
        });
        Ok(running)
    }

    /// The size of the next frame; `None` at the end.
    fn next_size(&mut self) -> io::Result<Option<(u32, u32)>> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut fields = [0; 4];
        for (i, field) in fields.iter_mut().enumerate() {
            let mut word = Vec::new();
            let reader = self.frames.by_ref();
            reader
                .take(16)
                .read_until(if i == 1 { b' ' } else { b'\n' }, &mut word)?;
            if i == 0 && word.is_empty() {
                return Ok(None);
            }
            let word = std::str::from_utf8(&word).map_err(|_| invalid())?.trim();
            if i == 0 {
                (word == "P6").then_some(()).ok_or_else(invalid)?;
            } else {
                *field = word.parse().map_err(|_| invalid())?;
            }
            if i == 3 && *field != 255u32 {
                return Err(invalid());
            }
        }
        Ok(Some((fields[1], fields[2])))
    }

    /// Ends the program; an error if it failed before all was read.
    fn finish(mut self, path: &Path, stopped_early: bool) -> Result<()> {
        if stopped_early {
            return Ok(());
        }
        let status = self
            .child
            .wait()
            .map_err(Error::io("wait for ffmpeg on", path))?;
        let stderr = self
            .complaints
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        if status.success() && stderr.is_empty() {
            return Ok(());
        }
        Err(Error::damaged(path, complaint(&stderr)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffprobe_lies_beside_ffmpeg() {
        let check = |ffmpeg: &str, expected: &str| {
            assert_eq!(ffprobe(Path::new(ffmpeg)), Path::new(expected));
        };
        check("ffmpeg", "ffprobe");
        check("/opt/bin/ffmpeg", "/opt/bin/ffprobe");
        check("C:/tools/ffmpeg.exe", "C:/tools/ffprobe.exe");
    }

    #[test]
    fn answers_of_ffprobe() {
        let json = br#"{"streams":[{"width":64,"height":48,"avg_frame_rate":"30000/1001",
            "r_frame_rate":"30/1","duration":"1.001"}],"format":{}}"#;
        let info = parse_probe(json).unwrap();
        assert_eq!((info.width, info.height, info.num_frames), (64, 48, 30));
        assert_eq!(info.fps, "29.97".parse().unwrap());
        let turned = |more: &str| {
            let json = format!(
                r#"{{"streams":[{{"width":64,"height":48,"avg_frame_rate":"30/1","nb_frames":"9",{more}}}]}}"#
            );
            let info = parse_probe(json.as_bytes()).unwrap();
            (info.width, info.height)
        };
        assert_eq!(turned(r#""side_data_list":[{"rotation":-90}]"#), (48, 64));
        assert_eq!(
            turned(r#""side_data_list":[{},{"rotation":180}]"#),
            (64, 48)
        );
        assert_eq!(turned(r#""tags":{"rotate":"270"}"#), (48, 64));
        assert_eq!(parse_probe(br#"{"streams":[]}"#), None);
        assert_eq!(parse_probe(b"no json"), None);
    }

    #[test]
    fn a_missing_program_names_the_remedy() {
        let options = ReadOptions {
            ffmpeg: PathBuf::from("/nowhere/ffmpeg"),
            ..ReadOptions::default()
        };
        let error = read(Path::new("clip.mkv"), &options, "Matroska is not read here").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("install ffmpeg") && text.contains("clip.mkv"),
            "{text}"
        );
    }
}
