//! The spread between rollouts: how different futures become that began alike.

use vldm_media::Frame;

use super::pictures::{described, difference};
use crate::error::{Error, Result};

/// For each frame the mean distance between every two of the clips: the mean absolute difference of
/// their pixels, as a share of the range from black to white.
///
/// Rollouts from the same frames begin at 0; those of a model that knows but one future stay there.
///
/// # Errors
/// [`Error::Input`] when there are less than two clips, or they differ in length or size.
pub fn spread(clips: &[&[Frame]]) -> Result<Vec<f64>> {
    let Some(&first) = clips.first().filter(|_| clips.len() >= 2) else {
        return Err(Error::Input(format!(
            "a spread is one between at least 2 clips, got {}",
            clips.len()
        )));
    };
    let size = first.first().map(Frame::size);
    for (number, clip) in clips.iter().enumerate() {
        if clip.len() != first.len() || clip.iter().any(|f| Some(f.size()) != size) {
            return Err(Error::Input(format!(
                "rollouts are compared frame by frame: clip 0 has {}, clip {number} has {}",
                described(first),
                described(clip)
            )));
        }
    }
    let pairs = (0..clips.len()).flat_map(|a| (a + 1..clips.len()).map(move |b| (a, b)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    Ok((0..first.len())
        .map(|frame| {
            let of = pairs
                .iter()
                .map(|&(a, b)| difference(&clips[a][frame], &clips[b][frame]));
            of.sum::<f64>() / pairs.len() as f64
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_grays_by_hand() {
        let gray = |level: u8| Frame::filled(4, 4, [level; 3]).unwrap();
        let clips = [[10, 10, 10], [10, 20, 40], [10, 40, 10]];
        let clips = clips.map(|levels| levels.map(gray).to_vec());
        let clips: Vec<&[Frame]> = clips.iter().map(Vec::as_slice).collect();
        let found = spread(&clips).unwrap();
        let expected = [0.0, (10.0 + 30.0 + 20.0) / 3.0 / 255.0, 20.0 / 255.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(spread(&clips[..1]).is_err());
        assert!(spread(&[clips[0], &clips[1][..2]]).is_err());
    }
}
