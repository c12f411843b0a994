//! Real programs in network namespaces, each player behind a stateful IPv6 firewall (nftables).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use test_support::namespaces::Net;
use test_support::programs::{Program, assert_played, lobby_path};
use test_support::scratch;

/// These machines are behind the router.
const MACHINES: [&str; 3] = ["server", "left", "right"];

/// Lets in what was asked for, and the neighbours' discovery.
const FIREWALL: &str = "table ip6 firewall {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
  }
}
";

/// The players reach each other by IPv6 alone.
const APART: &str = "table ip apart {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip saddr 198.18.2.0/24 ip daddr 198.18.3.0/24 drop
    ip saddr 198.18.3.0/24 ip daddr 198.18.2.0/24 drop
  }
}
";

/// Builds the network; with `v4` the players have IPv4 too, but there the router lets them reach the server alone.
fn network(tag: &str, v4: bool) -> Result<Net, String> {
    let net = Net::new(tag, &["router", "server", "left", "right"])?;
    for family in ["net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1"] {
        net.sysctl("router", family)?;
    }
    for (name, n) in MACHINES.iter().zip(1..) {
        let outer = format!("to-{name}");
        net.cable("router", &outer, name, "eth0")?;
        for (namespace, link, host) in [("router", outer.as_str(), 1), (*name, "eth0", 2)] {
            net.ip(namespace, &format!("addr add 2001:db8:{n}::{host}/64 dev {link} nodad"))?;
            if v4 {
                net.ip(namespace, &format!("addr add 198.18.{n}.{host}/24 dev {link}"))?;
            }
        }
        net.ip(name, &format!("route add default via 2001:db8:{n}::1"))?;
        if v4 {
            net.ip(name, &format!("route add default via 198.18.{n}.1"))?;
        }
    }
    // The kernel takes a second or two for its link-local addresses, and a router forwards nothing before.
    for name in MACHINES {
        net.wait_for_link("router", &format!("to-{name}"))?;
        net.wait_for_link(name, "eth0")?;
    }
    for player in ["left", "right"] {
        net.nft(player, FIREWALL)?;
    }
    net.nft("router", APART)?;
    Ok(net)
}

/// This says how two players meet.
struct Meeting {
    tag: &'static str,
    v4: bool,
    /// This is the longest packet from the router to the one who joins; the router tells the sender of a longer one
    /// by ICMPv6.
    mtu: u16,
    /// Both programs are told these.
    args: &'static [&'static str],
    path: &'static str,
}

const PLAIN: Meeting = Meeting { tag: "", v4: false, mtu: 1500, args: &[], path: "direct-v6" };

fn play(Meeting { tag, v4, mtu, args: told, path }: Meeting) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap();
    if let Err(reason) = Net::possible() {
        return test_support::skipped(format_args!("no namespaces, iproute2 or nftables: {reason}"));
    }
    let net = network(tag, v4).unwrap();
    net.ip("router", &format!("link set to-right mtu {mtu}")).unwrap();
    let mut server = net.inside("server", lobby_path().to_str().unwrap());
    server.args(["--bind", "[2001:db8:1::2]:3478", "--no-http", "--key-file"]);
    server.arg(scratch("lobby").join("key"));
    if v4 {
        server.args(["--bind", "198.18.1.2:3478"]);
    }
    let mut server = Program::start("lobby_server", &mut server);
    server.line("ready line", 10.0, |line| line.starts_with("lobby_server ready on "));
    let lobby = if v4 { "198.18.1.2:3478" } else { "[2001:db8:1::2]:3478" };
    let peer = |player: &str, kind: &str, args: &[&str]| {
        let mut command = net.inside(player, env!("CARGO_BIN_EXE_peer"));
        command
            .args([kind, "--lobby", lobby, "--json", "--room", "r1", "--name", player, "--for", "3"])
            .args(told)
            .args(args);
        Program::start(player, &mut command)
    };
    let mut host = peer("left", "host", &[]);
    host.event("room", 10.0);
    let mut guest = peer("right", "join", &["--wait", "10"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        let summary = program.events("summary").remove(0);
        assert_eq!(summary["path"], path, "{}", program.log());
        let public = program.events("logged_in").remove(0)["public"].to_string();
        assert_eq!(public.contains('['), !v4, "the session's family: {public}");
    }
}

#[test]
fn players_with_ipv6_alone_meet_through_their_firewalls() {
    play(Meeting { tag: "only", ..PLAIN });
}

#[test]
fn players_who_cannot_meet_in_ipv4_meet_in_ipv6_though_they_logged_in_over_ipv4() {
    play(Meeting { tag: "both", v4: true, ..PLAIN });
}

#[test]
fn long_messages_pass_the_least_mtu_of_ipv6() {
    play(Meeting { tag: "1280", mtu: 1280, args: &["--size", "4000"], ..PLAIN });
}

#[test]
fn long_messages_pass_the_relay_over_ipv6_at_1300() {
    let args = &["--size", "4000", "--relay", "only"];
    play(Meeting { tag: "1300", mtu: 1300, args, path: "relay", ..PLAIN });
}
