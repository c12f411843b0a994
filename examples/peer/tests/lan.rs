//! Real programs without a lobby server of anybody else: on a ship without internet, and behind a router that forwards a port.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use test_support::namespaces::Net;
use test_support::programs::{Program, assert_played, lobby_path};
use test_support::scratch;

/// Passes no multicast, as some networks do.
const NO_MULTICAST: &str = "table inet no_multicast {
  chain in { type filter hook input priority 0; ip daddr 224.0.0.0/4 drop; ip6 daddr ff00::/8 udp dport 5353 drop; }
  chain out { type filter hook output priority 0; ip daddr 224.0.0.0/4 drop; ip6 daddr ff00::/8 udp dport 5353 drop; }
}
";

/// Passes no question to all.
const NO_BROADCAST: &str = "table inet no_broadcast {
  chain out { type filter hook output priority 0; udp dport 47113 drop; }
}
";

/// Lets in what was asked for alone, as a computer's firewall does.
const FIREWALL: &str = "table ip firewall {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
  }
}
";

/// This is a home router's NAT, with one port that its owner has forwarded by hand.
const FORWARDED: &str = "table ip home {
  chain in {
    type nat hook prerouting priority -100;
    iifname \"to-guest\" udp dport 34780 dnat to 192.168.77.2
    iifname \"to-guest\" tcp dport 34780 dnat to 192.168.77.2
  }
  chain out {
    type nat hook postrouting priority 100;
    oifname \"to-guest\" masquerade
  }
  chain pass {
    type filter hook forward priority 0; policy accept;
    ct status dnat accept
    iifname \"to-guest\" ct state established,related accept
    iifname \"to-guest\" drop
  }
}
";

