//! Sessions of aeronet's over real connections on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use aeronet_io::Session;
use aeronet_io::bytes::Bytes;
use aeronet_io::connection::{DROP_DISCONNECT_REASON, Disconnect, DisconnectReason, Disconnected};
use aeronet_io::packet::{NoClearBuffers, PacketRtt};
use aeronet_io::server::{Close, CloseReason, Closed, Server};
use aeronet_traversal::*;
use bevy_app::Update;
use bevy_ecs::prelude::*;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, room, until};
use test_support::lobby;

/// This is what sessions have received, in the order in which it came.
#[derive(Resource, Default)]
struct Heard(Vec<(PlayerId, Vec<u8>)>);

/// This is what has ended, and why: sessions by their players' ids, the server without one.
#[derive(Resource, Default)]
struct Ended(Vec<(Option<PlayerId>, String)>);

fn hear(mut sessions: Query<(&TraversalSession, &mut Session)>, mut heard: ResMut<Heard>) {
    for (of, mut session) in &mut sessions {
        heard.0.extend(session.recv.drain(..).map(|packet| (of.player, packet.payload.to_vec())));
    }
}

fn ended(event: On<Disconnected>, sessions: Query<&TraversalSession>, mut ended: ResMut<Ended>) {
    let why = match &event.reason {
        DisconnectReason::ByUser(reason) => format!("user: {reason}"),
        DisconnectReason::ByPeer(reason) => format!("peer: {reason}"),
        DisconnectReason::ByError(error) => format!("error: {error}"),
    };
    ended.0.push((sessions.get(event.entity).ok().map(|of| of.player), why));
}

fn closed(event: On<Closed>, mut ended: ResMut<Ended>) {
    let why = match &event.reason {
        CloseReason::ByUser(reason) => format!("user: {reason}"),
        CloseReason::ByError(error) => format!("error: {error}"),
    };
    ended.0.push((None, why));
}

fn game_of(config: TraversalConfig) -> Game {
    Game::with(config, |app| {
        app.add_plugins(AeronetTraversalPlugin)
            .init_resource::<Heard>()
            .init_resource::<Ended>()
            .add_systems(Update, hear)
            .add_observer(ended)
            .add_observer(closed);
    })
}

fn manual(lobby: &RunningServer, name: &str) -> Game {
    game_of(TraversalConfig { transport: Transport::Manual, ..config(lobby, name) })
}

/// Starts a host with its room open, and guests in it.
fn play<const N: usize>(lobby: &RunningServer, options: RoomOptions) -> (Game, [Game; N]) {
    let mut host = manual(lobby, "host");
    host.write(HostRoom(options));
    until([&mut host], "the room opens", 5.0, |[host]| server(host).is_some());
    let guests = std::array::from_fn(|n| {
        let mut guest = manual(lobby, &format!("guest {n}"));
        guest.write(JoinRoom::name("room"));
        until([&mut host, &mut guest], "both connect", 8.0, |[host, guest]| {
            sessions(host).len() == n + 1 && !sessions(guest).is_empty()
        });
        guest
    });
    (host, guests)
}

fn server(game: &mut Game) -> Option<Entity> {
    let world = game.app.world_mut();
    world.query_filtered::<Entity, (With<TraversalServer>, With<Server>)>().iter(world).next()
}

fn sessions(game: &mut Game) -> BTreeMap<PlayerId, (Entity, PeerRole)> {
    let world = game.app.world_mut();
    let mut query = world.query_filtered::<(Entity, &TraversalSession), With<Session>>();
    query.iter(world).map(|(entity, of)| (of.player, (entity, of.role))).collect()
}

/// Returns the game's only session.
fn only(game: &mut Game) -> Entity {
    let all = sessions(game);
    assert_eq!(all.len(), 1);
    all.into_values().next().unwrap().0
}

fn id(game: &Game) -> PlayerId {
    game.resource::<LobbyLink>().player().unwrap()
}

fn push(game: &mut Game, session: Entity, packet: &[u8]) {
    let mut session = game.app.world_mut().get_mut::<Session>(session).unwrap();
    session.send.push(Bytes::copy_from_slice(packet));
}

fn heard(game: &Game, from: PlayerId, packet: &[u8]) -> bool {
    game.resource::<Heard>().0.iter().any(|(player, heard)| *player == from && heard == packet)
}

/// Has both hear each other.
fn talk(a: &mut Game, b: &mut Game) {
    let (of_a, of_b) = (id(a), id(b));
    let (at_a, at_b) = (sessions(a)[&of_b].0, sessions(b)[&of_a].0);
    let text = |from: &str, session: Entity| format!("from {from} by {session}").into_bytes();
    let (from_a, from_b) = (text("a", at_a), text("b", at_b));
    until([a, b], "packets pass", 5.0, |[a, b]| {
        push(a, at_a, &from_a);
        push(b, at_b, &from_b);
        heard(a, of_b, &from_b) && heard(b, of_a, &from_a)
    });
}

