//! The tables of an MP4 track: where its pictures lie, and when they are shown.
//!
//! # Source
//! ISO/IEC 14496-12 sections 8.6 (times, edits) and 8.7 (sizes, chunks).

use crate::mp4::boxes::{Parsed, Problem, child, rows, u32_at, u64_at};

/// The largest number of pictures we index.
const MAX_SAMPLES: u64 = 1 << 22;

/// Where one encoded picture lies, and when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleAt {
    pub(crate) offset: u64,
    pub(crate) size: u32,
    /// When it is shown, in ticks.
    pub(crate) time: i64,
    pub(crate) is_key: bool,
}

/// The samples in the order of decoding, and how many ticks they last together.
pub(crate) fn samples(stbl: &[u8], file_len: u64) -> Parsed<(Vec<SampleAt>, u64)> {
    let sizes = sizes(stbl, file_len)?;
    if sizes.is_empty() {
        return Err("video track holds no pictures".into());
    }
    let offsets = offsets(stbl, &sizes, file_len)?;
    let (times, ticks) = times_of(stbl, sizes.len())?;
    let mut samples: Vec<_> = sizes
        .iter()
        .zip(offsets)
        .zip(times)
        .map(|((&size, offset), time)| SampleAt {
            offset,
            size,
            time,
            is_key: false,
        })
        .collect();
    match child(stbl, b"stss") {
        // Without a list, every picture is a key.
        None => samples.iter_mut().for_each(|sample| sample.is_key = true),
        Some(stss) => {
            for row in rows(stss, 1).ok_or("list of key pictures is cut short")? {
                let number = u32_at(row, 0).unwrap_or(0) as usize;
                if let Some(sample) = samples.get_mut(number.wrapping_sub(1)) {
                    sample.is_key = true;
                }
            }
        }
    }
    Ok((samples, ticks))
}

fn sizes(stbl: &[u8], file_len: u64) -> Parsed<Vec<u32>> {
    let stsz = child(stbl, b"stsz").ok_or("has no table of sizes")?;
    let cut = "table of sizes is cut short";
    let one_size = u32_at(stsz, 4).ok_or(cut)?;
    let count = u64::from(u32_at(stsz, 8).ok_or(cut)?);
    if count > MAX_SAMPLES {
        let reason = format!("more than {MAX_SAMPLES} pictures are not read here");
        return Err(Problem::Unsupported(reason));
    }
    if one_size > 0 {
        if u64::from(one_size) * count > file_len {
            return Err("is shorter than its pictures".into());
        }
        return Ok(vec![one_size; count as usize]);
    }
    let table = stsz
        .get(12..)
        .and_then(|table| table.get(..count as usize * 4))
        .ok_or(cut)?;
    let sizes: Vec<_> = table
        .chunks_exact(4)
        .filter_map(|row| u32_at(row, 0))
        .collect();
    // Else a small file could have us read the same bytes for hours.
    if sizes.iter().map(|&size| u64::from(size)).sum::<u64>() > file_len {
        return Err("is shorter than its pictures".into());
    }
    Ok(sizes)
}

/// Where each sample begins; all lie within the file.
fn offsets(stbl: &[u8], sizes: &[u32], file_len: u64) -> Parsed<Vec<u64>> {
    let cut = "table of chunks is cut short";
    let chunks: Vec<u64> = if let Some(stco) = child(stbl, b"stco") {
        let rows = rows(stco, 1).ok_or(cut)?;
        rows.filter_map(|row| u32_at(row, 0))
            .map(u64::from)
            .collect()
    } else {
        let co64 = child(stbl, b"co64").ok_or("has no table of chunks")?;
        rows(co64, 2)
            .ok_or(cut)?
            .filter_map(|row| u64_at(row, 0))
            .collect()
    };
    let stsc = child(stbl, b"stsc").ok_or("has no table of samples in chunks")?;
    let mut runs = rows(stsc, 3)
        .ok_or("table of samples in chunks is cut short")?
        .peekable();
    let mut per_chunk = 0;
    let mut offsets = Vec::with_capacity(sizes.len());
    for (&chunk, number) in chunks.iter().zip(1u32..) {
        while let Some(row) =
            runs.next_if(|row| u32_at(row, 0).is_some_and(|first| first <= number))
        {
            per_chunk = u32_at(row, 4).unwrap_or(0);
        }
        let mut at = chunk;
        let rest = &sizes[offsets.len()..];
        for &size in rest.iter().take(per_chunk as usize) {
            offsets.push(at);
            at = at.saturating_add(u64::from(size));
            if at > file_len {
                return Err("is shorter than its index says".into());
            }
        }
    }
    if offsets.len() < sizes.len() {
        return Err("has fewer chunks than pictures need".into());
    }
    Ok(offsets)
}

/// When each of `count` samples is shown, and how many ticks they last together.
fn times_of(stbl: &[u8], count: usize) -> Parsed<(Vec<i64>, u64)> {
    let stts = child(stbl, b"stts").ok_or("has no table of times")?;
    let mut times = Vec::with_capacity(count);
    let mut now = 0u64;
    for row in rows(stts, 2).ok_or("table of times is cut short")? {
        let (run, step) = (u32_at(row, 0).unwrap_or(0), u32_at(row, 4).unwrap_or(0));
        for _ in 0..(run as usize).min(count - times.len()) {
            times.push(now as i64);
            // At most 2^22 samples of 2^32 ticks: no overflow.
            now += u64::from(step);
        }
    }
    if times.len() < count {
        return Err("table of times has too few entries".into());
    }
    if let Some(ctts) = child(stbl, b"ctts") {
        let mut at = 0;
        for row in rows(ctts, 2).ok_or("table of reordering is cut short")? {
            let run = u32_at(row, 0).unwrap_or(0) as usize;
            let shift = i64::from(u32_at(row, 4).unwrap_or(0) as i32);
            let end = at + run.min(count - at);
            times[at..end].iter_mut().for_each(|time| *time += shift);
            at = end;
        }
    }
    Ok((times, now))
}

