//! All sounds and the music, worked out from waves: nothing is loaded, and nothing belongs to anybody else.

use std::f32::consts::TAU;

/// So many samples make a second.
pub const RATE: u32 = 44_100;

/// These are the sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Somebody fires.
    Shot,
    /// Somebody is hit.
    Hit,
    /// Somebody is downed.
    Boom,
    /// Somebody takes a thing from the floor.
    Pickup,
    /// A second of a countdown.
    Tick,
    /// The fight begins.
    Go,
    /// Somebody comes in.
    Join,
    /// Nothing is heard of the host.
    Lost,
    /// The match goes on with a host.
    Back,
    /// A button is pressed.
    Button,
    /// A round is won.
    Win,
}

impl Effect {
    /// These are all of them.
    pub const ALL: [Self; 11] = [
        Self::Shot,
        Self::Hit,
        Self::Boom,
        Self::Pickup,
        Self::Tick,
        Self::Go,
        Self::Join,
        Self::Lost,
        Self::Back,
        Self::Button,
        Self::Win,
    ];

    /// Works out the sound: samples between -1 and 1, from silence to silence.
    pub fn render(self) -> Vec<f32> {
        match self {
            Self::Shot => {
                Sweep { from: 1250.0, to: 240.0, seconds: 0.13, decay: 22.0, wave: square }.render(0.35)
            }
            Self::Hit => mixed(
                Sweep { from: 330.0, to: 110.0, seconds: 0.16, decay: 20.0, wave: square }.render(0.3),
                &hiss(0.12, 0.5, 30.0, 0.6, 3),
            ),
            Self::Boom => mixed(
                Sweep { from: 150.0, to: 32.0, seconds: 0.75, decay: 5.0, wave: sine }.render(0.55),
                &hiss(0.7, 0.14, 6.0, 0.9, 5),
            ),
            Self::Pickup => melody(&[(0.0, 76), (0.06, 81), (0.12, 88)], 0.16, triangle, 0.4),
            Self::Tick => melody(&[(0.0, 69)], 0.12, sine, 0.5),
            Self::Go => melody(&[(0.0, 81), (0.0, 76)], 0.45, sine, 0.4),
            Self::Join => melody(&[(0.0, 69), (0.1, 76)], 0.25, triangle, 0.4),
            Self::Lost => melody(&[(0.0, 64), (0.18, 60), (0.36, 55)], 0.4, triangle, 0.45),
            Self::Back => melody(&[(0.0, 55), (0.12, 60), (0.24, 67)], 0.35, triangle, 0.45),
            Self::Button => melody(&[(0.0, 88)], 0.05, triangle, 0.3),
            Self::Win => melody(&[(0.0, 69), (0.12, 73), (0.24, 76), (0.36, 81)], 0.5, triangle, 0.4),
        }
    }
}

/// A wave goes from 0 to 1 in its phase, and gives -1 to 1.
type Wave = fn(f32) -> f32;

fn sine(phase: f32) -> f32 {
    (phase * TAU).sin()
}

fn triangle(phase: f32) -> f32 {
    4.0 * (phase - (phase + 0.5).floor()).abs() - 1.0
}

/// A square with round edges: it hurts less.
fn square(phase: f32) -> f32 {
    (3.0 * sine(phase)).tanh()
}

/// A tone that slides and dies away.
struct Sweep {
    from: f32,
    to: f32,
    seconds: f32,
    decay: f32,
    wave: Wave,
}

impl Sweep {
    fn render(&self, loud: f32) -> Vec<f32> {
        let count = samples(self.seconds);
        let mut phase = 0.0;
        let tone = (0..count).map(|i| {
            let done = i as f32 / count as f32;
            // In octaves, as ears hear it.
            phase += self.from * (self.to / self.from).powf(done) / RATE as f32;
            phase -= phase.floor();
            (self.wave)(phase) * loud * fade(i, count, self.decay)
        });
        tone.collect()
    }
}

/// Returns how many samples make so many seconds.
fn samples(seconds: f32) -> usize {
    (seconds * RATE as f32) as usize
}

/// Returns how loud a sound is at a sample: it comes within 3 ms, dies away, and is silent at its end.
fn fade(i: usize, count: usize, decay: f32) -> f32 {
    let (t, left) = (i as f32 / RATE as f32, (count - i) as f32 / RATE as f32);
    (t / 0.003).min(1.0) * (-t * decay).exp() * ((left - 1.0 / RATE as f32) / 0.01).clamp(0.0, 1.0)
}

/// Noise through a filter: `bright` is 0 (dull) to 1 (all of it).
fn hiss(seconds: f32, bright: f32, decay: f32, loud: f32, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = samples(seconds);
    let mut held = 0.0;
    let noise = (0..count).map(|i| {
        held += (random.f32() * 2.0 - 1.0 - held) * bright;
        held * loud * fade(i, count, decay)
    });
    noise.collect()
}

