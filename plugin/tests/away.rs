//! A player is out of contact for a while: real apps over the relay, with a door in front of the lobby server that can be
//! shut.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy_renet::renet::DefaultChannel;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::*;
use lobby_server::RunningServer;
use test_support::game::{Game, config, room, until};
use test_support::lobby;

/// Carries one player's datagrams to a lobby server and back, while it is open.
struct Door {
    address: SocketAddr,
    shut: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Door {
    fn new(lobby: &RunningServer) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            Arc::new(socket)
        };
        let (front, back) = (socket(), socket());
        back.connect(lobby.addresses().first[0]).unwrap();
        let (shut, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let address = front.local_addr().unwrap();
        let player = Arc::new(Mutex::new(None));
        for inwards in [true, false] {
            let (front, back, player) = (front.clone(), back.clone(), player.clone());
            let (shut, over) = (shut.clone(), over.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 2000];
                while !over.load(Ordering::Relaxed) {
                    if inwards {
                        let Ok((length, from)) = front.recv_from(&mut buffer) else { continue };
                        *player.lock().unwrap() = Some(from);
                        if !shut.load(Ordering::Relaxed) {
                            let _ = back.send(&buffer[..length]);
                        }
                    } else {
                        let Ok(length) = back.recv(&mut buffer) else { continue };
                        if let Some(to) = player.lock().unwrap().filter(|_| !shut.load(Ordering::Relaxed)) {
                            let _ = front.send_to(&buffer[..length], to);
                        }
                    }
                }
            });
        }
        Self { address, shut, over }
    }

    fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Returns a player who plays over the relay alone, behind this door if it has one.
fn settings(lobby: &RunningServer, name: &str, door: Option<&Door>) -> TraversalConfig {
    let mut config = config(lobby, name);
    config.agent.relay = RelayPolicy::Only;
    if let Some(door) = door {
        config.lobby = vec![door.address.to_string()];
    }
    config
}

/// This says which of the two has the door.
#[derive(Clone, Copy, PartialEq)]
enum Behind {
    Host,
    Guest,
}

