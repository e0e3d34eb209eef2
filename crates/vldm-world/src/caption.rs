//! Captions: a small grammar over what is visible.

use crate::boxes::Seen;
use crate::dice::Dice;
use crate::ego::Moment;
use crate::labels::{Labels, LaneChange};
use crate::scene::{Curvature, RoadKind, TimeOfDay, Weather};
use crate::traffic::{Body, ObjectId};
use crate::vehicle::{Class, Livery, VehicleKind};

/// A vehicle is named when its box is at least this high, as a share of the picture.
const NAMED: f32 = 0.055;

/// All words of captions, and the comma, in alphabetical order.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    ",", "a", "after", "ahead", "along", "an", "and", "at", "avenue", "bending", "bends", "beside",
    "black", "blue", "brown", "bus", "by", "camera", "car", "cars", "changing", "city", "clear",
    "clouds", "cloudy", "coming", "country", "crowded", "curved", "curving", "dark", "dashcam",
    "day", "daylight", "daytime", "dense", "driving", "dusk", "empty", "evening", "few", "fog",
    "foggy", "freeway", "from", "front", "gray", "green", "hatchback", "heavy", "highway", "in",
    "into", "lane", "lanes", "left", "light", "lorry", "medium", "mist", "moderate", "motorway",
    "moving", "night", "no", "of", "on", "oncoming", "open", "opposite", "orange", "overcast",
    "parked", "pedestrian", "people", "rain", "rainy", "red", "right", "road", "roadside", "rural",
    "sedan", "silver", "sky", "some", "straight", "street", "stripe", "sunset", "suv", "that",
    "the", "to", "traffic", "truck", "two-lane", "under", "us", "van", "vehicles", "video", "view",
    "walking", "wet", "white", "with", "yellow",
];

/// All words that captions can hold, and the comma, each once.
pub fn vocabulary() -> impl Iterator<Item = &'static str> {
    WORDS.iter().copied()
}

/// The words of a caption, the comma as one of them.
pub fn words(caption: &str) -> impl Iterator<Item = &str> {
    caption.split_whitespace().flat_map(|word| {
        let bare = word.trim_end_matches(',');
        let comma = (bare.len() < word.len()).then_some(",");
        std::iter::once(bare).chain(comma)
    })
}

/// A sentence about a clip: `seen` is what its middle shows, the nearest first.
pub(crate) fn caption(labels: &Labels, seen: &[Seen], now: &Moment, dice: Dice) -> String {
    let mut named: Vec<&Seen> = seen
        .iter()
        .filter(|seen| seen.bounds.class != Class::Pedestrian)
        .filter(|seen| seen.bounds.y1 - seen.bounds.y0 > NAMED && seen.bounds.visible > 0.5)
        .collect();
    named.sort_by_key(|seen| seen.bounds.id != ObjectId::SUBJECT);
    let vehicles: Vec<String> = (20..)
        .step_by(10)
        .zip(named.iter().take(2))
        .map(|(n, seen)| vehicle(seen, now, dice.at(n)))
        .collect();
    let place = place(labels, dice.at(1));
    let time = time(labels.time_of_day, dice.at(2));
    let weather = weather(labels.weather, dice.at(3));
    let mut extras = extras(labels, seen, dice.at(4));
    let start = match vehicles.as_slice() {
        [] => format!("{} {place}", opening(dice.at(5))),
        [one] => first(one, &place, dice.at(5)),
        [one, two, ..] if dice.chance(6, 0.5) => {
            first(&format!("{one} and {two}"), &place, dice.at(5))
        }
        [one, two, ..] => {
            extras.push(two.clone());
            first(one, &place, dice.at(5))
        }
    };
    assemble(start, time, weather, extras, dice.at(7))
}

/// Joins the parts in one of several orders.
fn assemble(
    start: String,
    time: &str,
    weather: Option<&str>,
    mut extras: Vec<String>,
    dice: Dice,
) -> String {
    if dice.chance(0, 0.4) && extras.len() > 1 {
        extras.rotate_left(1);
    }
    let mut parts = match (weather, dice.pick(1, &[0, 1, 2])) {
        (Some(weather), 0) => vec![format!("{start} {time} {weather}")],
        (Some(weather), 1) => vec![format!("{start} {time}"), weather.to_owned()],
        (Some(weather), _) => vec![format!("{time} {weather}"), start],
        (None, 2) => vec![time.to_owned(), start],
        (None, _) => vec![format!("{start} {time}")],
    };
    parts.extend(extras);
    parts.join(", ")
}

/// What opens a caption in which no vehicle is near.
fn opening(dice: Dice) -> &'static str {
    dice.pick(
        0,
        &[
            "driving on",
            "driving along",
            "view of",
            "dashcam video of",
            "a camera view of",
        ],
    )
}

/// A sentence's first part with vehicles in it.
fn first(vehicles: &str, place: &str, dice: Dice) -> String {
    match dice.pick(0, &[0, 1, 2, 3, 4]) {
        0 | 1 => format!("{vehicles} on {place}"),
        2 => format!("driving on {place} with {vehicles}"),
        3 => format!("dashcam video of {vehicles} on {place}"),
        _ => format!("view from a car on {place}, {vehicles}"),
    }
}

