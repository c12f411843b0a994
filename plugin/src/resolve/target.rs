//! How a game names a lobby server.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use traversal_core::address::canonical;

pub use traversal_core::invite::DEFAULT_PORT;

/// This is a lobby server, printed as `host:port` in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Literal(SocketAddr),
    Name { host: String, port: u16 },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{}:{port}", host.to_lowercase()),
        }
    }
}

/// Reads what the game has written. The error says what is wrong with it.
pub(super) fn target(server: &str) -> Result<Target, String> {
    let server = server.trim();
    if let Ok(address) = server.parse() {
        return Ok(Target::Literal(canonical(address)));
    }
    if let Ok(ip) = server.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(Target::Literal(canonical(SocketAddr::new(ip, DEFAULT_PORT))));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => return Err(format!("\"{server}\" has no valid port")),
        },
        None => (server, DEFAULT_PORT),
    };
    if host.is_empty() || host.contains([' ', '/', ':']) {
        return Err(format!("\"{server}\" is not host:port"));
    }
    Ok(Target::Name { host: host.to_owned(), port })
}
