//! Who understands whom, and what is dropped.

use proptest::prelude::*;

use super::*;
use crate::Identity;

const SECRET: [u8; 32] = [9; 32];

/// Returns a player's lasting key and login key.
fn player(n: u8) -> [Identity; 2] {
    [Identity::from_secret([n; 32]), Identity::from_secret([n + 100; 32])]
}

/// Returns one side's channel; the other side's keys are what this side is told.
fn channel(own: &[Identity; 2], told: [[u8; 32]; 2], host: bool) -> Option<PairChannel> {
    let [identity, ephemeral] = own;
    let [peer_key, peer_ephemeral] = &told;
    let pair_secret = &SECRET;
    let keys = PairKeys { identity, ephemeral, peer_key, peer_ephemeral, pair_secret, hosting: host };
    PairChannel::new(MatchId(77), &keys)
}

fn public(keys: &[Identity; 2]) -> [[u8; 32]; 2] {
    [keys[0].public_key(), keys[1].public_key()]
}

fn pair() -> (PairChannel, PairChannel) {
    let (a, b) = (player(1), player(2));
    (channel(&a, public(&b), true).unwrap(), channel(&b, public(&a), false).unwrap())
}

fn understand(mut a: PairChannel, mut b: PairChannel) -> bool {
    let mut sealed = a.seal_data_on(0, b"hello").unwrap();
    let mut back = b.seal_data_on(0, b"hello").unwrap();
    let heard = [b.open(&mut sealed).is_ok(), a.open(&mut back).is_ok()];
    assert_eq!(heard[0], heard[1]);
    heard[0]
}

#[test]
fn a_server_that_lies_about_keys_or_roles_gets_them_no_channel() {
    let (a, b, liar) = (player(1), player(2), player(3));
    assert!(understand(channel(&a, public(&b), true).unwrap(), channel(&b, public(&a), false).unwrap()));
    // The server stands between: it knows the login key that it names, but not the lasting key of the id.
    let between = [b[0].public_key(), liar[1].public_key()];
    let victim = channel(&a, between, true).unwrap();
    for identity in [&liar[0], &liar[1]] {
        let keys = PairKeys {
            identity,
            ephemeral: &liar[1],
            peer_key: &a[0].public_key(),
            peer_ephemeral: &a[1].public_key(),
            pair_secret: &SECRET,
            hosting: false,
        };
        let mut best = PairChannel::new(MatchId(77), &keys).unwrap();
        let mut victim = channel(&a, between, true).unwrap();
        assert!(victim.open(&mut best.seal_data_on(0, b"trust me").unwrap()).is_err());
        assert!(!victim.is_proven());
    }
    // And it cannot hand on what it hears: the other side was told otherwise, too.
    let other = channel(&b, [a[0].public_key(), liar[1].public_key()], false).unwrap();
    assert!(!understand(victim, other));
    // Both host, or neither.
    for host in [true, false] {
        let sides = (channel(&a, public(&b), host).unwrap(), channel(&b, public(&a), host).unwrap());
        assert!(!understand(sides.0, sides.1), "both {host}");
    }
}

#[test]
fn ones_own_keys_are_refused() {
    let (a, b) = (player(1), player(2));
    assert!(channel(&a, public(&a), true).is_none());
    assert!(channel(&a, [b[0].public_key(), a[1].public_key()], true).is_none());
    assert!(channel(&a, [a[0].public_key(), b[1].public_key()], true).is_none());
}

#[test]
fn both_sides_have_the_same_code_and_exports_and_others_have_not() {
    let (host, guest) = pair();
    assert_eq!(host.code(), guest.code());
    assert!(host.code().len() == 29 && host.code().chars().all(|c| c == ' ' || c.is_ascii_digit()));
    assert_eq!(host.export(b"voice", b"1"), guest.export(b"voice", b"1"));
    let other = channel(&player(1), public(&player(3)), true).unwrap();
    let keys = [
        host.export(b"voice", b"1"),
        host.export(b"voice1", b""),
        host.export(b"voice", b"2"),
        other.export(b"voice", b"1"),
    ];
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert_ne!(host.code(), other.code());
}

