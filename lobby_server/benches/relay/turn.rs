//! coturn's `turnserver` on loopback, and as much of a TURN client (RFC 8656) as a load needs: one allocation, one
//! channel.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const COOKIE: u32 = 0x2112_A442;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
const SUCCESS: u16 = 0x0100;
const CHANNEL_NUMBER: u16 = 0x000C;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: u8 = 17;
/// This is the first of the channel numbers that there are.
const CHANNEL: u16 = 0x4000;
/// So many bytes stand in front of what a channel carries.
pub(super) const HEADER: usize = 4;

/// This is a `turnserver` of our own; it is gone when this is dropped.
pub(super) struct TurnServer {
    child: Child,
    pub(super) address: SocketAddrV4,
}

impl TurnServer {
    /// Starts one; returns `None` where `turnserver` is not installed.
    pub(super) fn start() -> Option<Self> {
        // Free a moment ago.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("turnserver")
            // No configuration, no credentials, one thread for the traffic, nothing but UDP.
            .args(["-n", "-z", "--relay-threads", "1", "--no-tcp", "--no-tls", "--no-dtls", "--no-cli"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
            .args(["--log-file", "/dev/null", "--simple-log", "--no-stdout-log", "--pidfile", "/dev/null"])
            .args(["--listening-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port) })
    }

    /// Returns the time that all of its threads have run, in seconds.
    pub(super) fn time(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let time = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<f64>().ok()
        };
        tasks.flatten().filter_map(time).sum::<f64>() / 1e9
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This is a client with an allocation.
pub(super) struct TurnClient {
    pub(super) socket: UdpSocket,
    /// Others reach the client here.
    pub(super) relayed: SocketAddrV4,
}

impl TurnClient {
    /// Asks until the server is up.
    pub(super) fn allocate(server: SocketAddrV4) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        let answer = ask(&socket, ALLOCATE, &[(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])]);
        let value = attribute(&answer, XOR_RELAYED_ADDRESS).expect("a relayed address");
        let relayed = address(value.try_into().expect("IPv4"));
        Self { socket, relayed }
    }

    /// Opens the channel to `peer`.
    pub(super) fn bind(&self, peer: SocketAddrV4) {
        let [a, b] = CHANNEL.to_be_bytes();
        let value = xored(peer);
        ask(&self.socket, CHANNEL_BIND, &[(CHANNEL_NUMBER, &[a, b, 0, 0]), (XOR_PEER_ADDRESS, &value)]);
    }
}

/// Returns a datagram with `payload` bytes for the channel.
pub(super) fn channel_data(payload: usize) -> Vec<u8> {
    let mut datagram = CHANNEL.to_be_bytes().to_vec();
    datagram.extend((payload as u16).to_be_bytes());
    datagram.resize(HEADER + payload, 7);
    datagram
}

/// Asks again and again, as the server may not listen yet; the successful answer.
fn ask(socket: &UdpSocket, method: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = attributes
        .iter()
        .flat_map(|(kind, value)| {
            [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
        })
        .collect();
    let mut request = [method.to_be_bytes(), (body.len() as u16).to_be_bytes()].concat();
    request.extend(COOKIE.to_be_bytes());
    request.extend([method as u8; 12]);
    request.extend(body);
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        // Refused while nobody listens: asked again.
        let _ = socket.send(&request);
        if let Ok(length) = socket.recv(&mut buffer)
            && length >= 20
            && buffer[8..20] == request[8..20]
        {
            let kind = u16::from_be_bytes([buffer[0], buffer[1]]);
            assert_eq!(kind, method | SUCCESS, "turnserver refuses: {:02x?}", &buffer[..length]);
            return buffer[20..length].to_vec();
        }
    }
    panic!("turnserver does not answer");
}

fn attribute(mut body: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [a, b, c, d, rest @ ..] = body {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        if u16::from_be_bytes([*a, *b]) == wanted {
            return rest.get(..length);
        }
        body = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn xored(address: SocketAddrV4) -> [u8; 8] {
    let [a, b] = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
    let [c, d, e, f] = (u32::from(*address.ip()) ^ COOKIE).to_be_bytes();
    [0, 1, a, b, c, d, e, f]
}

fn address(value: [u8; 8]) -> SocketAddrV4 {
    let [_, _, a, b, c, d, e, f] = value;
    let ip = Ipv4Addr::from(u32::from_be_bytes([c, d, e, f]) ^ COOKIE);
    SocketAddrV4::new(ip, u16::from_be_bytes([a, b]) ^ (COOKIE >> 16) as u16)
}
