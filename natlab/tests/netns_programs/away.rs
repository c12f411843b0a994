//! A shipped program is out of contact for a while: its network is cut, or it is stopped as a sleep stops it. A shell beside
//! each player does that to it.

use std::path::Path;

use crate::{PEER, PLAYERS, event, events, run_command};

/// Everything that this player's machine sends and gets is dropped.
const CUT: &str = "printf '%s\\n' 'table ip cut {' \
    'chain i { type filter hook input priority 0; policy drop; }' \
    'chain o { type filter hook output priority 0; policy drop; }' '}' | nft -f -";
const MEND: &str = "nft delete table ip cut";
const STOP: &str = "kill -STOP $player";
const GO_ON: &str = "kill -CONT $player";

/// Plays over the relay; this player is out of contact for so many seconds.
fn plays_on(away: &str, (begin, end): (&str, &str), seconds: u32) -> bool {
    let peer = Path::new(env!("CARGO_BIN_EXE_natlab")).with_file_name("peer");
    let peer = PEER.replacen("peer", &peer.display().to_string(), 1);
    let play = 6 + seconds + 8;
    let script = format!(
        "{peer} --relay only --for {play} --rate 30 --reliable-rate 10 --complete & player=$!\n\
         if [ {{role}} = {away} ]; then sleep 8; {begin}; sleep {seconds}; {end}; fi\n\
         wait $player"
    );
    let nats = ["--left", "portrestricted", "--right", "ps"];
    let Some(report) = run_command(60, &nats, &["sh", "-c", &script]) else { return false };
    assert_eq!(report["ok"], true, "{report}");
    let [host, join] = PLAYERS.map(|(_, role)| event(&report, role, "summary"));
    for ((_, role), (own, other)) in PLAYERS.into_iter().zip([(host, join), (join, host)]) {
        assert!(events(&report, role, "disconnected").is_empty(), "{report}");
        assert_eq!(own["reliable_in_order"], true, "{report}");
        // Neither lost nor doubled.
        assert_eq!(own["reliable_received"], other["reliable_sent"], "{report}");
        let told = ["peer_away", "peer_back"].map(|name| events(&report, role, name).len());
        // Who was stopped finds what came meanwhile, and need not have missed anything.
        assert!(
            told == [1, 1] || (role == away && begin == STOP && told == [0, 0]),
            "{role}: {told:?} {report}"
        );
    }
    true
}

#[test]
fn six_seconds_without_a_network_are_no_end_of_a_game_over_the_relay() {
    for (_, away) in PLAYERS {
        if !plays_on(away, (CUT, MEND), 6) {
            return;
        }
    }
}

#[test]
fn a_program_that_was_stopped_for_six_or_ten_seconds_plays_on() {
    for (_, away) in PLAYERS {
        for seconds in [6, 10] {
            if !plays_on(away, (STOP, GO_ON), seconds) {
                return;
            }
        }
    }
}