#[test]
fn after_too_many_forgeries_a_key_opens_nothing_more() {
    let (mut host, mut guest) = pair();
    let mut sealed = host.seal_data_on(0, b"x").unwrap();
    let mut forged = sealed.clone();
    forged[20] ^= 1;
    guest.forged = FORGERIES - 1;
    assert_eq!(guest.open(&mut forged), Err(Dropped::NotAuthentic));
    assert_eq!(guest.open(&mut sealed), Err(Dropped::Limit));
}

#[test]
fn data_and_messages_cross_once() {
    let (mut host, mut guest) = pair();
    let sealed = host.seal_data_on(0, b"hello").unwrap();
    assert_eq!(sealed.len(), 5 + OVERHEAD);
    assert_eq!(match_of(&sealed), Some(MatchId(77)));
    assert_eq!(guest.read(&mut sealed.clone()), Some(Opened::Data(0, b"hello")));
    assert_eq!(host.read(&mut sealed.clone()), None, "not to this side");
    assert_eq!(guest.open(&mut sealed.clone()), Ok(Opened::Data(0, b"hello")));
    assert_eq!(guest.open(&mut sealed.clone()), Err(Dropped::Replayed));
    let test = PairMessage::Test { tag: 3, method: Method::Cone };
    let mut sealed = guest.seal_message(&test).unwrap();
    assert_eq!(host.open(&mut sealed), Ok(Opened::Message(test)));
    assert!(host.is_proven() && guest.is_proven());
}

#[test]
fn channels_are_told_apart_and_there_are_no_others() {
    let (mut host, mut guest) = pair();
    for channel in 0..CHANNELS {
        let mut sealed = host.seal_data_on(channel, &[channel]).unwrap();
        assert_eq!(sealed.len(), 1 + OVERHEAD);
        assert_eq!(guest.open(&mut sealed), Ok(Opened::Data(channel, &[channel])));
    }
    assert!(host.seal_data_on(CHANNELS, b"x").is_none());
    for tag in [3, CHANNEL, CHANNEL + CHANNELS, 255] {
        let mut sealed = host.seal(tag, b"x").unwrap();
        assert_eq!(guest.open(&mut sealed), Err(Dropped::Malformed), "{tag}");
    }
}

#[test]
fn own_datagrams_do_not_come_back_as_the_others() {
    let (mut host, _) = pair();
    let mut sealed = host.seal_data_on(0, b"echo").unwrap();
    assert_eq!(host.open(&mut sealed), Err(Dropped::NotAuthentic));
}

#[test]
fn a_key_that_contributes_nothing_is_refused() {
    let (a, b) = (player(1), player(2));
    assert!(channel(&a, [b[0].public_key(), [0; 32]], true).is_none());
    assert!(channel(&a, [[0; 32], b[1].public_key()], true).is_none());
}

#[test]
fn the_longest_payload_fits_behind_a_relay_header() {
    let (mut host, _) = pair();
    assert_eq!(
        host.seal_data_on(0, &[0; MAX_PAYLOAD]).unwrap().len() + crate::wire::RELAY_HEADER,
        MAX_DATAGRAM
    );
    assert!(host.seal_data_on(0, &[0; MAX_PAYLOAD + 1]).is_none());
}