/// Returns namespaces, or says why they cannot be had and returns `None`.
fn network(tag: &str, names: &[&'static str]) -> Option<Net> {
    if let Err(reason) = Net::possible() {
        test_support::skipped(format_args!("no namespaces, iproute2 or nftables: {reason}"));
        return None;
    }
    Some(Net::new(tag, names).unwrap())
}

/// Joins these machines by a switch: 192.168.77.2, 192.168.77.3, ... They have no route to elsewhere.
fn join(net: &Net, machines: &[&str]) {
    net.ip("switch", "link add lan type bridge").unwrap();
    net.ip("switch", "link set lan up").unwrap();
    for (index, name) in machines.iter().enumerate() {
        let outer = format!("to-{name}");
        net.cable("switch", &outer, name, "eth0").unwrap();
        net.ip("switch", &format!("link set {outer} master lan")).unwrap();
        net.ip(name, &format!("addr add 192.168.77.{}/24 dev eth0", index + 2)).unwrap();
    }
}

fn ship(tag: &str) -> Option<Net> {
    let net = network(tag, &["switch", "left", "right", "third"])?;
    join(&net, &["left", "right", "third"]);
    Some(net)
}

fn peer(net: &Net, machine: &str, kind: &str, args: &[&str]) -> Program {
    let mut command = net.inside(machine, env!("CARGO_BIN_EXE_peer"));
    command.args([kind, "--json", "--no-port-mapping", "--name", machine]).args(args);
    command.env("XDG_DATA_HOME", scratch(machine));
    Program::start(machine, &mut command)
}

fn path(program: &Program) -> String {
    program.events("summary").pop().unwrap()["path"].as_str().unwrap().to_owned()
}

/// Returns the origins of the rooms of this name, in the list that was printed last.
fn origins(program: &Program, name: &str) -> Vec<String> {
    let list = program.events("found_rooms").pop().unwrap();
    let rooms = list["rooms"].as_array().unwrap().iter().filter(|room| room["name"] == name);
    rooms.map(|room| room["origin"].as_str().unwrap().to_owned()).collect()
}

/// One machine hosts, another one finds the room and plays.
fn play_on_the_ship(net: &Net) {
    let mut host = peer(net, "left", "host", &["--lan", "--room", "r1", "--for", "6"]);
    host.event("serving", 10.0);
    let mut guest = peer(net, "right", "join", &["--lan", "--room", "r1", "--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
        assert_eq!(path(program), "lan", "{}", program.log());
    }
    assert_eq!(origins(&guest, "r1"), ["lan"]);
}

#[test]
fn on_a_ship_without_internet_a_room_is_found_and_played_in() {
    let Some(net) = ship("ship") else { return };
    let args =
        ["--lan", "--room", "r1", "--players", "3", "--password", "sesame", "--invite", "5", "--for", "8"];
    let mut host = peer(&net, "left", "host", &args);
    let invite = host.event("invite", 10.0)["text"].as_str().unwrap().to_owned();
    assert!(invite.starts_with("bevy-traversal:192.168.77.2:"), "{invite}");
    // One who finds it by itself does not know the password.
    let mut stranger = peer(&net, "third", "join", &["--lan", "--room", "r1"]);
    stranger.failure(30.0, "wrong room password");
    let mut guests =
        ["right", "third"].map(|name| peer(&net, name, "join", &["--invite", &invite, "--for", "3"]));
    for guest in &mut guests {
        guest.success(30.0);
        assert_played(guest, "left");
        assert_eq!(path(guest), "lan", "{}", guest.log());
    }
    host.success(30.0);
}

#[test]
fn where_no_multicast_passes_the_question_to_all_finds_the_room() {
    let Some(net) = ship("broadcast") else { return };
    for machine in ["left", "right"] {
        net.nft(machine, NO_MULTICAST).unwrap();
    }
    play_on_the_ship(&net);
}

#[test]
fn where_no_question_to_all_passes_mdns_finds_the_room() {
    let Some(net) = ship("mdns") else { return };
    for machine in ["left", "right"] {
        net.nft(machine, NO_BROADCAST).unwrap();
    }
    play_on_the_ship(&net);
}

#[test]
fn two_machines_and_a_cable_without_anybody_who_gives_addresses_play() {
    let Some(net) = network("cable", &["left", "right", "switch"]) else { return };
    net.ip("switch", "link add lan type bridge").unwrap();
    net.ip("switch", "link set lan up").unwrap();
    for (name, own) in [("left", "169.254.7.2/16"), ("right", "169.254.99.3/16")] {
        let outer = format!("to-{name}");
        net.cable("switch", &outer, name, "eth0").unwrap();
        net.ip("switch", &format!("link set {outer} master lan")).unwrap();
        net.ip(name, &format!("addr add {own} dev eth0 scope link")).unwrap();
    }
    let mut host = peer(&net, "left", "host", &["--lan", "--room", "r1", "--for", "8"]);
    host.event("room", 10.0);
    let mut guest = peer(&net, "right", "join", &["--lan", "--room", "r1", "--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "right")] {
        assert_played(program, with);
    }
    assert_eq!(origins(&guest, "r1"), ["lan"]);
}

#[test]
fn a_room_whose_host_is_killed_leaves_the_list_and_those_who_left_go_at_once() {
    let Some(net) = ship("gone") else { return };
    let mut killed = peer(&net, "left", "host", &["--lan", "--room", "killed", "--deadline", "60"]);
    let mut ended = peer(&net, "third", "host", &["--lan", "--room", "ended", "--deadline", "60"]);
    killed.event("serving", 10.0);
    ended.event("serving", 10.0);
    let mut guest = peer(&net, "right", "join", &["--lan", "--room", "none", "--wait", "60"]);
    let lists = |guest: &mut Program, wanted: &[&str], seconds: f64| {
        guest.line(&format!("a list of {wanted:?}"), seconds, |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let names = event["rooms"].as_array().map(|rooms| rooms.iter().map(|room| room["name"].clone()));
            names.is_some_and(|names| names.eq(wanted.iter().map(|name| Value::from(*name))))
        });
    };
    lists(&mut guest, &["ended", "killed"], 15.0);
    killed.kill();
    ended.terminate();
    lists(&mut guest, &[], 45.0);
}

#[test]
fn rooms_of_the_lobby_and_of_the_local_network_are_in_one_list() {
    let Some(net) = network("one", &["switch", "server", "left", "right", "third"]) else { return };
    join(&net, &["server", "left", "right", "third"]);
    let mut server = net.inside("server", lobby_path().to_str().unwrap());
    server.args(["--bind", "192.168.77.2:3478", "--no-http", "--key-file"]).arg(scratch("lobby").join("key"));
    let mut server = Program::start("lobby_server", &mut server);
    server.line("ready line", 10.0, |line| line.starts_with("lobby_server ready on "));
    let lobby = ["--lobby", "192.168.77.2:3478"];
    let mut far = peer(
        &net,
        "third",
        "host",
        &[&lobby[..], &["--room", "far", "--for", "14", "--capacity", "4"]].concat(),
    );
    far.event("room", 10.0);
    let mut near = peer(&net, "left", "host", &["--lan", "--room", "near", "--for", "10"]);
    near.event("serving", 10.0);
    // Both are listed before one is entered.
    let both = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["rooms"].as_array().is_some_and(|rooms| rooms.len() == 2)
    };
    let mut looking =
        peer(&net, "right", "join", &[&lobby[..], &["--lan", "--room", "none", "--wait", "20"]].concat());
    let list: Value = serde_json::from_str(&looking.line("both rooms", 15.0, both)).unwrap();
    let row = |index: usize| (list["rooms"][index]["name"].clone(), list["rooms"][index]["origin"].clone());
    assert_eq!((row(0), row(1)), (("near".into(), "lan".into()), ("far".into(), "lobby".into())));
    looking.kill();
    for (room, host) in [("near", "left"), ("far", "third")] {
        let args = [&lobby[..], &["--lan", "--room", room, "--for", "3"]].concat();
        let mut guest = peer(&net, "right", "join", &args);
        guest.success(30.0);
        assert_played(&guest, host);
    }
    near.success(30.0);
    far.success(30.0);
}

/// A host at home, behind a router with these rules, and a guest in the network that its public address is in.
fn home(tag: &str, public: &str, rules: &str) -> Option<Net> {
    let net = network(tag, &["switch", "left", "guest"])?;
    join(&net, &["left"]);
    net.sysctl("switch", "net.ipv4.ip_forward=1").unwrap();
    net.ip("switch", "addr add 192.168.77.1/24 dev lan").unwrap();
    net.ip("left", "route add default via 192.168.77.1").unwrap();
    net.cable("switch", "to-guest", "guest", "eth0").unwrap();
    net.ip("switch", &format!("addr add {public}.1/24 dev to-guest")).unwrap();
    net.ip("guest", &format!("addr add {public}.2/24 dev eth0")).unwrap();
    net.nft("switch", rules).unwrap();
    Some(net)
}

/// A host behind a router that forwards its port, and a guest on the internet.
fn forwarded(tag: &str) -> Option<Net> {
    home(tag, "198.18.2", FORWARDED)
}

#[test]
fn a_host_who_forwards_a_port_is_reached_by_host_port_and_key() {
    let Some(net) = forwarded("direct") else { return };
    let args =
        ["--serve", "34780", "--public-name", "198.18.2.1", "--room", "den", "--players", "2", "--for", "8"];
    let mut host = peer(&net, "left", "host", &args);
    let serving = host.event("serving", 10.0);
    let invite = serving["invites"][0]["text"].as_str().unwrap();
    assert!(invite.starts_with("bevy-traversal:198.18.2.1:34780/"), "{serving}");
    let key = invite.split_once('#').unwrap().1;
    let mut guest =
        peer(&net, "guest", "join", &["--invite", &format!("198.18.2.1:34780#{key}"), "--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "guest")] {
        assert_played(program, with);
    }
    // Somebody else's server in its place is not played at.
    let other = "A".repeat(42) + "E";
    let mut host = peer(&net, "left", "host", &args);
    host.event("serving", 10.0);
    let wrong = format!("198.18.2.1:34780#{other}");
    peer(&net, "guest", "join", &["--invite", &wrong, "--deadline", "12"]).failure(20.0, "key");
}

#[test]
fn a_guest_behind_a_firewall_reaches_such_a_host_over_its_own_relay() {
    let Some(net) = forwarded("relayed") else { return };
    net.nft("guest", FIREWALL).unwrap();
    let args = ["--serve", "34780", "--public-name", "198.18.2.1", "--room", "den", "--for", "8"];
    let mut host = peer(&net, "left", "host", &args);
    let invite = host.event("serving", 10.0)["invites"][0]["text"].as_str().unwrap().to_owned();
    let mut guest = peer(&net, "guest", "join", &["--invite", &invite, "--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "guest")] {
        assert_played(program, with);
    }
}

/// What goes beside the router's masquerade for miniupnpd: the chains that it fills.
const CHAINS: &str = "table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward { type filter hook forward priority filter; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept; jump postrouting_miniupnpd; }
}
table ip home {
  chain out {
    type nat hook postrouting priority 100;
    oifname \"to-guest\" masquerade
  }
  chain pass {
    type filter hook forward priority 0; policy accept;
    iifname \"to-guest\" ct state established,related accept
    iifname \"to-guest\" ct status dnat accept
    iifname \"to-guest\" drop
  }
}
";

/// A host behind a router with miniupnpd, which forwards what it is asked for. Returns it with the running router.
/// Its address is none that is set aside: there an honest miniupnpd does not serve. Nothing of it leaves the namespaces.
fn asked(tag: &str, public: &str) -> Option<(Net, Program)> {
    const MINIUPNPD: &str = "/usr/sbin/miniupnpd";
    if !std::path::Path::new(MINIUPNPD).exists() {
        test_support::skipped("miniupnpd is not installed");
        return None;
    }
    let net = home(tag, "45.90.2", CHAINS)?;
    let folder = scratch(tag);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("miniupnpd.conf");
    let config = format!(
        "ext_ifname=to-guest\next_ip={public}\nlistening_ip=192.168.77.1/24\nhttp_port=0\nipv6_disable=yes\n\
         enable_upnp=no\nenable_natpmp=yes\nsecure_mode=yes\nsystem_uptime=yes\nminissdpdsocket={}\n\
         uuid=5a78ec87-3cec-4a89-9888-bad5d12f5c23\nallow 1024-65535 192.168.77.1/24 1024-65535\n\
         deny 0-65535 0.0.0.0/0 0-65535\n",
        folder.join("sock").display()
    );
    std::fs::write(&file, config).unwrap();
    let mut router = net.inside("switch", MINIUPNPD);
    router.args(["-d", "-f"]).arg(&file).arg("-P").arg(folder.join("pid"));
    Some((net, Program::start("miniupnpd", &mut router)))
}

/// Starts a host who asks the router, and waits until that has answered.
fn host_who_asks(net: &Net, seconds: &str) -> (Program, Value) {
    let mut command = net.inside("left", env!("CARGO_BIN_EXE_peer"));
    let serve = ["host", "--json", "--name", "left", "--serve", "34780", "--ask-router"];
    command.args(serve).args(["--room", "den", "--players", "2", "--for", seconds, "--deadline", "40"]);
    command.env("XDG_DATA_HOME", scratch("left"));
    let mut host = Program::start("left", &mut command);
    let serving = loop {
        let serving = host.event("serving", 20.0);
        if serving["router"]["state"] != "asking" {
            break serving;
        }
    };
    (host, serving)
}

#[test]
fn a_host_whose_router_forwards_the_port_when_asked_is_reached_by_the_invite_that_it_gets() {
    let Some((net, mut router)) = asked("asked", "45.90.2.1") else { return };
    let (mut host, serving) = host_who_asks(&net, "8");
    let said = &serving["router"];
    assert_eq!(
        (&said["state"], &said["address"], &said["protocol"]),
        (&"forwarded".into(), &"45.90.2.1:34780".into(), &"pcp".into()),
        "{serving}"
    );
    let invite = serving["invites"][0]["text"].as_str().unwrap();
    assert!(invite.starts_with("bevy-traversal:45.90.2.1:34780/"), "{serving}");
    let mut guest = peer(&net, "guest", "join", &["--invite", invite, "--for", "3"]);
    guest.success(30.0);
    host.success(30.0);
    for (program, with) in [(&guest, "left"), (&host, "guest")] {
        assert_played(program, with);
    }
    // It was given back.
    router.terminate();
    router.exit(10.0);
    assert!(router.log().contains("PCP: UDP port"), "{}", router.log());
}

#[test]
fn a_host_behind_a_second_nat_and_one_without_such_a_router_read_that_nobody_comes_in() {
    // The router's own address is one of a carrier's NAT (RFC 6598).
    if let Some((net, _router)) = asked("carrier", "100.64.7.7") {
        let (host, serving) = host_who_asks(&net, "1");
        let state = serving["router"]["state"].as_str().unwrap();
        // Some versions of miniupnpd refuse to serve there by themselves.
        assert!(["behind-another-nat", "no"].contains(&state), "{serving}");
        let texts: Vec<&str> =
            serving["invites"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
        assert!(texts.iter().all(|text| text.starts_with("bevy-traversal:192.168.77.2:34780/")), "{serving}");
        drop(host);
    }
    let Some(net) = forwarded("unasked") else { return };
    let (_host, serving) = host_who_asks(&net, "1");
    assert_eq!(serving["router"]["state"], "no", "{serving}");
    let text = serving["router"]["text"].as_str().unwrap();
    assert!(text.contains("does not answer UPnP, NAT-PMP or PCP"), "{serving}");
}

#[test]
fn rooms_of_the_local_network_are_listed_without_entering_one() {
    let Some(net) = ship("list") else { return };
    let mut host = peer(&net, "left", "host", &["--lan", "--room", "r1", "--for", "30", "--password", "pw"]);
    host.event("serving", 10.0);
    let mut looking = peer(&net, "right", "rooms", &["--lan"]);
    looking.success(30.0);
    let list = looking.events("found_rooms").pop().unwrap();
    let room = &list["rooms"][0];
    assert_eq!(
        (&room["name"], &room["origin"], &room["password"]),
        (&"r1".into(), &"lan".into(), &true.into())
    );
    assert!(host.events("connected").is_empty(), "{}", host.log());
}
