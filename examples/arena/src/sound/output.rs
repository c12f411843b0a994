//! Where the samples go. On Windows and macOS it is the system's audio, by `cpal`. `cpal` wants ALSA's headers on Linux, and the
//! game is to build without any: there the samples go into the standard input of a small program that the system has beside its
//! sound, PulseAudio's and PipeWire's `pacat`, or ALSA's `aplay`. Without one of them the game is silent.

use std::thread;

use bevy::log::info;

use super::mixer::Mixer;

/// Plays what the mixer gives, in a thread of its own, as long as the program runs.
pub(super) fn start(mixer: impl FnOnce() -> Mixer + Send + 'static) {
    let play = move || {
        if let Err(why) = play(mixer()) {
            info!("there is no sound: {why}");
        }
    };
    if let Err(error) = thread::Builder::new().name(String::from("sound")).spawn(play) {
        info!("there is no sound: {error}");
    }
}

#[cfg(any(windows, target_os = "macos"))]
fn play(mut mixer: Mixer) -> Result<(), String> {
    use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
    use cpal::{SampleFormat, StreamConfig};

    use super::synth::RATE;

    let device = cpal::default_host().default_output_device().ok_or("the system has no device for it")?;
    let usual = device.default_output_config().map_err(|error| error.to_string())?;
    if usual.sample_format() != SampleFormat::F32 {
        return Err(format!("the device wants {} samples", usual.sample_format()));
    }
    let config: StreamConfig = usual.into();
    let channels = usize::from(config.channels).max(1);
    // The device's rate is not ours: each of its samples takes the nearest one of ours.
    let step = f64::from(RATE) / f64::from(config.sample_rate);
    let (mut due, mut frame) = (0.0, [0.0; 2]);
    let fill = move |block: &mut [f32], _: &cpal::OutputCallbackInfo| {
        mixer.fill(&mut []);
        for out in block.chunks_mut(channels) {
            due += step;
            while due >= 1.0 {
                due -= 1.0;
                frame = mixer.next();
            }
            for (channel, sample) in out.iter_mut().enumerate() {
                *sample = if channel < 2 { frame[channel] } else { 0.0 };
            }
        }
    };
    let stream = device
        .build_output_stream(config, fill, |error| info!("sound: {error}"), None)
        .map_err(|error| error.to_string())?;
    stream.play().map_err(|error| error.to_string())?;
    // The stream ends with this thread.
    loop {
        thread::park();
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
fn play(mut mixer: Mixer) -> Result<(), String> {
    use std::process::Command;

    use super::synth::RATE;

    let rate = RATE.to_string();
    let players: [(&str, &[&str]); 2] = [
        (
            "pacat",
            &[
                "--raw",
                "--format=s16le",
                "--channels=2",
                "--latency-msec=60",
                "--client-name=Arena",
                "--rate",
            ],
        ),
        ("aplay", &["-q", "-t", "raw", "-f", "S16_LE", "-c", "2", "--buffer-time=100000", "-r"]),
    ];
    for (name, arguments) in players {
        child::feed(Command::new(name).args(arguments).arg(&rate), &mut mixer);
    }
    Err(String::from("neither pacat nor aplay plays here (Debian: pulseaudio-utils or alsa-utils)"))
}

#[cfg(not(any(unix, windows)))]
fn play(_: Mixer) -> Result<(), String> {
    Err(String::from("not on this system"))
}

#[cfg(all(unix, not(target_os = "macos")))]
mod child {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::synth::RATE;
    use super::Mixer;

    /// Samples are worked out so long before they are due: what waits in the pipe is heard late.
    const AHEAD: Duration = Duration::from_millis(60);
    /// So many frames are written at a time: 10 ms.
    const BLOCK: usize = RATE as usize / 100;

    /// Writes samples into a program until it takes no more, or cannot be started.
    pub(super) fn feed(command: &mut Command, mixer: &mut Mixer) {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        let Some(mut pipe) = child.stdin.take() else { return };
        let (begun, mut written) = (Instant::now(), Duration::ZERO);
        let mut block = vec![0.0; 2 * BLOCK];
        loop {
            thread::sleep(written.saturating_sub(begun.elapsed() + AHEAD));
            // After a pause of the machine it goes on from now.
            written = written.max(begun.elapsed()) + Duration::from_millis(10);
            mixer.fill(&mut block);
            let samples = block.iter().map(|sample| (sample * 32_000.0) as i16);
            let bytes: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
            if pipe.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(pipe);
        // It has ended, or does so with its input.
        let _ = child.wait();
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc::sync_channel;

        use super::*;
        use crate::sound::mixer::Order;

        #[test]
        fn a_program_is_fed_at_the_rate_of_time_and_one_that_is_missing_is_no_harm() {
            let (tell, orders) = sync_channel(8);
            let mut mixer = Mixer::new(orders);
            tell.send(Order::Volume { sounds: 1.0, music: 1.0 }).unwrap();
            feed(&mut Command::new("a-player-that-is-nowhere"), &mut mixer);
            let file = std::env::temp_dir().join(format!("arena-sound-{}", std::process::id()));
            let begun = Instant::now();
            // Half a second of sound.
            let take = format!("head -c {} > {}", 2 * RATE, file.display());
            feed(Command::new("sh").args(["-c", &take]), &mut mixer);
            assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
            let bytes = std::fs::read(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            assert_eq!(bytes.len(), 2 * RATE as usize);
            let loud = bytes.chunks_exact(2).any(|two| i16::from_le_bytes([two[0], two[1]]).abs() > 2_000);
            assert!(loud, "music is to be heard");
        }
    }
}
