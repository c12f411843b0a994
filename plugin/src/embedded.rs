//! A lobby server within the game, so that the first run needs one terminal and nothing else (feature `embedded_lobby`).
//!
//! The first instance on a machine serves. The others find the port taken, use that server, and wait to take its place: when
//! the first one is closed, another serves within a second, and all log in to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use bevy_app::App;
use bevy_ecs::resource::Resource;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lobby_server::{LobbyServer, RunningServer, Settings, StartError};
use traversal_core::DEFAULT_PORT;

use crate::config::TraversalConfig;

/// This is where it is served when the game names no lobby server: on this machine alone.
pub(crate) const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT);
/// This is how often an instance looks whether it is its turn to serve.
const LOOK: Duration = Duration::from_secs(1);

/// This is the server, or the place that waits for its turn. Dropping it ends the server.
#[derive(Resource)]
struct Embedded {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the server that the settings ask for, if any, and returns the settings with its address.
pub(crate) fn start(app: &mut App, mut config: TraversalConfig) -> TraversalConfig {
    if let Some(bind) = config.embedded_lobby {
        if config.lobby.is_empty() {
            config.lobby = vec![reached_at(bind).to_string()];
        }
        app.insert_resource(Embedded::serve(bind));
    }
    config
}

impl Embedded {
    /// Serves at `bind`, now or as soon as nobody else does.
    fn serve(bind: SocketAddr) -> Self {
        let (stop, stopped) = bounded(0);
        // The first attempt is made here: the player's login should find the server.
        let first = try_to_serve(bind);
        if let Ok(None) = first {
            bevy_log::info!(
                "{bind} is served already, by another instance of a game or by a lobby server: that one is used"
            );
        }
        let thread = std::thread::Builder::new()
            .name("traversal-lobby".into())
            .spawn(move || keep_serving(bind, first, &stopped));
        if let Err(error) = &thread {
            bevy_log::warn!("the embedded lobby server has no thread: {error}");
        }
        Self { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has said what is wrong, if anything is.
            let _ = thread.join();
        }
    }
}

/// Returns the address at which this machine reaches a server that is bound to `bind`.
fn reached_at(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

/// Returns the server, or none where another program has the port.
fn try_to_serve(bind: SocketAddr) -> Result<Option<RunningServer>, StartError> {
    let settings = Settings { bind: vec![bind], no_http: true, ..Settings::default() };
    let server = LobbyServer::new(settings);
    // Players of other machines keep its key; those of this machine do not.
    let server = if bind.ip().is_loopback() { server } else { server.kept_identity() };
    match server.spawn() {
        Ok(server) => {
            bevy_log::info!("a lobby server runs within this game, at {bind}");
            Ok(Some(server))
        }
        Err(StartError::Bind(error)) if traversal_udp::in_use(&error.source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn keep_serving(bind: SocketAddr, first: Result<Option<RunningServer>, StartError>, stopped: &Receiver<()>) {
    let mut attempt = first;
    let server = loop {
        match attempt {
            Ok(Some(server)) => break server,
            Ok(None) => {}
            Err(error) => {
                bevy_log::warn!("the embedded lobby server cannot start: {error}");
                return;
            }
        }
        if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        attempt = try_to_serve(bind);
    };
    // Nothing is ever sent: the other end is dropped.
    let _ = stopped.recv();
    server.stop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_reached_at_loopback() {
        let reached = |bind: &str| reached_at(bind.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:3478"), "127.0.0.1:3478");
        assert_eq!(reached("[::]:3478"), "[::1]:3478");
        assert_eq!(reached("192.168.1.2:9"), "192.168.1.2:9");
    }
}