/// Returns the frequency of a note, counted in half tones: 69 is the A of 440 Hz.
fn pitch(note: u8) -> f32 {
    440.0 * 2f32.powf((f32::from(note) - 69.0) / 12.0)
}

/// Notes that begin after each other and ring so long each.
fn melody(notes: &[(f32, u8)], ring: f32, wave: Wave, loud: f32) -> Vec<f32> {
    let mut all = Vec::new();
    for (start, note) in notes {
        let tone =
            Sweep { from: pitch(*note), to: pitch(*note), seconds: ring, decay: 9.0, wave }.render(loud);
        let start = samples(*start);
        all.resize(all.len().max(start + tone.len()), 0.0);
        tone.iter().zip(&mut all[start..]).for_each(|(tone, sum)| *sum += tone);
    }
    all
}

fn mixed(mut one: Vec<f32>, other: &[f32]) -> Vec<f32> {
    one.resize(one.len().max(other.len()), 0.0);
    one.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
    one
}

/// A beat of the music takes so many samples: 112 in a minute.
const BEAT: usize = RATE as usize * 60 / 112;
/// The chords, two bars each: the root of the bass, and three notes.
const CHORDS: [(u8, [u8; 3]); 4] =
    [(33, [57, 60, 64]), (29, [53, 57, 60]), (36, [55, 60, 64]), (31, [55, 59, 62])];

/// Works out the music: a loop whose end runs into its beginning.
pub fn music() -> Vec<f32> {
    let mut track = vec![0.0; BEAT * 8 * CHORDS.len()];
    let mut random = fastrand::Rng::with_seed(7);
    for (part, (root, notes)) in CHORDS.iter().enumerate() {
        let start = part * 8 * BEAT;
        for note in notes {
            // Two voices, a little apart, that swell and fade.
            for apart in [0.997, 1.003] {
                let count = 9 * BEAT;
                let step = pitch(*note) * apart / RATE as f32;
                let voice = (0..count).map(|i| {
                    let done = i as f32 / count as f32;
                    triangle(step * i as f32 % 1.0) * 0.028 * (done * TAU / 2.0).sin()
                });
                add(&mut track, start, voice);
            }
        }
        for eighth in 0..16 {
            let note = if eighth % 4 == 3 { root + 12 } else { *root };
            let bass = Sweep { from: pitch(note), to: pitch(note), seconds: 0.24, decay: 8.0, wave: square };
            add(&mut track, start + eighth * BEAT / 2, bass.render(0.13).into_iter());
        }
        for sixteenth in 0..32 {
            if random.u8(..) < 90 {
                continue;
            }
            let note = notes[random.usize(..3)] + [12, 24][random.usize(..2)];
            let pluck =
                Sweep { from: pitch(note), to: pitch(note), seconds: 0.3, decay: 14.0, wave: triangle };
            add(&mut track, start + sixteenth * BEAT / 4, pluck.render(0.06).into_iter());
        }
        for beat in 0..8 {
            let kick = Sweep { from: 120.0, to: 42.0, seconds: 0.2, decay: 14.0, wave: sine };
            add(&mut track, start + beat * BEAT, kick.render(0.28).into_iter());
            let hat = hiss(0.05, 1.0, 70.0, 0.05, beat as u64);
            add(&mut track, start + beat * BEAT + BEAT / 2, hat.into_iter());
        }
    }
    track
}

/// Adds a sound to a loop; what rings over the end is heard at the beginning.
fn add(track: &mut [f32], start: usize, sound: impl Iterator<Item = f32>) {
    let length = track.len();
    sound.enumerate().for_each(|(i, sample)| track[(start + i) % length] += sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_heard_begin_and_end_in_silence_and_do_not_clip() {
        for effect in Effect::ALL {
            let sound = effect.render();
            let loudest = sound.iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
            assert!((0.1..=1.0).contains(&loudest), "{effect:?}: {loudest}");
            assert!(sound[0].abs() < 0.01 && sound[sound.len() - 1].abs() < 0.01, "{effect:?} clicks");
            assert!((samples(0.04)..samples(1.0)).contains(&sound.len()), "{effect:?}: {}", sound.len());
        }
    }

    #[test]
    fn the_music_loops_without_a_click_and_does_not_clip() {
        let track = music();
        let step = |i: usize| (track[(i + 1) % track.len()] - track[i]).abs();
        let largest = (0..track.len() - 1).map(step).fold(0.0, f32::max);
        assert!(
            step(track.len() - 1) <= largest,
            "a click: {} where {largest} is usual",
            step(track.len() - 1)
        );
        let loudest = track.iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
        assert!((0.2..0.9).contains(&loudest), "{loudest}");
        // No second is silent.
        assert!(track.chunks(RATE as usize).all(|second| second.iter().any(|sample| sample.abs() > 0.05)));
        assert_eq!(music(), track, "always the same");
    }
}
