//! The key of a lobby server is kept from the first login on, and another one is an error that says what to do.
//!
//! Needs an address of this machine that is not loopback: keys of servers at loopback addresses are not kept.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use bevy_traversal::*;
use lobby_server::{Identity, LobbyServer, RunningServer, Settings};
use test_support::game::{Game, until};
use test_support::lobby;

/// Returns an address of this machine in its network; none, and said, where there is no network.
fn own_address() -> Option<IpAddr> {
    let own = local_ip_address::local_ip().ok().filter(|ip| UdpSocket::bind((*ip, 0)).is_ok());
    if own.is_none() {
        test_support::skipped("this machine has no address but loopback");
    }
    own
}

fn server(bind: SocketAddr, key: u8) -> RunningServer {
    let settings = Settings { bind: vec![bind], second_port: Some(0), no_http: true, ..Settings::default() };
    LobbyServer::new(settings).identity(Identity::from_secret([key; 32])).spawn().unwrap()
}

/// Returns a program that knows no key but by the file beside its identity.
fn start(server: &RunningServer, identity: IdentitySource) -> Game {
    Game::new(TraversalConfig {
        server_keys: Vec::new(),
        port_mapping: Vec::new(),
        identity,
        ..test_support::game::config(server, "player")
    })
}

#[track_caller]
fn logs_in(server: &RunningServer, identity: &Path) {
    let mut game = start(server, IdentitySource::File(identity.into()));
    until([&mut game], "the login", 10.0, |[game]| game.resource::<LobbyLink>().online());
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bevy_traversal-{name}-{}", std::process::id()))
}

#[test]
fn another_key_than_at_the_first_login_is_refused_until_its_line_is_removed() {
    let Some(own) = own_address() else { return };
    let folder = folder("first-use");
    let identity = folder.join("player.key");
    let file = folder.join("player.key.known_servers");
    let first = server(SocketAddr::new(own, 0), 1);
    let address = first.addresses().first[0];
    logs_in(&first, &identity);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&format!("{address} {}", ServerKey(first.addresses().public_key))), "{kept}");
    logs_in(&first, &identity);
    first.stop();
    let second = server(address, 2);
    let mut game = start(&second, IdentitySource::File(identity.clone()));
    until([&mut game], "the refusal", 30.0, |[game]| {
        game.all::<LobbyFailed>().iter().any(|failed| failed.retry_in.is_none())
    });
    let failed = game.all::<LobbyFailed>();
    let error = &failed.last().unwrap().error;
    assert_eq!(*error, TraversalError::ServerKeyChanged { server: address.to_string(), file: file.clone() });
    let text = error.to_string();
    for part in [address.to_string(), file.display().to_string(), "remove the line".into()] {
        assert!(text.contains(&part), "{text}");
    }
    assert!(!game.resource::<LobbyLink>().online());
    // A pinned key counts more than the file.
    let mut pinned = Game::new(TraversalConfig {
        port_mapping: Vec::new(),
        identity: IdentitySource::File(identity.clone()),
        ..test_support::game::config(&second, "player")
    });
    until([&mut pinned], "the login with a pinned key", 10.0, |[game]| game.resource::<LobbyLink>().online());
    drop(pinned);
    // As the error says, and in the same run.
    let others: Vec<String> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with(&address.to_string()))
        .map(str::to_owned)
        .collect();
    std::fs::write(&file, others.join("\n")).unwrap();
    game.write(ConnectLobby { servers: vec![address.to_string()], ..Default::default() });
    until([&mut game], "the login", 10.0, |[game]| game.resource::<LobbyLink>().online());
    drop(game);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&ServerKey(second.addresses().public_key).to_string()), "{kept}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_developers_server_on_this_machine_may_have_another_key_at_each_start() {
    let folder = folder("developer");
    let identity = folder.join("player.key");
    let address = {
        let first = lobby();
        logs_in(&first, &identity);
        first.addresses().first[0]
    };
    logs_in(&server(address, 3), &identity);
    assert!(!folder.join("player.key.known_servers").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn nothing_is_kept_with_an_identity_for_one_run() {
    let Some(own) = own_address() else { return };
    let first = server(SocketAddr::new(own, 0), 1);
    let address = first.addresses().first[0];
    for (server, key) in [(Some(first), 1), (None, 2)] {
        let server = server.unwrap_or_else(|| self::server(address, key));
        let mut game = start(&server, IdentitySource::Ephemeral);
        until([&mut game], "the login", 10.0, |[game]| game.resource::<LobbyLink>().online());
        drop(game);
        server.stop();
    }
}
