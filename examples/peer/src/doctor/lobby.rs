//! Whether a lobby server is there: its name, its port by TCP, and TLS. UDP is tried by the login.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::Duration;

use bevy_traversal::{DEFAULT_PORT, HostPort, is_served_by_tls};
use serde_json::json;

use super::{Check, Limit, Status};

/// A resolver and a TCP port are waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many addresses of one name are tried by TCP.
const MOST: usize = 4;

/// Runs what the system may keep waiting for as long as it likes, and waits for as long as we like.
fn within<T: Send + 'static>(limit: &Limit, run: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || _ = sender.send(run()));
    receiver.recv_timeout(limit.left()?.min(PATIENCE)).ok()
}

pub(super) fn look(server: &str, tls_port: u16, limit: &Limit) -> Vec<Check> {
    let place: HostPort = match server.parse() {
        Ok(place) => place,
        Err(why) => {
            let text = format!("{server:?} names no lobby server: {why}");
            return vec![Check::new(
                "lobby name",
                Status::Bad,
                text,
                json!({"host": server, "error": why.to_string()}),
            )];
        }
    };
    let (host, port) = (place.host(), place.port());
    let resolved = within(limit, {
        let host = host.clone();
        move || (host, port).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>)
    });
    let addresses = match resolved {
        Some(Ok(addresses)) if !addresses.is_empty() => addresses,
        Some(Ok(_)) => return vec![unresolved(&host, "it has no address")],
        Some(Err(why)) => return vec![unresolved(&host, &why.to_string())],
        None => return vec![unresolved(&host, "no answer in time")],
    };
    let by_tls = tls(place.name().map(str::to_owned), tls_port, &addresses, limit);
    if place.address().is_some() {
        return vec![tcp(port, addresses, limit), by_tls];
    }
    let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    let v6 = addresses.len() - v4;
    let text = format!("{host} leads to {v4} IPv4 and {v6} IPv6 addresses");
    let name = Check::new("lobby name", Status::Fine, text, json!({"host": host, "ipv4": v4, "ipv6": v6}));
    vec![name, tcp(port, addresses, limit), by_tls]
}

fn unresolved(host: &str, why: &str) -> Check {
    let text =
        format!("the name {host} cannot be resolved: {why}; check its spelling, and the DNS of this network");
    Check::new("lobby name", Status::Bad, text, json!({"host": host, "error": why}))
}

/// TCP is what a game falls back to where UDP is blocked.
fn tcp(port: u16, addresses: Vec<SocketAddr>, limit: &Limit) -> Check {
    let tried = within(limit, move || {
        let tries = addresses.iter().take(MOST);
        let tries: Vec<_> = tries.map(|to| TcpStream::connect_timeout(to, PATIENCE / MOST as u32)).collect();
        let why = tries.iter().find_map(|tried| tried.as_ref().err().map(ToString::to_string));
        (tries.iter().any(Result::is_ok), why)
    });
    let (open, why) = tried.unwrap_or((false, Some("no answer in time".into())));
    if open {
        let text = format!("port {port} answers by TCP");
        return Check::new("lobby tcp", Status::Fine, text, json!({"port": port, "open": true}));
    }
    let why = why.unwrap_or_default();
    let text = format!(
        "port {port} does not answer by TCP ({why}): where UDP is blocked nobody could play; is the port right? \
         {DEFAULT_PORT} is the usual one"
    );
    Check::new("lobby tcp", Status::Note, text, json!({"port": port, "open": false, "error": why}))
}

/// TLS is the last way, where a network lets out nothing but that, to port 443.
fn tls(host: Option<String>, port: u16, addresses: &[SocketAddr], limit: &Limit) -> Check {
    let addresses: Vec<SocketAddr> =
        addresses.iter().take(MOST).map(|address| SocketAddr::new(address.ip(), port)).collect();
    let tried = within(limit, move || {
        let patience = PATIENCE / MOST as u32;
        let tries = addresses.iter().map(|to| is_served_by_tls(host.as_deref(), *to, patience));
        let mut why = Err("there is no address to try".to_owned());
        for tried in tries {
            match tried {
                Ok(true) => return Ok(true),
                Ok(false) => why = Ok(false),
                Err(error) => why = why.or(Err(error.to_string())),
            }
        }
        why
    });
    let (status, text, facts) = match tried.unwrap_or_else(|| Err("no answer in time".into())) {
        Ok(true) => {
            let text = format!("port {port} answers by TLS: who can reach nothing else can play");
            (Status::Fine, text, json!({"port": port, "open": true, "lobby": true}))
        }
        Ok(false) => {
            let text = format!(
                "port {port} has TLS, but not of a lobby server: players whose networks let out nothing else cannot play"
            );
            (Status::Note, text, json!({"port": port, "open": true, "lobby": false}))
        }
        Err(why) => {
            let text = format!(
                "port {port} does not answer by TLS ({why}): players whose networks let out nothing else cannot play; the \
                 server serves it with --tls-cert"
            );
            (Status::Note, text, json!({"port": port, "open": false, "lobby": false, "error": why}))
        }
    };
    Check::new("lobby tls", status, text, facts)
}
