//! Falling rain in front of the camera.

use crate::color::Color;
use crate::dice::Dice;

use super::Stage;

/// Streaks at a picture's size of two by one.
const STREAKS: i64 = 110;

impl Stage<'_> {
    /// Draws streaks that fall, and fly apart the faster the car is, in metres per second.
    pub(super) fn rain(&mut self, dice: Dice, speed: f32) {
        let (w, h) = (self.canvas.width as f32, self.canvas.height as f32);
        let half = (0.0026 * h).max(0.28);
        let streaks: Vec<[[f32; 2]; 4]> = (0..STREAKS)
            .map(|number| {
                let streak = dice.at(number);
                let pace = f64::from(streak.range(0, 1.5, 2.6));
                let turn = self.t * pace + f64::from(streak.unit(1));
                let round = libm::floor(turn);
                let fallen = (turn - round) as f32;
                // Each round the streak falls elsewhere.
                let x = streak.at(2).unit(round as i64) * w;
                let y = (1.3 * fallen - 0.15) * h;
                let outward = (x / w - 0.5) * (0.25 + 0.02 * speed);
                let length = h * streak.range(3, 0.045, 0.11);
                let (dx, dy) = (outward * length, length);
                [
                    [x - half, y],
                    [x + half, y],
                    [x + dx + half, y + dy],
                    [x + dx - half, y + dy],
                ]
            })
            .collect();
        let shapes: Vec<&[[f32; 2]]> = streaks.iter().map(<[_; 4]>::as_slice).collect();
        let light = self.light.horizon.mix(Color::WHITE, 0.45);
        let alpha = 0.16 + 0.14 * light.luma();
        self.canvas.polygons(&shapes, light, alpha);
    }
}
