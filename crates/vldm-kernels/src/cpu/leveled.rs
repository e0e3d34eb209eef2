//! One body, compiled once per level.

/// Defines a function whose body is compiled for every [`Level`](super::level::Level) and chosen
/// by its first argument.
///
/// The body is ordinary Rust: loops over fixed-size arrays (`[f32; 16]`, `as_chunks::<16>()`)
/// become vector instructions of the level. Inside it, `FMA` is a constant: whether a fused
/// multiply-add is one instruction (`f32::mul_add` is a slow library call where it is not); see
/// [`madd`](super::math::madd). Helpers it calls must be `#[inline(always)]` to be compiled for
/// the level too.
///
/// ```ignore
/// leveled! {
///     /// Doubles every element.
///     pub fn double<T: Element>(level, x: &mut [T]) {
///         for x in x { *x = T::narrow(x.widen() * 2.0); }
///     }
/// }
/// double(Level::best(), &mut values);
/// ```
macro_rules! leveled {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($generic:ident : $bound:path),+>)? (level, $($arg:ident : $ty:ty),+ $(,)?) $(-> $ret:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$($generic: $bound),+>)? (level: $crate::cpu::level::Level, $($arg: $ty),+) $(-> $ret)? {
            #[inline(always)]
            fn body<$($($generic: $bound,)+)? const FMA: bool>($($arg: $ty),+) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn avx512 $(<$($generic: $bound),+>)? ($($arg: $ty),+) $(-> $ret)? {
                body::<$($($generic,)+)? true>($($arg),+)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn avx2 $(<$($generic: $bound),+>)? ($($arg: $ty),+) $(-> $ret)? {
                body::<$($($generic,)+)? true>($($arg),+)
            }

            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a level is only in use on a processor that has its instructions.
                $crate::cpu::level::Level::Avx512 | $crate::cpu::level::Level::Amx => unsafe { avx512($($arg),+) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::cpu::level::Level::Avx2 => unsafe { avx2($($arg),+) },
                _ => body::<$($($generic,)+)? false>($($arg),+),
            }
        }
    };
}
