//! One of several nodes: what comes of lists when other nodes come, as the registry tells of them.

use traversal_core::wire::message::{RoomQuery, RoomSummary};

use super::*;
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
