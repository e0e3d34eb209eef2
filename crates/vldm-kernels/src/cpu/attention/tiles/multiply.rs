//! Products of tiles in the processor's unit.

use half::bf16;

use super::unit::Product;

/// Two by two tiles.
///
/// # Safety
/// As [`Unit::multiply`](super::unit::Unit::multiply).
#[inline(always)]
pub(super) unsafe fn wide(product: &Product) {
    // SAFETY: reads and writes what the caller promises; all tile registers are named.
    unsafe {
        std::arch::asm!(
            "test {adds:e}, {adds:e}",
            "jnz 3f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 2f",
            "3:",
            "tileloadd tmm0, [{top} + {line}]",
            "tileloadd tmm1, [{top} + {line} + 1024]",
            "tileloadd tmm2, [{bottom} + {line}]",
            "tileloadd tmm3, [{bottom} + {line} + 1024]",
            "2:",
            "tileloadd tmm4, [{left} + {line}]",
            "tileloadd tmm6, [{right} + {line}]",
            "tileloadd tmm7, [{second} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{lower} + {line}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, {step}",
            "add {lower}, {step}",
            "add {right}, 1024",
            "add {second}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{top} + {line}], tmm0",
            "tilestored [{top} + {line} + 1024], tmm1",
            "tilestored [{bottom} + {line}], tmm2",
            "tilestored [{bottom} + {line} + 1024], tmm3",
            adds = in(reg) u64::from(product.adds),
            top = in(reg) product.sums,
            bottom = in(reg) product.sums.add(product.sums_rows),
            line = in(reg) 64_usize,
            left = inout(reg) product.left => _,
            lower = inout(reg) product.left.add(product.left_rows) => _,
            step = in(reg) product.left_step * size_of::<bf16>(),
            right = inout(reg) product.right => _,
            second = inout(reg) product.right.add(product.right_columns) => _,
            steps = inout(reg) product.steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

/// Two tiles of rows by one of columns.
///
/// # Safety
/// As [`Unit::multiply`](super::unit::Unit::multiply).
#[inline(always)]
pub(super) unsafe fn narrow(product: &Product) {
    // SAFETY: reads and writes what the caller promises; all tile registers in use are named.
    unsafe {
        std::arch::asm!(
            "test {adds:e}, {adds:e}",
            "jnz 3f",
            "tilezero tmm0",
            "tilezero tmm2",
            "jmp 2f",
            "3:",
            "tileloadd tmm0, [{top} + {line}]",
            "tileloadd tmm2, [{bottom} + {line}]",
            "2:",
            "tileloadd tmm4, [{left} + {line}]",
            "tileloadd tmm6, [{right} + {line}]",
            "tileloadd tmm5, [{lower} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "add {left}, {step}",
            "add {lower}, {step}",
            "add {right}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{top} + {line}], tmm0",
            "tilestored [{bottom} + {line}], tmm2",
            adds = in(reg) u64::from(product.adds),
            top = in(reg) product.sums,
            bottom = in(reg) product.sums.add(product.sums_rows),
            line = in(reg) 64_usize,
            left = inout(reg) product.left => _,
            lower = inout(reg) product.left.add(product.left_rows) => _,
            step = in(reg) product.left_step * size_of::<bf16>(),
            right = inout(reg) product.right => _,
            steps = inout(reg) product.steps => _,
            out("tmm0") _, out("tmm2") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
            options(nostack)
        );
    }
}
