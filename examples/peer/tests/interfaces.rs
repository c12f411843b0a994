//! Real programs on machines with several interfaces, in network namespaces.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use test_support::namespaces::Net;
use test_support::programs::{Program, assert_played, lobby_path};
use test_support::scratch;

/// Lets in what was asked for alone, as a computer's firewall does.
const FIREWALL: &str = "table ip firewall {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
  }
}
";

/// This is a home router's NAT, which sends nothing back inside that comes from there.
const MASQUERADE: &str = "table ip home {
  chain out {
    type nat hook postrouting priority 100;
    oifname \"to-server\" masquerade
  }
  chain pass {
    type filter hook forward priority 0; policy accept;
    iifname \"to-server\" ct state established,related accept
    iifname \"to-server\" drop
  }
}
";

/// Returns namespaces, or says why they cannot be had and returns `None`.
fn network(tag: &str, names: &[&'static str]) -> Option<Net> {
    if let Err(reason) = Net::possible() {
        test_support::skipped(format_args!("no namespaces, iproute2 or nftables: {reason}"));
        return None;
    }
    let net = Net::new(tag, names).unwrap();
    net.sysctl("router", "net.ipv4.ip_forward=1").unwrap();
    Some(net)
}

/// Lays a cable from the router to an interface of this machine: 198.18.N.1 and 198.18.N.2.
fn public(net: &Net, name: &str, interface: &str, n: u8) {
    let outer = format!("to-{name}{}", interface.trim_start_matches("eth0"));
    net.cable("router", &outer, name, interface).unwrap();
    net.ip("router", &format!("addr add 198.18.{n}.1/24 dev {outer}")).unwrap();
    net.ip(name, &format!("addr add 198.18.{n}.2/24 dev {interface}")).unwrap();
}

/// Starts the lobby server, on all addresses of its machine.
fn serve(net: &Net) -> Program {
    let mut server = net.inside("server", lobby_path().to_str().unwrap());
    server.args(["--bind", "0.0.0.0:3478", "--no-http", "--key-file"]).arg(scratch("lobby").join("key"));
    let mut server = Program::start("lobby_server", &mut server);
    server.line("ready line", 10.0, |line| line.starts_with("lobby_server ready on "));
    server
}

fn peer(net: &Net, player: &str, kind: &str, lobby: &str, args: &[&str]) -> Program {
    let mut command: Command = net.inside(player, env!("CARGO_BIN_EXE_peer"));
    command.args([kind, "--lobby", lobby, "--json", "--room", "r1", "--name", player]).args(args);
    Program::start(player, &mut command)
}

/// Returns the path of the last summary.
fn path(program: &Program) -> String {
    program.events("summary").pop().unwrap()["path"].as_str().unwrap().to_owned()
}

/// Puts two players in this network at home: NETWORK.2 and NETWORK.3, behind a router that is NETWORK.1.
fn home(net: &Net, network: &str) {
    public(net, "server", "eth0", 1);
    net.ip("server", "route add default via 198.18.1.1").unwrap();
    net.ip("router", "link add lan type bridge").unwrap();
    net.ip("router", &format!("addr add {network}.1/24 dev lan")).unwrap();
    net.ip("router", "link set lan up").unwrap();
    for (name, last) in [("left", 2), ("right", 3)] {
        let outer = format!("to-{name}");
        net.cable("router", &outer, name, "eth0").unwrap();
        net.ip("router", &format!("link set {outer} master lan")).unwrap();
        net.ip(name, &format!("addr add {network}.{last}/24 dev eth0")).unwrap();
        net.ip(name, &format!("route add default via {network}.1 dev eth0")).unwrap();
    }
    net.nft("router", MASQUERADE).unwrap();
}

/// Both play, by the lobby server at this address, on this path.
fn meet(net: &Net, lobby: &str, wanted: &str) {
    // Without a port mapping: the router's own services are no matter of these tests.
    let args = ["--for", "3", "--no-port-mapping"];
    let mut host = peer(net, "left", "host", lobby, &args);
    host.event("room", 10.0);
    let mut guest = peer(net, "right", "join", lobby, &args);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        assert_eq!(path(program), wanted, "{}", program.log());
    }
}

const AT_HOME: [&str; 4] = ["router", "server", "left", "right"];

/// WireGuard runs on one of two machines at home, `AllowedIPs` with the addresses of the network at home.
#[test]
fn a_vpn_that_takes_the_addresses_of_the_network_at_home_does_not_part_its_players() {
    let Some(net) = network("vpn", &["router", "server", "left", "right", "vpn"]) else { return };
    home(&net, "192.168.77");
    net.cable("vpn", "eth0", "left", "wg0").unwrap();
    net.ip("left", "addr add 10.8.0.2/24 dev wg0").unwrap();
    net.ip("left", "route add 192.168.77.0/25 dev wg0").unwrap();
    let _server = serve(&net);
    meet(&net, "198.18.1.2:3478", "lan");
}