/// The part of the track that is shown, in its ticks.
pub(crate) fn edit(elst: &[u8], scale: u32, movie_scale: u32) -> Parsed<(i64, i64)> {
    let wide = elst.first() == Some(&1);
    let table = rows(elst, if wide { 5 } else { 3 }).ok_or("edit list is cut short")?;
    let mut parts = Vec::new();
    for row in table {
        let (duration, start) = if wide {
            (
                u64_at(row, 0).unwrap_or(0),
                u64_at(row, 8).unwrap_or(0) as i64,
            )
        } else {
            let start = u32_at(row, 4).unwrap_or(0) as i32;
            (u64::from(u32_at(row, 0).unwrap_or(0)), i64::from(start))
        };
        // A start of -1 is a pause before the first picture.
        if start >= 0 {
            parts.push((start, duration));
        }
    }
    match parts[..] {
        [] => Ok((i64::MIN, i64::MAX)),
        [(start, 0)] => Ok((start, i64::MAX)),
        [(start, duration)] => {
            let ticks = u128::from(duration) * u128::from(scale);
            // Rounded up: the movie's clock may be coarser than the track's.
            let ticks = ticks.div_ceil(u128::from(movie_scale));
            let end = start.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
            Ok((start, end))
        }
        _ => Err(Problem::Unsupported(
            "a video with several edits is not read here".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box of version 0.
    fn table(name: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
        let len = 12 + 4 * numbers.len() as u32;
        let mut bytes = len.to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.extend([0; 4]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes
    }

    /// Five pictures of 10 to 14 bytes: two in the chunk at 100, one each in those at 200, 300
    /// and 400.
    fn five() -> Vec<u8> {
        [
            table(b"stsz", &[0, 5, 10, 11, 12, 13, 14]),
            table(b"stco", &[4, 100, 200, 300, 400]),
            table(b"stsc", &[2, 1, 2, 1, 2, 1, 1]),
            table(b"stts", &[2, 4, 100, 1, 50]),
            table(b"ctts", &[3, 1, 0, 1, 200, 3, (-100i32).cast_unsigned()]),
            table(b"stss", &[1, 1]),
        ]
        .concat()
    }

    #[test]
    fn pictures_are_found() {
        let (samples, ticks) = samples(&five(), 1000).unwrap();
        let offsets: Vec<_> = samples.iter().map(|sample| sample.offset).collect();
        let times: Vec<_> = samples.iter().map(|sample| sample.time).collect();
        let keys: Vec<_> = samples.iter().map(|sample| sample.is_key).collect();
        assert_eq!(offsets, [100, 110, 200, 300, 400]);
        assert_eq!(times, [0, 300, 100, 200, 300]);
        assert_eq!(keys, [true, false, false, false, false]);
        assert_eq!(ticks, 450);
    }

    #[test]
    fn pictures_beyond_the_end_are_damage() {
        assert!(samples(&five(), 414).is_ok());
        assert!(samples(&five(), 413).is_err());
        let many = [table(b"stsz", &[7, 1 << 22]), five()].concat();
        assert!(samples(&many, 1000).is_err());
        let too_many = [table(b"stsz", &[7, u32::MAX]), five()].concat();
        assert!(matches!(
            samples(&too_many, u64::MAX),
            Err(Problem::Unsupported(_))
        ));
    }

    #[test]
    fn missing_and_short_tables_are_damage() {
        let whole = five();
        let mut start = 0;
        while start < whole.len() {
            let len = u32_at(&whole, start).unwrap() as usize;
            let mut without = whole.clone();
            without[start + 4..start + 8].copy_from_slice(b"free");
            let name = &whole[start + 4..start + 8];
            let needed = !matches!(name, b"ctts" | b"stss");
            assert_eq!(samples(&without, 1000).is_err(), needed);
            let mut long = whole.clone();
            // The count of a table, or of sizes.
            let count = start + if name == b"stsz" { 16 } else { 12 };
            long[count..count + 4].copy_from_slice(&1000u32.to_be_bytes());
            assert!(
                samples(&long, 1000).is_err(),
                "{}",
                String::from_utf8_lossy(name)
            );
            start += len;
        }
    }

    #[test]
    fn edits_choose_a_part() {
        let check = |numbers: &[u32], expected: Option<(i64, i64)>| {
            let elst = table(b"elst", numbers);
            assert_eq!(edit(&elst[8..], 12_288, 1000).ok(), expected);
        };
        check(&[1, 1000, 1024, 1 << 16], Some((1024, 1024 + 12_288)));
        check(&[1, 0, 512, 1 << 16], Some((512, i64::MAX)));
        check(
            &[2, 500, u32::MAX, 1 << 16, 1000, 0, 1 << 16],
            Some((0, 12_288)),
        );
        check(&[0], Some((i64::MIN, i64::MAX)));
        check(&[2, 500, 0, 1 << 16, 1000, 9, 1 << 16], None);
        check(&[9, 1], None);
    }
}
