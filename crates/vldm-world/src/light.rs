//! Light and air: what the time of day and the weather do to colours.

use crate::color::Color;
use crate::scene::{RoadKind, Scene, TimeOfDay, Weather};

/// The colours and lights of a scene.
#[derive(Debug, Clone)]
pub(crate) struct Light {
    /// The sky overhead and at the horizon.
    pub(crate) zenith: Color,
    pub(crate) horizon: Color,
    /// What far things fade to, and the distance in metres at which two thirds have faded.
    pub(crate) haze: Color,
    pub(crate) sight: f32,
    /// Falls on everything.
    pub(crate) ambient: Color,
    /// Added on faces turned to the sun.
    pub(crate) sun: Color,
    /// Share of the sky under clouds.
    pub(crate) clouds: f32,
    /// Strength of the ego car's headlights.
    pub(crate) beam: f32,
    /// Strength of everybody's lamps as seen by the camera, 0 when they are off.
    pub(crate) lamps: f32,
    /// Strength of the pools of light under street lamps, 0 where there are none.
    pub(crate) pools: f32,
    /// Metres between street lamps on one side, and how far from the axis their heads are.
    pub(crate) lamp_spacing: f32,
    pub(crate) lamp_x: f32,
    /// Share of windows that are lit.
    pub(crate) windows: f32,
    /// How much the road shines, 0 to 1.
    pub(crate) wet: f32,
}

impl Light {
    pub(crate) fn new(scene: &Scene) -> Self {
        let [zenith, horizon, ambient, sun] = sky(scene.time_of_day, scene.weather);
        let night = scene.is_night();
        let dusk = scene.time_of_day == TimeOfDay::Dusk;
        let sight = match scene.weather {
            Weather::Clear => 1300.0,
            Weather::Cloudy => 900.0,
            Weather::Rain => 260.0,
            Weather::Fog => 62.0,
        };
        let clouds = match scene.weather {
            Weather::Clear => 0.35,
            Weather::Cloudy => 0.85,
            Weather::Rain => 1.0,
            Weather::Fog => 0.0,
        };
        let city = scene.road == RoadKind::City;
        Self {
            zenith,
            horizon,
            haze: horizon,
            sight,
            ambient,
            sun,
            clouds,
            beam: if night {
                0.85
            } else if dusk {
                0.16
            } else {
                0.0
            },
            lamps: match (scene.lights_on(), night, dusk) {
                (_, true, _) => 1.0,
                (_, _, true) => 0.5,
                (true, _, _) => 0.4,
                _ => 0.0,
            },
            pools: if scene.lamps && night { 0.5 } else { 0.0 },
            lamp_spacing: if city { 28.0 } else { 42.0 },
            lamp_x: scene.section.lanes_end() - 0.3,
            windows: if night {
                0.42
            } else if dusk {
                0.22
            } else {
                0.0
            },
            wet: if scene.weather == Weather::Rain {
                1.0
            } else {
                0.0
            },
        }
    }

    /// Share of an object's own colour that is left at distance `d`.
    pub(crate) fn clear(&self, d: f32) -> f32 {
        libm::expf(-d.max(0.0) / self.sight)
    }

    /// The ego car's headlights on something at distance `d`, `aside` metres to the side.
    pub(crate) fn headlight(&self, d: f32, aside: f32) -> f32 {
        if self.beam == 0.0 {
            return 0.0;
        }
        let spread = 1.6 + 0.16 * d;
        let across = aside * aside / (spread * spread);
        let along = d / 26.0;
        // Close to the car the beams have not come down to the road.
        let rise = d * d / (d * d + 30.0);
        self.beam * 1.25 * rise / ((1.0 + across) * (1.0 + along * along))
    }

    /// Street lamps on something at `s` metres along the world's road and `x` from its axis.
    pub(crate) fn pool(&self, s: f64, x: f32) -> f32 {
        if self.pools == 0.0 {
            return 0.0;
        }
        let spacing = f64::from(self.lamp_spacing);
        let along = |shift: f64| {
            let at = s / spacing + shift;
            (at - libm::floor(at) - 0.5) as f32 * self.lamp_spacing
        };
        let fall = |ds: f32, dx: f32| {
            let r = (ds * ds + dx * dx) / 60.0;
            1.0 / (1.0 + r * (1.0 + 0.5 * r))
        };
        // The lamps of the two sides stand at alternating places.
        self.pools * (fall(along(0.0), x - self.lamp_x) + fall(along(0.5), x + self.lamp_x))
    }

    /// The light on a thing standing at distance `d`, `aside` metres from the camera's path.
    pub(crate) fn on(&self, d: f32, aside: f32, s: f64, x: f32) -> Color {
        let beam = Color([1.0, 0.96, 0.86]) * self.headlight(d, aside);
        let pool = Color([1.0, 0.82, 0.55]) * (0.8 * self.pool(s, x));
        self.ambient + self.sun * 0.55 + beam + pool
    }

    /// A thing's colour as seen from the distance `d`.
    pub(crate) fn through_air(&self, color: Color, d: f32) -> Color {
        self.haze.mix(color, self.clear(d))
    }
}

/// Zenith, horizon, ambient light, sunlight.
fn sky(time: TimeOfDay, weather: Weather) -> [Color; 4] {
    use {TimeOfDay as T, Weather as W};
    let of = |zenith, horizon, ambient, sun| {
        [
            Color::hex(zenith),
            Color::hex(horizon),
            Color(ambient),
            Color(sun),
        ]
    };
    match (time, weather) {
        (T::Day, W::Clear) => of(0x2f72c4, 0xc6deee, [0.62, 0.66, 0.72], [0.52, 0.48, 0.40]),
        (T::Day, W::Cloudy) => of(0x8a98a8, 0xcfd5da, [0.74, 0.76, 0.78], [0.12, 0.12, 0.11]),
        (T::Day, W::Rain) => of(0x66707b, 0xa4acb3, [0.58, 0.60, 0.63], [0.0; 3]),
        (T::Day, W::Fog) => of(0xb4b9bd, 0xc9ccce, [0.70, 0.71, 0.72], [0.0; 3]),
        (T::Dusk, W::Clear) => of(0x2c3c74, 0xf3a45e, [0.40, 0.37, 0.46], [0.42, 0.22, 0.08]),
        (T::Dusk, W::Cloudy) => of(0x4c4f6a, 0xc78f72, [0.40, 0.38, 0.43], [0.16, 0.08, 0.03]),
        (T::Dusk, W::Rain) => of(0x414758, 0x807a82, [0.36, 0.36, 0.41], [0.0; 3]),
        (T::Dusk, W::Fog) => of(0x837b88, 0xa39492, [0.42, 0.40, 0.43], [0.0; 3]),
        (T::Night, W::Clear) => of(0x050816, 0x18223c, [0.10, 0.115, 0.16], [0.0; 3]),
        (T::Night, W::Cloudy) => of(0x0a0c14, 0x24242e, [0.10, 0.105, 0.13], [0.0; 3]),
        (T::Night, W::Rain) => of(0x080b12, 0x1c222c, [0.09, 0.10, 0.125], [0.0; 3]),
        (T::Night, W::Fog) => of(0x1b1e24, 0x34373c, [0.12, 0.125, 0.14], [0.0; 3]),
    }
}
