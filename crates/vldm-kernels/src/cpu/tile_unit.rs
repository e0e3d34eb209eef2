//! The registers of the processor's tile unit (AMX), which a thread has to ask for.

/// Gives this thread eight tiles of sixteen rows of 64 bytes.
///
/// # Safety
/// The processor must have the unit, and the process leave to use it.
pub(crate) unsafe fn begin() {
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes_per_row: [u16; 16],
        rows: [u8; 16],
    }
    let mut configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row: [0; 16],
        rows: [0; 16],
    };
    configuration.bytes_per_row[..8].fill(64);
    configuration.rows[..8].fill(16);
    // SAFETY: the caller promises the unit, and the configuration is a valid one.
    unsafe {
        std::arch::asm!(
            "ldtilecfg [{0}]", in(reg) &raw const configuration,
            options(nostack, preserves_flags, readonly)
        );
    }
}

/// Leaves this thread as it was before [`begin`].
///
/// # Safety
/// As there; what the registers hold is lost.
pub(crate) unsafe fn end() {
    // SAFETY: the caller promises the unit.
    unsafe { std::arch::asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
}