fn pair(lobby: &RunningServer, door: &Door, behind: Behind, options: RoomOptions) -> (Game, Game) {
    let mut host = Game::new(settings(lobby, "host", (behind == Behind::Host).then_some(door)));
    let mut guest = Game::new(settings(lobby, "guest", (behind == Behind::Guest).then_some(door)));
    host.write(HostRoom(options));
    until([&mut host], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 10.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    (host, guest)
}

const CHANNEL: DefaultChannel = DefaultChannel::ReliableOrdered;

/// Both send numbered reliable messages, 20 a second, before, during and after the gap.
fn plays_on(behind: Behind, gap: u64) {
    let lobby = lobby();
    let door = Door::new(&lobby);
    let (mut host, mut guest) = pair(&lobby, &door, behind, RoomOptions { migrate: false, ..room() });
    let id = host.all::<PeerConnected>()[0].client_id;
    let (mut sent, mut got) = (0_u32, [Vec::new(), Vec::new()]);
    let mut next = Instant::now();
    let began = Instant::now();
    let (shut_at, open_at) = (began + Duration::from_secs(2), began + Duration::from_secs(2 + gap));
    let seconds = gap as f64 + 15.0;
    let mut open_again = None;
    until([&mut host, &mut guest], "all have come", seconds, |[host, guest]| {
        let now = Instant::now();
        door.shut((shut_at..open_at).contains(&now));
        let mut server = host.app.world_mut().resource_mut::<RenetServer>();
        got[0].extend(std::iter::from_fn(|| server.receive_message(id, CHANNEL)));
        let mut client = guest.app.world_mut().resource_mut::<RenetClient>();
        got[1].extend(std::iter::from_fn(|| client.receive_message(CHANNEL)));
        if now >= next && now < open_at + Duration::from_secs(1) {
            next += Duration::from_millis(50);
            client.send_message(CHANNEL, sent.to_le_bytes().to_vec());
            let mut server = host.app.world_mut().resource_mut::<RenetServer>();
            server.send_message(id, CHANNEL, sent.to_le_bytes().to_vec());
            sent += 1;
        }
        let back = [&*host, &*guest].iter().all(|game| !game.all::<PeerBack>().is_empty());
        if back && now >= open_at {
            open_again.get_or_insert(now - open_at);
        }
        now >= open_at + Duration::from_secs(1) && got.iter().all(|got| got.len() == sent as usize)
    });
    for got in &got {
        assert!(
            got.iter()
                .map(|message| message.as_ref().to_vec())
                .eq((0..sent).map(|n| n.to_le_bytes().to_vec()))
        );
    }
    println!("{gap} s: back {:?} after the door was opened", open_again.unwrap());
    for game in [&host, &guest] {
        assert_eq!((game.all::<PeerAway>().len(), game.all::<PeerBack>().len()), (1, 1));
        assert!(game.all::<PeerDisconnected>().is_empty() && game.all::<RoomLeft>().is_empty());
        assert_eq!(game.all::<PeerConnected>().len(), 1, "the same connection");
        assert!(game.resource::<Peers>().iter().all(|peer| !peer.away));
        assert!(game.all::<PeerBack>()[0].away >= Duration::from_secs(gap - 1));
    }
    assert_eq!(host.all::<PeerBack>()[0].client_id, id);
}

#[test]
fn six_seconds_without_a_network_cost_a_guest_no_reliable_message() {
    plays_on(Behind::Guest, 6);
}

#[test]
fn ten_seconds_without_a_network_cost_a_host_no_reliable_message() {
    plays_on(Behind::Host, 10);
}

#[test]
fn three_quarters_of_a_minute_cost_a_guest_no_reliable_message() {
    plays_on(Behind::Guest, 45);
}

#[test]
fn a_host_that_was_replaced_while_it_was_away_is_a_member_when_it_is_back() {
    let lobby = lobby();
    let door = Door::new(&lobby);
    let (mut host, mut guest) = pair(&lobby, &door, Behind::Host, room());
    door.shut(true);
    until([&mut host, &mut guest], "the guest hosts", 25.0, |[_, guest]| {
        !guest.all::<HostMigrated>().is_empty()
    });
    assert!(guest.has::<RenetServer>() && host.has::<RenetServer>());
    door.shut(false);
    until([&mut host, &mut guest], "both play", 10.0, |games| {
        games.iter().all(|game| game.all::<PeerConnected>().len() == 2)
    });
    let told = host.all::<HostMigrated>();
    let own = host.resource::<LobbyLink>().player().unwrap();
    assert!(told.len() == 1 && !told[0].hosting && told[0].previous == own, "{told:?}");
    let reasons: Vec<_> = host.all::<PeerDisconnected>().into_iter().map(|gone| gone.reason).collect();
    assert_eq!(reasons, [DisconnectReason::Match(MatchEnd::Migrated)]);
    assert!(!host.has::<RenetServer>() && host.has::<RenetClient>(), "it plays as a guest");
    assert!(host.all::<RoomLeft>().is_empty());
    let id = guest.resource::<Peers>().iter().next().unwrap().client_id;
    host.app.world_mut().resource_mut::<RenetClient>().send_message(CHANNEL, "from the former host");
    until([&mut host, &mut guest], "a message passes", 5.0, |[_, guest]| {
        guest.app.world_mut().resource_mut::<RenetServer>().receive_message(id, CHANNEL).is_some()
    });
}

#[test]
fn who_is_away_for_too_long_is_lost_to_both_at_once() {
    let lobby = lobby();
    let door = Door::new(&lobby);
    let short = |name, door: Option<&Door>| {
        let mut config = settings(&lobby, name, door);
        config.agent.away_timeout = Duration::from_secs(7);
        Game::new(config)
    };
    let (mut host, mut guest) = (short("host", None), short("guest", Some(&door)));
    host.write(HostRoom(RoomOptions { migrate: false, ..room() }));
    until([&mut host], "the room opens", 5.0, |[host]| !host.all::<RoomJoined>().is_empty());
    guest.write(JoinRoom::name("room"));
    until([&mut host, &mut guest], "both connect", 10.0, |games| {
        games.iter().all(|game| !game.all::<PeerConnected>().is_empty())
    });
    door.shut(true);
    let mut told = [None; 2];
    until([&mut host, &mut guest], "both are told", 12.0, |games| {
        for (told, game) in told.iter_mut().zip(games) {
            if !game.all::<PeerDisconnected>().is_empty() {
                told.get_or_insert_with(Instant::now);
            }
        }
        told.iter().all(Option::is_some)
    });
    let [host_at, guest_at] = told.map(Option::unwrap);
    let apart = host_at.max(guest_at) - host_at.min(guest_at);
    assert!(apart < Duration::from_secs(1), "{apart:?}");
    for game in [&host, &guest] {
        assert_eq!(game.all::<PeerDisconnected>()[0].reason, DisconnectReason::Lost);
    }
    assert_eq!(guest.all::<RoomLeft>()[0].reason, Some(RoomEnd::HostLost));
}
