//! TFRecord framing: a length, the bytes, and a checksum behind each.
//!
//! # Source
//! `tensorflow/core/lib/io/record_writer.h` and `lib/hash/crc32c.h`: per record a `u64` length, its
//! masked CRC32C, the bytes, and theirs, all little-endian.

/// The reversed polynomial of CRC32C (Castagnoli), RFC 3720, appendix B.4.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

/// What each value of a byte does to the remainder.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder = (remainder >> 1) ^ (carry * POLYNOMIAL);
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// The checksum CRC32C.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |remainder, &byte| {
        TABLE[usize::from(remainder as u8 ^ byte)] ^ (remainder >> 8)
    })
}

/// The checksum as it stands in files: that of bytes which hold their own checksum would be weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The bytes of one record.
pub(super) fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes| masked(crc32c(bytes)).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(checksum(&length));
    record.extend(data);
    record.extend(checksum(data));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_those_of_rfc_3720() {
        let check = |bytes: &[u8], expected: u32| assert_eq!(crc32c(bytes), expected);
        check(&[0; 32], 0x8a91_36aa);
        check(&[0xff; 32], 0x62a8_ab43);
        check(&(0..32).collect::<Vec<u8>>(), 0x46dd_794e);
        check(&(0..32).rev().collect::<Vec<u8>>(), 0x113f_db5c);
        // The check value of the catalogue of CRC algorithms.
        check(b"123456789", 0xe306_9283);
        check(b"", 0);
    }
}
