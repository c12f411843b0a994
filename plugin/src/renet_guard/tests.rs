//! The guard against the real renet: what passes never has it panic or write to the log, and what it makes always passes.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bevy_renet::renet::{ConnectionConfig, RenetClient, RenetServer};

use super::*;

const CLIENT: u64 = 1;
const UNRELIABLE: u8 = 0;
const UNORDERED: u8 = 1;
const ORDERED: u8 = 2;

/// Returns how many packets a test has: 200,000, or as many as `RENET_PACKETS` in the environment says.
fn packets() -> usize {
    std::env::var("RENET_PACKETS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000)
}

fn config() -> ConnectionConfig {
    ConnectionConfig::default()
}

fn guard() -> Guard {
    Guard::new(&config().client_channels_config)
}

fn host() -> RenetServer {
    let mut host = RenetServer::new(config());
    host.add_connection(CLIENT);
    host
}

thread_local! {
    static LINES: Cell<usize> = const { Cell::new(0) };
}

/// Counts what renet says at WARN and above, for each thread.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, about: &log::Metadata<'_>) -> bool {
        about.target().starts_with("renet") && about.level() <= log::Level::Warn
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with(|lines| lines.set(lines.get() + 1));
        }
    }
    fn flush(&self) {}
}

fn count_lines() {
    static LOGGER: Lines = Lines;
    // Another test may have set it.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Warn);
    LINES.with(|lines| lines.set(0));
}

/// Returns a packet as an attacker makes it: nearly right, so that most of it is looked at.
fn forged(random: &mut fastrand::Rng, sequence: u64) -> Vec<u8> {
    let mut bytes = [0; 4096];
    let mut packet = OctetsMut::with_slice(&mut bytes);
    let kind = [0, 1, 2, 3, 4, 0, 1, 2, 3, 2, 3, 5][random.usize(0..12)];
    let channel = match (random.u8(0..20), kind) {
        (0, _) => random.u8(0..4),
        (_, 0 | 2) => [UNORDERED, ORDERED][random.usize(0..2)],
        _ => UNRELIABLE,
    };
    let number = |random: &mut fastrand::Rng| match random.u8(0..30) {
        0 => random.u64(..(1 << 62)),
        1 => random.u64(..70_000),
        _ => random.u64(..8),
    };
    let mut put = || -> Result<(), BufferTooShortError> {
        packet.put_u8(kind)?;
        packet.put_varint(if random.u8(0..200) == 0 { number(random) } else { sequence })?;
        match kind {
            0 | 1 => {
                packet.put_u8(channel)?;
                let count = random.u16(0..4);
                packet.put_u16(count)?;
                for _ in 0..count {
                    if kind == 0 {
                        packet.put_varint(number(random))?;
                    }
                    let length = [0, 1, 30, 600][random.usize(0..4)];
                    packet.put_varint(length as u64)?;
                    packet.put_bytes(&[7; 600][..length])?;
                }
            }
            2 | 3 => {
                packet.put_u8(channel)?;
                // Most messages have as many slices whenever they are named.
                let message = number(random);
                packet.put_varint(message)?;
                let few = [2, 3, 5][message as usize % 3];
                let odd = [0, 1, 4, 2_184, 4_369, 1_000_000][random.usize(0..6)];
                let count = if random.u8(0..10) == 0 { odd } else { few };
                let last = u64::max(count, 1) - 1;
                let beyond = last + u64::from(random.u8(0..8) == 0);
                packet.put_varint([0, 1, 2, last, last, beyond][random.usize(0..6)])?;
                packet.put_varint(count)?;
                let odd = [0, 1, 1199, 1201][random.usize(0..4)];
                let length = if random.u8(0..10) == 0 { odd } else { 1200 };
                packet.put_varint(length as u64)?;
                packet.put_bytes(&[7; 1201][..length])?;
            }
            _ => {
                packet.put_varint(number(random))?;
                packet.put_varint(random.u64(..3))?;
                let further = random.u64(..4);
                packet.put_varint(further)?;
                for _ in 0..2 * further {
                    packet.put_varint(random.u64(..3))?;
                }
            }
        }
        Ok(())
    };
    put().unwrap();
    let length = packet.off();
    let mut packet = bytes[..length].to_vec();
    if random.u8(0..10) == 0 {
        let at = random.usize(0..packet.len());
        match random.u8(0..3) {
            0 => packet.truncate(at),
            1 => packet[at] = random.u8(..),
            _ => packet.insert(at, random.u8(..)),
        }
    }
    packet
}

