//! What an attention is over, and where its operands lie.

use std::any::TypeId;
use std::ops::Range;

use half::bf16;

use super::pack::{HeadTarget, HeadTokens};

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mask {
    /// All of them.
    #[default]
    None,
    /// Those not after it.
    Causal,
    /// Those at most this far from it, before or after.
    Distance(usize),
}

impl Mask {
    /// The keys that query `i` sees, of `keys`.
    pub(super) fn keys(self, i: usize, keys: usize) -> Range<usize> {
        let (from, to) = match self {
            Self::None => (0, keys),
            Self::Causal => (0, i + 1),
            Self::Distance(d) => (i.saturating_sub(d), i.saturating_add(d).saturating_add(1)),
        };
        from.min(keys)..to.min(keys)
    }

    /// The queries that see key `j`, of `queries`.
    pub(super) fn queries(self, j: usize, queries: usize) -> Range<usize> {
        match self {
            Self::Causal => j.min(queries)..queries,
            // Distance is symmetric.
            Self::None | Self::Distance(_) => self.keys(j, queries),
        }
    }
}

/// One attention: many sequences, each with some heads, none of which sees another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionSpec {
    /// Sequences, as an outer and an inner number: samples and 1 over the pixels of a sample,
    /// samples and positions over the frames at a position.
    pub sequences: [usize; 2],
    /// Heads; a token is `heads * dim` consecutive elements.
    pub heads: usize,
    /// Elements of one head.
    pub dim: usize,
    /// Tokens of `q` and of the output in one sequence.
    pub queries: usize,
    /// Tokens of `k` and `v` in one sequence.
    pub keys: usize,
    /// Which keys a query sees. A query that sees none has output 0.
    pub mask: Mask,
}

impl AttentionSpec {
    /// The factor of all logits.
    pub(super) fn scale(&self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }

    /// Sequences times heads: numbered with the head running fastest.
    pub(super) fn pairs(&self) -> usize {
        self.sequences[0] * self.sequences[1] * self.heads
    }

    /// Elements of a log-sum-exp: `[sequences, queries, heads]`.
    pub fn log_sum_exp_len(&self) -> usize {
        self.pairs() * self.queries
    }

    /// The same with a single element per head: what a log-sum-exp is.
    pub(super) fn per_head(&self) -> Self {
        Self { dim: 1, ..*self }
    }

    /// The strides of a log-sum-exp.
    pub(super) fn per_head_strides(&self) -> Strides {
        let sequence = self.queries * self.heads;
        Strides {
            sequences: [self.sequences[1] * sequence, sequence],
            token: self.heads,
        }
    }

    /// A log-sum-exp to write.
    pub(super) fn share_per_head<'a>(&self, data: &'a mut [f32]) -> Shared<'a, f32> {
        let strides = self.per_head_strides();
        Shared::new(&self.per_head(), self.queries, TokensMut { data, strides })
    }

    /// First element of a pair of sequence and head.
    fn offset(&self, pair: usize, strides: Strides) -> usize {
        let (sequence, head) = (pair / self.heads, pair % self.heads);
        let [outer, inner] = [sequence / self.sequences[1], sequence % self.sequences[1]];
        outer * strides.sequences[0] + inner * strides.sequences[1] + head * self.dim
    }
}

/// Elements from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Strides {
    /// From one sequence to the next: outer and inner.
    pub sequences: [usize; 2],
    /// From one token of a sequence to the next.
    pub token: usize,
}

/// Tokens to read.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a, T> {
    /// From the first token on.
    pub data: &'a [T],
    /// Where the others are.
    pub strides: Strides,
}

/// Tokens to write; what lies between them is left alone.
#[derive(Debug)]
pub struct TokensMut<'a, T> {
    /// From the first token on.
    pub data: &'a mut [T],
    /// Where the others are.
    pub strides: Strides,
}

/// The operands of an attention.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a, T> {
    /// Queries.
    pub q: Tokens<'a, T>,
    /// Keys.
    pub k: Tokens<'a, T>,
    /// Values.
    pub v: Tokens<'a, T>,
}

