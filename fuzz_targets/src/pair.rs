//! The sealed channel between two players, with somebody between them.

use std::hash::{DefaultHasher, Hash, Hasher};

use arbitrary::{Arbitrary, Result, Unstructured};
use traversal_core::Identity;
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::text;
use traversal_core::wire::message::{MAX_REASON, Method};
use traversal_core::wire::pair::{
    CHANNELS, MAX_PARTS, MAX_PAYLOAD, OVERHEAD, Opened, PairChannel, PairKeys, PairMessage, match_of,
};
use traversal_core::wire::sizes::LEAST_DATAGRAM;
use traversal_core::wire::{Dropped, MAX_DATAGRAM};

use crate::mutation::damage;
use crate::servers::at;

const MATCH: MatchId = MatchId(77);

/// This is what was sealed, to be compared with what comes out.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Data(u8, Vec<u8>),
    /// This is a part of a game datagram: its channel, which part of how many it is, and its bytes.
    Part(u8, (u8, u8), Vec<u8>),
    Message(PairMessage),
}

/// This is a datagram on its way.
struct Sent {
    by: usize,
    datagram: Vec<u8>,
    said: Said,
    taken: bool,
}

/// Two players seal, and somebody between them delivers, damages, repeats and reflects: each side takes what the other one
/// sealed, as it was sealed, once, and nothing else.
pub fn pair(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data), channels(data));
}

