//! What is heard at a time, as samples for two ears.

use std::sync::mpsc::Receiver;

use super::synth::{Effect, music};

/// So many sounds are heard at a time; more push out the oldest.
const VOICES: usize = 24;

/// The game tells the mixer this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// This is to be heard.
    Play {
        /// The sound.
        effect: Effect,
        /// How loud, 0..=1.
        loud: f32,
        /// From where: -1 is left, 1 is right.
        from: f32,
    },
    /// Sounds and music are so loud, 0..=1.
    Volume {
        /// The sounds.
        sounds: f32,
        /// The music.
        music: f32,
    },
}

struct Voice {
    effect: usize,
    at: usize,
    gains: [f32; 2],
}

/// Adds up what is heard.
pub(super) struct Mixer {
    orders: Receiver<Order>,
    effects: Vec<Vec<f32>>,
    music: Vec<f32>,
    at: usize,
    voices: Vec<Voice>,
    /// Of the sounds and of the music: as it is, and as it is to be.
    volumes: [[f32; 2]; 2],
}

impl Mixer {
    /// Works out all sounds. It is silent until it is told how loud it is to be.
    pub(super) fn new(orders: Receiver<Order>) -> Self {
        let effects = Effect::ALL.map(Effect::render).into();
        Self { orders, effects, music: music(), at: 0, voices: Vec::new(), volumes: [[0.0; 2]; 2] }
    }

    fn obey(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Volume { sounds, music } => {
                    (self.volumes[0][1], self.volumes[1][1]) =
                        (sounds.clamp(0.0, 1.0), music.clamp(0.0, 1.0));
                }
                Order::Play { effect, loud, from } => {
                    let effect = Effect::ALL.iter().position(|known| *known == effect).unwrap_or_default();
                    if self.voices.len() == VOICES {
                        self.voices.remove(0);
                    }
                    // Never all on one side.
                    let aside = from.clamp(-1.0, 1.0) * 0.6;
                    let gains =
                        [1.0 - aside.max(0.0), 1.0 + aside.min(0.0)].map(|gain| gain * loud.clamp(0.0, 1.0));
                    self.voices.push(Voice { effect, at: 0, gains });
                }
            }
        }
    }

    /// Returns the next samples: left, right, each between -1 and 1.
    pub(super) fn next(&mut self) -> [f32; 2] {
        for [now, wanted] in &mut self.volumes {
            // A jump would be heard as a click.
            *now += (*wanted - *now) * 0.001;
        }
        let [[sounds, _], [music, _]] = self.volumes;
        let track = self.music[self.at] * music;
        self.at = (self.at + 1) % self.music.len();
        let mut both = [track; 2];
        for voice in &mut self.voices {
            let sample = self.effects[voice.effect][voice.at] * sounds;
            voice.at += 1;
            both.iter_mut().zip(voice.gains).for_each(|(sum, gain)| *sum += sample * gain);
        }
        let effects = &self.effects;
        self.voices.retain(|voice| voice.at < effects[voice.effect].len());
        // Eight explosions at once are loud, and not a crackle.
        both.map(f32::tanh)
    }

    /// Fills a block with samples, left and right in turn, and hears first what the game wants.
    pub(super) fn fill(&mut self, block: &mut [f32]) {
        self.obey();
        for frame in block.chunks_exact_mut(2) {
            frame.copy_from_slice(&self.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::sound::synth::RATE;

    #[test]
    fn it_is_silent_until_it_is_told_otherwise_and_never_clips() {
        let (tell, orders) = sync_channel(256);
        let mut mixer = Mixer::new(orders);
        let mut block = vec![1.0; 2 * RATE as usize / 10];
        mixer.fill(&mut block);
        assert!(block.iter().all(|sample| *sample == 0.0));
        tell.send(Order::Volume { sounds: 1.0, music: 0.0 }).unwrap();
        for _ in 0..100 {
            tell.send(Order::Play { effect: Effect::Boom, loud: 1.0, from: 0.9 }).unwrap();
        }
        mixer.fill(&mut block);
        assert_eq!(mixer.voices.len(), VOICES);
        let loudest =
            |ear: usize| block.iter().skip(ear).step_by(2).fold(0.0f32, |loud, s| loud.max(s.abs()));
        assert!(loudest(0) <= 1.0 && loudest(1) <= 1.0 && loudest(1) > 0.5);
        (0..15).for_each(|_| mixer.fill(&mut block));
        assert!(mixer.voices.is_empty() && block.iter().all(|sample| *sample == 0.0), "it ends");
        tell.send(Order::Volume { sounds: 0.0, music: 0.5 }).unwrap();
        (0..10).for_each(|_| mixer.fill(&mut block));
        assert!(block.iter().any(|sample| sample.abs() > 0.01), "music");
    }

    #[test]
    fn a_sound_from_the_left_is_louder_there() {
        let (tell, orders) = sync_channel(8);
        let mut mixer = Mixer::new(orders);
        tell.send(Order::Volume { sounds: 1.0, music: 0.0 }).unwrap();
        mixer.fill(&mut vec![0.0; 2 * RATE as usize / 4]);
        tell.send(Order::Play { effect: Effect::Tick, loud: 1.0, from: -1.0 }).unwrap();
        let mut block = vec![0.0; 2 * RATE as usize / 10];
        mixer.fill(&mut block);
        let power = |ear: usize| block.iter().skip(ear).step_by(2).map(|sample| sample * sample).sum::<f32>();
        assert!(power(0) > 3.0 * power(1));
    }
}
