//! Vehicles and people on the road: kinds, sizes, paints.

use serde::{Deserialize, Serialize};

use crate::color::Color;
use crate::dice::Dice;

/// What a box surrounds. The number of a class is its place in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Cars and vans.
    Car,
    /// Trucks and buses.
    Truck,
    /// People on foot.
    Pedestrian,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Car, Self::Truck, Self::Pedestrian];

    /// The number of the class, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Kinds of vehicles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VehicleKind {
    /// A car with a separate boot.
    Sedan,
    /// A small car with a steep back.
    Hatchback,
    /// A tall car.
    Suv,
    /// A delivery van.
    Van,
    /// A lorry with a box.
    Truck,
    /// A bus.
    Bus,
}

/// Paints, by the words that captions use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the words")]
pub enum Paint {
    White,
    Black,
    Silver,
    Gray,
    Red,
    Blue,
    Green,
    Yellow,
    Orange,
    Brown,
}

/// What is painted on a vehicle over its paint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Livery {
    /// Nothing.
    #[default]
    Plain,
    /// A broad stripe over boot, roof and bonnet, and along the sides.
    Stripe {
        /// The stripe's paint.
        paint: Paint,
    },
    /// The lower half in another paint.
    TwoTone {
        /// The lower half's paint.
        paint: Paint,
    },
}

/// The look of one vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) kind: VehicleKind,
    pub(crate) paint: Paint,
    pub(crate) livery: Livery,
}

/// The shape of a vehicle in metres. Lengths along it are measured from its rear (`rear_*`) or its
/// front (`front_*`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) length: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
    /// Lower edge of the windows.
    pub(crate) belt: f32,
    /// Height of the boot's and the bonnet's outer ends.
    pub(crate) rear_end: f32,
    pub(crate) front_end: f32,
    /// Where the rear window begins below and ends above.
    pub(crate) rear_base: f32,
    pub(crate) rear_top: f32,
    /// Where the windscreen begins below and ends above.
    pub(crate) front_base: f32,
    pub(crate) front_top: f32,
}

impl Paint {
    /// All paints.
    pub const ALL: [Self; 10] = [
        Self::White,
        Self::Black,
        Self::Silver,
        Self::Gray,
        Self::Red,
        Self::Blue,
        Self::Green,
        Self::Yellow,
        Self::Orange,
        Self::Brown,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Black => "black",
            Self::Silver => "silver",
            Self::Gray => "gray",
            Self::Red => "red",
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Brown => "brown",
        }
    }

    pub(crate) fn color(self) -> Color {
        Color::hex(match self {
            Self::White => 0xf2f2ee,
            Self::Black => 0x1d1e22,
            Self::Silver => 0xb9bdc2,
            Self::Gray => 0x6b7076,
            Self::Red => 0xc81f1c,
            Self::Blue => 0x1f4fb8,
            Self::Green => 0x1d743f,
            Self::Yellow => 0xf0c01a,
            Self::Orange => 0xe86a12,
            Self::Brown => 0x6d4326,
        })
    }
}

impl VehicleKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Sedan,
        Self::Hatchback,
        Self::Suv,
        Self::Van,
        Self::Truck,
        Self::Bus,
    ];

    /// The class of its box.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Truck | Self::Bus => Class::Truck,
            _ => Class::Car,
        }
    }

    /// The word for it that captions use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sedan => "sedan",
            Self::Hatchback => "hatchback",
            Self::Suv => "suv",
            Self::Van => "van",
            Self::Truck => "truck",
            Self::Bus => "bus",
        }
    }

    pub(crate) fn shape(self) -> Shape {
        let of = |[length, width, height]: [f32; 3],
                  [belt, rear_end, front_end]: [f32; 3],
                  [rear_base, rear_top, front_base, front_top]: [f32; 4]| {
            Shape {
                length,
                width,
                height,
                belt,
                rear_end,
                front_end,
                rear_base,
                rear_top,
                front_base,
                front_top,
            }
        };
        match self {
            Self::Sedan => of([4.6, 1.82, 1.45], [0.98, 0.98, 0.76], [0.6, 1.35, 1.3, 2.0]),
            Self::Hatchback => of([4.0, 1.76, 1.48], [0.98, 0.9, 0.78], [0.06, 0.55, 1.0, 1.7]),
            Self::Suv => of(
                [4.6, 1.92, 1.72],
                [1.12, 1.05, 0.98],
                [0.05, 0.4, 1.1, 1.75],
            ),
            Self::Van => of([5.4, 2.0, 2.3], [1.2, 1.2, 1.1], [0.02, 0.12, 0.7, 1.4]),
            Self::Truck => of([8.2, 2.5, 3.5], [1.3, 1.3, 1.3], [0.0, 0.0, 0.0, 0.0]),
            Self::Bus => of([10.5, 2.5, 3.0], [1.2, 1.2, 1.2], [0.0, 0.0, 0.0, 0.0]),
        }
    }
}

impl Look {
    /// A vehicle of everyday traffic, at most `longest` metres long.
    pub(crate) fn draw(dice: Dice, longest: f32) -> Self {
        use {Paint as P, VehicleKind as K};
        let kinds = [
            K::Sedan,
            K::Sedan,
            K::Sedan,
            K::Hatchback,
            K::Hatchback,
            K::Hatchback,
            K::Suv,
            K::Suv,
            K::Suv,
            K::Van,
            K::Truck,
            K::Truck,
            K::Bus,
        ];
        let kind = dice.pick(0, &kinds);
        let kind = if kind.shape().length > longest {
            K::Suv
        } else {
            kind
        };
        let common = [
            P::White,
            P::White,
            P::Black,
            P::Silver,
            P::Silver,
            P::Gray,
            P::Red,
            P::Red,
            P::Blue,
            P::Blue,
            P::Green,
            P::Yellow,
            P::Orange,
            P::Brown,
        ];
        let large = [
            P::White,
            P::White,
            P::Red,
            P::Blue,
            P::Green,
            P::Yellow,
            P::Orange,
        ];
        let paint = match kind.class() {
            Class::Truck => dice.pick(1, &large),
            _ => dice.pick(1, &common),
        };
        Self {
            kind,
            paint,
            livery: Livery::Plain,
        }
    }
}
