//! Every screen, drawn by the program on a virtual display, looks as it did when somebody last looked at it: compared blurred, so that
//! other drivers, fonts' edges and moving ships do not matter, and a missing panel does.
//!
//! `WRITE_PICTURES=1 cargo test -p arena --test pictures -- --include-ignored` writes the references in `tests/pictures` anew; look at
//! them. A picture is taken after a number of frames, of which each takes the same time in the game and has all its pipelines, so a
//! busy machine draws the same as one at rest. Needs `Xvfb` and a (software) Vulkan driver; without them it says that it was skipped.

#![cfg(all(unix, not(target_os = "macos")))]

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use arena::screens::ScreenName;
use clap::ValueEnum;
use test_support::display::{Display, vulkan};
use test_support::skipped;

/// References have this width; they are for people, too.
const KEPT: usize = 320;
/// Pictures are compared in a grid of this size: a cell is two letters of running text wide.
const GRID: (usize, usize) = (64, 36);
/// A channel, 0..=255, may differ by so much on average: lights drift, ships move.
const MEAN: f32 = 6.0;
/// A cell differs when one of its channels does so by more than this.
const CELL: f32 = 56.0;
/// So large a share of the cells may differ: eight ships with their lights elsewhere.
const CELLS: f32 = 0.06;

/// This is a picture with channels 0..=255.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 3]>,
}

impl Picture {
    fn read(file: &Path) -> Self {
        let mut decoder = png::Decoder::new(BufReader::new(File::open(file).expect("the picture is there")));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().expect("a PNG file");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a picture that fits")];
        let info = reader.next_frame(&mut bytes).expect("whole");
        let samples = info.color_type.samples();
        let pixels = bytes[..info.buffer_size()].chunks_exact(samples);
        let pixels = pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]].map(f32::from)).collect();
        Self { width: info.width as usize, height: info.height as usize, pixels }
    }

    /// Returns the picture in another size, each pixel the mean of what it covers.
    fn blurred(&self, width: usize, height: usize) -> Self {
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let span = |i: usize, to: usize, from: usize| {
                    i * from / to..((i + 1) * from / to).max(i * from / to + 1)
                };
                let (mut sum, mut count) = ([0.0; 3], 0.0);
                for row in span(y, height, self.height) {
                    for column in span(x, width, self.width) {
                        let pixel = self.pixels[row * self.width + column];
                        (0..3).for_each(|channel| sum[channel] += pixel[channel]);
                        count += 1.0;
                    }
                }
                pixels.push(sum.map(|sum| sum / count));
            }
        }
        Self { width, height, pixels }
    }

    /// Writes the picture with five bits a channel: gradients compress so, and people see hardly a difference.
    fn write(&self, file: &Path) {
        let mut encoder = png::Encoder::new(
            BufWriter::new(File::create(file).expect("the folder is there")),
            self.width as u32,
            self.height as u32,
        );
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flatten()
            .map(|value| ((value / 255.0 * 31.0).round() * 255.0 / 31.0) as u8)
            .collect();
        let mut writer = encoder.write_header().expect("a file that can be written");
        writer.write_image_data(&bytes).expect("whole");
    }
}

/// Returns what is unlike, if it is more than may be.
fn unlike(seen: &Picture, kept: &Picture) -> Option<String> {
    let (seen, kept) = (seen.blurred(GRID.0, GRID.1), kept.blurred(GRID.0, GRID.1));
    let off = |(a, b): (&[f32; 3], &[f32; 3])| [0, 1, 2].map(|channel| (a[channel] - b[channel]).abs());
    let off: Vec<_> = seen.pixels.iter().zip(&kept.pixels).map(off).collect();
    let mean = off.iter().flatten().sum::<f32>() / (3 * off.len()) as f32;
    let cells =
        off.iter().filter(|cell| cell.iter().any(|off| *off > CELL)).count() as f32 / off.len() as f32;
    (mean > MEAN || cells > CELLS)
        .then(|| format!("off by {mean:.1} on average, {:.1} % of the cells differ", cells * 100.0))
}

fn name(screen: ScreenName) -> String {
    screen.to_possible_value().expect("a word of the command line").get_name().to_owned()
}

