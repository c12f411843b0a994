//! A lobby server inside the game: one command is enough to play.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bevy::prelude::Resource;
use lobby_server::{LobbyServer, RunningServer, Settings};

/// This is a running lobby server; it ends when this is dropped.
#[derive(Debug)]
pub struct Embedded {
    /// Players of this network, and the host, find the server at this address.
    pub address: SocketAddr,
    _server: RunningServer,
}

impl Embedded {
    /// Returns what stands at the foot of the title.
    pub fn note(&self) -> String {
        format!("A lobby server runs in this game: friends nearby start with --lobby {}", self.address)
    }
}

/// This holds the server for play against computer players, which needs no other one: it works without any network.
#[derive(Resource, Debug, Default)]
pub struct Practice(Option<Embedded>);

impl Practice {
    /// Uses a server that runs already.
    pub fn with(server: Option<Embedded>) -> Self {
        Self(server)
    }

    /// Returns the server's address; it is started with the first question, for this machine alone.
    ///
    /// # Errors
    /// A sentence for the player.
    pub fn server(&mut self) -> Result<String, String> {
        let running = match self.0.take() {
            Some(running) => running,
            None => bound_to(Ipv4Addr::LOCALHOST)?,
        };
        Ok(self.0.insert(running).address.to_string())
    }
}

/// Starts one on a free port of all IPv4 addresses.
///
/// # Errors
/// A sentence for the player.
pub fn start() -> Result<Embedded, String> {
    bound_to(Ipv4Addr::UNSPECIFIED)
}

fn bound_to(ip: Ipv4Addr) -> Result<Embedded, String> {
    let settings = Settings { bind: vec![SocketAddr::from((ip, 0))], no_http: true, ..Settings::default() };
    // Players of this network keep the server's key, so it has the same one with the next start.
    let server = LobbyServer::new(settings)
        .kept_identity()
        .spawn()
        .map_err(|error| format!("the lobby server inside the game cannot start: {error}"))?;
    let port = server.addresses().first.first().map_or(0, SocketAddr::port);
    // The machine's address in its network, so that what the server tells about the host is of use to others.
    let ip = match local_ip_address::local_ip() {
        Ok(own @ IpAddr::V4(_)) if ip.is_unspecified() => own,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Ok(Embedded { address: SocketAddr::new(ip, port), _server: server })
}
