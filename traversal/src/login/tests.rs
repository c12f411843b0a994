//! Where and when a login knocks; what the server answers is the simulator's part.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::interleaved;
use crate::api::{Event, KnownServer, LobbyError, LobbyState};
use crate::wire::handshake::{ClientHandshake, ServerHandshake};
use crate::wire::{Kind, MAX_CONTROL};
use crate::{Agent, AgentConfig, Command, Identity, Output, SocketId, StreamBy, StreamState};

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
        Output::OpenStream { to, .. } => Some((at.as_millis(), *to)),
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
        Output::OpenStream { to, .. } => *to == V4.parse().unwrap(),
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
    let seen = watch(&mut agent, start, Duration::from_millis(2100));
    let by_udp =
        |output: &Output| matches!(output, Output::Transmit(hello) if hello.socket == SocketId::MAIN);
    assert!(seen.iter().any(|(_, output)| by_udp(output)));
    // Logging out closes it.
    agent.handle_command(start + Duration::from_secs(2), Command::Disconnect);
    assert!(std::iter::from_fn(|| agent.poll_output()).any(|output| output == Output::CloseStream));
}

#[test]
fn a_connection_that_brings_nothing_is_given_up_for_tls_once() {
    let (mut agent, start) = agent(AgentConfig::default(), false);
    let server: SocketAddr = V4.parse().unwrap();
    agent.handle_command(start, Command::Connect(vec![server]));
    let by = |seen: &[(Duration, Output)]| -> Vec<(u128, StreamBy)> {
        let stream = |(at, output): &(Duration, Output)| match output {
            Output::OpenStream { by, to } if *to == server => Some((at.as_millis(), *by)),
            _ => None,
        };
        seen.iter().filter_map(stream).collect()
    };
    assert_eq!(by(&watch(&mut agent, start, SECOND)), [(1000, StreamBy::TcpOrTls)]);
    agent.handle_stream(start + Duration::from_millis(1100), StreamState::Open);
    let seen = watch(&mut agent, start, Duration::from_millis(3500));
    assert_eq!(by(&seen), [(2600, StreamBy::Tls)], "a second and a half of silence");
    // TLS does not come about: both are tried again, and the next silence is waited out.
    agent.handle_stream(start + Duration::from_millis(3500), StreamState::Closed);
    assert_eq!(by(&watch(&mut agent, start, 4 * SECOND)), [(3750, StreamBy::TcpOrTls)]);
    agent.handle_stream(start + Duration::from_millis(4100), StreamState::Open);
    assert_eq!(by(&watch(&mut agent, start, 15 * SECOND)), []);

    // What took long to come about is far away: its answer may take as long.
    let (mut far, start) = self::agent(AgentConfig::default(), false);
    far.handle_command(start, Command::Connect(vec![server]));
    watch(&mut far, start, SECOND);
    far.handle_stream(start + 2 * SECOND, StreamState::Open);
    assert_eq!(by(&watch(&mut far, start, 10 * SECOND)), [(5000, StreamBy::Tls)]);
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

/// Returns when and where hellos leave by UDP up to this time.
fn hellos(agent: &mut Agent, start: Instant, until: Duration) -> Vec<(Duration, SocketAddr, Vec<u8>)> {
    let hello = |(at, output): (Duration, Output)| match output {
        Output::Transmit(hello) if Kind::of(&hello.payload) == Some(Kind::Hello) => {
            Some((at, hello.to, hello.payload))
        }
        _ => None,
    };
    watch(agent, start, until).into_iter().filter_map(hello).collect()
}

fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn only_udp() -> AgentConfig {
    AgentConfig { tcp: false, ..AgentConfig::default() }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_busy_server_is_asked_again_when_it_says_and_no_later_than_half_a_minute() {
    for (again_s, bounds) in [(0, 1..=2), (5, 5..=7), (255, 30..=38)] {
        let (mut agent, start) = agent(only_udp(), false);
        let server: SocketAddr = V4.parse().unwrap();
        agent.handle_command(start, Command::Connect(vec![server]));
        let first = hellos(&mut agent, start, Duration::ZERO);
        let busy = ServerHandshake::refuse_busy(&first[0].2, again_s).unwrap();
        agent.handle_datagram(start, SocketId::MAIN, server, &busy);
        // What is said again changes nothing.
        agent.handle_datagram(start, SocketId::MAIN, server, &busy);
        let told = events(&mut agent);
        let waits = told.iter().filter_map(|event| match event {
            Event::Lobby(LobbyState::Retrying { error: LobbyError::Busy, retry_in }) => Some(*retry_in),
            _ => None,
        });
        let waits: Vec<Duration> = waits.collect();
        assert_eq!(waits.len(), 1, "{told:?}");
        let next = hellos(&mut agent, start, 60 * SECOND)[0].0;
        assert!(next.as_secs() >= *bounds.start() && next.as_secs() < *bounds.end(), "{again_s}: {next:?}");
        assert!(waits[0] <= next && next < waits[0] + SECOND, "{waits:?} {next:?}");
    }
}

#[test]
fn while_one_server_is_busy_another_is_asked() {
    let (mut agent, start) = agent(only_udp(), false);
    let [one, other] = [V4, V4_TOO].map(|text| text.parse::<SocketAddr>().unwrap());
    agent.handle_command(start, Command::Connect(vec![one, other]));
    let first = hellos(&mut agent, start, Duration::ZERO);
    let busy = ServerHandshake::refuse_busy(&first[0].2, 20).unwrap();
    agent.handle_datagram(start, SocketId::MAIN, one, &busy);
    let then = hellos(&mut agent, start, 3 * SECOND);
    assert!(then.len() >= 4 && then.iter().all(|(_, to, _)| *to == other), "{then:?}");
    assert!(
        !events(&mut agent).iter().any(|event| matches!(event, Event::Lobby(LobbyState::Retrying { .. })))
    );
}

#[test]
fn a_forged_word_that_the_server_is_busy_keeps_nobody_out() {
    let (mut agent, start) = agent(only_udp(), false);
    let server: SocketAddr = V4.parse().unwrap();
    agent.handle_command(start, Command::Connect(vec![server]));
    let hello = hellos(&mut agent, start, Duration::ZERO).remove(0).2;
    // Who has not seen the hello does not know its nonce.
    let guess = ServerHandshake::refuse_busy(ClientHandshake::new(&mut rng()).hello(), 30).unwrap();
    agent.handle_datagram(start, SocketId::MAIN, server, &guess);
    assert!(
        !events(&mut agent).iter().any(|event| matches!(event, Event::Lobby(LobbyState::Retrying { .. })))
    );
    // Who has seen it is overruled by the server's own answer, which comes later.
    let forged = ServerHandshake::refuse_busy(&hello, 30).unwrap();
    agent.handle_datagram(start, SocketId::MAIN, server, &forged);
    let true_one = ServerHandshake::new(Identity::from_secret([3; 32]), [4; 32], start);
    let from = "192.0.2.1:40000".parse().unwrap();
    let cookie = true_one.handle_hello(start, (from, false), &hello).unwrap();
    let soon = start + Duration::from_millis(50);
    agent.handle_datagram(soon, SocketId::MAIN, server, &cookie);
    agent.handle_datagram(soon, SocketId::MAIN, server, &forged);
    let sent = std::iter::from_fn(|| agent.poll_output());
    let inits = sent.filter(|output| match output {
        Output::Transmit(sent) => Kind::of(&sent.payload) == Some(Kind::Init),
        _ => false,
    });
    assert_eq!(inits.count(), 1);
}

#[test]
fn hellos_to_a_silent_server_come_ever_more_rarely_and_two_players_do_not_stay_in_step() {
    let times: Vec<Vec<u128>> = [1, 2]
        .iter()
        .map(|secret| {
            let main = "192.0.2.1:40000".parse().unwrap();
            let identity = Identity::from_secret([*secret; 32]);
            let (mut agent, start) =
                (Agent::new(only_udp(), identity, [*secret; 32], (main, None)), Instant::now());
            agent.handle_command(start, Command::Connect(addresses(&[V4])));
            hellos(&mut agent, start, 60 * SECOND).iter().map(|(at, ..)| at.as_millis()).collect()
        })
        .collect();
    assert!(times.iter().all(|times| (20..=45).contains(&times.len())), "{times:?}");
    let together = times[0].iter().filter(|at| times[1].contains(at)).count();
    assert!(together <= 4, "{times:?}");
}

#[test]
fn addresses_of_one_server_are_taken_by_chance_and_servers_in_their_order() {
    let all = ["198.51.100.1:1", "198.51.100.2:1", "198.51.100.3:1", "203.0.113.9:1"];
    let known = [
        KnownServer { addresses: addresses(&all[..3]), key: None },
        KnownServer { addresses: addresses(&all[3..]), key: None },
    ];
    let mut firsts = std::collections::BTreeMap::new();
    let mut rng = rng();
    for _ in 0..300 {
        let spread = super::spread(addresses(&all), &known, &mut rng);
        assert_eq!(spread[3], addresses(&all)[3], "the second server stays the second");
        *firsts.entry(spread[0]).or_insert(0) += 1;
    }
    assert!(firsts.len() == 3 && firsts.values().all(|count| (60..150).contains(count)), "{firsts:?}");
    assert_eq!(super::spread(addresses(&all), &[], &mut rng), addresses(&all));
}

#[test]
fn after_a_refusal_or_a_loss_another_server_is_next() {
    let mut link = super::ServerLink::new(&AgentConfig::default());
    let two = addresses(&["198.51.100.1:1", "[2001:db8::1]:1", "203.0.113.9:1", "[2001:db8::9]:1"]);
    link.know(vec![
        KnownServer { addresses: two[..2].to_vec(), key: None },
        KnownServer { addresses: two[2..].to_vec(), key: None },
    ]);
    link.servers = two.clone();
    link.pass_over(two[0]);
    assert_eq!(link.servers, [two[2], two[3], two[0], two[1]]);
    link.pass_over(two[3]);
    assert_eq!(link.servers, two, "all around");
    // A server that is alone is asked as before, IPv4 first.
    link.servers = two[..2].to_vec();
    link.pass_over(two[0]);
    assert_eq!(link.servers, two[..2]);
    // A name with several addresses may be several machines.
    let several = addresses(&["198.51.100.1:1", "198.51.100.2:1", "198.51.100.3:1"]);
    link.know(vec![KnownServer { addresses: several.clone(), key: None }]);
    link.servers = several.clone();
    link.pass_over(several[1]);
    assert_eq!(link.servers, [several[2], several[0], several[1]]);
}

fn rng() -> rand_chacha::ChaCha20Rng {
    use rand_chacha::rand_core::SeedableRng;
    rand_chacha::ChaCha20Rng::seed_from_u64(5)
}