#[test]
fn what_passes_never_has_renet_panic_or_write_to_the_log() {
    count_lines();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut passed, mut refused, mut connections, mut largest) = (0, 0, 0, 0);
    let mut left = packets();
    while left > 0 {
        connections += 1;
        let (mut host, mut guard, mut now) = (host(), guard(), Duration::ZERO);
        // Up or down, and with gaps.
        let (mut sequence, step) = (random.u64(10_000..20_000), random.i64(-3..4));
        for _ in 0..random.usize(1..2_000) {
            left = left.saturating_sub(1);
            sequence = sequence.saturating_add_signed(step);
            let packet = forged(&mut random, sequence);
            let verdict = guard.check(&packet, now);
            let given = match &verdict {
                Verdict::Pass => packet.clone(),
                Verdict::Instead(packet) => packet.clone(),
                Verdict::Drop => continue,
                Verdict::Refuse => {
                    refused += 1;
                    // Most attackers would be out: these go on, so that more is seen.
                    continue;
                }
            };
            passed += 1;
            let held = catch_unwind(AssertUnwindSafe(|| {
                host.process_packet_from(&given, CLIENT).unwrap();
                if random.u8(0..8) == 0 {
                    let frame = Duration::from_millis([1, 16, 700, 3_100][random.usize(0..4)]);
                    now += frame;
                    host.update(frame);
                    for channel in [UNRELIABLE, UNORDERED, ORDERED] {
                        while host.receive_message(CLIENT, channel).is_some() {}
                        host.send_message(CLIENT, channel, vec![1; [3, 3_000][random.usize(0..2)]]);
                    }
                    host.get_packets_to_send(CLIENT).unwrap();
                }
            }));
            assert!(held.is_ok(), "renet panics on {given:02x?} ({verdict:?} of {packet:02x?})");
            for channel in guard.channels.values() {
                if let Channel::Reliable(channel) = channel {
                    largest = largest.max(channel.ahead.len());
                    assert!(channel.claimed <= channel.memory);
                }
            }
            if !host.is_connected(CLIENT) {
                break;
            }
        }
    }
    println!("{passed} passed and {refused} refused in {connections} connections, {largest} messages ahead");
    assert!(passed > packets() / 5 && refused > packets() / 20, "{passed} passed, {refused} refused");
    assert_eq!(LINES.with(Cell::get), 0, "lines in the log");
}

