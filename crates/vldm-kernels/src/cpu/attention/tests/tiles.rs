//! Attention in tiles: with a tile unit in plain arithmetic on every machine, and with the
//! processor's own where there is one.

use super::forward::by_pair;
use super::reference::Reference;
use super::*;
use crate::cpu::attention::tiles::{self, Hardware, Plain, Unit};

/// Shapes at the borders of tiles, also those for which tiles would not be chosen.
fn shapes() -> impl Iterator<Item = AttentionSpec> {
    let with = |dim, queries, keys| {
        specs().into_iter().take(5).map(move |spec| AttentionSpec {
            sequences: [2, 1],
            heads: 2,
            dim,
            queries,
            keys,
            ..spec
        })
    };
    let long = with(33, 65, 257).chain(with(512, 31, 70));
    specs().into_iter().chain(long).filter(|spec| spec.keys > 0)
}

fn run<U: Unit>(case: &Case<bf16>, layout: Layout) -> (Operand<bf16>, Vec<f32>) {
    let mut out = Operand::new(&case.spec, case.spec.queries, layout);
    let mut sums = vec![GUARD; case.spec.log_sum_exp_len()];
    let to = out.tokens_mut();
    tiles::attention::<U>(
        Level::best(),
        &case.spec,
        case.inputs(),
        to,
        Some(&mut sums),
    );
    (out, sums)
}

fn check<U: Unit>() {
    for spec in shapes() {
        for layout in Layout::ALL {
            let case = Case::<bf16>::new(spec, layout, 1.0);
            let (q, k, v) = (case.q.values(), case.k.values(), case.v.values());
            let reference = Reference {
                spec: &spec,
                q: &q,
                k: &k,
                v: &v,
            };
            let (want, want_sums) = reference.forward();
            let name = format!("{spec:?} {layout:?}");
            let (out, sums) = run::<U>(&case, layout);
            // Weights that are off by up to 2^-8 of them, of values up to 2.
            out.check(&want, 8e-3, &name);
            for (got, want) in by_pair(&spec, &sums).into_iter().zip(&want_sums) {
                let equal = got == *want || (got - want).abs() <= 1e-5 * (1.0 + want.abs());
                assert!(equal, "{name}: log-sum-exp {got}, not {want}");
            }
        }
    }
}

#[test]
fn tiles_in_plain_arithmetic_equal_loops() {
    check::<Plain>();
}

#[test]
fn the_tile_unit_equals_loops() {
    if Level::best().prefers_half() {
        check::<Hardware>();
    }
}

#[test]
fn nan_reaches_its_query_only() {
    if !Level::best().prefers_half() {
        return;
    }
    let spec = AttentionSpec {
        sequences: [1, 1],
        heads: 1,
        dim: 40,
        queries: 50,
        keys: 100,
        mask: Mask::None,
    };
    let mut case = Case::<bf16>::new(spec, Layout::Spatial, 1.0);
    let at = case.q.at([0, 0, 0, 5, 2]);
    case.q.data[at] = bf16::NAN;
    let (out, sums) = run::<Hardware>(&case, Layout::Spatial);
    for (token, is_nan) in [(4, false), (5, true), (6, false), (37, false)] {
        assert_eq!(out.data[out.at([0, 0, 0, token, 39])].is_nan(), is_nan);
        assert_eq!(sums[token].is_nan(), is_nan);
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beside_the_operands() {
    use crate::cpu::guarded::Guarded;

    if !Level::best().prefers_half() {
        return;
    }
    for (spec, at_end) in shapes().flat_map(|spec| [(spec, false), (spec, true)]) {
        let layout = Layout::Spatial;
        let case = Case::<bf16>::new(spec, layout, 1.0);
        let (expected, _) = run::<Hardware>(&case, layout);
        let [q, k, v] = [&case.q, &case.k, &case.v].map(|x| Guarded::new(&x.data, at_end));
        let [q, k, v] = [(&q, &case.q), (&k, &case.k), (&v, &case.v)].map(|(data, x)| Tokens {
            data,
            strides: x.strides,
        });
        let blank = vec![bf16::from_f32(GUARD); expected.data.len()];
        let mut out = Guarded::new(&blank, at_end);
        let to = TokensMut {
            data: &mut out,
            strides: expected.strides,
        };
        tiles::attention::<Hardware>(Level::best(), &spec, Inputs { q, k, v }, to, None);
        assert!(bits(&out) == bits(&expected.data), "{spec:?}");
    }
}