fn draw(
    display: &str,
    folder: &Path,
    screen: ScreenName,
    (width, height): (u32, u32),
) -> Result<Picture, String> {
    let file = folder.join(format!("{}-{width}.png", name(screen)));
    // A match has begun, and somebody has won; a page stands still after a few frames.
    let after = match screen {
        ScreenName::Game
        | ScreenName::Watching
        | ScreenName::Chat
        | ScreenName::Paused
        | ScreenName::Leaving => "4.5",
        ScreenName::Countdown => "1.4",
        ScreenName::Winner => "5.2",
        _ => "0.6",
    };
    let output = Command::new(env!("CARGO_BIN_EXE_arena"))
        .args([
            "--screen",
            &name(screen),
            "--size",
            &format!("{width}x{height}"),
            "--seed",
            "5",
            "--after",
            after,
        ])
        .arg("--screenshot")
        .arg(&file)
        .env("DISPLAY", display)
        .env_remove("WAYLAND_DISPLAY")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the program starts");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(Picture::read(&file))
}

fn kept(screen: ScreenName, width: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(format!("{}-{width}.png", name(screen)))
}

/// Draws all screens in this size, two at a time, and compares them with what is kept.
fn compare(size: (u32, u32)) {
    if let Err(why) = vulkan() {
        return skipped(why);
    }
    let Some(display) = Display::sized(size.0, size.1) else {
        return skipped("no Xvfb (Debian: xvfb xauth)");
    };
    let folder = std::env::temp_dir().join(format!("arena-pictures-{}-{}", std::process::id(), size.0));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = std::env::var_os("WRITE_PICTURES").is_some();
    let waiting = Mutex::new(ScreenName::value_variants().to_vec());
    let faults = Mutex::new(Vec::new());
    let work = || {
        while let Some(screen) = { waiting.lock().expect("no panic").pop() } {
            let fault = match draw(&display.name, &folder, screen, size) {
                Err(error) => Some(error),
                Ok(seen) if write => {
                    seen.blurred(KEPT, KEPT * 9 / 16).write(&kept(screen, size.0));
                    None
                }
                Ok(seen) => {
                    assert_eq!((seen.width, seen.height), (size.0 as usize, size.1 as usize));
                    unlike(&seen, &Picture::read(&kept(screen, size.0)))
                }
            };
            faults
                .lock()
                .expect("no panic")
                .extend(fault.map(|fault| format!("{screen:?} at {}: {fault}", size.0)));
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| _ = scope.spawn(work)));
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{}\nThe pictures are in {}", faults.join("\n"), folder.display());
    std::fs::remove_dir_all(&folder).expect("its own folder");
}

#[test]
fn every_screen_looks_as_it_did_in_a_small_window() {
    compare((640, 360));
}

#[test]
#[ignore = "a minute more; the same pages as in a small window"]
fn every_screen_looks_as_it_did_in_a_usual_window() {
    compare((1280, 720));
}

#[test]
#[ignore = "a minute more; the same pages as in a small window"]
fn every_screen_looks_as_it_did_on_a_full_screen() {
    compare((1920, 1080));
}

/// The comparison itself: it forgives ships that are elsewhere, and not a panel that is gone.
#[test]
fn a_missing_panel_is_seen_and_moved_ships_are_not() {
    let at = |screen| Picture::read(&kept(screen, 640));
    let lobby = at(ScreenName::Lobby);
    assert!(unlike(&at(ScreenName::Game), &lobby).is_some());
    assert!(unlike(&at(ScreenName::Title), &at(ScreenName::Host)).is_some());
    assert!(unlike(&lobby, &lobby).is_none());
    let mut moved = Picture { pixels: lobby.pixels.clone(), ..lobby };
    for ship in 0..8 {
        // A light of 20 by 20 pixels, about as large as a ship with its glow.
        for (x, y) in (0..20).flat_map(|x| (0..20).map(move |y| (x, y))) {
            let place = (10 + y + 20 * (ship % 4)) * moved.width + 38 * ship + x;
            moved.pixels[place][1] = (moved.pixels[place][1] + 60.0).min(255.0);
        }
    }
    let kept = at(ScreenName::Lobby);
    assert_eq!(unlike(&moved, &kept), None);
}