/// The machine has as many bridges as one with some of Docker's projects has, each with a container that runs.
#[test]
fn nine_bridges_on_each_machine_do_not_part_two_players_at_home() {
    let Some(net) = network("bridges", &AT_HOME) else { return };
    home(&net, "192.168.77");
    for player in ["left", "right"] {
        for n in 17..26 {
            let (bridge, veth) = (format!("br-{n:010x}"), format!("veth{n}"));
            net.ip(player, &format!("link add {bridge} type bridge")).unwrap();
            net.ip(player, &format!("addr add 172.{n}.0.1/16 dev {bridge}")).unwrap();
            net.ip(player, &format!("link set {bridge} up")).unwrap();
            net.cable(player, &veth, player, &format!("inner{n}")).unwrap();
            net.ip(player, &format!("link set {veth} master {bridge}")).unwrap();
        }
    }
    let _server = serve(&net);
    meet(&net, "198.18.1.2:3478", "lan");
}

/// This is like Tailscale, or the inside of a carrier's NAT (RFC 6598): the lobby server is there as well.
#[test]
fn players_whom_the_server_sees_in_shared_address_space_meet_there() {
    let Some(net) = network("shared", &AT_HOME) else { return };
    home(&net, "100.64.0");
    net.ip("router", "addr add 100.64.7.1/24 dev to-server").unwrap();
    net.ip("server", "addr add 100.64.7.2/24 dev eth0").unwrap();
    net.ip("server", "route replace default via 100.64.7.1").unwrap();
    net.nft("router", "delete table ip home").unwrap();
    let _server = serve(&net);
    meet(&net, "100.64.7.2:3478", "lan");
}

/// A player goes from Wi-Fi to a cable in the middle of a game: first the default route goes over, then the old
/// interface goes down.
#[test]
fn the_game_goes_on_when_the_default_route_goes_over_to_another_interface() {
    let Some(net) = network("route", &["router", "server", "left", "right"]) else { return };
    public(&net, "server", "eth0", 1);
    public(&net, "left", "eth0", 2);
    public(&net, "left", "eth1", 4);
    public(&net, "right", "eth0", 3);
    for (name, n) in [("server", 1), ("left", 2), ("right", 3)] {
        net.ip(name, &format!("route add default via 198.18.{n}.1")).unwrap();
    }
    for player in ["left", "right"] {
        net.nft(player, FIREWALL).unwrap();
    }
    let _server = serve(&net);
    let args = ["--for", "16", "--relay", "never"];
    let mut host = peer(&net, "left", "host", "198.18.1.2:3478", &args);
    host.event("room", 10.0);
    let mut guest = peer(&net, "right", "join", "198.18.1.2:3478", &args);
    guest.event("game_message", 20.0);
    net.ip("left", "route replace default via 198.18.4.1 dev eth1").unwrap();
    net.ip("left", "link set eth0 down").unwrap();
    guest.success(60.0);
    host.success(60.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        assert_eq!(path(program), "direct", "{}", program.log());
    }
}

/// The machine has two providers, and answers to both would leave by the first one's address, if the routes alone
/// decided.
#[test]
fn a_server_with_two_interfaces_answers_by_the_address_that_was_asked() {
    let Some(net) = network("two", &["router", "server", "left", "right"]) else { return };
    public(&net, "server", "eth0", 1);
    public(&net, "server", "eth1", 5);
    public(&net, "left", "eth0", 2);
    public(&net, "right", "eth0", 3);
    for (name, n) in [("server", 1), ("left", 2), ("right", 3)] {
        net.ip(name, &format!("route add default via 198.18.{n}.1")).unwrap();
    }
    for player in ["left", "right"] {
        net.nft(player, FIREWALL).unwrap();
    }
    // Whoever hears nothing by UDP has no way in.
    net.nft(
        "router",
        "table ip no_tcp { chain pass { type filter hook forward priority 1; ip protocol tcp drop; }; }",
    )
    .unwrap();
    let _server = serve(&net);
    let mut host = peer(&net, "left", "host", "198.18.1.2:3478", &["--for", "3"]);
    host.event("room", 10.0);
    let mut guest = peer(&net, "right", "join", "198.18.5.2:3478", &["--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        assert_eq!(path(program), "direct", "{}", program.log());
    }
}
