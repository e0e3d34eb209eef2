//! Encodes a clip as H.264.
//!
//! OpenH264 is made for video calls, where bandwidth comes first. Here every frame gets the same
//! quantiser: its rate control is set to the one mode that neither drops frames nor varies the
//! quantiser between the bounds, and the bounds are equal.

use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    QpRange, RateControlMode, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};

use crate::color::{Yuv420, to_yuv420};
use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::frame::Frame;
use crate::mp4::mux::{Sample, Track};
use crate::mp4::{MAX_SIDES, MIN_SIDE};

/// Whether the encoder takes pictures of this size.
pub(crate) fn check_size(width: u32, height: u32) -> Result<()> {
    let (long, short) = (width.max(height), width.min(height));
    if long > MAX_SIDES.0 || short > MAX_SIDES.1 || short < MIN_SIDE {
        return Err(Error::Input(format!(
            "an MP4 holds frames from {MIN_SIDE}x{MIN_SIDE} up to {}x{} pixels, got \
             {width}x{height}: change the size, or write PNG frames into a folder",
            MAX_SIDES.0, MAX_SIDES.1
        )));
    }
    Ok(())
}

/// An MP4 file in the making: takes frames one by one, keeps only what is encoded.
pub(crate) struct Encoding {
    encoder: Encoder,
    track: Track,
}

impl std::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.track.fmt(f)
    }
}

impl Encoding {
    /// Nothing yet; `qp` is H.264's quantiser, 12 (finest) to 51.
    pub(crate) fn new(width: u32, height: u32, fps: Fps, qp: u8) -> Result<Self> {
        check_size(width, height)?;
        let api = OpenH264API::from_source();
        let config = config(width, height, fps, qp);
        Ok(Self {
            encoder: Encoder::with_api_config(api, config).map_err(refused)?,
            track: Track {
                width: width.next_multiple_of(2) as u16,
                height: height.next_multiple_of(2) as u16,
                fps,
                sps: Vec::new(),
                pps: Vec::new(),
                samples: Vec::new(),
                comment: None,
                tool: format!("vldm {}", env!("CARGO_PKG_VERSION")),
            },
        })
    }

    /// Encodes the next frame, which has the size of all.
    pub(crate) fn push(&mut self, frame: &Frame) -> Result<()> {
        let number = self.track.samples.len();
        let yuv = to_yuv420(frame);
        let time = Timestamp::from_millis((self.track.fps.seconds(number) * 1000.0) as u64);
        let stream = self
            .encoder
            .encode_at(&slices(&yuv), time)
            .map_err(refused)?;
        let is_key = stream.frame_type() == FrameType::IDR;
        let sample = self.track.sample(&stream.to_vec(), is_key);
        if sample.data.is_empty() {
            return Err(Error::Input(format!(
                "the H.264 encoder left out frame {number}"
            )));
        }
        self.track.samples.push(sample);
        Ok(())
    }

    /// The bytes of the file, with a comment.
    pub(crate) fn finish(mut self, comment: Option<String>) -> Result<Vec<u8>> {
        if self.track.sps.len() < 4 || self.track.pps.is_empty() {
            return Err(Error::Input(
                "the H.264 encoder wrote no parameter sets".into(),
            ));
        }
        self.track.comment = comment;
        Ok(self.track.to_file())
    }
}

fn refused(error: openh264::Error) -> Error {
    Error::Input(format!("the H.264 encoder refused the clip: {error}"))
}

fn slices(yuv: &Yuv420) -> YUVSlices<'_> {
    let strides = (yuv.width, yuv.width / 2, yuv.width / 2);
    YUVSlices::new((&yuv.y, &yuv.u, &yuv.v), (yuv.width, yuv.height), strides)
}

fn config(width: u32, height: u32, fps: Fps, qp: u8) -> EncoderConfig {
    let fps = fps.as_f64();
    // Decides nothing but the level written into the stream.
    let bits = f64::from(width) * f64::from(height) * fps / 4.0;
    EncoderConfig::new()
        .rate_control_mode(RateControlMode::Bufferbased)
        .qp(QpRange::new(qp, qp))
        .skip_frames(false)
        .bitrate(BitRate::from_bps(bits.clamp(64e3, 100e6) as u32))
        .max_frame_rate(FrameRate::from_hz(fps.clamp(1.0, 60.0) as f32))
        // A key frame every two seconds, so that players can seek.
        .intra_frame_period(IntraFramePeriod::from_num_frames(
            (2.0 * fps).round().clamp(1.0, 250.0) as u32,
        ))
        .scene_change_detect(false)
        .background_detection(false)
        .adaptive_quantization(false)
        .complexity(Complexity::High)
        .profile(Profile::High)
        .num_threads(1)
        .vui(VuiConfig::bt709())
}

impl Track {
    /// Turns the encoder's stream of one frame into a sample; parameter sets go into the header.
    fn sample(&mut self, stream: &[u8], is_key: bool) -> Sample {
        let mut data = Vec::with_capacity(stream.len());
        for nal in openh264::nal_units(stream) {
            let start = nal
                .iter()
                .position(|&byte| byte != 0)
                .map_or(nal.len(), |one| one + 1);
            let nal = &nal[start..];
            match nal.first().map(|header| header & 0x1f) {
                None => {}
                Some(7) => self.sps = nal.to_vec(),
                Some(8) => self.pps = nal.to_vec(),
                Some(_) => {
                    data.extend((nal.len() as u32).to_be_bytes());
                    data.extend_from_slice(nal);
                }
            }
        }
        Sample { data, is_key }
    }
}
