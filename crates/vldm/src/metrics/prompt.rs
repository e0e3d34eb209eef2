//! Whether what a prompt names is to be seen: colours and kinds of vehicles.
//!
//! Prompts are those of the driving world's grammar or alike: a vehicle is a noun with its colour
//! before it ("a red truck", "a parked blue and white van").

use vldm_world::{Paint, VehicleKind, words};

use super::boxes::Detection;
use super::interval::{Estimate, Resampling};
use crate::data::order::uniform;

/// How often the given pairing is compared with random ones.
const PERMUTATIONS: usize = 2000;

/// A vehicle as a prompt names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedVehicle {
    /// Its colour, where the prompt says one.
    pub paint: Option<Paint>,
    /// The kinds that the noun stands for.
    pub kinds: &'static [VehicleKind],
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// A vehicle of the colour.
    Paint,
    /// A vehicle of the kind.
    Kind,
    /// A vehicle of both.
    Both,
}

/// How often what was named is there, and how often it would be by chance.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct NamedScore {
    /// Vehicles named.
    pub named: usize,
    /// The share of them that is seen in their own clip.
    pub seen: Estimate,
    /// The share that is seen in all the other clips on average: what chance gives; `None` of one clip.
    pub by_chance: Option<f64>,
    /// How often a random pairing of prompts with clips does at least as well.
    pub p_value: f64,
}

/// The vehicles that a prompt names, in its order.
#[must_use]
pub fn named_vehicles(prompt: &str) -> Vec<NamedVehicle> {
    let lower = prompt.to_lowercase();
    // What stands around a word is none of it: "a red truck.", "(a red truck)".
    let bare = words(&lower).map(|word| match word {
        "," => word,
        _ => word.trim_matches(|c: char| !c.is_alphanumeric()),
    });
    let words: Vec<&str> = bare.filter(|word| !word.is_empty()).collect();
    let place = |at: usize| {
        let kinds = kinds(words[at])?;
        let word = |back: usize| at.checked_sub(back).map(|at| words[at]);
        let paint = match (word(1).and_then(paint), word(2), word(3).and_then(paint)) {
            // "a red and blue car" is red above and blue below.
            (Some(_), Some("and"), Some(upper)) => Some(upper),
            (paint, ..) => paint,
        };
        Some(NamedVehicle { paint, kinds })
    };
    // The camera's own car is not in the picture: "view from a car".
    let own = |at: usize| at >= 2 && words[at - 2] == "from" && words[at - 1] == "a";
    (0..words.len())
        .filter(|&at| !own(at))
        .filter_map(place)
        .collect()
}

fn paint(word: &str) -> Option<Paint> {
    let word = if word == "grey" { "gray" } else { word };
    Paint::ALL.into_iter().find(|paint| paint.word() == word)
}

fn kinds(noun: &str) -> Option<&'static [VehicleKind]> {
    use VehicleKind as K;
    Some(match noun {
        "car" => &[K::Sedan, K::Hatchback, K::Suv],
        "sedan" => &[K::Sedan],
        "hatchback" => &[K::Hatchback],
        "suv" => &[K::Suv],
        "van" => &[K::Van],
        "truck" | "lorry" => &[K::Truck],
        "bus" => &[K::Bus],
        _ => return None,
    })
}

impl NamedVehicle {
    /// Whether one of the detections is it; `None` where the prompt does not say the aspect.
    #[must_use]
    pub fn is_among(&self, found: &[Detection], aspect: Aspect) -> Option<bool> {
        let paint = match aspect {
            Aspect::Kind => None,
            Aspect::Paint | Aspect::Both => Some(self.paint?),
        };
        let is_it = |(kind, color): (VehicleKind, Paint)| {
            let kind = aspect == Aspect::Paint || self.kinds.contains(&kind);
            kind && paint.is_none_or(|paint| paint == color)
        };
        Some(found.iter().filter_map(|one| one.look).any(is_it))
    }
}

