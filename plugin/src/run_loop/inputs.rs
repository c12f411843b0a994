//! What comes in: datagrams of the game, of the sockets and of the stream.

use std::sync::atomic::Ordering;
use std::time::Instant;

use traversal_core::{SocketId, StreamState};

use super::RunLoop;
use crate::queue::GameDatagram;
use crate::state::count;

/// One socket gets this many receive calls before the others, the timers and the app get their turn: with 8 buffers
/// each, a flood cannot starve them.
const RECEIVE_CALLS: usize = 16;
impl RunLoop {
    /// Hands a datagram of the game to the agent, if its connection still stands.
    pub(super) fn send(&mut self, now: Instant, datagram: &GameDatagram) {
        let counters = &self.shared.counters;
        let current = self.connections.get(&datagram.player).map(|connection| connection.generation);
        if current != Some(datagram.generation) {
            count(&counters.stale_dropped, 1);
        } else if self.agent.send_on(now, datagram.player, datagram.channel, &datagram.payload) {
            count(&counters.game_sent, 1);
        }
        self.drain(now);
    }

    /// Reads all sockets that have something, so much of each that none starves the others.
    pub(super) fn receive(&mut self) {
        let now = Instant::now();
        let ids: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| socket.is_readable(now)).map(|(id, _)| *id).collect();
        let Some(mut buffer) = self.buffer.take() else { return };
        for id in ids {
            for _ in 0..RECEIVE_CALLS {
                let now = Instant::now();
                // The agent may close it on any datagram.
                let socket = self.sockets.get_mut(&id).filter(|socket| socket.is_readable(now));
                let Some(socket) = socket else { break };
                if !socket.receive(now, &mut buffer, &self.shared.counters) {
                    continue;
                }
                let mut received = 0;
                for datagram in buffer.datagrams() {
                    received += 1;
                    self.agent.handle_datagram(now, id, datagram.from, datagram.payload);
                    self.drain(now);
                }
                count(&self.shared.counters.datagrams_received, received);
            }
            self.mend(Instant::now(), id);
        }
        self.buffer = Some(buffer);
        let discarded = self.agent.dropped().values().sum();
        self.shared.counters.discarded.store(discarded, Ordering::Relaxed);
    }

    /// Looks after the stream to the lobby server: finishes connecting, reads what came, notices its end.
    pub(super) fn receive_from_stream(&mut self) {
        let now = Instant::now();
        let Some(race) = &mut self.stream else { return };
        let mut datagrams = Vec::new();
        let mut result = race.turn(now, self.poll.registry());
        let (to, opened) = (race.to(), matches!(result, Ok(true)));
        if opened {
            self.tls_first = race.is_tls();
        }
        for _ in 0..RECEIVE_CALLS {
            let Some(stream) = race.stream().filter(|stream| result.is_ok() && stream.readable) else {
                break;
            };
            result = stream.receive(&mut datagrams, &self.shared.counters).map(|()| false);
        }
        if opened {
            self.agent.handle_stream(now, StreamState::Open);
            self.drain(now);
        }
        count(&self.shared.counters.datagrams_received, datagrams.len() as u64);
        for datagram in datagrams {
            self.agent.handle_datagram(now, SocketId::STREAM, to, &datagram);
            self.drain(now);
        }
        if let Err(error) = result {
            self.stream_broke(now, to, &error);
        }
    }
}
