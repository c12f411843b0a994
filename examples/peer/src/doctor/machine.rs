//! What the machine itself has: nothing here leaves it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use netdev::Interface;
use netdev::interface::types::InterfaceType;
use serde_json::{Value, json};

use super::{Check, Status};

/// A datagram within this machine may take so long.
const WITHIN: Duration = Duration::from_secs(1);
/// The timers are judged by so many naps.
const NAPS: u32 = 20;
/// Each of the [`NAPS`] is meant to last so long.
const NAP: Duration = Duration::from_millis(5);
/// A frame that is later than this is felt.
const LATE: Duration = Duration::from_millis(50);
/// An average year has so many seconds (Gregorian: 365.2425 days).
const YEAR: u64 = 31_556_952;
/// A clock before this year was never set.
const THIS_YEAR: u64 = 2026;
/// IPv6 and QUIC demand at least so many bytes of a link (RFC 8200 section 5).
const LEAST_MTU: u32 = 1280;

pub(super) fn version() -> Check {
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let text = format!("bevy_traversal {version} on {os}, {arch}, {build} build");
    Check::new(
        "version",
        Status::Fine,
        text,
        json!({"version": version, "os": os, "arch": arch, "build": build}),
    )
}

pub(super) fn clock() -> Check {
    let year = 1970 + SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / YEAR);
    let latest = (0..NAPS).map(|_| {
        let start = Instant::now();
        std::thread::sleep(NAP);
        start.elapsed().saturating_sub(NAP)
    });
    let latest = latest.max().unwrap_or_default();
    let late_ms = headless::ms(latest);
    let (status, remark) = match () {
        () if year < THIS_YEAR => (
            Status::Note,
            "; the clock is wrong, which confuses logs and certificates, not this game's paths",
        ),
        () if latest > LATE => (Status::Note, "; this machine is too busy for an even game"),
        () => (Status::Fine, ""),
    };
    let text = format!("the clock says {year}, timers are up to {late_ms} ms late{remark}");
    Check::new("clock", status, text, json!({"year": year, "timers_late_ms": late_ms}))
}

/// Sends a datagram from a socket on all addresses to itself.
fn echo(any: IpAddr, loopback: IpAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_read_timeout(Some(WITHIN))?;
    let to = SocketAddr::new(loopback, socket.local_addr()?.port());
    socket.send_to(b"doctor", to)?;
    socket.recv_from(&mut [0; 16]).map(|_| ())
}

pub(super) fn sockets() -> Check {
    let v4 = echo(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into());
    let v6 = echo(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into());
    let facts = json!({
        "ipv4": v4.is_ok(),
        "ipv6": v6.is_ok(),
        "ipv4_error": v4.as_ref().err().map(ToString::to_string),
        "ipv6_error": v6.as_ref().err().map(ToString::to_string),
    });
    let (status, text) = match (v4, v6) {
        (Ok(()), Ok(())) => {
            (Status::Fine, "UDP sockets open, and hear themselves, over IPv4 and IPv6".into())
        }
        (Ok(()), Err(why)) => (Status::Fine, format!("UDP sockets open over IPv4; none over IPv6 ({why})")),
        (Err(why), Ok(())) => (Status::Note, format!("UDP sockets open over IPv6; none over IPv4 ({why})")),
        (Err(why), Err(_)) => {
            let text = format!(
                "no UDP socket works ({why}); a firewall or sandbox on this machine keeps the game out"
            );
            (Status::Bad, text)
        }
    };
    Check::new("sockets", status, text, facts)
}

/// Returns what an interface is, in one word.
fn kind(interface: &Interface) -> &'static str {
    let name = interface.friendly_name.as_ref().unwrap_or(&interface.name).to_lowercase();
    let begins = |names: &[&str]| names.iter().any(|beginning| name.starts_with(beginning));
    match interface.if_type {
        _ if interface.is_loopback() => "loopback",
        _ if begins(&["docker", "br-", "veth", "virbr", "vmnet", "vbox", "vethernet", "podman", "cni"]) => {
            "virtual"
        }
        _ if interface.is_tun()
            || begins(&["tun", "tap", "utun", "wg", "tailscale", "zt"])
            || name.contains("vpn") =>
        {
            "vpn"
        }
        InterfaceType::Wireless80211 => "wi-fi",
        InterfaceType::Wwan | InterfaceType::Wwanpp | InterfaceType::Wwanpp2 => "mobile",
        InterfaceType::Ethernet | InterfaceType::GigabitEthernet | InterfaceType::FastEthernetT => "ethernet",
        InterfaceType::Tunnel | InterfaceType::Ppp => "vpn",
        InterfaceType::Bridge => "virtual",
        _ => "other",
    }
}

/// Lists the interfaces that are up and lead somewhere, by kind and addresses. Their names may hold a serial number,
/// and are left out.
pub(super) fn interfaces() -> Check {
    let all = netdev::get_interfaces();
    let up: Vec<&Interface> =
        all.iter().filter(|interface| interface.is_up() && !interface.is_loopback()).collect();
    let with_address = up.iter().filter(|interface| !interface.ip_addrs().is_empty());
    let told: Vec<(String, Value)> = with_address
        .map(|interface| {
            let addresses: Vec<String> = interface.ip_addrs().iter().map(ToString::to_string).collect();
            let way_out = if interface.default { ", the way out" } else { "" };
            let text = format!("{}{way_out}: {}", kind(interface), addresses.join(", "));
            let facts = json!({"kind": kind(interface), "default": interface.default, "addresses": addresses,
                "mtu": interface.mtu});
            (text, facts)
        })
        .collect();
    let (texts, facts): (Vec<String>, Vec<Value>) = told.into_iter().unzip();
    let vpn = up.iter().any(|interface| interface.default && kind(interface) == "vpn");
    let (status, text) = match () {
        () if texts.is_empty() => {
            (Status::Note, "this machine is in no network: nobody outside of it can be reached".to_owned())
        }
        () if vpn => {
            let text = format!(
                "{}\nall traffic goes through a VPN: its NAT counts, not the router's",
                texts.join("\n")
            );
            (Status::Note, text)
        }
        () => (Status::Fine, texts.join("\n")),
    };
    Check::new("interfaces", status, text, json!({ "interfaces": facts }))
}

/// Tells what the interface of the default route carries in one piece.
pub(super) fn mtu() -> Check {
    let interface = netdev::get_interfaces().into_iter().find(|interface| interface.default);
    match interface.and_then(|interface| interface.mtu) {
        Some(mtu) if mtu < LEAST_MTU => {
            let text = format!(
                "the way out carries {mtu} bytes in one piece, less than {LEAST_MTU}: game data is split"
            );
            Check::new("mtu", Status::Note, text, json!({ "mtu": mtu }))
        }
        Some(mtu) => {
            let text = format!("the way out carries {mtu} bytes in one piece");
            Check::new("mtu", Status::Fine, text, json!({ "mtu": mtu }))
        }
        None => {
            let text = "the system does not tell by which interface the way out leads";
            Check::new("mtu", Status::Note, text, json!({ "mtu": null }))
        }
    }
}