#[test]
fn what_renet_makes_always_passes_whatever_the_network_does_to_its_order() {
    count_lines();
    let mut random = fastrand::Rng::with_seed(2);
    let mut left = packets() / 4;
    while left > 0 {
        let mut client = RenetClient::new(config());
        client.set_connected();
        let (mut host, mut guard, mut now) = (host(), guard(), Duration::ZERO);
        let (loss, again) = (random.f32() * 0.3, random.f32() * 0.2);
        let mut way: Vec<(Duration, Vec<u8>)> = Vec::new();
        let (mut sent, mut arrived) = ([0u32; 2], [Vec::new(), Vec::new()]);
        for tick in 0..600 {
            let frame = Duration::from_millis(random.u64(8..40));
            now += frame;
            client.update(frame);
            host.update(frame);
            for channel in [UNRELIABLE, UNORDERED, ORDERED] {
                for _ in 0..if tick < 400 { random.usize(0..3) } else { 0 } {
                    // renet warns its own game of long ones that are not reliable.
                    let longest = if channel == UNRELIABLE { 20_000 } else { 70_000 };
                    let sizes = [0, 1, 50, 1_190, 1_196, 1_200, 1_201, 2_400, 9_000, longest];
                    let size = sizes[random.usize(0..sizes.len())];
                    let mut message = vec![9; size];
                    if channel != UNRELIABLE {
                        let number = &mut sent[usize::from(channel) - 1];
                        message.extend_from_slice(&number.to_le_bytes());
                        *number += 1;
                    }
                    client.send_message(channel, message);
                }
            }
            for packet in client.get_packets_to_send() {
                let copies = usize::from(random.f32() >= loss) + usize::from(random.f32() < again);
                for _ in 0..copies {
                    way.push((now + Duration::from_millis(random.u64(10..300)), packet.clone()));
                }
            }
            let (due, later): (Vec<_>, Vec<_>) = way.into_iter().partition(|(at, _)| *at <= now);
            way = later;
            for (_, packet) in due {
                left = left.saturating_sub(1);
                match guard.check(&packet, now) {
                    Verdict::Pass => host.process_packet_from(&packet, CLIENT).unwrap(),
                    Verdict::Instead(packet) => host.process_packet_from(&packet, CLIENT).unwrap(),
                    other => panic!("{other:?}: {packet:02x?}"),
                }
            }
            assert!(host.is_connected(CLIENT), "{:?}", host.disconnect_reason(CLIENT));
            while host.receive_message(CLIENT, UNRELIABLE).is_some() {}
            for channel in [UNORDERED, ORDERED] {
                while let Some(message) = host.receive_message(CLIENT, channel) {
                    let number = message[message.len() - 4..].try_into().unwrap();
                    arrived[usize::from(channel) - 1].push(u32::from_le_bytes(number));
                }
            }
            for packet in host.get_packets_to_send(CLIENT).unwrap() {
                client.process_packet(&packet);
            }
        }
        let [mut unordered, ordered] = arrived;
        unordered.sort_unstable();
        assert_eq!(unordered, (0..sent[0]).collect::<Vec<_>>(), "each once");
        assert_eq!(ordered, (0..sent[1]).collect::<Vec<_>>(), "each once, in their order");
    }
    assert_eq!(LINES.with(Cell::get), 0, "lines in the log");
}

/// Returns a slice as it is on the wire.
fn slice(kind: u8, channel: u8, (message, index, count): (u64, u64, u64), length: usize) -> Vec<u8> {
    let mut bytes = [0; 1300];
    let mut packet = OctetsMut::with_slice(&mut bytes);
    packet.put_u8(kind).unwrap();
    packet.put_varint(message).unwrap();
    packet.put_u8(channel).unwrap();
    for number in [message, index, count, length as u64] {
        packet.put_varint(number).unwrap();
    }
    packet.put_bytes(&vec![7; length]).unwrap();
    let length = packet.off();
    bytes[..length].to_vec()
}

#[test]
fn renet_still_needs_its_guard() {
    // When one of these holds no longer, renet was mended: see what of the guard can go.
    let attacks = [
        vec![slice(2, ORDERED, (0, 2, 2), SLICE)],
        vec![slice(3, UNRELIABLE, (0, 9, 2), SLICE)],
        vec![slice(2, ORDERED, (0, 0, 2), SLICE), slice(2, ORDERED, (0, 3, 5), SLICE)],
        vec![slice(3, UNRELIABLE, (0, 0, 2), SLICE), slice(3, UNRELIABLE, (0, 3, 5), SLICE)],
    ];
    for attack in attacks {
        let mut host = host();
        let panics = catch_unwind(AssertUnwindSafe(|| {
            for packet in &attack {
                host.process_packet_from(packet, CLIENT).unwrap();
            }
        }));
        assert!(panics.is_err());
        let mut guard = guard();
        let verdicts: Vec<Verdict> =
            attack.iter().map(|packet| guard.check(packet, Duration::ZERO)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Refuse), "{verdicts:?}");
    }
}

