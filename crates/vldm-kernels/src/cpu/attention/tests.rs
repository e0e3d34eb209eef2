//! Against plain loops in f64, over shapes at the borders of every tile.

mod backward;
mod forward;
mod reference;
mod tiles;

use half::bf16;

use super::{AttentionSpec, Inputs, Mask, Strides, Tokens, TokensMut, attention};
use crate::cpu::element::Element;
use crate::cpu::level::Level;

/// Stands between tokens, where nothing may be read or written.
const GUARD: f32 = f32::NAN;

/// How tokens lie in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// `[sequences, tokens, channels]`.
    Spatial,
    /// `[outer sequences, tokens, inner sequences, channels]`.
    Temporal,
    /// As spatial, in rows with other columns behind the channels.
    Columns,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Spatial, Self::Temporal, Self::Columns];

    fn strides(self, spec: &AttentionSpec, tokens: usize) -> Strides {
        let [_, inner] = spec.sequences;
        let channels = spec.heads * spec.dim;
        let row = match self {
            Self::Columns => channels + 5,
            Self::Spatial | Self::Temporal => channels,
        };
        match self {
            Self::Temporal => Strides {
                sequences: [tokens * inner * row, row],
                token: inner * row,
            },
            Self::Spatial | Self::Columns => Strides {
                sequences: [inner * tokens * row, tokens * row],
                token: row,
            },
        }
    }
}

/// Tokens with guards between them.
#[derive(Debug, Clone)]
struct Operand<T> {
    data: Vec<T>,
    strides: Strides,
    spec: AttentionSpec,
    tokens: usize,
}

impl<T: Element> Operand<T> {
    fn new(spec: &AttentionSpec, tokens: usize, layout: Layout) -> Self {
        let strides = layout.strides(spec, tokens);
        let len = spec.sequences[0] * strides.sequences[0];
        Self {
            data: vec![T::narrow(GUARD); len],
            strides,
            spec: *spec,
            tokens,
        }
    }

    /// Every value times `scale`, small multiples of 1/16: exact in any type.
    fn random(mut self, rng: &mut Rng, scale: f32) -> Self {
        for at in self.places() {
            self.data[at] = T::narrow((rng.below(65) as f32 - 32.0) / 16.0 * scale);
        }
        self
    }

    /// Where `[outer, inner, head, token, d]` lies.
    fn at(&self, [outer, inner, head, token, d]: [usize; 5]) -> usize {
        outer * self.strides.sequences[0]
            + inner * self.strides.sequences[1]
            + token * self.strides.token
            + head * self.spec.dim
            + d
    }

    /// All elements of tokens, in the order of `[outer, inner, head, token, d]`.
    fn places(&self) -> Vec<usize> {
        let [outer, inner] = self.spec.sequences;
        let sizes = [outer, inner, self.spec.heads, self.tokens, self.spec.dim];
        let count = sizes.iter().product();
        let place = |mut n: usize| {
            let mut index = [0; 5];
            for (i, size) in index.iter_mut().zip(sizes).rev() {
                *i = n % size;
                n /= size;
            }
            self.at(index)
        };
        (0..count).map(place).collect()
    }

    fn values(&self) -> Vec<f64> {
        let value = |at: usize| f64::from(self.data[at].widen());
        self.places().into_iter().map(value).collect()
    }

    fn tokens(&self) -> Tokens<'_, T> {
        Tokens {
            data: &self.data,
            strides: self.strides,
        }
    }

    fn tokens_mut(&mut self) -> TokensMut<'_, T> {
        TokensMut {
            data: &mut self.data,
            strides: self.strides,
        }
    }

    /// Panics if anything but tokens was written.
    fn check_guards(&self) {
        let mut is_token = vec![false; self.data.len()];
        for at in self.places() {
            is_token[at] = true;
        }
        for (x, is_token) in self.data.iter().zip(is_token) {
            assert!(is_token || x.widen().is_nan(), "written between tokens");
        }
    }

    /// Panics unless each value is within `bound` of the expected one, and the guards intact;
    /// a type with fewer bits may round once more.
    fn check(&self, expected: &[f64], bound: f64, case: &str) {
        self.check_guards();
        let half_step = if size_of::<T>() == 2 {
            1.0 / 256.0
        } else {
            0.0
        };
        for (i, (got, want)) in self.values().into_iter().zip(expected).enumerate() {
            let bound = bound + want.abs() * half_step;
            assert!(
                (got - want).abs() <= bound,
                "{case}: [{i}] is {got}, not {want}"
            );
        }
    }
}

