//! Colours while painting: red, green and blue in display space, 1 is the brightest the screen has.

use std::ops::{Add, Mul};

/// A colour, or the colour of a light that objects are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Color(pub(crate) [f32; 3]);

impl Color {
    pub(crate) const BLACK: Self = Self([0.0; 3]);
    pub(crate) const WHITE: Self = Self([1.0; 3]);

    /// From the usual six digits.
    pub(crate) const fn hex(rgb: u32) -> Self {
        Self([
            ((rgb >> 16) & 255) as f32 / 255.0,
            ((rgb >> 8) & 255) as f32 / 255.0,
            (rgb & 255) as f32 / 255.0,
        ])
    }

    pub(crate) const fn gray(level: f32) -> Self {
        Self([level; 3])
    }

    /// `self` at 0, `other` at 1.
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        let [a, b] = [self.0, other.0];
        Self([0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share))
    }

    /// Perceived brightness, 0 to 1.
    pub(crate) fn luma(self) -> f32 {
        let [r, g, b] = self.0;
        0.3 * r + 0.59 * g + 0.11 * b
    }

    /// As bytes, cut off at black and white.
    pub(crate) fn bytes(self) -> [u8; 3] {
        self.0.map(|c| (c.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    }
}

impl Mul<f32> for Color {
    type Output = Self;
    fn mul(self, by: f32) -> Self {
        Self(self.0.map(|c| c * by))
    }
}

impl Mul for Color {
    type Output = Self;
    fn mul(self, by: Self) -> Self {
        Self([0, 1, 2].map(|i| self.0[i] * by.0[i]))
    }
}

impl Add for Color {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self([0, 1, 2].map(|i| self.0[i] + other.0[i]))
    }
}
