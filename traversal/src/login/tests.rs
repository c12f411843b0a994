//! Where and when a login knocks; what the server answers is the simulator's part.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::interleaved;
use crate::wire::{Kind, MAX_CONTROL};
use crate::{Agent, AgentConfig, Command, Identity, Output, SocketId, StreamState};

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const V4: &str = "198.51.100.1:3478";
const V4_TOO: &str = "198.51.100.2:3478";
const V6: &str = "[2001:db8::1]:3478";

fn agent(config: AgentConfig, v6: bool) -> (Agent, Instant) {
    let [main, main_v6] = ["192.0.2.1:40000", "[2001:db8:1::1]:40000"].map(|text| text.parse().unwrap());
    let agent = Agent::new(config, Identity::from_secret([7; 32]), [9; 32], (main, v6.then_some(main_v6)));
    (agent, Instant::now())
}

/// Returns what the agent does up to this time after the start, with the time.
fn watch(agent: &mut Agent, start: Instant, until: Duration) -> Vec<(Duration, Output)> {
    let (mut seen, mut now) = (Vec::new(), start);
    loop {
        while let Some(output) = agent.poll_output() {
            seen.push((now - start, output));
        }
        match agent.poll_timeout() {
            Some(at) if at <= start + until => now = at.max(now),
            _ => return seen,
        }
        agent.handle_timeout(now);
    }
}

fn streams(seen: &[(Duration, Output)]) -> Vec<(u128, SocketAddr)> {
    let stream = |(at, output): &(Duration, Output)| match output {
        Output::OpenStream { to } => Some((at.as_millis(), *to)),
        _ => None,
    };
    seen.iter().filter_map(stream).collect()
}

#[test]
fn families_take_turns_and_ipv4_begins() {
    let mixed = interleaved(addresses(&[V6, "[2001:db8::2]:1", V4, V4_TOO, "[2001:db8::3]:1"]));
    let expected = addresses(&[V4, V6, V4_TOO, "[2001:db8::2]:1", "[2001:db8::3]:1"]);
    assert_eq!(mixed, expected);
    assert!(interleaved(Vec::new()).is_empty());
}

#[test]
fn hellos_go_to_all_addresses_250_ms_apart_from_the_socket_of_the_family() {
    let (mut agent, start) = agent(AgentConfig { tcp: false, ..AgentConfig::default() }, true);
    agent.handle_command(start, Command::Connect(addresses(&[V6, V4])));
    let seen = watch(&mut agent, start, Duration::from_millis(600));
    let hellos: Vec<_> = seen
        .iter()
        .filter_map(|(at, output)| match output {
            Output::Transmit(hello) => {
                assert_eq!((Kind::of(&hello.payload), hello.payload.len()), (Some(Kind::Hello), MAX_CONTROL));
                Some((at.as_millis(), hello.socket, hello.to.to_string()))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (0, SocketId::MAIN, V4.to_owned()),
        (250, SocketId::MAIN_V6, V6.to_owned()),
        (500, SocketId::MAIN, V4.to_owned()),
    ];
    assert_eq!(hellos, expected);
}

#[test]
fn without_ipv6_only_ipv4_is_asked() {
    let (mut agent, start) = agent(AgentConfig::default(), false);
    agent.handle_command(start, Command::Connect(addresses(&[V6, V4])));
    let seen = watch(&mut agent, start, Duration::from_secs(3));
    assert!(seen.iter().all(|(_, output)| match output {
        Output::Transmit(hello) => hello.to == V4.parse().unwrap(),
        Output::OpenStream { to } => *to == V4.parse().unwrap(),
        _ => false,
    }));
}

#[test]
fn the_stream_is_tried_after_a_second_of_silence_and_then_to_the_next_address() {
    let (mut agent, start) = agent(AgentConfig::default(), true);
    agent.handle_command(start, Command::Connect(addresses(&[V4, V6])));
    let seen = watch(&mut agent, start, Duration::from_millis(3900));
    let [v4, v6] = [V4, V6].map(|text| text.parse().unwrap());
    assert_eq!(streams(&seen), [(1000, v4), (2500, v6)]);

    let (mut off, start) = self::agent(AgentConfig { tcp: false, ..AgentConfig::default() }, true);
    off.handle_command(start, Command::Connect(addresses(&[V4, V6])));
    assert!(streams(&watch(&mut off, start, Duration::from_secs(60))).is_empty());
}

#[test]
fn a_refused_stream_is_tried_elsewhere_at_once_and_an_open_one_gets_the_hello() {
    let (mut agent, start) = agent(AgentConfig::default(), false);
    agent.handle_command(start, Command::Connect(addresses(&[V4, V4_TOO])));
    watch(&mut agent, start, Duration::from_secs(1));
    agent.handle_stream(start + Duration::from_secs(1), StreamState::Closed);
    let seen = watch(&mut agent, start, Duration::from_millis(1300));
    let second: SocketAddr = V4_TOO.parse().unwrap();
    assert_eq!(streams(&seen), [(1250, second)]);
    agent.handle_stream(start + Duration::from_millis(1300), StreamState::Open);
    let over_stream = std::iter::from_fn(|| agent.poll_output()).find_map(|output| match output {
        Output::Transmit(hello) if hello.socket == SocketId::STREAM => Some(hello),
        _ => None,
    });
    let hello = over_stream.expect("a hello over the stream");
    assert_eq!((hello.to, Kind::of(&hello.payload)), (second, Some(Kind::Hello)));
    // UDP goes on beside it.
    let seen = watch(&mut agent, start, Duration::from_millis(1800));
    let by_udp =
        |output: &Output| matches!(output, Output::Transmit(hello) if hello.socket == SocketId::MAIN);
    assert!(seen.iter().any(|(_, output)| by_udp(output)));
    // Logging out closes it.
    agent.handle_command(start + Duration::from_secs(2), Command::Disconnect);
    assert!(std::iter::from_fn(|| agent.poll_output()).any(|output| output == Output::CloseStream));
}

#[test]
fn news_of_a_stream_that_nobody_asked_for_changes_nothing() {
    let (mut agent, start) = agent(AgentConfig::default(), false);
    for state in [StreamState::Open, StreamState::Closed] {
        agent.handle_stream(start, state);
        assert_eq!(agent.poll_output(), None);
    }
    let junk = [Kind::Pair as u8; 100];
    agent.handle_datagram(start, SocketId::STREAM, V4.parse().unwrap(), &junk);
    agent.handle_datagram(start, SocketId::STREAM, V4.parse().unwrap(), &[Kind::Cookie as u8; 40]);
    assert_eq!(agent.dropped().values().sum::<u64>(), 2);
}
