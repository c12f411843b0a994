//! The lobby server's core against players who say anything, beside one who is honest.

mod world;

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use lobby_server::ServerSocketId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::ToPlayer;

use crate::messages::{player_frame, to_server};
use crate::mutation::damage;
use crate::servers::at;
use world::{PLAYERS, World};

/// One execution has at most this many steps: more would be another one.
const STEPS: usize = 64;

/// Three players say and send anything, whole, damaged and from forged addresses; time passes, the registry stops, players
/// fall silent and log in anew. No datagram has more bytes sent to addresses that nobody has proven than it had itself, and
/// no timer any; after a timer the next one is later; nothing grows; and the honest player, who hosts a room, is answered in
/// the end and still hosts it.
pub fn server(data: &[u8]) {
    let mut world = World::new();
    // What runs out ends the story, not the test of what it came to.
    let _ = run(&mut Unstructured::new(data), &mut world);
    world.check_end();
}

fn run(u: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    for _ in 0..STEPS {
        if u.is_empty() {
            break;
        }
        let evil = u.int_in_range(0..=PLAYERS - 2)?;
        step(u, world, evil)?;
        world.check();
    }
    Ok(())
}

fn step(u: &mut Unstructured<'_>, world: &mut World, evil: usize) -> Result<()> {
    match u.int_in_range(0..=15)? {
        0..=5 => {
            let message = to_server(u, &world.known)?;
            world.say(evil, message);
        }
        6 | 7 => {
            let frame = player_frame(u, &world.known)?;
            let kind = if bool::arbitrary(u)? { Kind::Probe } else { Kind::Control };
            let (from, socket) = way(u, world, evil)?;
            if let Some(datagram) = world.seal(evil, kind, &frame) {
                world.give(socket, from, datagram);
            }
        }
        8 => {
            let Some(recent) = world.recent(u)? else { return Ok(()) };
            let (mut datagram, (from, socket)) = (recent, way(u, world, evil)?);
            if u.ratio(3, 4)? {
                damage(u, &mut datagram)?;
            }
            world.give(socket, from, datagram);
        }
        9 => {
            let length = u.int_in_range(0..=120)?.min(u.len());
            let junk = u.bytes(length)?.to_vec();
            let (from, socket) = way(u, world, evil)?;
            world.give(socket, from, junk);
        }
        10 | 11 => {
            let ms = *u.choose(&[1, 50, 300, 1_000, 3_000, 12_000, 40_000])?;
            world.pass(Duration::from_millis(ms));
        }
        12 => relay(u, world, evil)?,
        13 => world.log_in_again(evil),
        14 => world.players[evil].deaf ^= true,
        _ => world.toggle_registry(),
    }
    Ok(())
}

/// Returns where a datagram comes from, and to which socket: the player's own addresses, as a rule.
fn way(
    u: &mut Unstructured<'_>,
    world: &World,
    evil: usize,
) -> Result<(std::net::SocketAddr, ServerSocketId)> {
    let own = world.players[evil].addresses;
    let from = match u.int_in_range(0..=5)? {
        0..=2 => own[0],
        3 => own[1],
        4 => own[2],
        _ => at(if bool::arbitrary(u)? { "192.0.2.99:53" } else { "[2001:db8::99]:53" }),
    };
    Ok((from, ServerSocketId(u.int_in_range(0..=9)?)))
}

/// Sends through the relay, by a token of somebody's or by none.
fn relay(u: &mut Unstructured<'_>, world: &mut World, evil: usize) -> Result<()> {
    let plans = world.players.iter().flat_map(|player| &player.told).filter_map(|told| match told {
        ToPlayer::Plan(plan) => Some((plan.match_id, plan.relay?.token)),
        ToPlayer::Relay { match_id, grant } => Some((*match_id, grant.token)),
        _ => None,
    });
    let plans: Vec<_> = plans.collect();
    if plans.is_empty() {
        return Ok(());
    }
    let (match_id, token) = *u.choose(&plans)?;
    let mut datagram = vec![Kind::Relay as u8];
    datagram.extend_from_slice(&token);
    datagram.push(Kind::Pair as u8);
    datagram.extend_from_slice(&match_id.0.to_le_bytes());
    datagram.resize(u.int_in_range(26..=1_500)?, 7);
    if u.ratio(1, 4)? {
        damage(u, &mut datagram)?;
    }
    let (from, socket) = way(u, world, evil)?;
    world.give(socket, from, datagram);
    Ok(())
}
