//! Runs every target with its corpus, and with some thousand damaged copies of it, on whatever compiler there is: so the
//! targets never rot, and what was found once is not found again.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use fuzz_targets::{ALL, Target};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Each target gets this many damaged inputs; those whose executions are whole stories get fewer.
const DAMAGED: usize = 3000;
const DAMAGED_STORIES: usize = 150;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// Returns another input, made of those that there are: bits and bytes changed, cut, repeated, put together, or new.
fn damaged(rng: &mut ChaCha20Rng, inputs: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut below = |bound: usize| rng.next_u32() as usize % bound.max(1);
    let mut input = inputs[below(inputs.len())].1.clone();
    match below(8) {
        0 => input = (0..below(400)).map(|_| below(256) as u8).collect(),
        1 => {
            let other = &inputs[below(inputs.len())].1;
            let (keep, from) = (below(input.len() + 1), below(other.len() + 1));
            input.truncate(keep);
            input.extend_from_slice(&other[from..]);
        }
        2 => {
            let keep = below(input.len() + 1);
            input.truncate(keep);
        }
        3 => input.extend_from_within(..),
        _ => {}
    }
    for _ in 0..below(6) {
        let index = below(input.len());
        if let Some(byte) = input.get_mut(index) {
            *byte = if below(2) == 0 { *byte ^ 1 << below(8) } else { below(256) as u8 };
        }
    }
    input
}

fn replay(name: &str) {
    let (_, target): &(&str, Target) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = corpus(name);
    assert!((4..=64).contains(&inputs.len()), "{}: a few dozen small files", inputs.len());
    assert!(inputs.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 64 * 1024, "small ones");
    for (file, bytes) in &inputs {
        // So that a panic is told with the input that makes it.
        let run = std::panic::catch_unwind(|| target(bytes));
        assert!(run.is_ok(), "{}", file.display());
    }
    let mut rng = ChaCha20Rng::from_seed([name.len() as u8; 32]);
    let stories = ["agent", "server"].contains(&name);
    for _ in 0..if stories { DAMAGED_STORIES } else { DAMAGED } {
        let input = damaged(&mut rng, &inputs);
        let run = std::panic::catch_unwind(|| target(&input));
        assert!(run.is_ok(), "{name}: {input:02x?}");
    }
}

#[test]
fn every_target_has_a_test_here() {
    let source = include_str!("replay.rs");
    for (name, _) in ALL {
        assert!(source.contains(&format!("replay(\"{name}\")")), "{name}");
        let wrapper = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/src/{name}.rs"));
        assert!(wrapper.exists(), "cargo fuzz knows {name}");
    }
}

#[test]
fn agent() {
    replay("agent");
}

#[test]
fn frame() {
    replay("frame");
}

#[test]
fn handshake() {
    replay("handshake");
}

#[test]
fn pair() {
    replay("pair");
}

#[test]
fn seals() {
    replay("seals");
}

#[test]
fn server() {
    replay("server");
}

#[test]
fn session() {
    replay("session");
}

#[test]
fn settings() {
    replay("settings");
}

#[test]
fn stranger() {
    replay("stranger");
}

#[test]
fn stream() {
    replay("stream");
}

#[test]
fn stun() {
    replay("stun");
}