/// A small linear congruential generator.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// The operands of one case.
#[derive(Debug, Clone)]
struct Case<T> {
    spec: AttentionSpec,
    q: Operand<T>,
    k: Operand<T>,
    v: Operand<T>,
}

impl<T: Element> Case<T> {
    fn new(spec: AttentionSpec, layout: Layout, scale: f32) -> Self {
        let mut rng = Rng(7);
        Self {
            spec,
            q: Operand::new(&spec, spec.queries, layout).random(&mut rng, scale),
            k: Operand::new(&spec, spec.keys, layout).random(&mut rng, scale),
            v: Operand::new(&spec, spec.keys, layout).random(&mut rng, 1.0),
        }
    }

    fn inputs(&self) -> Inputs<'_, T> {
        Inputs {
            q: self.q.tokens(),
            k: self.k.tokens(),
            v: self.v.tokens(),
        }
    }

    /// The output, and the log-sum-exp.
    fn run(&self, level: Level, layout: Layout) -> (Operand<T>, Vec<f32>) {
        let mut out = Operand::new(&self.spec, self.spec.queries, layout);
        let mut sums = vec![GUARD; self.spec.log_sum_exp_len()];
        attention(
            level,
            &self.spec,
            self.inputs(),
            out.tokens_mut(),
            Some(&mut sums),
        );
        (out, sums)
    }
}

/// Shapes at the borders of tiles, blocks, vectors and groups, under each mask.
fn specs() -> Vec<AttentionSpec> {
    let shapes = [
        ([1, 1], 1, 1, 1, 1),
        ([2, 1], 3, 3, 1, 7),
        ([1, 3], 2, 16, 8, 8),
        ([2, 3], 2, 40, 8, 8),
        ([1, 5], 1, 40, 16, 16),
        ([1, 2], 2, 64, 32, 32),
        ([1, 1], 2, 40, 49, 1),
        ([2, 1], 1, 40, 100, 77),
        ([1, 1], 1, 80, 63, 64),
        ([1, 1], 2, 5, 47, 65),
        ([1, 1], 1, 24, 48, 63),
        ([1, 1], 1, 160, 33, 129),
        ([1, 1], 1, 13, 150, 150),
        ([1, 1], 1, 8, 900, 130),
        ([1, 1], 1, 16, 130, 900),
        ([0, 1], 2, 4, 3, 3),
        ([2, 1], 2, 4, 0, 3),
        ([1, 2], 1, 4, 3, 0),
    ];
    let masks = [
        Mask::None,
        Mask::Causal,
        Mask::Distance(0),
        Mask::Distance(3),
        Mask::Distance(70),
    ];
    let with = |(sequences, heads, dim, queries, keys)| {
        masks.map(|mask| AttentionSpec {
            sequences,
            heads,
            dim,
            queries,
            keys,
            mask,
        })
    };
    shapes.into_iter().flat_map(with).collect()
}

/// Runs `f` on pools of one, two and three threads.
fn on_pools<R: Send>(f: impl Fn() -> R + Sync) -> Vec<R> {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(&f)
    };
    [1, 2, 3].map(on).into()
}

/// The bits of everything, guards included.
fn bits<T: Element>(x: &[T]) -> Vec<u32> {
    x.iter().map(|x| x.widen().to_bits()).collect()
}

/// The element types.
macro_rules! for_each_type {
    ($($name:ident),+) => {$(
        mod $name {
            #[test]
            fn f32() {
                super::$name::<f32>();
            }
            #[test]
            fn bf16() {
                super::$name::<super::bf16>();
            }
        }
    )+};
}
use for_each_type;
