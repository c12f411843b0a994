//! STUN clients that people have, against the built program with two addresses of this machine's loopback: those of Debian's
//! packages `coturn` and `stun-client`, and an ICE agent.
#![cfg(target_os = "linux")] // the only system where all of 127/8 is this machine
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rice_proto::agent::{Agent, AgentPoll};
use rice_proto::candidate::{CandidateType, TransportType};
use stun_proto::agent::Transmit;
use test_support::server::Running;
use test_support::{receive_from, skipped};

/// A client that does not end is stuck: `turnutils_natdiscovery` waits some seconds for an answer that is not let in.
const PATIENCE: Duration = Duration::from_secs(30);

fn server(directory: &tempfile::TempDir) -> Running {
    Running::start(
        directory.path(),
        &["--bind", "127.0.0.1:0", "--second-address", "127.0.0.2", "--no-http", "--no-tcp"],
    )
}

/// Runs a client, and returns whether it ended well and what it printed; none where it is not installed.
fn run(program: &str, package: &str, args: &[&str]) -> Option<(bool, String)> {
    let child = Command::new(program).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        skipped(format_args!("this machine has no {program} (Debian: {package})"));
        return None;
    };
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > PATIENCE => {
                child.kill().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let status = status.unwrap_or_else(|| panic!("{program} {args:?} does not end: {text}"));
    Some((status.success(), text))
}

#[test]
fn natdiscovery_of_coturn_finds_mapping_filtering_lifetime_and_what_padding_does() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory);
    let port = server.address().port().to_string();
    for args in [&["-m", "-f"][..], &["-m", "-f", "-P"]] {
        let args = [args, &["-p", &port, "127.0.0.1"]].concat();
        let Some((ended_well, text)) = run("turnutils_natdiscovery", "coturn", &args) else { return };
        assert!(ended_well, "{text}");
        for said in ["Endpoint Independent Mapping", "Endpoint Independent Filtering", "127.0.0.2"] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    let args = ["-t", "-T", "1", "-p", &port, "127.0.0.1"];
    let Some((ended_well, text)) = run("turnutils_natdiscovery", "coturn", &args) else { return };
    assert!(ended_well, "{text}");
    let seen = text.matches("UDP reflexive addr").count();
    assert_eq!(seen, 2, "the second answer came to the first socket's port: {text}");
}

#[test]
fn stunclient_of_coturn_comes_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory);
    let port = server.address().port().to_string();
    let Some((ended_well, text)) = run("turnutils_stunclient", "coturn", &["-p", &port, "127.0.0.1"]) else {
        return;
    };
    assert!(ended_well && text.contains("UDP reflexive addr: 127.0.0.1:"), "{text}");
    assert!(text.contains("RFC 5780 response 2"), "the answer at another port: {text}");
}

#[test]
fn the_stun_of_rfc_3489_finds_the_kind_of_nat() {
    let directory = tempfile::tempdir().unwrap();
    let server = server(&directory);
    let address = server.address().to_string();
    // Its status is a number that says which kind it has found.
    let Some((_, text)) = run("stun", "stun-client", &[&address, "-v"]) else { return };
    assert!(text.contains("Primary: Open"), "{text}");
    for said in ["MappedAddress = 127.0.0.1:", "ChangedAddress = 127.0.0.2:", "SourceAddress = 127.0.0.2:"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    for test in ["test I = 1", "test II = 1", "test III = 1", "test I(2) = 1"] {
        assert!(text.contains(test), "{test}: {text}");
    }
}

/// ICE agents take no candidates of the loopback: this one has a network namespace of its own, where others' addresses are on
/// the loopback, too.
const NETWORK: &str = "ip link set lo up && for n in 10 11 66; do ip address add 198.18.0.$n/32 dev lo; done";
/// The test runs itself again within the namespace, and says so by this variable.
const INSIDE: &str = "STUN_CLIENTS_INSIDE";

#[test]
fn an_ice_agent_gathers_a_server_reflexive_candidate() {
    if std::env::var_os(INSIDE).is_some() {
        return gather();
    }
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", &format!("{NETWORK} && {script}")]);
        command
    };
    if !inside("true").output().is_ok_and(|output| output.status.success()) {
        return skipped("this machine permits no network namespaces, or has no unshare or ip");
    }
    let output = inside("exec \"$0\" --exact an_ice_agent_gathers_a_server_reflexive_candidate --nocapture")
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The agent knows its socket by an address of a home network; this is its NAT, and sends from another one.
fn gather() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--bind", "198.18.0.10:0", "--second-address", "198.18.0.11", "--no-http", "--no-tcp"];
    let server = Running::start(directory.path(), &flags);
    let lobby = server.address();
    let outside = UdpSocket::bind("198.18.0.66:0").unwrap();
    outside.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let inside: SocketAddr = "192.168.1.2:40000".parse().unwrap();

    let mut agent = Agent::builder().build();
    let stream = agent.add_stream();
    let component = agent.mut_stream(stream).unwrap().add_component().unwrap();
    let mut stream_of_agent = agent.mut_stream(stream).unwrap();
    let udp = TransportType::Udp;
    let mut gathering = stream_of_agent.mut_component(component).unwrap();
    gathering.gather_candidates(&[(udp, inside)], &[(udp, lobby)], &[]).unwrap();

    let begun = Instant::now();
    let mut reflexive = None;
    while begun.elapsed() < PATIENCE {
        let now = stun_proto::Instant::from_std(begun);
        match agent.poll(now) {
            AgentPoll::GatheredCandidate(found)
                if found.gathered.candidate.candidate_type == CandidateType::ServerReflexive =>
            {
                reflexive = Some(found.gathered.candidate);
            }
            AgentPoll::GatheringComplete(_) | AgentPoll::Closed => break,
            _ => {}
        }
        while let Some(sent) = agent.poll_transmit(now) {
            assert_eq!((sent.transmit.from, sent.transmit.to), (inside, lobby));
            outside.send_to(&sent.transmit.data, lobby).unwrap();
        }
        let mut buffer = [0; 1500];
        if let Ok((length, from)) = receive_from(&outside, &mut buffer) {
            let transmit = Transmit::new(&buffer[..length], udp, from, inside);
            agent.mut_stream(stream).unwrap().handle_incoming_data(component, transmit, now);
        }
    }
    let reflexive = reflexive.expect("a server-reflexive candidate");
    assert_eq!(reflexive.address, outside.local_addr().unwrap());
    assert_eq!(reflexive.base_address, inside);
}
