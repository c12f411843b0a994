//! Random worlds in which things go wrong at random moments of a join: whatever it is, everybody is told how it ended,
//! nobody sends where it may not, and the same seed is the same story. `natlab soak` runs as many as there is time for.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use natlab::soak::{self, FAULTS, Fault, Story, Wrong};

/// Tells the story of a world with any settings.
fn tell(seed: u64) -> Story {
    soak::tell(seed, soak::any_world_apart(seed))
}

#[test]
fn whatever_goes_wrong_everybody_is_told_how_it_ended() {
    let mut happened: BTreeMap<Fault, u32> = BTreeMap::new();
    let (mut connected, mut failed) = (0, 0);
    for seed in 0..400 {
        let story = tell(seed);
        story.plan.iter().for_each(|(_, fault)| *happened.entry(*fault).or_default() += 1);
        let verdict = soak::judge(&story);
        let wrong: Vec<_> =
            verdict.findings.iter().filter(|finding| finding.wrong != Wrong::WrongReason).collect();
        assert!(wrong.is_empty(), "seed {seed}: {:?}: {wrong:?}", story.plan);
        connected += verdict.paths;
        failed += verdict.reasons;
    }
    assert!(connected > 200 && failed > 20, "{connected} connected, {failed} failed");
    assert!(FAULTS.iter().all(|fault| happened.get(fault).is_some_and(|times| *times >= 20)), "{happened:?}");
}

#[test]
fn the_same_seed_is_the_same_story_with_faults_too() {
    for seed in (0..400).step_by(20) {
        let run = || {
            let story = tell(seed);
            let told = [story.pair.left, story.pair.right].map(|host| {
                // Instants differ from run to run, what happens does not.
                let events = story.pair.player(host).events.iter().map(|(_, event)| format!("{event:?}"));
                events.collect::<Vec<_>>()
            });
            (story.pair.world.trace_hash(), told)
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