/// The keys are others for each input: what a fuzzer has learnt from an earlier one is junk for this one.
fn channels(data: &[u8]) -> [PairChannel; 2] {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let mut pair_secret = [9; 32];
    pair_secret[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    let keys_of = |n: u8| [Identity::from_secret([n; 32]), Identity::from_secret([n + 100; 32])];
    let (a, b) = (keys_of(1), keys_of(2));
    let channel = |own: &[Identity; 2], other: &[Identity; 2], host| {
        let keys = PairKeys {
            identity: &own[0],
            ephemeral: &own[1],
            peer_key: &other[0].public_key(),
            peer_ephemeral: &other[1].public_key(),
            pair_secret: &pair_secret,
            hosting: host,
        };
        PairChannel::new(MATCH, &keys).expect("keys of two players")
    };
    [channel(&a, &b, true), channel(&b, &a, false)]
}

fn run(u: &mut Unstructured<'_>, mut sides: [PairChannel; 2]) -> Result<()> {
    let mut sent: Vec<Sent> = Vec::new();
    while !u.is_empty() {
        let by = usize::from(bool::arbitrary(u)?);
        match u.int_in_range(0..=4)? {
            0 | 1 => seal(u, &mut sides[by], by, &mut sent)?,
            2 if !sent.is_empty() => {
                let index = u.choose_index(sent.len())?;
                deliver(&mut sides, &mut sent[index]);
            }
            3 if !sent.is_empty() => {
                let index = u.choose_index(sent.len())?;
                let mut datagram = sent[index].datagram.clone();
                damage(u, &mut datagram)?;
                if sent.iter().all(|sent| sent.datagram != datagram) {
                    assert!(sides[by].open(&mut datagram).is_err(), "what is damaged does not open");
                }
            }
            4 if !sent.is_empty() => {
                let sent = u.choose(&sent)?;
                let reflected = sides[sent.by].open(&mut sent.datagram.clone()).is_err();
                assert!(reflected, "what a side sealed itself does not open there");
            }
            _ => {
                let length = u.int_in_range(0..=200)?;
                let mut junk = u.bytes(length)?.to_vec();
                assert!(sides[by].open(&mut junk).is_err(), "junk does not open");
            }
        }
        if sent.len() >= 256 {
            break;
        }
    }
    // Whatever was between them: what comes through as it was sealed is taken.
    for sent in &mut sent {
        deliver(&mut sides, sent);
    }
    assert_eq!(sides[0].code(), sides[1].code());
    Ok(())
}

fn seal(u: &mut Unstructured<'_>, side: &mut PairChannel, by: usize, sent: &mut Vec<Sent>) -> Result<()> {
    let (datagram, said) = if bool::arbitrary(u)? {
        let channel = u.int_in_range(0..=CHANNELS)?;
        // Around the limit or short; what is in it matters little.
        let length =
            if u.ratio(1, 8)? { MAX_PAYLOAD - 2 + u.int_in_range(0..=4)? } else { u.int_in_range(0..=40)? };
        let byte = u8::arbitrary(u)?;
        let payload = vec![byte; length];
        if length > 40 && byte % 2 == 1 {
            // By a way that takes between the least and the most.
            let most = LEAST_DATAGRAM + usize::from(byte) * (MAX_DATAGRAM - LEAST_DATAGRAM) / 256;
            return seal_parts(side, by, sent, (channel, &payload), most);
        }
        let fits = channel < CHANNELS && length <= MAX_PAYLOAD;
        let Some(datagram) = side.seal_data_on(channel, &payload) else {
            assert!(!fits, "what fits is sealed");
            return Ok(());
        };
        assert!(fits, "what does not fit is not sealed");
        assert_eq!(datagram.len(), payload.len() + OVERHEAD);
        (datagram, Said::Data(channel, payload))
    } else {
        let message = message(u)?;
        let Some(datagram) = side.seal_message(&message) else { return Ok(()) };
        (datagram, Said::Message(message))
    };
    assert!(datagram.len() <= MAX_DATAGRAM);
    assert_eq!(match_of(&datagram), Some(MATCH));
    sent.push(Sent { by, datagram, said, taken: false });
    Ok(())
}

fn seal_parts(
    side: &mut PairChannel,
    by: usize,
    sent: &mut Vec<Sent>,
    (channel, payload): (u8, &[u8]),
    most: usize,
) -> Result<()> {
    let fits = channel < CHANNELS && payload.len() <= MAX_PAYLOAD;
    let parts = side.seal_data_within(channel, payload, most).unwrap_or_default();
    assert_eq!(parts.is_empty(), !fits);
    let count = parts.len();
    assert!(count <= usize::from(MAX_PARTS) && parts.iter().all(|part| part.len() <= most));
    let mut rest = payload;
    for (datagram, index) in parts.into_iter().zip(0..) {
        let said = if count == 1 {
            Said::Data(channel, payload.to_vec())
        } else {
            let even = payload.len().div_ceil(count).min(rest.len());
            let (content, after) = rest.split_at(even);
            rest = after;
            Said::Part(channel, (index, count as u8), content.to_vec())
        };
        sent.push(Sent { by, datagram, said, taken: false });
    }
    Ok(())
}

fn message(u: &mut Unstructured<'_>) -> Result<PairMessage> {
    let tag = u32::arbitrary(u)?;
    Ok(match u.int_in_range(0..=4)? {
        4 => {
            let (from, number) = (PlayerId([u8::arbitrary(u)?; 16]), u64::arbitrary(u)?);
            PairMessage::ChatTaken { from, number, all: bool::arbitrary(u)? }
        }
        0 => PairMessage::Test { tag, method: *u.choose(&Method::ALL)? },
        1 => {
            let observed = at(if bool::arbitrary(u)? { "192.0.2.1:9" } else { "[2001:db8::1]:65535" });
            PairMessage::Confirm { tag, observed, test: Option::arbitrary(u)? }
        }
        2 => PairMessage::Close { reason: "x".repeat(u.int_in_range(0..=2 * MAX_REASON)?) },
        _ => PairMessage::CloseAck,
    })
}

/// Delivers a datagram as it was sealed: it opens, the first time.
fn deliver(sides: &mut [PairChannel; 2], sent: &mut Sent) {
    let mut datagram = sent.datagram.clone();
    let opened = sides[1 - sent.by].open(&mut datagram);
    if sent.taken {
        assert_eq!(opened, Err(Dropped::Replayed), "nothing is taken twice");
        return;
    }
    sent.taken = true;
    match (opened, &sent.said) {
        (Ok(Opened::Data(channel, payload)), Said::Data(said_on, said)) => {
            assert_eq!((channel, payload), (*said_on, said.as_slice()));
        }
        (Ok(Opened::Part(part)), Said::Part(channel, numbers, said)) => {
            assert_eq!((part.channel, (part.index, part.count)), (*channel, *numbers));
            assert_eq!(part.content, said.as_slice());
        }
        // A reason is cut to what may be shown.
        (
            Ok(Opened::Message(PairMessage::Close { reason })),
            Said::Message(PairMessage::Close { reason: said }),
        ) => {
            assert_eq!(reason, text::REASON.clean(said));
            assert!(reason.len() <= MAX_REASON);
        }
        (Ok(Opened::Message(message)), Said::Message(said)) => assert_eq!(message, *said),
        other => panic!("{other:?}"),
    }
}