#[test]
fn host_and_guest_have_sessions_with_size_round_trip_and_counts_beside_renet() {
    let lobby = lobby();
    let mut host = game_of(config(&lobby, "host"));
    let mut guest = game_of(config(&lobby, "guest"));
    host.write(HostRoom(room()));
    until([&mut host], "the server is there", 5.0, |[host]| server(host).is_some());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "round trips are measured", 10.0, |games| {
        games.iter_mut().all(|game| {
            let world = game.app.world_mut();
            world.query::<(&Session, &PacketRtt)>().iter(world).count() == 1
        })
    });
    talk(&mut host, &mut guest);
    let (at_host, at_guest) = (only(&mut host), only(&mut guest));
    assert_eq!(sessions(&mut host)[&id(&guest)].1, PeerRole::Guest);
    assert_eq!(sessions(&mut guest)[&id(&host)].1, PeerRole::Host);
    let server = server(&mut host).unwrap();
    assert_eq!(host.app.world().get::<ChildOf>(at_host).map(ChildOf::parent), Some(server));
    assert!(!guest.app.world().entity(at_guest).contains::<ChildOf>());
    for (game, entity) in [(&host, at_host), (&guest, at_guest)] {
        let session = game.app.world().get::<Session>(entity).unwrap();
        assert_eq!(session.min_mtu(), MIN_MTU);
        assert!((MIN_MTU..=MAX_DATAGRAM).contains(&session.mtu()), "{}", session.mtu());
        assert!(session.stats.packets_sent.0 >= 1 && session.stats.packets_recv.0 >= 1);
        assert!(session.stats.bytes_sent.0 > session.stats.packets_sent.0);
        assert_eq!(game.app.world().get::<Dropped>(entity), Some(&Dropped::default()));
    }
    // The size grows with what the path turns out to take.
    until([&mut host, &mut guest], "the size is known", 10.0, |games| {
        games.iter_mut().all(|game| {
            let world = game.app.world_mut();
            world.query::<&Session>().iter(world).all(|session| session.mtu() > MIN_MTU)
        })
    });
    assert!(host.has::<RenetServer>() && guest.has::<RenetClient>());
}

/// What the host finds with its next frame is a new connection and its first packet.
#[test]
fn a_packet_that_comes_with_the_connection_finds_its_session() {
    let lobby = lobby();
    let (mut host, []) = play(&lobby, room());
    let mut guest = manual(&lobby, "guest");
    guest.app.add_observer(|added: On<Add, Session>, mut sessions: Query<&mut Session>| {
        sessions.get_mut(added.entity).unwrap().send.push(Bytes::from_static(b"first"));
    });
    guest.write(JoinRoom::name("room"));
    until([&mut guest], "the guest is connected", 8.0, |[guest]| !sessions(guest).is_empty());
    let received = |host: &Game| host.resource::<TraversalStats>().game_received();
    until([&mut guest], "the packet is at the host's machine", 5.0, |_| received(&host) > 0);
    assert!(sessions(&mut host).is_empty());
    host.app.update();
    assert!(heard(&host, id(&guest), b"first"));
}

#[test]
fn packets_that_are_too_long_are_dropped_and_counted_and_the_session_goes_on() {
    let lobby = lobby();
    let (mut host, [mut guest]) = play(&lobby, room());
    let session = only(&mut guest);
    push(&mut guest, session, &[7; MAX_DATAGRAM + 1]);
    push(&mut guest, session, &[8; MAX_DATAGRAM]);
    let from = id(&guest);
    until([&mut host, &mut guest], "the longest that goes arrives", 5.0, |[host, _]| {
        heard(host, from, &[8; MAX_DATAGRAM])
    });
    assert_eq!(
        guest.app.world().get::<Dropped>(session),
        Some(&Dropped { too_long: 1, ..Dropped::default() })
    );
    talk(&mut host, &mut guest);
    assert!(host.resource::<Heard>().0.iter().all(|(_, packet)| packet.len() <= MAX_DATAGRAM));
}

