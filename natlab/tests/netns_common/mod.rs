//! A server with two addresses and two ports, and RFC 5780's procedure from behind a NAT.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use natlab::netns::{LOBBY, Lab, LabSettings, LineSettings, Namespace};
use test_support::receive_from;

pub(crate) const PORTS: [u16; 2] = [3478, 3479];
const CHANGE_ADDRESS: u8 = 2;
const CHANGE_PORT: u8 = 1;

/// Builds a laboratory of these NATs on an ideal line.
pub(crate) fn lab(sides: &[&str]) -> Lab {
    lab_on(sides, LineSettings::default())
}

pub(crate) fn lab_on(sides: &[&str], line: LineSettings) -> Lab {
    let sides = sides.iter().map(|name| name.parse().expect("a NAT")).collect();
    Lab::new(&LabSettings { sides, line, seed: 5, ..LabSettings::default() }).expect("a laboratory")
}

/// Opens a socket inside.
pub(crate) fn udp(namespace: &Namespace, address: impl Into<SocketAddr>) -> UdpSocket {
    let address = address.into();
    let socket = namespace.enter(|| Ok(UdpSocket::bind(address).expect("a socket"))).expect("inside");
    // Much more than any answer takes on an ideal line, on a busy machine too.
    socket.set_read_timeout(Some(Duration::from_millis(400))).expect("a timeout");
    socket
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

pub(crate) fn server(address: usize, port: usize) -> SocketAddr {
    SocketAddr::from((LOBBY[address], PORTS[port]))
}

/// Answers each datagram with the address that it came from; the first byte asks for an answer from another address
/// or port. Its threads end with the test.
pub(crate) fn serve(lab: &Lab) {
    let sockets: Vec<UdpSocket> =
        (0..4).map(|index| udp(lab.lobby(), server(index >> 1, index & 1))).collect();
    for (index, socket) in sockets.iter().enumerate() {
        socket.set_read_timeout(None).expect("no timeout");
        let own = socket.try_clone().expect("a clone");
        let all: Vec<UdpSocket> = sockets.iter().map(|socket| socket.try_clone().expect("a clone")).collect();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = own.recv_from(&mut buffer) {
                let change = if length == 0 { 0 } else { buffer[0] & 3 };
                let answer = from.to_string();
                let _ = all[index ^ usize::from(change)].send_to(answer.as_bytes(), from);
            }
        });
    }
}

/// Where the server sees this socket.
pub(crate) fn seen(socket: &UdpSocket, server: SocketAddr) -> Option<SocketAddr> {
    ask(socket, server, 0)
}

fn ask(socket: &UdpSocket, server: SocketAddr, change: u8) -> Option<SocketAddr> {
    socket.send_to(&[change], server).expect("sent");
    let mut buffer = [0; 64];
    let (length, _) = receive_from(socket, &mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}

/// Returns mapping and filtering as RFC 5780 (4.3 and 4.4) finds them; `None`: no answer at all.
pub(crate) fn classify(lab: &Lab) -> Option<(&'static str, &'static str)> {
    let host = lab.player(0);
    let socket = udp(host, any_port());
    let first = seen(&socket, server(0, 0))?;
    let second = seen(&socket, server(1, 0))?;
    let third = seen(&socket, server(1, 1))?;
    let mapping = if first == second {
        "eim"
    } else if second == third {
        "adm"
    } else {
        "apdm"
    };
    // A socket that has not sent to the other address.
    let fresh = udp(host, any_port());
    let filtering = if ask(&fresh, server(0, 0), CHANGE_ADDRESS | CHANGE_PORT).is_some() {
        "eif"
    } else if ask(&fresh, server(0, 0), CHANGE_PORT).is_some() {
        "adf"
    } else {
        "apdf"
    };
    Some((mapping, filtering))
}
