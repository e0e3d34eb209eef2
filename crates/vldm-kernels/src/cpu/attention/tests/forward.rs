//! Outputs against plain loops; limits, bits and what lies beside the operands.

use super::reference::Reference;
use super::*;
use crate::cpu::attention::tiles;

/// The log-sum-exp of `[sequences, queries, heads]` as `[pairs, queries]`.
pub(super) fn by_pair(spec: &AttentionSpec, sums: &[f32]) -> Vec<f64> {
    let mut all = Vec::new();
    for pair in 0..spec.pairs() {
        for i in 0..spec.queries {
            let (sequence, head) = (pair / spec.heads, pair % spec.heads);
            all.push(f64::from(
                sums[(sequence * spec.queries + i) * spec.heads + head],
            ));
        }
    }
    all
}

/// How far from the exact output one may be, before it is rounded.
fn bound<T: Element>(level: Level, spec: &AttentionSpec) -> f64 {
    // Weights that are off by up to 2^-8 of them, of values up to 2. (More than 4e-3 was seen.)
    if T::IS_HALF && tiles::suit(level, spec) {
        8e-3
    } else {
        1e-5
    }
}

fn equals_reference<T: Element>() {
    for spec in specs() {
        for layout in Layout::ALL {
            let case = Case::<T>::new(spec, layout, 1.0);
            let (q, k, v) = (case.q.values(), case.k.values(), case.v.values());
            let reference = Reference {
                spec: &spec,
                q: &q,
                k: &k,
                v: &v,
            };
            let (want, want_sums) = reference.forward();
            for level in Level::available() {
                let name = format!("{spec:?} {layout:?} {level:?}");
                let (out, sums) = case.run(level, layout);
                out.check(&want, bound::<T>(level, &spec), &name);
                for (got, want) in by_pair(&spec, &sums).into_iter().zip(&want_sums) {
                    let equal = got == *want || (got - want).abs() <= 1e-5 * (1.0 + want.abs());
                    assert!(equal, "{name}: log-sum-exp {got}, not {want}");
                }
            }
        }
    }
}

fn large_logits<T: Element>() {
    // Logits of up to 1e4 on either side: nearly always a single key has all the weight.
    let spec = AttentionSpec {
        sequences: [1, 1],
        heads: 2,
        dim: 40,
        queries: 70,
        keys: 100,
        mask: Mask::None,
    };
    let case = Case::<T>::new(spec, Layout::Spatial, 64.0);
    let (q, k, v) = (case.q.values(), case.k.values(), case.v.values());
    let reference = Reference {
        spec: &spec,
        q: &q,
        k: &k,
        v: &v,
    };
    let (want, want_sums) = reference.forward();
    assert!(want_sums.iter().any(|sum| *sum > 1e4));
    for level in Level::available() {
        let (out, _) = case.run(level, Layout::Spatial);
        // A logit itself is only known to about 1e-3.
        out.check(&want, 0.02, "large logits");
    }
}

/// Whatever the threads, and whether a sample is alone or one of three.
fn same_bits<T: Element>() {
    for spec in specs() {
        let mut three = spec;
        three.sequences[0] = 3;
        for layout in [Layout::Spatial, Layout::Temporal] {
            let case = Case::<T>::new(three, layout, 1.0);
            for level in Level::available() {
                let runs = on_pools(|| {
                    let (out, sums) = case.run(level, layout);
                    (bits(&out.data), bits(&sums))
                });
                assert!(
                    runs.iter().all(|run| *run == runs[0]),
                    "{three:?} {level:?}"
                );
                let mut last = case.clone();
                for x in [&mut last.q, &mut last.k, &mut last.v] {
                    x.data.drain(..2 * x.strides.sequences[0]);
                    x.spec.sequences[0] = 1;
                }
                last.spec.sequences[0] = 1;
                let (out, sums) = last.run(level, layout);
                assert!(runs[0].0.ends_with(&bits(&out.data)), "{three:?} {level:?}");
                assert!(runs[0].1.ends_with(&bits(&sums)), "{three:?} {level:?}");
            }
        }
    }
}

#[test]
fn nan_reaches_its_query_only() {
    let spec = specs()[15];
    let spec = AttentionSpec {
        mask: Mask::None,
        ..spec
    };
    let mut case = Case::<f32>::new(spec, Layout::Spatial, 1.0);
    let at = case.q.at([0, 0, 0, 5, 2]);
    case.q.data[at] = f32::NAN;
    for level in Level::available() {
        let (out, _) = case.run(level, Layout::Spatial);
        for d in 0..spec.dim {
            for (token, is_nan) in [(4, false), (5, true), (6, false)] {
                assert_eq!(out.data[out.at([0, 0, 0, token, d])].is_nan(), is_nan);
            }
        }
    }
}

#[test]
#[should_panic(expected = "overlap")]
fn overlapping_output_is_refused() {
    let spec = specs()[10];
    let case = Case::<f32>::new(spec, Layout::Spatial, 1.0);
    let mut out = case.q.clone();
    out.strides.token -= 1;
    attention(
        Level::Portable,
        &spec,
        case.inputs(),
        out.tokens_mut(),
        None,
    );
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beside_the_operands() {
    use crate::cpu::guarded::Guarded;

    for (spec, at_end) in specs()
        .into_iter()
        .flat_map(|spec| [(spec, false), (spec, true)])
    {
        for layout in [Layout::Spatial, Layout::Temporal] {
            let case = Case::<f32>::new(spec, layout, 1.0);
            let [q, k, v] = [&case.q, &case.k, &case.v].map(|x| Guarded::new(&x.data, at_end));
            let tokens = |data, operand: &Operand<f32>| Tokens {
                data,
                strides: operand.strides,
            };
            let inputs = Inputs {
                q: tokens(&q, &case.q),
                k: tokens(&k, &case.k),
                v: tokens(&v, &case.v),
            };
            for level in Level::available() {
                let (expected, _) = case.run(level, layout);
                let mut out = Guarded::new(&vec![GUARD; expected.data.len()], at_end);
                let strides = expected.strides;
                let to = TokensMut {
                    data: &mut out,
                    strides,
                };
                attention(level, &spec, inputs, to, None);
                assert!(bits(&out) == bits(&expected.data), "{spec:?} {level:?}");
            }
        }
    }
}

for_each_type!(equals_reference, large_logits, same_bits);
