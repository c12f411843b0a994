//! One of several nodes: what comes of lists and of lines when other nodes come, as the registry tells of them.

use traversal_core::wire::message::{InRoom, QuickMatch, QuickRules, RoomQuery, RoomSummary};

use super::*;
use crate::queue::QueueKey;
use crate::registry::{
    ChangeMark, Changes, NodeSite, RegistryId, RegistryNote, RegistryOperation, RegistryReply, Shown,
};

fn address_of(node: u64) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, 20 + node as u8], 3478))
}

/// Node 1.
fn world() -> World {
    let config = ServerConfig { node: 1, ..ServerConfig::default() };
    World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))])
}

/// The registry says that these other nodes are there.
fn nodes_are(world: &mut World, nodes: &[u64]) {
    let site = |node: &u64| NodeSite {
        node: *node,
        addresses: vec![address_of(*node)],
        players: 0,
        draining: false,
    };
    let note = RegistryNote::Nodes(nodes.iter().map(site).collect());
    world.server.handle_registry_note(world.now, note);
    world.turn();
}

/// Returns the question for the rooms of other nodes, if there is one.
fn question(world: &mut World) -> Option<(RegistryId, ChangeMark)> {
    let mut found = None;
    while let Some(command) = world.server.poll_registry() {
        if let RegistryOperation::Changes { since, .. } = command.operation {
            assert_eq!(found.replace((command.id, since)), None, "one at a time");
        }
    }
    found
}

fn room(node: u64, name: &str) -> (u64, Shown) {
    let summary = RoomSummary { name: name.into(), capacity: 8, members: 1, ..RoomSummary::default() };
    (node, Shown { summary, ..Shown::default() })
}

fn tell(world: &mut World, id: RegistryId, changed: u64, anew: bool, rooms: &[(u64, Shown)]) {
    let mark = ChangeMark { changed, gone: 1, begun: false };
    let changes = Changes { anew, rooms: rooms.to_vec(), mark, ..Changes::default() };
    world.server.handle_registry_reply(world.now, id, Ok(RegistryReply::Changes(changes)));
    world.turn();
}

