//! A toy game in whole numbers: the same inputs make the same world on every machine.

/// This is the side of the square world, which has no edges.
const SIDE: i32 = 1 << 16;
/// Two balls bounce off each other when they are closer than this.
const REACH: i64 = 2000;

/// These keys are held down, a bit for each.
pub(crate) type Input = u8;
const UP: Input = 1;
const DOWN: Input = 2;
const LEFT: Input = 4;
const RIGHT: Input = 8;

/// This is a ball, which a player steers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ball {
    place: [i32; 2],
    speed: [i32; 2],
    bounces: u32,
}

/// This is the whole state of the game, as it is saved and restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Simulation {
    pub(crate) frame: i32,
    balls: Vec<Ball>,
}

impl Simulation {
    pub(crate) fn new(players: usize) -> Self {
        let ball = |index: usize| {
            let step = SIDE / players as i32 * index as i32;
            Ball { place: [step, step / 2], speed: [0, 0], bounces: 0 }
        };
        Self { frame: 0, balls: (0..players).map(ball).collect() }
    }

    /// Simulates one frame.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for (ball, input) in self.balls.iter_mut().zip(inputs) {
            let push = |more: Input, less: Input| {
                i32::from(input & more != 0) * 40 - i32::from(input & less != 0) * 40
            };
            let pushes = [push(RIGHT, LEFT), push(DOWN, UP)];
            for (axis, push) in pushes.into_iter().enumerate() {
                ball.speed[axis] = (ball.speed[axis] * 31 / 32 + push).clamp(-1200, 1200);
                ball.place[axis] = (ball.place[axis] + ball.speed[axis]).rem_euclid(SIDE);
            }
        }
        for first in 0..self.balls.len() {
            for second in first + 1..self.balls.len() {
                self.bounce(first, second);
            }
        }
        self.frame += 1;
    }

    fn bounce(&mut self, first: usize, second: usize) {
        let (a, b) = (self.balls[first], self.balls[second]);
        let distance = |axis: usize| i64::from(a.place[axis] - b.place[axis]);
        if distance(0).pow(2) + distance(1).pow(2) < REACH.pow(2) {
            (self.balls[first].speed, self.balls[second].speed) = (b.speed, a.speed);
            self.balls[first].bounces += 1;
            self.balls[second].bounces += 1;
        }
    }

    /// Returns a checksum (FNV-1a) of the whole state.
    pub(crate) fn checksum(&self) -> u64 {
        let numbers = self
            .balls
            .iter()
            .flat_map(|ball| ball.place.into_iter().chain(ball.speed).chain([ball.bounces as i32]));
        numbers.chain([self.frame]).fold(0xcbf2_9ce4_8422_2325, |hash, number| {
            (hash ^ u64::from(number as u32)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// Returns what a player holds down in a frame: it changes its mind now and then, so that the others guess wrong now
/// and then.
pub(crate) fn input(player: usize, frame: i32) -> Input {
    let mut mood = (frame / (7 + player as i32 * 3)) as u32 ^ (player as u32) << 16 ^ 0x9e37_79b9;
    // xorshift32 (Marsaglia): never 0 from what is not 0.
    for _ in 0..3 {
        mood ^= mood << 13;
        mood ^= mood >> 17;
        mood ^= mood << 5;
    }
    (mood >> 8) as Input & (UP | DOWN | LEFT | RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(players: usize, frames: i32, change: Option<i32>) -> Simulation {
        let mut world = Simulation::new(players);
        for frame in 0..frames {
            let inputs = (0..players).map(|player| input(player, frame) ^ u8::from(change == Some(frame)));
            world.step(inputs);
        }
        world
    }

    #[test]
    fn the_same_inputs_make_the_same_world_and_others_another() {
        assert_eq!(run(3, 500, None), run(3, 500, None));
        let (one, other) = (run(3, 500, None), run(3, 500, Some(250)));
        assert_ne!(one.checksum(), other.checksum());
    }

    #[test]
    fn players_move_meet_and_change_their_minds() {
        let world = run(4, 3000, None);
        assert!(world.balls.iter().any(|ball| ball.bounces > 0));
        for player in 0..4 {
            let distinct: std::collections::BTreeSet<Input> =
                (0..600).map(|frame| input(player, frame)).collect();
            assert!(distinct.len() > 4, "player {player}: {distinct:?}");
        }
    }
}
