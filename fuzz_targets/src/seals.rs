//! What the server has sealed and players show again: tickets of rooms, and reports of ports.

use std::cell::RefCell;

use arbitrary::{Arbitrary, Result, Unstructured};
use lobby_server::Server;
use lobby_server::fuzzing::ticket_seal;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::codec;
use traversal_core::wire::message::{RoomTerms, RoomTicket, SeatTerms, Topology};
use traversal_core::wire::port_report::{PortReport, ReportKey};

use crate::servers::{at, generous};

thread_local! {
    static SERVER: RefCell<Server> = RefCell::new(generous(false));
}

/// Two tickets, or two reports, are compared: one seal fits the other only if they say the same. A report that was
/// changed anywhere on its way is not genuine.
pub fn seals(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = if bool::arbitrary(&mut u).unwrap_or_default() { tickets(&mut u) } else { reports(&mut u) };
}

type Sealed = (String, String, String, RoomTicket, PlayerId);

fn ticket(u: &mut Unstructured<'_>) -> Result<Sealed> {
    let text = |u: &mut Unstructured<'_>| -> Result<String> {
        let length = u.int_in_range(0..=6)?;
        Ok(String::from_utf8_lossy(u.bytes(length)?).into_owned())
    };
    let ticket = RoomTicket {
        room: RoomId(u64::arbitrary(u)?),
        epoch: u32::arbitrary(u)?,
        host: PlayerId(Arbitrary::arbitrary(u)?),
        seal: [0; 16],
        generation: u32::arbitrary(u)?,
        until_s: u64::arbitrary(u)?,
        terms: RoomTerms {
            capacity: u16::arbitrary(u)?,
            public: bool::arbitrary(u)?,
            auto_allow: bool::arbitrary(u)?,
            migrate: bool::arbitrary(u)?,
            topology: if bool::arbitrary(u)? { Topology::Star } else { Topology::Mesh },
            password: bool::arbitrary(u)?,
            seats: SeatTerms {
                keep_seat_s: u16::arbitrary(u)?,
                spectators: u16::arbitrary(u)?,
                seat: bool::arbitrary(u)?,
            },
        },
    };
    Ok((text(u)?, text(u)?, text(u)?, ticket, PlayerId(Arbitrary::arbitrary(u)?)))
}

fn tickets(u: &mut Unstructured<'_>) -> Result<()> {
    let first = ticket(u)?;
    // Another one, or the same with one thing changed: texts that were cut elsewhere, a number, a term.
    let mut second = first.clone();
    match u.int_in_range(0..=12)? {
        0 => second = ticket(u)?,
        1 => second.0 = String::arbitrary(u)?,
        2 => {
            let all = [first.0.as_str(), &first.1, &first.2].concat();
            let cuts: Vec<usize> = all.char_indices().map(|(at, _)| at).chain([all.len()]).collect();
            let (one, other) = (*u.choose(&cuts)?, *u.choose(&cuts)?);
            let (start, end) = (one.min(other), one.max(other));
            (second.0, second.1, second.2) = (all[..start].into(), all[start..end].into(), all[end..].into());
        }
        3 => second.3.room = RoomId(u64::arbitrary(u)?),
        4 => second.3.epoch = u32::arbitrary(u)?,
        5 => second.3.generation = u32::arbitrary(u)?,
        6 => second.3.until_s = u64::arbitrary(u)?,
        7 => second.3.terms.capacity = u16::arbitrary(u)?,
        8 => second.3.terms.password ^= true,
        9 => second.3.terms.migrate ^= true,
        10 => std::mem::swap(&mut second.4, &mut second.3.host),
        11 => second.3.terms.auto_allow ^= true,
        _ => second.3.terms.public ^= true,
    }
    let seal = |(game, name, code, ticket, holder): &Sealed| {
        SERVER.with_borrow(|server| ticket_seal(server, [game, name, code], ticket, *holder).expect("a seal"))
    };
    assert_eq!(seal(&first) == seal(&second), first == second, "{first:?} {second:?}");
    // A ticket survives its way over the wire, seal and all.
    let sealed = RoomTicket { seal: seal(&first), ..first.3 };
    let written = codec::encode(&sealed).expect("a ticket fits");
    assert_eq!(codec::decode::<RoomTicket>(&written), Ok(sealed));
    Ok(())
}

fn reports(u: &mut Unstructured<'_>) -> Result<()> {
    let key = ReportKey::new([7; 32]);
    let (session, at_ms) = (u64::arbitrary(u)?, u64::arbitrary(u)?);
    let mut observed = at(if bool::arbitrary(u)? { "203.0.113.1:1" } else { "[2001:db8::7]:1" });
    observed.set_port(u16::arbitrary(u)?);
    let report = key.sign(session, at_ms, observed);
    assert!(key.is_genuine(session, &report));
    assert!(!ReportKey::new([8; 32]).is_genuine(session, &report));
    let other = u64::arbitrary(u)?;
    assert_eq!(key.is_genuine(other, &report), other == session, "a report is of one session");
    let mut written = codec::encode(&report).expect("a report fits");
    let index = u.choose_index(written.len())?;
    written[index] = u8::arbitrary(u)?;
    if let Ok(changed) = codec::decode::<PortReport>(&written) {
        assert_eq!(key.is_genuine(session, &changed), changed == report, "{changed:?}");
    }
    Ok(())
}