#[test]
fn rooms_of_a_node_that_comes_while_the_registry_is_asked_are_listed_at_once() {
    let mut world = world();
    let looker = world.player(1, "203.0.113.1:4000");
    world.registry = None;
    nodes_are(&mut world, &[2]);
    let asked = world.ask(looker, Request::ListRooms { query: RoomQuery::default() });
    let (id, since) = question(&mut world).expect("a question");
    assert_eq!(since, ChangeMark::default());
    // The third node is not there yet: its room is left out.
    let both = [room(2, "of two"), room(3, "of three")];
    tell(&mut world, id, 5, true, &both);
    let names = |answer: Option<Result<Response, RequestError>>| match answer {
        Some(Ok(Response::Rooms { rooms, .. })) => rooms.into_iter().map(|room| room.name).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!(names(world.fakes[looker].answer(asked)), ["of two"]);
    world.pass(Duration::from_millis(1100));
    let (id, since) = question(&mut world).expect("a question");
    assert_eq!(since.changed, 5);
    // It comes before the answer does.
    nodes_are(&mut world, &[2, 3]);
    tell(&mut world, id, 6, false, &[]);
    let (id, since) = question(&mut world).expect("a question without a wait");
    assert_eq!(since, ChangeMark::default(), "for all rooms");
    tell(&mut world, id, 6, true, &both);
    let asked = world.ask(looker, Request::ListRooms { query: RoomQuery::default() });
    assert_eq!(names(world.fakes[looker].answer(asked)), ["of three", "of two"]);
}

/// Returns wishes that belong to this node, where nodes 1 and 2 are there.
fn wishes_of(world: &World, node: u64, count: usize) -> Vec<QuickMatch> {
    let rules = || QuickRules { accept_s: Some(10), ..QuickRules::default() };
    let wish = |n: u32| QuickMatch {
        mode: format!("mode {n}"),
        players: 2,
        rules: rules(),
        ..QuickMatch::default()
    };
    let owner = |wish: &QuickMatch| {
        let key = QueueKey::of("game", 1, wish).bytes();
        world.server.cx.nodes.owner(Some(1), &key).map_or(1, |site| site.node)
    };
    (0..).map(wish).filter(|wish| owner(wish) == node).take(count).collect()
}

fn wait_for(world: &mut World, player: usize, wish: &QuickMatch) {
    assert_eq!(world.answer(player, Request::QuickMatch(wish.clone())), Ok(Response::Done));
}

fn sent_to(fake: &Fake) -> Vec<Vec<SocketAddr>> {
    let sent = |message: &ToPlayer| match message {
        ToPlayer::GoTo(to) => Some(to.clone()),
        _ => None,
    };
    fake.told.iter().filter_map(sent).collect()
}

#[test]
fn who_falls_back_into_line_at_the_wrong_node_goes_to_the_right_one() {
    let mut world = world();
    nodes_are(&mut world, &[2]);
    let [first, second] = [1, 2].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    let wish = wishes_of(&world, 2, 1).remove(0);
    wait_for(&mut world, first, &wish);
    wait_for(&mut world, second, &wish);
    let found = world.fakes[first].told.iter().find_map(|message| match message {
        ToPlayer::MatchFound(found) => Some(found.proposal),
        _ => None,
    });
    let proposal = found.expect("both are here");
    // Longer than a player waits alone at a node that is not where such players meet.
    world.pass(Duration::from_secs(2));
    assert!(sent_to(&world.fakes[first]).is_empty(), "it has somebody to play with");
    assert_eq!(world.answer(second, Request::AnswerMatch { proposal, accept: false }), Ok(Response::Done));
    world.pass(Duration::from_millis(1500));
    assert_eq!(sent_to(&world.fakes[first]), [[address_of(2)]]);
    assert_eq!(world.server.gauges().queued, 0);
}

#[test]
fn those_who_wait_go_to_a_node_that_comes_and_owns_their_line_some_at_a_time() {
    let mut world = world();
    let here = world.player(250, "203.0.113.250:4000");
    nodes_are(&mut world, &[2]);
    let (own, of_two) = (wishes_of(&world, 1, 1).remove(0), wishes_of(&world, 2, 200));
    nodes_are(&mut world, &[]);
    wait_for(&mut world, here, &own);
    let waiting: Vec<usize> = (1..=200u8)
        .map(|n| {
            let player = world.player(n, &format!("198.51.100.{n}:4000"));
            wait_for(&mut world, player, &of_two[usize::from(n) - 1]);
            player
        })
        .collect();
    world.pass(Duration::from_secs(2));
    assert!(world.fakes.iter().all(|fake| sent_to(fake).is_empty()), "this node is alone");
    nodes_are(&mut world, &[2]);
    let sent = |world: &World| {
        waiting.iter().filter(|player| sent_to(&world.fakes[**player]) == [[address_of(2)]]).count()
    };
    world.pass(Duration::from_millis(1010));
    let at_first = sent(&world);
    assert!((1..200).contains(&at_first), "{at_first}");
    world.pass(Duration::from_millis(500));
    assert_eq!(sent(&world), 200);
    assert!(sent_to(&world.fakes[here]).is_empty(), "its line is this node's");
    assert_eq!(world.server.gauges().queued, 1);
}

#[test]
fn a_room_that_looks_for_players_goes_to_the_node_of_their_line_with_all_who_are_inside() {
    let mut world = world();
    nodes_are(&mut world, &[2]);
    let [host, guest, waits] = [1, 2, 3].map(|n| world.player(n, &format!("203.0.113.{n}:4000")));
    let options = RoomOptions { capacity: 3, ..named("r") };
    world.host(host, options);
    assert!(world.answer(guest, by_name("r")).is_ok());
    let rules = |wish: QuickMatch| QuickMatch { rules: QuickRules::default(), players: 3, ..wish };
    let owner = |world: &World, wish: &QuickMatch| {
        let key = QueueKey::of("game", 1, wish).bytes();
        world.server.cx.nodes.owner(Some(1), &key).map_or(1, |site| site.node)
    };
    let mut wishes = wishes_of(&world, 2, 40).into_iter().chain(wishes_of(&world, 1, 40)).map(rules);
    let here = wishes.clone().find(|wish| owner(&world, wish) == 1).unwrap();
    let there = wishes.find(|wish| owner(&world, wish) == 2).unwrap();
    let look = |wish: &QuickMatch| Request::InRoom(InRoom::Backfill(Some(wish.clone())));
    assert_eq!(world.answer(host, look(&here)), Ok(Response::Done));
    world.pass(Duration::from_secs(2));
    assert!(sent_to(&world.fakes[host]).is_empty(), "the line is this node's");
    assert_eq!(world.answer(host, look(&there)), Ok(Response::Done));
    world.pass(Duration::from_millis(900));
    assert!(sent_to(&world.fakes[host]).is_empty(), "somebody may come here first");
    world.pass(Duration::from_millis(200));
    for player in [host, guest] {
        assert_eq!(sent_to(&world.fakes[player]), [[address_of(2)]]);
    }
    assert_eq!(world.server.gauges().rooms, 0);
    // Who comes to wait here is not lost: it goes there, too.
    wait_for(&mut world, waits, &there);
    world.pass(Duration::from_millis(1100));
    assert_eq!(sent_to(&world.fakes[waits]), [[address_of(2)]]);
}
