//! What the processor can do at its best: multiply-adds in registers, nothing read from memory.

use std::time::{Duration, Instant};

use crate::cpu::level::Level;

/// Independent sums: enough to hide the latency of a fused multiply-add on every core so far.
const SUMS: usize = 12;

/// Multiply-adds per sum between two looks at the clock.
const ROUNDS: usize = 1 << 14;

/// The measured limit of the processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Operations per second over all threads, two per multiply-add.
    pub flops_per_second: f64,
    /// The instructions it was reached with: "amx-bf16", "avx512f", "fma" or "portable".
    pub instructions: &'static str,
}

/// Multiplies and adds on `threads` threads at once, with the fastest instructions the processor has
/// for f32 or, with `half`, for bf16: the best of three stretches that take `duration` together.
pub fn measure(threads: usize, half: bool, duration: Duration) -> Peak {
    let body = Body::choose(half);
    let stretches = (0..3).map(|_| all_threads(body, threads, duration / 3));
    Peak {
        flops_per_second: stretches.fold(0.0, f64::max),
        instructions: body.name,
    }
}

fn all_threads(body: Body, threads: usize, duration: Duration) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(move || rate(body, duration)))
            .collect();
        let rates = workers.into_iter().map(|worker| worker.join());
        rates
            .map(|rate| rate.expect("the loop does not panic"))
            .sum()
    })
}

/// One way to multiply and add.
#[derive(Debug, Clone, Copy)]
struct Body {
    name: &'static str,
    /// Multiply-adds of a run.
    work: usize,
    /// The result depends on all of them.
    run: fn(f32) -> f32,
}

const PORTABLE: Body = Body {
    name: "portable",
    work: SUMS * ROUNDS * LANES,
    run: portable,
};

impl Body {
    fn choose(half: bool) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if half && Level::current().prefers_half() {
                return x86::TILES;
            }
            if is_x86_feature_detected!("avx512f") {
                return x86::AVX512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return x86::AVX2;
            }
        }
        PORTABLE
    }
}

/// Operations per second of one thread.
fn rate(body: Body, duration: Duration) -> f64 {
    let flops = (2 * body.work) as f64;
    let begin = Instant::now();
    let mut rounds = 0u32;
    let mut seed = 1.0;
    while rounds == 0 || begin.elapsed() < duration {
        seed = std::hint::black_box((body.run)(std::hint::black_box(seed))).fract();
        rounds += 1;
    }
    flops * f64::from(rounds) / begin.elapsed().as_secs_f64()
}

/// Values per sum that a compiler can be expected to keep in registers of any kind.
const LANES: usize = 4;

fn portable(seed: f32) -> f32 {
    let mut sums = [[seed; LANES]; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            for value in sum {
                *value = *value * 0.999 + 0.001;
            }
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_add_ps,
        _mm512_cvtss_f32, _mm512_fmadd_ps, _mm512_set1_ps,
    };

    use super::{Body, ROUNDS, SUMS};
    use crate::cpu::tile_unit;

    pub(super) const AVX512: Body = Body {
        name: "avx512f",
        work: SUMS * ROUNDS * 16,
        // SAFETY: chosen only where the processor has AVX-512F.
        run: |seed| unsafe { avx512(seed) },
    };

    pub(super) const AVX2: Body = Body {
        name: "fma",
        work: SUMS * ROUNDS * 8,
        // SAFETY: chosen only where the processor has AVX2 and FMA.
        run: |seed| unsafe { avx2(seed) },
    };

    pub(super) const TILES: Body = Body {
        name: "amx-bf16",
        work: TILE_ROUNDS * 4 * 16 * 16 * 32,
        // SAFETY: chosen only on a level with tiles.
        run: |seed| unsafe { tiles(seed) },
    };

    /// Rounds of four products of tiles.
    const TILE_ROUNDS: usize = 1 << 12;

    /// # Safety
    /// The process may use the tile unit.
    unsafe fn tiles(seed: f32) -> f32 {
        // SAFETY: the caller promises the unit; nothing but its registers is touched.
        unsafe {
            tile_unit::begin();
            core::arch::asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) TILE_ROUNDS => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
            tile_unit::end();
        }
        seed
    }

    /// Independent sums as variables, so that they are registers at any level of optimisation.
    macro_rules! rounds {
        ($start:expr, $step:expr, $add:expr, [$($sum:ident)*]) => {{
            $(let mut $sum = $start;)*
            for _ in 0..ROUNDS {
                $($sum = $step($sum);)*
            }
            [$($sum),*].into_iter().reduce($add)
        }};
    }

    #[target_feature(enable = "avx512f")]
    fn avx512(seed: f32) -> f32 {
        let (factor, addend) = (_mm512_set1_ps(0.999), _mm512_set1_ps(0.001));
        let total = rounds!(
            _mm512_set1_ps(seed),
            |sum| _mm512_fmadd_ps(sum, factor, addend),
            |a, b| _mm512_add_ps(a, b),
            [a b c d e f g h i j k l]
        );
        total.map_or(0.0, |total| _mm512_cvtss_f32(total))
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2(seed: f32) -> f32 {
        let (factor, addend) = (_mm256_set1_ps(0.999), _mm256_set1_ps(0.001));
        let total = rounds!(
            _mm256_set1_ps(seed),
            |sum| _mm256_fmadd_ps(sum, factor, addend),
            |a, b| _mm256_add_ps(a, b),
            [a b c d e f g h i j k l]
        );
        total.map_or(0.0, |total| _mm256_cvtss_f32(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rate_is_measured_by_every_body() {
        for half in [false, true] {
            let peak = measure(2, half, Duration::from_millis(5));
            assert!(
                peak.flops_per_second.is_finite() && peak.flops_per_second > 1e6,
                "{peak:?}"
            );
        }
        for body in [PORTABLE, Body::choose(false), Body::choose(true)] {
            assert!(rate(body, Duration::ZERO) > 1e6, "{body:?}");
            assert!((body.run)(0.5).is_finite(), "{body:?}");
        }
    }
}
