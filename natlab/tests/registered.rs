//! What a player finds out about its addresses, and that nobody reaches one who is gone (M28, M34).

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use natlab::nat::NatSpec;
use natlab::oracle::Relation;
use natlab::scenario::{PairWorld, PairWorldSettings};
use traversal_core::wire::message::RequestError;
use traversal_core::{Command, Event, LobbyState, PathKind, RequestFailure, RequestKind};

fn settings(left: &str, right: &str) -> PairWorldSettings {
    let chain = |spec: &str| spec.parse::<NatSpec>().unwrap().chain;
    PairWorldSettings::equal(7, &chain(left), &chain(right), Duration::from_millis(40))
}

#[test]
fn m28_a_player_knows_its_public_address_by_the_server_and_its_own_one_reaches_the_lan() {
    let mut settings = settings("ps", "ps");
    settings.relation = Relation::SameLan;
    let mut pair = PairWorld::new(settings);
    assert!(pair.prepare());
    let own = pair.world.local(pair.left, 0).unwrap();
    let LobbyState::Online { public, .. } = pair.player(pair.left).lobby else { panic!("not logged in") };
    assert_ne!(public, own, "the NAT's, which no interface of the machine has");
    let now = pair.world.now();
    let outside = pair.world.nat(pair.left_nats[0]).mappings(now);
    assert!(outside.iter().any(|mapping| mapping.external == public), "{public}");
    pair.request();
    assert!(pair.wait(Duration::from_secs(5), PairWorld::is_direct_and_played));
    let id = pair.player(pair.left).id.unwrap();
    let path = pair.player(pair.right).paths[&id].clone();
    assert_eq!((path.kind, path.remote), (PathKind::Lan, Some(own)));
}

#[test]
fn m34_a_join_of_a_player_who_has_logged_off_fails_with_that_reason_and_sends_it_nothing() {
    let mut pair = PairWorld::new(settings("portrestricted", "portrestricted"));
    assert!(pair.prepare());
    let (left, right) = (pair.left, pair.right);
    pair.act(left, |player, now| player.command(now, Command::Disconnect));
    let end = pair.world.now() + Duration::from_secs(2);
    pair.world.run_until(end);
    pair.request();
    let refused = |pair: &PairWorld| !pair.player(right).refusals.is_empty();
    assert!(pair.wait(Duration::from_secs(15), refused));
    let no_room = RequestFailure::Server(RequestError::NoSuchRoom);
    assert_eq!(pair.player(right).refusals, [(RequestKind::Join, no_room)]);
    let planned = |host| pair.player(host).events.iter().any(|(_, e)| matches!(e, Event::Plan { .. }));
    assert!(!planned(left) && !planned(right));
    let (of_left, of_right) = (pair.world.stats(left), pair.world.stats(right));
    assert_eq!((of_right.to_players, of_left.first_from_player), (0, None), "since the request");
}