#[test]
fn who_disconnects_is_heard_to_the_last_packet_and_gives_a_reason() {
    let lobby = lobby();
    let (mut host, [mut first, mut second]) = play(&lobby, room());
    let (of_host, of_first, of_second) = (id(&host), id(&first), id(&second));
    let session = only(&mut first);
    push(&mut first, session, b"last words");
    first.app.world_mut().trigger(Disconnect::new(session, "dinner"));
    first.app.world_mut().flush();
    assert!(sessions(&mut first).is_empty(), "at once");
    first.app.update();
    until([&mut host], "the last words arrive", 5.0, |[host]| heard(host, of_first, b"last words"));
    until([&mut host, &mut first, &mut second], "it is out", 8.0, |[host, first, _]| {
        !host.resource::<Ended>().0.is_empty() && !first.all::<RoomLeft>().is_empty()
    });
    assert_eq!(host.resource::<Ended>().0, [(Some(of_first), "peer: dinner".into())]);
    assert_eq!(first.resource::<Ended>().0, [(Some(of_host), "user: dinner".into())]);
    // And the other way round.
    let session = sessions(&mut host)[&of_second].0;
    host.app.world_mut().trigger(Disconnect::new(session, "enough"));
    until([&mut host, &mut second], "it is put out", 8.0, |[_, second]| {
        !second.resource::<Ended>().0.is_empty() && !second.all::<RoomLeft>().is_empty()
    });
    assert_eq!(second.resource::<Ended>().0, [(Some(of_host), "peer: enough".into())]);
    assert!(sessions(&mut host).is_empty() && server(&mut host).is_some());
    // It may come again, to another session.
    second.write(JoinRoom::name("room"));
    until([&mut host, &mut second], "it is back", 8.0, |games| {
        games.iter_mut().all(|game| sessions(game).len() == 1)
    });
    assert_ne!(only(&mut host), session);
    talk(&mut host, &mut second);
}

#[test]
fn an_entity_that_is_despawned_says_so_to_the_other_side() {
    let lobby = lobby();
    let (mut host, [mut first, mut second]) = play(&lobby, RoomOptions { migrate: false, ..room() });
    let of_host = id(&host);
    let dropped = format!("peer: {DROP_DISCONNECT_REASON}");
    let session = sessions(&mut host)[&id(&first)].0;
    host.app.world_mut().despawn(session);
    until([&mut host, &mut first], "the guest reads it", 8.0, |[_, first]| {
        !first.resource::<Ended>().0.is_empty()
    });
    assert_eq!(first.resource::<Ended>().0, [(Some(of_host), dropped.clone())]);
    let entity = server(&mut host).unwrap();
    host.app.world_mut().despawn(entity);
    until([&mut host, &mut second], "the other guest reads it", 8.0, |[host, second]| {
        !second.resource::<Ended>().0.is_empty() && !host.all::<RoomLeft>().is_empty()
    });
    assert_eq!(second.resource::<Ended>().0, [(Some(of_host), dropped)]);
    assert!(host.resource::<Ended>().0.is_empty(), "no trigger fires for what is despawned");
    assert!(server(&mut host).is_none() && sessions(&mut host).is_empty());
    // And the next room has a server again.
    host.write(HostRoom(room()));
    until([&mut host], "another room", 5.0, |[host]| server(host).is_some());
}

#[test]
fn a_server_that_closes_tells_everybody_why_and_leaves_the_room() {
    let lobby = lobby();
    let (mut host, [mut first, mut second, mut third]) =
        play(&lobby, RoomOptions { migrate: false, ..room() });
    let of_host = id(&host);
    let entity = server(&mut host).unwrap();
    host.app.world_mut().trigger(Close::new(entity, "the end"));
    host.app.world_mut().flush();
    assert!(server(&mut host).is_none() && sessions(&mut host).is_empty(), "at once");
    until([&mut host, &mut first, &mut second, &mut third], "all are out", 8.0, |games| {
        games.iter().all(|game| !game.all::<RoomLeft>().is_empty())
    });
    for guest in [&first, &second, &third] {
        assert_eq!(guest.resource::<Ended>().0, [(Some(of_host), "peer: the end".into())]);
    }
    let ended = &host.resource::<Ended>().0;
    assert_eq!(ended.len(), 4, "{ended:?}");
    assert!(ended.iter().all(|(_, why)| why == "user: the end"), "{ended:?}");
}