impl<T> Inputs<'_, T> {
    /// Panics unless all tokens lie within the data.
    pub(super) fn check(&self, spec: &AttentionSpec) {
        assert!(
            spec.heads > 0 && spec.dim > 0,
            "attention: heads of no elements"
        );
        check(spec, spec.queries, &self.q);
        check(spec, spec.keys, &self.k);
        check(spec, spec.keys, &self.v);
    }
}

impl<'a, T> Tokens<'a, T> {
    /// The tokens of one pair of sequence and head.
    #[inline(always)]
    pub(super) fn head(&self, spec: &AttentionSpec, pair: usize) -> HeadTokens<'a, T> {
        HeadTokens {
            data: &self.data[spec.offset(pair, self.strides)..],
            stride: self.strides.token,
            dim: spec.dim,
        }
    }
}

/// A [`TokensMut`] of which threads write different tokens at the same time.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a, T> {
    start: *mut T,
    strides: Strides,
    borrowed: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it is only written through `HeadTarget`'s unsafe methods, whose callers promise that
// nobody else writes the same tokens.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Panics unless `tokens` tokens of each sequence lie within the data and apart from all others.
    pub(super) fn new(spec: &AttentionSpec, tokens: usize, to: TokensMut<'a, T>) -> Self {
        let (end, apart) = extent(spec, tokens, to.strides);
        assert!(end <= to.data.len(), "attention: tokens beyond the output");
        assert!(apart, "attention: tokens of the output overlap");
        Self {
            start: to.data.as_mut_ptr(),
            strides: to.strides,
            borrowed: std::marker::PhantomData,
        }
    }

    /// The tokens of one pair of sequence and head, from token `first` on.
    #[inline(always)]
    pub(super) fn head(&self, spec: &AttentionSpec, pair: usize, first: usize) -> HeadTarget<T> {
        let offset = spec.offset(pair, self.strides) + first * self.strides.token;
        HeadTarget {
            start: self.start.wrapping_add(offset),
            stride: self.strides.token,
            dim: spec.dim,
        }
    }
}

/// Panics unless `tokens` tokens of each sequence lie within the data.
pub(super) fn check<T>(spec: &AttentionSpec, tokens: usize, from: &Tokens<'_, T>) {
    let (end, _) = extent(spec, tokens, from.strides);
    assert!(
        end <= from.data.len(),
        "attention: tokens beyond an operand"
    );
}

/// The end of the last token, and whether the strides keep all tokens apart.
fn extent(spec: &AttentionSpec, tokens: usize, strides: Strides) -> (usize, bool) {
    let [outer, inner] = spec.sequences;
    let mut axes = [
        (strides.sequences[0], outer),
        (strides.sequences[1], inner),
        (strides.token, tokens),
    ];
    if axes.iter().any(|&(_, count)| count == 0) {
        return (0, true);
    }
    axes.sort_unstable();
    let mut end = spec.heads * spec.dim;
    let mut apart = true;
    for (stride, count) in axes.into_iter().filter(|&(_, count)| count > 1) {
        apart &= stride >= end;
        end += (count - 1) * stride;
    }
    (end, apart)
}

/// The operands, if their elements are bf16.
pub(super) fn as_halves<'a, T: 'static>(
    inputs: &Inputs<'a, T>,
    out: &'a mut TokensMut<'_, T>,
) -> Option<(Inputs<'a, bf16>, TokensMut<'a, bf16>)> {
    if TypeId::of::<T>() != TypeId::of::<bf16>() {
        return None;
    }
    let tokens = |from: &Tokens<'a, T>| Tokens {
        // SAFETY: it is the same type.
        data: unsafe { std::slice::from_raw_parts(from.data.as_ptr().cast(), from.data.len()) },
        strides: from.strides,
    };
    let inputs = Inputs {
        q: tokens(&inputs.q),
        k: tokens(&inputs.k),
        v: tokens(&inputs.v),
    };
    let (start, len) = (out.data.as_mut_ptr(), out.data.len());
    let out = TokensMut {
        // SAFETY: as above, and borrowed as long as the other.
        data: unsafe { std::slice::from_raw_parts_mut(start.cast(), len) },
        strides: out.strides,
    };
    Some((inputs, out))
}
