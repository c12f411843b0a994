//! What the lobby server may stand behind: a container's UDP proxy, a cloud's 1:1 NAT.
//!
//! The server's program gets a namespace of its own, on a cable to the machine that has the public addresses.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::device::{Device, address_line};
use super::error::NetnsError;
use super::lab::LOBBY;
use super::namespace::Namespace;

/// These are the addresses of Docker's bridge, and of the first container on it.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// These ports of the server's are published.
const PORTS: [u16; 2] = [3478, 3479];
/// Docker's proxy forgets a silent client after so long (`UDPConnTrackTimeout`).
const PROXY_FORGETS: Duration = Duration::from_secs(90);
/// How often a waiting thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);
/// It is longer than any datagram, in bytes.
const BUFFER: usize = 65_536;

/// What stands before the lobby server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Behind {
    /// A proxy as Docker's, Docker's in rootless mode and Podman's: the server sees all players at the bridge's address.
    Proxy,
    /// A NAT that changes nothing but the server's own address, as clouds have it; nobody tells the server its public one.
    Nat,
}

/// It is the server's place, at work until it is dropped.
pub(crate) struct Inner {
    pub(crate) namespace: Namespace,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Behind {
    /// Puts a namespace for the server behind `outer`, which has its public addresses.
    pub(crate) fn build(self, outer: &Namespace) -> Result<Inner, NetnsError> {
        let namespace = Namespace::new()?;
        let (near, far) = (Device::new(outer, "docker0")?, Device::new(&namespace, "eth0")?);
        outer.ip(&address_line("docker0", BRIDGE, 16))?;
        namespace
            .ip(&format!("{}route add default via {BRIDGE} dev eth0\n", address_line("eth0", INSIDE, 16)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let cable = thread::spawn(move || cable(&near, &far, &stopped));
        let mut inner = Inner { namespace, stop, threads: vec![cable] };
        match self {
            Self::Nat => {
                if !outer.sysctl("net/ipv4/ip_forward", "1") {
                    let stderr = "ip_forward cannot be set".into();
                    return Err(NetnsError::Configure { program: "sysctl", stderr });
                }
                outer.nft(&format!(
                    "table ip cloud {{
                        chain incoming {{
                            type nat hook prerouting priority dstnat
                            ip daddr {0} dnat to {INSIDE}
                        }}
                        chain outgoing {{
                            type nat hook postrouting priority srcnat
                            ip saddr {INSIDE} snat to {0}
                        }}
                    }}",
                    LOBBY[0]
                ))?;
            }
            Self::Proxy => {
                for port in PORTS {
                    let stop = inner.stop.clone();
                    // Threads stay in the namespace of the one that starts them.
                    let proxy = outer.enter(|| {
                        let socket = UdpSocket::bind((LOBBY[0], port))
                            .and_then(|socket| socket.set_read_timeout(Some(LOOK)).map(|()| socket))
                            .map_err(NetnsError::system("opening the proxy's socket"))?;
                        Ok(thread::spawn(move || proxy(&socket, SocketAddr::from((INSIDE, port)), &stop)))
                    })?;
                    inner.threads.push(proxy);
                }
            }
        }
        Ok(inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it had to say it has said.
            let _ = thread.join();
        }
    }
}

/// Carries packets between two devices.
fn cable(near: &Device, far: &Device, stop: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    let wait = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let mut ends = [near, far].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        // Interrupted or not, what is there is carried.
        let _ = poll(&mut ends, wait);
        for (from, to) in [(near, far), (far, near)] {
            while let Ok(Some(length)) = from.receive(&mut buffer) {
                // A full queue loses it, as a network card's would.
                let _ = to.send(&buffer[..length]);
            }
        }
    }
}

/// These are the proxy's sockets towards the server, one for each client, with the time of the client's last datagram.
type Clients = Arc<Mutex<HashMap<SocketAddr, (UdpSocket, Instant)>>>;

/// Serves one published port as Docker's proxy does.
fn proxy(listener: &UdpSocket, server: SocketAddr, stop: &Arc<AtomicBool>) {
    let clients = Clients::default();
    let mut buffer = vec![0; BUFFER];
    let mut threads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = listener.recv_from(&mut buffer) else { continue };
        let known =
            clients.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&client).and_then(|known| {
                known.1 = Instant::now();
                known.0.try_clone().ok()
            });
        let socket = match known {
            Some(socket) => socket,
            None => {
                let Some((socket, thread)) = answers(listener, server, client, &clients, stop) else {
                    continue;
                };
                threads.push(thread);
                socket
            }
        };
        // A server that is not there answers with ICMP, which Docker's proxy does not pass on either.
        let _ = socket.send(&buffer[..length]);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Opens a new client's socket, and starts a thread that carries the server's answers back until the client is silent.
fn answers(
    listener: &UdpSocket,
    server: SocketAddr,
    client: SocketAddr,
    clients: &Clients,
    stop: &Arc<AtomicBool>,
) -> Option<(UdpSocket, JoinHandle<()>)> {
    let back = listener.try_clone().ok()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(LOOK)).ok()?;
    let (kept, own) = (socket.try_clone().ok()?, socket.try_clone().ok()?);
    let (clients, stop) = (Arc::clone(clients), Arc::clone(stop));
    clients.lock().unwrap_or_else(PoisonError::into_inner).insert(client, (kept, Instant::now()));
    let thread = thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while !stop.load(Ordering::Relaxed) {
            match own.recv(&mut buffer) {
                Ok(length) => drop(back.send_to(&buffer[..length], client)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
                    if clients.get(&client).is_none_or(|(_, heard)| heard.elapsed() > PROXY_FORGETS) {
                        clients.remove(&client);
                        return;
                    }
                }
                Err(_) => {}
            }
        }
    });
    Some((socket, thread))
}