/// Each app's sessions end; the one who hosts next has a server, the other one a session with it. Neither entity is an old one.
#[test]
fn after_a_migration_there_are_new_sessions_with_the_new_host() {
    let lobby = lobby();
    let (mut old, [mut first, mut second]) = play(&lobby, room());
    let of_old = id(&old);
    let former = [only(&mut first), only(&mut second)];
    old.write(LeaveRoom);
    until([&mut old, &mut first, &mut second], "they meet again", 10.0, |[old, first, second]| {
        server(old).is_none()
            && [first, second]
                .into_iter()
                .all(|game| sessions(game).len() == 1 && !sessions(game).contains_key(&of_old))
    });
    assert!(!former.contains(&only(&mut first)) || !former.contains(&only(&mut second)));
    let (mut new, mut member) = if server(&mut first).is_some() { (first, second) } else { (second, first) };
    assert!(server(&mut new).is_some() && server(&mut member).is_none());
    assert_eq!(sessions(&mut new)[&id(&member)].1, PeerRole::Guest);
    assert_eq!(sessions(&mut member)[&id(&new)].1, PeerRole::Host);
    talk(&mut new, &mut member);
    for game in [&new, &member] {
        let ended = &game.resource::<Ended>().0;
        assert!(matches!(&ended[..], [(Some(player), _)] if *player == of_old), "{ended:?}");
    }
    let ended = &old.resource::<Ended>().0;
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(ended.iter().any(|(player, why)| player.is_none() && why.starts_with("user: ")), "{ended:?}");
    // The old host comes again, as a guest.
    old.write(JoinRoom::name("room"));
    until([&mut old, &mut new, &mut member], "it is back", 8.0, |[old, new, _]| {
        sessions(old).len() == 1 && sessions(new).len() == 2
    });
    talk(&mut new, &mut old);
}

#[test]
fn one_with_many_packets_leaves_room_for_the_others() {
    let lobby = lobby();
    let (mut host, [mut first, mut second]) = play(&lobby, room());
    let (of_host, of_first, of_second) = (id(&host), id(&first), id(&second));
    // Out of the host: more to the first than goes in a frame.
    let at_host = sessions(&mut host);
    for n in 0..2000_u32 {
        push(&mut host, at_host[&of_first].0, &n.to_le_bytes());
    }
    push(&mut host, at_host[&of_second].0, b"one");
    host.app.update();
    let dropped = |entity| *host.app.world().get::<Dropped>(entity).unwrap();
    assert!(dropped(at_host[&of_first].0).full >= 1000);
    assert_eq!(dropped(at_host[&of_second].0), Dropped::default());
    until([&mut host, &mut second], "the one arrives", 5.0, |[_, second]| heard(second, of_host, b"one"));
    // Into the host, whose frame hangs.
    let session = only(&mut first);
    for _ in 0..40 {
        for _ in 0..250 {
            push(&mut first, session, b"flood");
        }
        first.app.update();
    }
    until([&mut first], "the flood is there", 5.0, |_| {
        host.resource::<TraversalStats>().incoming_dropped() > 0
    });
    let session = only(&mut second);
    push(&mut second, session, b"one");
    let before = host.resource::<TraversalStats>().game_received();
    until([&mut second], "and the one", 5.0, |_| host.resource::<TraversalStats>().game_received() > before);
    host.app.update();
    assert!(heard(&host, of_second, b"one"));
}

#[test]
fn what_a_game_does_not_read_is_bounded() {
    let lobby = lobby();
    let mut host =
        Game::with(TraversalConfig { transport: Transport::Manual, ..config(&lobby, "host") }, |app| {
            app.add_plugins(AeronetTraversalPlugin).insert_resource(NoClearBuffers);
        });
    host.write(HostRoom(room()));
    let mut guest = manual(&lobby, "guest");
    guest.write(JoinRoom { wait: std::time::Duration::from_secs(5), ..JoinRoom::name("room") });
    until([&mut host, &mut guest], "both connect", 8.0, |games| {
        games.iter_mut().all(|game| sessions(game).len() == 1)
    });
    let session = only(&mut guest);
    let at_host = only(&mut host);
    until([&mut host, &mut guest], "it is full", 20.0, |[host, guest]| {
        for _ in 0..200 {
            push(guest, session, b"unread");
        }
        host.app.world().get::<Dropped>(at_host).unwrap().unread > 0
    });
    assert_eq!(host.app.world().get::<Session>(at_host).unwrap().recv.len(), 4096);
}

#[test]
fn in_a_mesh_each_pair_of_guests_has_a_session_too() {
    let lobby = lobby();
    let (mut host, [mut first, mut second]) =
        play(&lobby, RoomOptions { topology: Topology::Mesh, ..room() });
    until([&mut host, &mut first, &mut second], "every pair", 10.0, |games| {
        games.iter_mut().all(|game| sessions(game).len() == 2)
    });
    let of_second = id(&second);
    assert_eq!(sessions(&mut first)[&of_second].1, PeerRole::MeshPeer);
    talk(&mut first, &mut second);
    let of_host = id(&host);
    host.write(LeaveRoom);
    until([&mut host, &mut first, &mut second], "one of them hosts", 10.0, |[_, first, second]| {
        (server(first).is_some() || server(second).is_some())
            && [first, second].into_iter().all(|game| {
                let all = sessions(game);
                all.len() == 1
                    && !all.contains_key(&of_host)
                    && all.values().all(|(_, with)| *with != PeerRole::MeshPeer)
            })
    });
    talk(&mut first, &mut second);
}