proptest! {
    #[test]
    fn any_changed_byte_is_noticed(at in 0usize..40, flip in 1u8..) {
        let (mut host, mut guest) = pair();
        let mut sealed = host.seal_data_on(0, b"0123456").unwrap();
        let at = at % sealed.len();
        sealed[at] ^= flip;
        // The kind and the match are bound in as well.
        prop_assert!(guest.open(&mut sealed).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        let (mut host, _) = pair();
        prop_assert!(host.open(&mut bytes).is_err());
    }
}

/// Sends a payload by a way that takes so much: gives the number of datagrams, and what comes of them on the other
/// side.
fn cross(payload: &[u8], most: usize) -> (usize, Option<(u8, Vec<u8>)>) {
    let (mut host, mut guest) = pair();
    let sealed = host.seal_data_within(3, payload, most).unwrap();
    let (now, mut joiner) = (std::time::Instant::now(), Joiner::default());
    let mut whole = None;
    for mut datagram in sealed.clone() {
        assert!(datagram.len() <= most);
        let joined = match guest.open(&mut datagram).unwrap() {
            Opened::Data(channel, payload) => Some((channel, payload.to_vec())),
            Opened::Part(part) => joiner.take(now, &part),
            Opened::Message(message) => panic!("{message:?}"),
        };
        assert!(whole.is_none(), "once, and with the last part");
        whole = joined;
    }
    (sealed.len(), whole)
}

#[test]
fn what_does_not_fit_is_split_and_joined() {
    use crate::wire::RELAY_HEADER;
    use crate::wire::sizes::{FULL_DATAGRAM, LEAST_DATAGRAM};

    let payload: Vec<u8> = (0..MAX_PAYLOAD).map(|n| n as u8).collect();
    for length in [1, 513, 514, 515, 1166, 1167, 1200, 1277, 1322, MAX_PAYLOAD] {
        for most in [LEAST_DATAGRAM - RELAY_HEADER, LEAST_DATAGRAM, FULL_DATAGRAM, MAX_DATAGRAM] {
            let (parts, whole) = cross(&payload[..length], most);
            assert_eq!(whole, Some((3, payload[..length].to_vec())), "{length} by {most}");
            assert!(parts == 1 || length + OVERHEAD > most);
            assert!(parts <= if most >= FULL_DATAGRAM { 2 } else { 3 }, "{parts} for {length} by {most}");
        }
    }
    let (mut host, _) = pair();
    assert!(host.seal_data_within(0, &[0; MAX_PAYLOAD + 1], FULL_DATAGRAM).is_none());
    assert!(host.seal_data_within(CHANNELS, &[0; 1400], FULL_DATAGRAM).is_none());
    assert!(host.seal_data_within(0, &[0; 1400], OVERHEAD).is_none(), "no way is so narrow");
    assert!(host.seal_data_within(0, &[0; 1400], OVERHEAD + 20).is_none(), "nor so");
}

#[test]
fn what_is_no_part_is_malformed() {
    let (mut host, mut guest) = pair();
    for bytes in [
        &[3, 0, 0, 0, 2][..],            // Empty.
        &[CHANNELS, 0, 0, 0, 2, 1],      // No such channel.
        &[3, 0, 0, 2, 2, 1],             // The third of two.
        &[3, 0, 0, 0, 1, 1],             // The only one.
        &[3, 0, 0, 0, MAX_PARTS + 1, 1], // Too many.
        &[3, 0],
    ] {
        let mut sealed = host.seal(PART, bytes).unwrap();
        assert_eq!(guest.open(&mut sealed), Err(Dropped::Malformed), "{bytes:?}");
    }
}

#[test]
fn a_padded_test_is_as_long_as_told_and_says_the_same() {
    let (mut host, mut guest) = pair();
    let test = PairMessage::Test { tag: 3, method: Method::Cone };
    for (length, sealed_length) in
        [(0, OVERHEAD + ASKING), (1200, 1200), (MAX_DATAGRAM, MAX_DATAGRAM), (9000, MAX_DATAGRAM)]
    {
        let mut sealed = host.seal_test(3, Method::Cone, length).unwrap();
        assert_eq!(sealed.len(), sealed_length);
        assert_eq!(guest.open(&mut sealed), Ok(Opened::Message(test.clone())));
        let observed = "[2001:db8::1]:65535".parse().unwrap();
        let answer = PairMessage::Confirm { tag: u32::MAX, observed, test: Some(u32::MAX) };
        assert!(guest.seal_message(&answer).unwrap().len() <= sealed_length, "never more than came");
    }
}
