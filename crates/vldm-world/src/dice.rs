//! Random numbers as a function of what they are for.
//!
//! A counter-based generator: every number is the hash of a path of keys (the seed, a purpose, an
//! object's place on the road, the number of the draw), so an object has the same properties
//! whenever and in whatever order it is looked at. The hash is SplitMix64's finaliser (Steele, Lea
//! and Flood 2014, "Fast splittable pseudorandom number generators").

/// A node in the tree of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dice(u64);

/// What numbers are drawn for. The order is part of what a seed means: append only.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Scene,
    Road,
    Ego,
    Lane,
    Trees,
    Bushes,
    Lamps,
    Posts,
    Buildings,
    Signs,
    Bridges,
    Sky,
    Backdrop,
    Rain,
    Caption,
    Texture,
    Poles,
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Dice {
    /// The root of all numbers of a world.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }

    /// The numbers for one purpose.
    pub(crate) fn of(self, purpose: Purpose) -> Self {
        self.at(purpose as i64 + 0x5bd1_e995)
    }

    /// The numbers of one of many.
    pub(crate) fn at(self, index: i64) -> Self {
        let step = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mix(
            self.0.rotate_left(23) ^ mix(step ^ 0x2545_f491_4f6c_dd1d)
        ))
    }

    /// 64 random bits, which name this node.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Draw number `n`, uniform in [0, 1).
    pub(crate) fn unit(self, n: i64) -> f32 {
        (self.at(n).0 >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Draw number `n`, uniform between `low` and `high`.
    pub(crate) fn range(self, n: i64, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit(n)
    }

    /// Draw number `n`: true with probability `p`.
    pub(crate) fn chance(self, n: i64, p: f32) -> bool {
        self.unit(n) < p
    }

    /// Draw number `n`: one of `of`, which is not empty.
    pub(crate) fn pick<T: Copy>(self, n: i64, of: &[T]) -> T {
        let at = (self.unit(n) * of.len() as f32) as usize;
        of[at.min(of.len() - 1)]
    }
}

/// Smooth noise over the plane, in [0, 1], with one hill or hollow per unit square.
pub(crate) fn noise(dice: Dice, x: f32, y: f32) -> f32 {
    let (x0, y0) = (floor(x), floor(y));
    let (u, v) = (ease(x - x0 as f32), ease(y - y0 as f32));
    let corner = |i: i64, j: i64| {
        let cell = (x0 + i).wrapping_mul(0x1_0000_0001) ^ ((y0 + j) << 17);
        let bits = mix(dice.0 ^ (cell as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (bits >> 40) as f32 / (1u64 << 24) as f32
    };
    let top = corner(0, 0) * (1.0 - u) + corner(1, 0) * u;
    let bottom = corner(0, 1) * (1.0 - u) + corner(1, 1) * u;
    top * (1.0 - v) + bottom * v
}

/// Rounded down; a cast is quicker than a call where the processor's baseline has no rounding.
fn floor(x: f32) -> i64 {
    let whole = x as i64;
    whole - i64::from(whole as f32 > x)
}

fn ease(x: f32) -> f32 {
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_differ_by_key() {
        let dice = Dice::new(1).of(Purpose::Trees);
        let mean = (0..4000).map(|n| dice.at(n).unit(0)).sum::<f32>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let other = Dice::new(1).of(Purpose::Lamps);
        assert_ne!(dice.at(3).bits(), other.at(3).bits());
        assert_ne!(dice.at(3).unit(0), dice.at(3).unit(1));
    }

    #[test]
    fn noise_is_smooth_and_bounded() {
        let dice = Dice::new(5);
        for step in 0..2000 {
            let x = step as f32 * 0.01 - 10.0;
            let (a, b) = (noise(dice, x, 0.3), noise(dice, x + 0.01, 0.3));
            assert!((0.0..=1.0).contains(&a) && (a - b).abs() < 0.03, "{x}");
        }
    }
}
