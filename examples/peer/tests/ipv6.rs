//! Real programs in network namespaces, each player behind a stateful IPv6 firewall (nftables).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Program, assert_played, lobby_path, scratch};

/// A router, the server and two players; gone when dropped.
struct Net(String);

const NAMES: [&str; 4] = ["router", "server", "left", "right"];

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

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {text}")) }
}

impl Net {
    fn name(&self, namespace: &str) -> String {
        format!("{}-{namespace}", self.0)
    }

    fn ip(&self, namespace: &str, line: &str) -> Result<(), String> {
        run(Command::new("ip").args(["-n", &self.name(namespace)]).args(line.split_whitespace()))
    }

    /// This program, in there.
    fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(namespace), program]);
        command
    }

    /// Waits until IPv6 works on it.
    fn wait_for_link(&self, namespace: &str, link: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut show = Command::new("ip");
            show.args(["-n", &self.name(namespace), "-6", "addr", "show", "dev", link, "scope", "link"]);
            let output = show.output().map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            if text.contains("inet6") && !text.contains("tentative") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{link} of {namespace} has no link-local address"))
    }

    fn nft(&self, namespace: &str, rules: &str) -> Result<(), String> {
        let mut nft = self.inside(namespace, "nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let status = nft.wait().unwrap();
        if status.success() { Ok(()) } else { Err(format!("nft: {status}")) }
    }

    /// Namespaces and firewalls can be had here.
    fn possible() -> Result<(), String> {
        run(Command::new("nft").args(["list", "tables"]))?;
        let probe = format!("peer6-{}-probe", std::process::id());
        run(Command::new("ip").args(["netns", "add", &probe]))?;
        run(Command::new("ip").args(["netns", "del", &probe]))
    }

    /// `v4`: the players have IPv4 too, but there the router lets them reach the server alone.
    fn new(tag: &str, v4: bool) -> Result<Self, String> {
        let net = Self(format!("peer6-{}-{tag}", std::process::id()));
        for name in NAMES {
            run(Command::new("ip").args(["netns", "add", &net.name(name)]))?;
            net.ip(name, "link set lo up")?;
        }
        for family in ["net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1"] {
            run(net.inside("router", "sysctl").args(["-qw", family]))?;
        }
        for (name, n) in NAMES.iter().skip(1).zip(1..) {
            net.ip(
                "router",
                &format!("link add to-{name} type veth peer name eth0 netns {}", net.name(name)),
            )?;
            for (namespace, link, host) in [("router", format!("to-{name}"), 1), (*name, "eth0".into(), 2)] {
                net.ip(namespace, &format!("addr add 2001:db8:{n}::{host}/64 dev {link} nodad"))?;
                if v4 {
                    net.ip(namespace, &format!("addr add 198.18.{n}.{host}/24 dev {link}"))?;
                }
                net.ip(namespace, &format!("link set {link} up"))?;
            }
            net.ip(name, &format!("route add default via 2001:db8:{n}::1"))?;
            if v4 {
                net.ip(name, &format!("route add default via 198.18.{n}.1"))?;
            }
        }
        // The kernel takes a second or two for its link-local addresses, and a router forwards nothing before.
        for (name, link) in NAMES.iter().skip(1).map(|name| ("router", format!("to-{name}"))) {
            net.wait_for_link(name, &link)?;
        }
        for name in &NAMES[1..] {
            net.wait_for_link(name, "eth0")?;
        }
        for player in ["left", "right"] {
            net.nft(player, FIREWALL)?;
        }
        net.nft("router", APART)?;
        Ok(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in NAMES {
            let _ =
                Command::new("ip").args(["netns", "del", &self.name(name)]).stderr(Stdio::null()).status();
        }
    }
}

/// How two players meet.
struct Meeting {
    tag: &'static str,
    v4: bool,
    /// Longest packet from the router to the one who joins; the router tells the sender of a longer one by ICMPv6.
    mtu: u16,
    /// What both programs are told.
    args: &'static [&'static str],
    path: &'static str,
}

const PLAIN: Meeting = Meeting { tag: "", v4: false, mtu: 1500, args: &[], path: "direct-v6" };

fn play(Meeting { tag, v4, mtu, args: told, path }: Meeting) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap();
    if let Err(reason) = Net::possible() {
        return eprintln!("SKIPPED: no namespaces, iproute2 or nftables: {reason}");
    }
    let net = Net::new(tag, v4).unwrap();
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
    let peer = |namespace: &str, kind: &str, args: &[&str]| {
        let mut command = net.inside(namespace, env!("CARGO_BIN_EXE_peer"));
        command
            .args([kind, "--lobby", lobby, "--json", "--room", "r1", "--name", namespace, "--for", "3"])
            .args(told)
            .args(args);
        Program::start(namespace, &mut command)
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
