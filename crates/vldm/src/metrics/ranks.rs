//! Rank correlation.

/// Spearman's rank correlation, −1 to 1: Pearson's of the ranks, equal values sharing the mean of
/// theirs. `None` below two pairs, or where all values of a side are equal.
///
/// # Source
/// Spearman 1904, "The proof and measurement of association between two things", in the form for
/// ties of Kendall 1945.
///
/// # Panics
/// When the sides differ in length.
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "both sides of a correlation");
    pearson(&ranks(a), &ranks(b))
}

/// Pearson's correlation, as [`spearman`] of the values themselves.
#[must_use]
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        both += (a - mean_a) * (b - mean_b);
        of_a += (a - mean_a).powi(2);
        of_b += (b - mean_b).powi(2);
    }
    let scale = (of_a * of_b).sqrt();
    (a.len() >= 2 && scale > 0.0).then(|| (both / scale).clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values get the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let equal = |&&at: &&usize| values[at] == values[order[first]];
        let count = order[first..].iter().take_while(equal).count().max(1);
        let mean = first as f64 + (count as f64 + 1.0) / 2.0;
        for &at in &order[first..first + count] {
            ranks[at] = mean;
        }
        first += count;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equal_values_are_shared() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn agrees_with_numpy() {
        let check = |a: &[f64], b: &[f64], expected: f64| {
            let found = spearman(a, b).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        };
        check(&[1.0, 2.0, 3.0], &[10.0, 100.0, 101.0], 1.0);
        check(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0], -1.0);
        // numpy: `corrcoef` of the ranks.
        check(
            &[0.3, 2.0, 2.0, 5.0, 1.5, 7.0, 0.3],
            &[1.0, 3.0, 2.0, 2.0, 2.5, 9.0, 0.0],
            0.743_150_541_460_293_6,
        );
    }

    #[test]
    fn no_correlation_with_a_constant() {
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[], &[]), None);
    }
}