fn place(labels: &Labels, dice: Dice) -> String {
    let road = match labels.road {
        RoadKind::Highway => dice.pick(0, &["highway", "highway", "motorway", "freeway"]),
        RoadKind::Country => dice.pick(
            0,
            &[
                "country road",
                "country road",
                "rural road",
                "two-lane road",
            ],
        ),
        RoadKind::City => dice.pick(0, &["city street", "city street", "street", "avenue"]),
    };
    let wet = labels.weather == Weather::Rain && dice.chance(1, 0.3);
    let road = if wet {
        format!("wet {road}")
    } else {
        road.to_owned()
    };
    let side = match labels.curvature {
        Curvature::Straight => {
            let straight = dice.chance(2, 0.4);
            return article(&if straight {
                format!("straight {road}")
            } else {
                road
            });
        }
        Curvature::Left => "left",
        Curvature::Right => "right",
    };
    match dice.pick(3, &[0, 1, 2, 3]) {
        0 => article(&format!("curved {road}")),
        1 => article(&format!("{road} curving {side}")),
        2 => article(&format!("{road} that bends to the {side}")),
        _ => article(&format!("{road} bending to the {side}")),
    }
}

fn time(time: TimeOfDay, dice: Dice) -> &'static str {
    match time {
        TimeOfDay::Day => dice.pick(0, &["by day", "in daylight", "in the daytime"]),
        TimeOfDay::Dusk => dice.pick(0, &["at dusk", "at sunset", "in the evening"]),
        TimeOfDay::Night => dice.pick(0, &["at night", "at night", "in the dark", "after dark"]),
    }
}

fn weather(weather: Weather, dice: Dice) -> Option<&'static str> {
    match weather {
        Weather::Clear => dice.pick(0, &[None, None, Some("under a clear sky")]),
        Weather::Cloudy => {
            let words = [
                "under clouds",
                "under a cloudy sky",
                "under an overcast sky",
            ];
            dice.chance(0, 0.8).then(|| dice.pick(1, &words))
        }
        Weather::Rain => Some(dice.pick(0, &["in the rain", "in rain", "on a rainy road"])),
        Weather::Fog => Some(dice.pick(
            0,
            &["in fog", "in dense fog", "in the mist", "on a foggy road"],
        )),
    }
}

/// How much traffic, what the ego car does, who walks by.
fn extras(labels: &Labels, seen: &[Seen], dice: Dice) -> Vec<String> {
    let mut extras = Vec::new();
    let traffic: &[&str] = match labels.crowdedness {
        0 => &["no traffic", "an empty road", "the open road"],
        1..=3 => &["light traffic", "light traffic", "a few cars"],
        4..=8 => &[
            "moderate traffic",
            "medium traffic",
            "some traffic",
            "some vehicles",
        ],
        _ => &[
            "heavy traffic",
            "dense traffic",
            "a crowded road",
            "heavy traffic",
        ],
    };
    if dice.chance(0, 0.8) {
        extras.push(dice.pick(1, traffic).to_owned());
    }
    if let Some(change) = labels.lane_change {
        let side = if change == LaneChange::Left {
            "left"
        } else {
            "right"
        };
        extras.push(match dice.pick(2, &[0, 1, 2]) {
            0 => format!("changing lanes to the {side}"),
            1 => format!("moving into the {side} lane"),
            _ => format!("changing to the {side} lane"),
        });
    }
    let walkers = seen
        .iter()
        .filter(|seen| seen.bounds.class == Class::Pedestrian)
        .filter(|seen| seen.bounds.y1 - seen.bounds.y0 > 1.5 * NAMED)
        .count();
    if walkers > 0 && dice.chance(3, 0.6) {
        extras.push(match walkers {
            1 => "a pedestrian beside the road".to_owned(),
            _ => "people walking".to_owned(),
        });
    }
    extras
}

fn vehicle(seen: &Seen, now: &Moment, dice: Dice) -> String {
    let Body::Vehicle(look) = seen.actor.body else {
        return "a pedestrian".to_owned();
    };
    let kind = match look.kind {
        VehicleKind::Truck => dice.pick(0, &["truck", "truck", "lorry"]),
        VehicleKind::Bus | VehicleKind::Van => look.kind.word(),
        kind => dice.pick(0, &["car", "car", kind.word()]),
    };
    let paint = look.paint.word();
    let noun = match look.livery {
        Livery::Plain => format!("{paint} {kind}"),
        Livery::Stripe { paint: stripe } => {
            format!("{paint} {kind} with {} stripe", article(stripe.word()))
        }
        Livery::TwoTone { paint: lower } => format!("{paint} and {} {kind}", lower.word()),
    };
    let aside = f64::from(seen.actor.x) - now.x;
    if seen.actor.parked {
        return match dice.pick(1, &[0, 1]) {
            0 => article(&format!("parked {noun}")),
            _ => format!("{} parked at the roadside", article(&noun)),
        };
    }
    if seen.actor.oncoming {
        return match dice.pick(1, &[0, 1, 2]) {
            0 => article(&format!("oncoming {noun}")),
            1 => format!("{} coming to us", article(&noun)),
            _ => format!("{} in the opposite lane", article(&noun)),
        };
    }
    let side = if aside < 0.0 { "left" } else { "right" };
    let noun = article(&noun);
    if aside.abs() < 1.8 {
        return format!(
            "{noun} {}",
            dice.pick(1, &["ahead", "ahead", "in front", "in front of us"])
        );
    }
    match dice.pick(1, &[0, 1, 2]) {
        0 => format!("{noun} on the {side}"),
        1 => format!("{noun} in the {side} lane"),
        _ => format!("{noun} to the {side}"),
    }
}

fn article(noun: &str) -> String {
    let an = ["a", "e", "i", "o", "u"]
        .iter()
        .any(|vowel| noun.starts_with(vowel));
    format!("{} {noun}", if an { "an" } else { "a" })
}
