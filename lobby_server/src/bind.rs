//! Opens the sockets that the settings ask for: UDP ones, and beside each first one a listener for TCP and one for TLS.

use std::net::{IpAddr, SocketAddr};

use traversal_udp::in_use;

use crate::bind_error::BindError;
use crate::config::Settings;
use crate::server::ServerSocket;
use crate::surroundings::Surroundings;
use crate::tcp::Listener;
use crate::udp::{Bound, open};

/// So many free ports are tried until one is free for UDP and TCP.
const PORT_TRIES: usize = 16;

/// Opens a first socket and, unless the settings say no, the listener at the same port.
fn open_first(
    settings: &Settings,
    address: SocketAddr,
    about: ServerSocket,
) -> Result<(Bound, Option<Listener>), BindError> {
    let mut tries = 0;
    loop {
        let bound = open(address, settings.socket_buffer(), about)?;
        tries += 1;
        // The system's choice may be the port that is to be the second one.
        if address.port() == 0 && settings.second_port == Some(bound.about.local.port()) && tries < PORT_TRIES
        {
            continue;
        }
        if settings.no_tcp {
            return Ok((bound, None));
        }
        match Listener::open(&bound.about) {
            Ok(listener) => return Ok((bound, Some(listener))),
            Err(error) if address.port() == 0 && tries < PORT_TRIES && in_use(&error.source) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens all sockets that the settings ask for.
pub(crate) fn open_all(settings: &Settings) -> Result<(Vec<Bound>, Vec<Listener>), BindError> {
    let mut all = Vec::new();
    let (mut listeners, mut tls) = (Vec::new(), Vec::new());
    let mut served = [false, false];
    let around = Surroundings::read();
    for (first, required) in settings.addresses() {
        let family = |ip: &&IpAddr| ip.is_ipv4() == first.is_ipv4();
        let public = settings.public_address.iter().find(family).copied();
        let second_public = settings.second_public_address.iter().find(family).copied();
        // Of several addresses of one family, the first is the one that classification works with.
        let main = !std::mem::replace(&mut served[usize::from(first.is_ipv6())], true);
        let interface = first.ip().is_unspecified().then(|| around.reachable(first.is_ipv6())).flatten();
        let about = ServerSocket { public, interface, ..ServerSocket::first(first) };
        let bound = match open_first(settings, first, about) {
            Ok((bound, listener)) => {
                listeners.extend(listener);
                if settings.tls_cert.is_some() {
                    tls.push(Listener::open_tls(&bound.about, settings.tls_port)?);
                }
                bound
            }
            Err(error) if !required => {
                tracing::info!(%error, "no IPv6");
                continue;
            }
            Err(error) => return Err(error),
        };
        let ports = [bound.about.local.port(), 0];
        all.push(bound);
        if !main {
            continue;
        }
        let beside = open_second_port(settings, first, ports[0], about)?;
        let ports = [ports[0], beside.about.local.port()];
        all.push(beside);
        if let Some(second) = settings.second_address.iter().find(family) {
            for (port, second_port) in [(ports[0], false), (ports[1], true)] {
                let about =
                    ServerSocket { public: second_public, second_address: true, second_port, ..about };
                all.push(open(SocketAddr::new(*second, port), settings.socket_buffer(), about)?);
            }
        }
    }
    listeners.append(&mut tls);
    Ok((all, listeners))
}

/// Opens the second port that the settings name; else the next one, or any where that is taken.
fn open_second_port(
    settings: &Settings,
    first: SocketAddr,
    first_port: u16,
    about: ServerSocket,
) -> Result<Bound, BindError> {
    let about = ServerSocket { second_port: true, ..about };
    let wanted = settings.second_port_for(first);
    // One that was asked for by its number is that one or an error.
    let port = if wanted == first_port && settings.second_port.is_none() { 0 } else { wanted };
    match open(SocketAddr::new(first.ip(), port), settings.socket_buffer(), about) {
        Err(error) if settings.second_port.is_none() && in_use(&error.source) => {
            tracing::info!(port, "second port is in use: taking a free one");
            open(SocketAddr::new(first.ip(), 0), settings.socket_buffer(), about)
        }
        other => other,
    }
}
