//! A player's agent with a server and other players who mean harm.

mod stage;

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use traversal_core::wire::Kind;
use traversal_core::wire::message::Method;
use traversal_core::wire::pair::{Audience, PairMessage};
use traversal_core::{Command, NoPortMapping, PortMapping, SocketId, StreamState};

use crate::messages::{address, command_options, server_frame, text, to_player};
use crate::mutation::damage;
use stage::Stage;

/// One execution has at most this many steps: more would be another one.
const STEPS: usize = 48;

/// A server that has the right key says anything, players of its plans send anything, the game wants anything, sockets do
/// not open, time passes. Whoever is woken puts something out or asks for a later instant; nothing is sent to where nobody
/// is, by a socket that is not open, or more often than the caps allow; one input has a bounded output.
pub fn agent(data: &[u8]) {
    let mut stage = Stage::new();
    let _ = run(&mut Unstructured::new(data), &mut stage);
    stage.sleep(Duration::from_secs(2));
}

fn run(u: &mut Unstructured<'_>, stage: &mut Stage) -> Result<()> {
    for _ in 0..STEPS {
        if u.is_empty() {
            break;
        }
        step(u, stage)?;
        stage.drain();
    }
    Ok(())
}

fn step(u: &mut Unstructured<'_>, stage: &mut Stage) -> Result<()> {
    match u.int_in_range(0..=14)? {
        0..=4 => {
            let message = to_player(u, &stage.known)?;
            stage.say(message);
        }
        5 => {
            let frame = server_frame(u, &stage.known)?;
            let kind = if bool::arbitrary(u)? { Kind::Probe } else { Kind::Control };
            if let Some(datagram) = stage.seal(kind, &frame) {
                stage.give(socket(u, stage)?, stage.server_address(), datagram);
            }
        }
        6 => {
            let message = pair_message(u, stage)?;
            let payload = bool::arbitrary(u)?;
            let Some(mut datagram) = stage.seal_pair(u, payload.then_some(&[7; 20]), &message)? else {
                return Ok(());
            };
            if u.ratio(1, 8)? {
                damage(u, &mut datagram)?;
            }
            let from = address(u, &stage.known)?;
            stage.give(socket(u, stage)?, from, datagram);
        }
        7 => {
            let Some(mut datagram) = stage.recent(u)? else { return Ok(()) };
            damage(u, &mut datagram)?;
            let from = address(u, &stage.known)?;
            stage.give(socket(u, stage)?, from, datagram);
        }
        8 => {
            let length = u.int_in_range(0..=120)?.min(u.len());
            let junk = u.bytes(length)?.to_vec();
            let from = address(u, &stage.known)?;
            stage.give(socket(u, stage)?, from, junk);
        }
        9 | 10 => {
            let ms = *u.choose(&[1, 20, 100, 500, 1_000, 3_000, 6_000, 20_000])?;
            stage.sleep(Duration::from_millis(ms));
        }
        11 | 12 => {
            let command = command(u, stage)?;
            stage.command(command);
        }
        13 => {
            let state = if bool::arbitrary(u)? { StreamState::Open } else { StreamState::Closed };
            stage.stream(state);
        }
        _ => match u.int_in_range(0..=3)? {
            0 => stage.deaf ^= true,
            1 => stage.no_sockets ^= true,
            2 => stage.another_network(u8::arbitrary(u)?),
            _ => stage.play(u)?,
        },
    }
    Ok(())
}

fn socket(u: &mut Unstructured<'_>, stage: &Stage) -> Result<SocketId> {
    let open = stage.open_sockets();
    if u.ratio(1, 2)? || open.is_empty() { Ok(SocketId::MAIN) } else { Ok(*u.choose(&open)?) }
}

fn pair_message(u: &mut Unstructured<'_>, stage: &Stage) -> Result<PairMessage> {
    let tag = u32::from(u8::arbitrary(u)?);
    let from = stage.known.players[u.choose_index(stage.known.players.len())?].id;
    let number = u8::arbitrary(u)?.into();
    Ok(match u.int_in_range(0..=7)? {
        6 => {
            let audience = *u.choose(&[Audience::Room, Audience::Contact, Audience::Party])?;
            PairMessage::Chat { from, number, audience, text: text(u)? }
        }
        7 => PairMessage::ChatTaken { from, number, all: bool::arbitrary(u)? },
        0..=2 => PairMessage::Test { tag, method: *u.choose(&Method::ALL)? },
        3 => PairMessage::Confirm { tag, observed: address(u, &stage.known)?, test: Option::arbitrary(u)? },
        4 => PairMessage::Close { reason: text(u)? },
        _ => PairMessage::CloseAck,
    })
}

fn command(u: &mut Unstructured<'_>, stage: &Stage) -> Result<Command> {
    let player = stage.known.players[u.choose_index(stage.known.players.len())?].id;
    Ok(match u.int_in_range(0..=13)? {
        0 => Command::Connect(vec![stage.server_address(); u.int_in_range(0..=3)?]),
        1 => Command::Disconnect,
        2..=9 => command_options(u, &stage.known, player)?,
        10 => Command::ClosePeer { player, reason: text(u)? },
        11 => Command::LocalAddresses(
            (0..u.int_in_range(0..=3)?).map(|_| Ok(address(u, &stage.known)?.ip())).collect::<Result<_>>()?,
        ),
        12 if bool::arbitrary(u)? => Command::PortMapping(Err(NoPortMapping::NotNeeded)),
        12 => {
            let protocol = traversal_core::MappingProtocol::Upnp;
            let external_ip = Some(address(u, &stage.known)?.ip());
            Command::PortMapping(Ok(PortMapping { protocol, external_ip, external_port: u16::arbitrary(u)? }))
        }
        _ => Command::Router(None),
    })
}
