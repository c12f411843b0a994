//! Packets between aeronet's sessions and the channel.

use aeronet_io::Session;
use aeronet_io::packet::RecvPacket;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res};
use bevy_platform::time::Instant;
use bevy_traversal::{DatagramError, DatagramSocket, PlayerId};

use crate::sessions::Sessions;
use crate::{Dropped, TraversalSession};

/// At most this many packets may wait in `Session::recv`: more than come in one frame, and 6 MB at the most.
const UNREAD: usize = 4096;

/// Resource: the packets of all sessions come and go here.
#[derive(Resource)]
pub(crate) struct Channel(pub(crate) DatagramSocket);

/// This system runs in `PreUpdate`. It hands each packet to the session that it came for.
pub(crate) fn receive(
    channel: Res<Channel>,
    sessions: Res<Sessions>,
    mut known: Query<(&mut Session, &mut Dropped)>,
) {
    let recv_at = Instant::now();
    // What the game does not want any more, it has closed a moment ago.
    while let Some(datagram) = channel.0.receive() {
        let entity = sessions.of(datagram.player);
        let Some((mut session, mut dropped)) = entity.and_then(|entity| known.get_mut(entity).ok()) else {
            continue;
        };
        if session.recv.len() >= UNREAD {
            dropped.unread += 1;
            continue;
        }
        session.stats.packets_recv += 1;
        session.stats.bytes_recv += datagram.payload.len();
        session.recv.push(RecvPacket { recv_at, payload: datagram.payload.into() });
    }
}

/// This system runs in `PostUpdate`. It takes the packets of all sessions, in turn, so that one with many leaves room
/// for the others.
pub(crate) fn send(
    channel: Res<Channel>,
    mut sessions: Query<(&TraversalSession, &mut Session, &mut Dropped)>,
) {
    let longest = sessions.iter().map(|(_, session, _)| session.send.len()).max().unwrap_or(0);
    for turn in 0..longest {
        for (to, mut session, mut dropped) in &mut sessions {
            if turn < session.send.len() {
                send_one(&channel, to.player, &mut session, &mut dropped, turn);
            }
        }
    }
    if longest > 0 {
        sessions.iter_mut().for_each(|(_, mut session, _)| session.send.clear());
    }
}

/// Takes the packets of a session that is about to end.
pub(crate) fn send_last(channel: &Channel, to: PlayerId, session: &mut Session, dropped: &mut Dropped) {
    for turn in 0..session.send.len() {
        send_one(channel, to, session, dropped, turn);
    }
    session.send.clear();
}

fn send_one(channel: &Channel, to: PlayerId, session: &mut Session, dropped: &mut Dropped, index: usize) {
    let length = session.send[index].len();
    match channel.0.send(to, session.send[index].to_vec()) {
        Ok(()) => {
            session.stats.packets_sent += 1;
            session.stats.bytes_sent += length;
        }
        Err(DatagramError::TooLong { .. }) => dropped.too_long += 1,
        Err(_) => dropped.full += 1,
    }
}
