//! A room that looks for more players, over ways that lose datagrams and over a restart of the server.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::link::{Link, Way};
use natlab::nat::NatSpec;
use natlab::scenario::PartyWorld;
use traversal_core::wire::message::{BackfillStatus, QuickMatch};
use traversal_core::{AgentConfig, Command, Event};

const SECOND: Duration = Duration::from_secs(1);

fn brawl() -> QuickMatch {
    QuickMatch { mode: "brawl".into(), players: 3, ..QuickMatch::default() }
}

/// What the host was told last of the search.
fn told(party: &PartyWorld) -> Option<Option<BackfillStatus>> {
    let told = party.player(0).events.iter().rev();
    told.filter_map(|(_, event)| match event {
        Event::Backfill(status) => Some(*status),
        _ => None,
    })
    .next()
}

#[test]
fn those_who_wait_come_in_one_after_the_other_and_a_restart_of_the_server_ends_no_search() {
    for seed in 0..3 {
        let nats = ["portrestricted", "none", "restricted", "portrestricted", "fullcone"];
        let chains: Vec<_> = nats.iter().map(|spec| spec.parse::<NatSpec>().unwrap().chain).collect();
        let mut party = PartyWorld::new(seed, &chains, Duration::from_millis(30), &AgentConfig::default());
        assert!(party.prepare());
        party.join(1);
        assert!(party.wait(10 * SECOND, |party| party.is_played(1)));
        for nat in party.nats.clone() {
            let way = Way { delay: Duration::from_millis(30), loss: 0.05, ..Way::default() };
            party.world.set_nat_link(nat[0], Link::both(way));
        }
        let free =
            |free| move |party: &PartyWorld| told(party) == Some(Some(BackfillStatus { free, coming: 0 }));
        party.command(0, Command::Backfill(Some(brawl())));
        assert!(party.wait(10 * SECOND, free(1)), "seed {seed}: {:?}", told(&party));
        party.command(2, Command::QuickMatch(brawl()));
        assert!(party.wait(20 * SECOND, |party| party.is_played(2) && party.is_direct(2)), "seed {seed}");
        assert!(party.wait(10 * SECOND, free(0)), "seed {seed}: {:?}", told(&party));
        // Who waits now gets the place of one who leaves after the restart.
        party.command(3, Command::QuickMatch(brawl()));
        party.restart_server(100 + seed);
        let end = party.world.now() + 60 * SECOND;
        party.world.run_until(end);
        assert!(!party.is_played(3), "seed {seed}: the room is full");
        assert_eq!(party.player(0).disconnects, 0, "seed {seed}");
        party.command(2, Command::LeaveRoom);
        assert!(party.wait(20 * SECOND, |party| party.is_played(3) && party.is_direct(3)), "seed {seed}");
        // And nobody is put in when the host has taken it back.
        party.command(0, Command::Backfill(None));
        party.command(3, Command::LeaveRoom);
        party.command(4, Command::QuickMatch(brawl()));
        let end = party.world.now() + 10 * SECOND;
        party.world.run_until(end);
        assert_eq!((told(&party), party.is_played(4)), (Some(None), false), "seed {seed}");
    }
}