#[test]
fn what_a_player_can_have_kept_is_bounded() {
    let now = Duration::ZERO;
    // Messages that wait for one that never comes, and parts of many large ones.
    let mut far = guard();
    let small = |message: u64| {
        let mut bytes = [0; 64];
        let mut packet = OctetsMut::with_slice(&mut bytes);
        packet.put_u8(0).unwrap();
        packet.put_varint(message).unwrap();
        packet.put_u8(ORDERED).unwrap();
        packet.put_u16(1).unwrap();
        packet.put_varint(message).unwrap();
        packet.put_varint(0).unwrap();
        let length = packet.off();
        bytes[..length].to_vec()
    };
    assert!((1..MESSAGES_AHEAD).all(|message| far.check(&small(message), now) == Verdict::Pass));
    assert_eq!(far.check(&small(MESSAGES_AHEAD), now), Verdict::Refuse);
    // An unreliable channel keeps room for whole messages, and gets it back when parts are forgotten.
    let mut full = guard();
    let verdicts: Vec<Verdict> =
        (0..20).map(|message| full.check(&slice(3, UNRELIABLE, (message, 0, 1_000), SLICE), now)).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 2);
    assert!(verdicts[2..].iter().all(|verdict| matches!(verdict, Verdict::Instead(_))));
    let later = slice(3, UNRELIABLE, (30, 0, 1_000), SLICE);
    assert_eq!(full.check(&later, now + FORGOTTEN), Verdict::Pass);
    // Packets that count down leave a gap each in renet's list of what it has heard.
    let mut down = guard();
    let newest = small(3 * PACKETS);
    let mut numbered = |sequence: u64| {
        let mut packet = newest.clone();
        packet.truncate(1);
        let mut bytes = [0; 8];
        let mut varint = OctetsMut::with_slice(&mut bytes);
        varint.put_varint(sequence).unwrap();
        let length = varint.off();
        packet.extend_from_slice(&bytes[..length]);
        packet.extend_from_slice(&[ORDERED, 0, 0]);
        down.check(&packet, now)
    };
    assert_eq!(numbered(3 * PACKETS), Verdict::Pass);
    assert_eq!(numbered(2 * PACKETS), Verdict::Pass);
    assert_eq!(numbered(2 * PACKETS - 1), Verdict::Drop);
}

#[test]
fn of_a_spectator_acknowledgements_alone_pass() {
    let (mut server, mut client) = (host(), RenetClient::new(config()));
    client.set_connected();
    let mut guard = guard().of_spectator();
    let (frame, mut now, mut seen) = (Duration::from_millis(16), Duration::ZERO, 0);
    for _ in 0..500 {
        now += frame;
        server.send_message(CLIENT, ORDERED, vec![7; 1000]);
        client.send_message(ORDERED, "noise");
        client.send_message(UNRELIABLE, vec![1; 3000]);
        server.update(frame);
        client.update(frame);
        for packet in server.get_packets_to_send(CLIENT).unwrap() {
            client.process_packet(&packet);
        }
        for packet in client.get_packets_to_send() {
            match guard.check(&packet, now) {
                Verdict::Pass => server.process_packet_from(&packet, CLIENT).unwrap(),
                verdict => assert_eq!(verdict, Verdict::Drop),
            }
        }
        seen += std::iter::from_fn(|| client.receive_message(ORDERED)).count();
        for channel in [UNRELIABLE, UNORDERED, ORDERED] {
            assert!(server.receive_message(CLIENT, channel).is_none());
        }
    }
    assert_eq!(seen, 500);
    // All of it is acknowledged, so nothing waits in renet's memory.
    assert!(server.can_send_message(CLIENT, ORDERED, 5 * 1024 * 1024 - 20_000));
}
