//! A lobby server inside the game: one command is enough to play.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lobby_server::{LobbyServer, RunningServer, Settings};

/// This is a running lobby server; it ends when this is dropped.
#[derive(Debug)]
pub struct Embedded {
    /// Players of this network, and the host, find the server at this address.
    pub address: SocketAddr,
    _server: RunningServer,
}

/// Starts one on a free port of all IPv4 addresses.
///
/// # Errors
/// A sentence for the player.
pub fn start() -> Result<Embedded, String> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let settings = Settings { bind: vec![any], no_http: true, ..Settings::default() };
    // Players of this network keep the server's key, so it has the same one with the next start.
    let server = LobbyServer::new(settings)
        .kept_identity()
        .spawn()
        .map_err(|error| format!("the lobby server inside the game cannot start: {error}"))?;
    let port = server.addresses().first.first().map_or(0, SocketAddr::port);
    // The machine's address in its network, so that what the server tells about the host is of use to others.
    let ip = match local_ip_address::local_ip() {
        Ok(ip @ IpAddr::V4(_)) => ip,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Ok(Embedded { address: SocketAddr::new(ip, port), _server: server })
}
