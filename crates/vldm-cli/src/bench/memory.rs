//! The most memory that this process has held.

/// In bytes, all of it since the start; `None` where the system does not tell.
pub(super) fn peak() -> Option<u64> {
    from_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Linux's `VmHWM`, in units of 1024 bytes.
fn from_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        let check = |status: &str, expected| assert_eq!(from_status(status), expected, "{status}");
        check("VmPeak:\t  9 kB\nVmHWM:\t   12 kB\n", Some(12 * 1024));
        check("VmPeak:\t  9 kB\n", None);
        check("VmHWM:\t many kB\n", None);
        check("", None);
    }
}
