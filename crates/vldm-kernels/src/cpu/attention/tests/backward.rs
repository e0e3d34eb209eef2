//! Gradients against the analytic ones in f64.

use super::reference::{Reference, ReferenceGradients};
use super::*;
use crate::cpu::attention::{Gradients, Saved, attention_backward};

/// A case, its output and the output's gradient.
struct Trained<T> {
    case: Case<T>,
    layout: Layout,
    out: Operand<T>,
    log_sum_exp: Vec<f32>,
    d_out: Operand<T>,
}

impl<T: Element> Trained<T> {
    fn new(spec: AttentionSpec, layout: Layout, level: Level) -> Self {
        let case = Case::<T>::new(spec, layout, 1.0);
        let (out, log_sum_exp) = case.run(level, layout);
        let d_out = Operand::new(&spec, spec.queries, layout).random(&mut Rng(11), 0.5);
        Self {
            case,
            layout,
            out,
            log_sum_exp,
            d_out,
        }
    }

    fn run(&self, level: Level) -> [Operand<T>; 3] {
        let spec = &self.case.spec;
        let [mut dq, mut dk, mut dv] = [spec.queries, spec.keys, spec.keys]
            .map(|tokens| Operand::new(spec, tokens, self.layout));
        let saved = Saved {
            out: self.out.tokens(),
            log_sum_exp: &self.log_sum_exp,
            d_out: self.d_out.tokens(),
        };
        let gradients = Gradients {
            dq: dq.tokens_mut(),
            dk: dk.tokens_mut(),
            dv: dv.tokens_mut(),
        };
        attention_backward(level, spec, self.case.inputs(), saved, gradients);
        [dq, dk, dv]
    }
}

fn equals_reference<T: Element>() {
    for spec in specs() {
        for layout in Layout::ALL {
            for level in Level::available() {
                let trained = Trained::<T>::new(spec, layout, level);
                let Trained { case, d_out, .. } = &trained;
                let (q, k, v) = (case.q.values(), case.k.values(), case.v.values());
                let reference = Reference {
                    spec: &spec,
                    q: &q,
                    k: &k,
                    v: &v,
                };
                let ReferenceGradients { dq, dk, dv } = reference.backward(&d_out.values());
                for (name, (got, want)) in ["dq", "dk", "dv"]
                    .iter()
                    .zip(trained.run(level).iter().zip([dq, dk, dv]))
                {
                    // A narrow output also went into `d_out . out`.
                    let bound = if size_of::<T>() == 2 { 2e-2 } else { 2e-5 };
                    let scale = want.iter().fold(1.0, |max: f64, x| max.max(x.abs()));
                    got.check(
                        &want,
                        bound * scale,
                        &format!("{name} {spec:?} {layout:?} {level:?}"),
                    );
                }
            }
        }
    }
}

/// Whatever the threads, and whether a sample is alone or one of three.
fn same_bits<T: Element>() {
    for spec in specs() {
        let mut three = spec;
        three.sequences[0] = 3;
        for level in Level::available() {
            let mut trained = Trained::<T>::new(three, Layout::Temporal, level);
            let runs = on_pools(|| trained.run(level).map(|x| bits(&x.data)));
            assert!(
                runs.iter().all(|run| *run == runs[0]),
                "{three:?} {level:?}"
            );
            let Trained {
                case,
                out,
                log_sum_exp,
                d_out,
                ..
            } = &mut trained;
            for x in [&mut case.q, &mut case.k, &mut case.v, out, d_out] {
                x.data.drain(..2 * x.strides.sequences[0]);
                x.spec.sequences[0] = 1;
            }
            case.spec.sequences[0] = 1;
            log_sum_exp.drain(..log_sum_exp.len() / 3 * 2);
            for (all, alone) in runs[0].iter().zip(trained.run(level)) {
                assert!(all.ends_with(&bits(&alone.data)), "{three:?} {level:?}");
            }
        }
    }
}

for_each_type!(equals_reference, same_bits);