/// Compares prompts with what a detector found in their clips; `None` where nothing is named.
///
/// # Panics
/// When there are not as many prompts as clips.
#[must_use]
pub fn named_score(
    prompts: &[&str],
    found: &[Vec<Detection>],
    aspect: Aspect,
    resampling: &Resampling,
) -> Option<NamedScore> {
    assert_eq!(prompts.len(), found.len(), "prompts and clips");
    // Hits and names of each prompt against each clip.
    let table: Vec<Vec<(f64, f64)>> = prompts
        .iter()
        .map(|prompt| {
            let vehicles = named_vehicles(prompt);
            let against = |found: &Vec<Detection>| {
                let seen = vehicles.iter().filter_map(|v| v.is_among(found, aspect));
                seen.fold((0.0, 0.0), |(hits, named), seen| {
                    (hits + f64::from(u8::from(seen)), named + 1.0)
                })
            };
            found.iter().map(against).collect()
        })
        .collect();
    let share = |pairs: &mut dyn Iterator<Item = (usize, usize)>| {
        let (hits, named) = pairs.fold((0.0, 0.0), |sum, (prompt, clip)| {
            let (hits, named) = table[prompt][clip];
            (sum.0 + hits, sum.1 + named)
        });
        (named > 0.0).then(|| hits / named)
    };
    let count = prompts.len();
    let seen = resampling.estimate(count, |places| {
        share(&mut places.iter().map(|&at| (at, at)))
    })?;
    let all = (0..count).flat_map(|prompt| (0..count).map(move |clip| (prompt, clip)));
    let by_chance = share(&mut all.filter(|(prompt, clip)| prompt != clip));
    let better = (0..PERMUTATIONS).filter(|&number| {
        let order = permutation(count, resampling.seed, number);
        let paired = share(&mut order.into_iter().enumerate());
        paired.is_some_and(|share| share >= seen.value)
    });
    Some(NamedScore {
        named: (0..count).map(|at| table[at][at].1 as usize).sum(),
        by_chance,
        // The given pairing is one of them: Phipson and Smyth 2010.
        p_value: (better.count() + 1) as f64 / (PERMUTATIONS + 1) as f64,
        seen,
    })
}

fn permutation(count: usize, seed: u64, number: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let purpose = (0x71 << 56) + number as u64;
    for last in (1..count).rev() {
        let other = (uniform(seed, purpose, last as u64) * (last + 1) as f64) as usize;
        order.swap(last, other.min(last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditioning::boxes::ObjectBox;

    fn seen(kind: VehicleKind, paint: Paint) -> Detection {
        Detection {
            bounds: ObjectBox {
                x0: 0.1,
                y0: 0.1,
                x1: 0.3,
                y1: 0.3,
                class: kind.class().index(),
            },
            score: 0.9,
            look: Some((kind, paint)),
        }
    }

    #[test]
    fn vehicles_are_found_in_the_worlds_captions() {
        let check = |prompt: &str, expected: &[(Option<Paint>, VehicleKind)]| {
            let found = named_vehicles(prompt);
            let found: Vec<_> = found.iter().map(|v| (v.paint, v.kinds[0])).collect();
            assert_eq!(found, expected, "{prompt}");
        };
        use {Paint as P, VehicleKind as K};
        check(
            "a red truck ahead on a highway at night, heavy traffic, a parked Blue van",
            &[(Some(P::Red), K::Truck), (Some(P::Blue), K::Van)],
        );
        check(
            "view from a car on a street, an orange bus",
            &[(Some(P::Orange), K::Bus)],
        );
        check(
            "a white and black car in front of us",
            &[(Some(P::White), K::Sedan)],
        );
        check(
            "a silver car with a red stripe",
            &[(Some(P::Silver), K::Sedan)],
        );
        check("a car by day, a few cars", &[(None, K::Sedan)]);
        check("driving on a country road", &[]);
        check("A red truck.", &[(Some(P::Red), K::Truck)]);
    }

    #[test]
    fn what_is_named_more_often_than_by_chance_is_told() {
        use {Paint as P, VehicleKind as K};
        let paints = [P::Red, P::Blue, P::Green, P::White, P::Black, P::Yellow];
        let prompts: Vec<String> = (0..60)
            .map(|n| format!("a {} car ahead", paints[n % 6].word()))
            .collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let right: Vec<Vec<Detection>> =
            (0..60).map(|n| vec![seen(K::Suv, paints[n % 6])]).collect();
        let score = |found: &[Vec<Detection>], aspect| {
            named_score(&prompts, found, aspect, &Resampling::default()).unwrap()
        };
        let found = score(&right, Aspect::Both);
        assert_eq!((found.named, found.seen.value), (60, 1.0));
        // 9 of the 59 others have the colour.
        assert!((found.by_chance.unwrap() - 9.0 / 59.0).abs() < 1e-12);
        assert!(found.p_value < 0.001);
        let alike: Vec<Vec<Detection>> = (0..60).map(|_| vec![seen(K::Suv, P::Red)]).collect();
        let found = score(&alike, Aspect::Paint);
        let difference = found.seen.value - found.by_chance.unwrap();
        assert!(difference.abs() < 0.01 && found.p_value > 0.9);
        assert_eq!(score(&alike, Aspect::Kind).seen.value, 1.0);
        let one = named_score(
            &prompts[..1],
            &right[..1],
            Aspect::Kind,
            &Resampling::default(),
        );
        assert_eq!(one.unwrap().by_chance, None);
        let nothing = named_score(&["a road"], &[vec![]], Aspect::Kind, &Resampling::default());
        assert_eq!(nothing, None);
    }
}
