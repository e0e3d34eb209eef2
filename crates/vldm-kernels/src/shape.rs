//! Shape assertions of debug builds.

/// Asserts in debug builds that a tensor has the given dimensions.
///
/// `debug_assert_shape!("weight", weight, [out, inputs])` panics with "weight must be
/// `[out, inputs]` = [8, 4], got [4, 8]".
macro_rules! debug_assert_shape {
    ($name:literal, $tensor:expr, [$($dim:expr),+ $(,)?]) => {
        if cfg!(debug_assertions) {
            let expected = [$($dim),+];
            let got = $tensor.dims();
            assert!(
                got == expected,
                "{} must be {} = {expected:?}, got {got:?}",
                $name,
                stringify!([$($dim),+]),
            );
        }
    };
}
