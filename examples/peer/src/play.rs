//! The game: numbered messages on an unreliable and a reliable-ordered channel.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_renet::renet::{Bytes, DefaultChannel};
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::{CurrentRoom, PlayerId, PlayerInfo};
use headless::{Output, ms, rounded};
use serde_json::{Value, json};

use crate::seats::SeatFlags;
use crate::session::Session;

/// This is what passed between this player and another.
#[derive(Debug, Default)]
struct Score {
    name: String,
    client_id: u64,
    path: &'static str,
    live: bool,
    /// renet has its connection.
    in_game: bool,
    sent: u64,
    received: u64,
    /// This is the number of the next unreliable message of this connection.
    unreliable: u64,
    next: u64,
    expected: u64,
    reliable_in_order: bool,
    /// The other side says that it has sent so many reliable messages, once it sends no more.
    promised: Option<u64>,
    /// The other side has all that were sent from here.
    delivered: bool,
    /// This says what was said of it: the number of the last word.
    said: Option<u64>,
    heard: [bool; 2],
    /// These count over all connections: how many there were, and reliable messages sent, received, and not in their
    /// order.
    connections: u64,
    all_sent: u64,
    all_received: u64,
    disordered: u64,
    /// It was told that nothing comes.
    silent: bool,
    rtt_ms: Option<f64>,
    /// This is when the last message came; `longest_silence` is the longest time between two.
    last: Option<Instant>,
    longest_silence: Duration,
}

/// This resource keeps all that passed.
#[derive(Resource, Debug, Default)]
pub(crate) struct Scores {
    players: BTreeMap<PlayerId, Score>,
    sending_since: Option<Instant>,
    /// So many messages went to each player so far, by channel.
    rounds: [u64; 2],
    /// No more messages begin: only what was sent is still to arrive.
    closing: bool,
}

impl Scores {
    pub(crate) fn connected(&mut self, peer: &PlayerInfo, client_id: u64, path: &'static str) {
        let score = self
            .players
            .entry(peer.id)
            .or_insert_with(|| Score { reliable_in_order: true, ..Score::default() });
        score.name.clone_from(&peer.name);
        score.connections += 1;
        (score.client_id, score.path, score.live, score.in_game) = (client_id, path, true, false);
        (score.unreliable, score.next, score.expected) = (0, 0, 0);
        (score.promised, score.delivered, score.said) = (None, false, None);
    }

    pub(crate) fn disconnected(&mut self, player: PlayerId) {
        if let Some(score) = self.players.get_mut(&player) {
            (score.live, score.in_game) = (false, false);
        }
    }

    pub(crate) fn path(&mut self, player: PlayerId, path: &'static str) {
        if let Some(score) = self.players.get_mut(&player) {
            score.path = path;
        }
    }

    pub(crate) fn summaries(&self, discarded: u64) -> impl Iterator<Item = Value> + '_ {
        self.players.values().map(move |score| {
            json!({
                "peer": score.name,
                "path": score.path,
                "sent": score.sent,
                "received": score.received,
                "reliable_in_order": score.reliable_in_order,
                "reliable_sent": score.next,
                "reliable_received": score.expected,
                "rtt_ms": score.rtt_ms,
                "longest_silence_ms": ms(score.longest_silence),
                "connections": score.connections,
                "all_reliable_sent": score.all_sent,
                "all_reliable_received": score.all_received,
                "reliable_disordered": score.disordered,
                "discarded": discarded,
            })
        })
    }

    /// Sends nothing more; true when all that was sent has arrived, as far as anybody is there to say so.
    pub(crate) fn close(&mut self) -> bool {
        self.closing = true;
        self.players.values().all(|score| !score.live || (score.is_complete() && score.delivered))
    }

    /// Some reliable messages are missing.
    pub(crate) fn missing(&self) -> Option<String> {
        let score = self.players.values().find(|score| !score.is_complete())?;
        let promised = score.promised.map_or_else(|| "an unknown number".into(), |number| number.to_string());
        Some(format!("{} of {promised} reliable messages came from {}", score.expected, score.name))
    }

    /// Returns why this was no success.
    pub(crate) fn problem(&self, expected: usize, relay: bool) -> Option<String> {
        let heard = self.players.values().filter(|score| score.received > 0).count();
        if heard < expected {
            return Some(format!("messages came from {heard} of {expected} expected players"));
        }
        if let Some(score) = self.players.values().find(|score| !score.reliable_in_order) {
            return Some(format!("reliable messages of {} came out of order", score.name));
        }
        let other = |score: &&Score| relay && score.received > 0 && score.path != "relay";
        let score = self.players.values().find(other)?;
        Some(format!("the path to {} is {}, not the relay", score.name, score.path))
    }
}

fn channels() -> [(u8, &'static str); 2] {
    [(DefaultChannel::Unreliable.into(), "unreliable"), (DefaultChannel::ReliableOrdered.into(), "reliable")]
}
/// The reliable channel has this place.
const RELIABLE: usize = 1;

/// This is renet's connection to one player: the server's to the client `id`, or the client's to its host.
struct Connection<'a> {
    id: u64,
    server: Option<&'a mut RenetServer>,
    client: Option<&'a mut RenetClient>,
}

impl Connection<'_> {
    fn is_connected(&self) -> bool {
        match (&self.server, &self.client) {
            (Some(server), _) => server.is_connected(self.id),
            (None, Some(client)) => client.is_connected(),
            (None, None) => false,
        }
    }

    fn receive(&mut self, channel: u8) -> Option<Bytes> {
        match (&mut self.server, &mut self.client) {
            (Some(server), _) => server.receive_message(self.id, channel),
            (None, Some(client)) => client.receive_message(channel),
            (None, None) => None,
        }
    }

    /// Sends it if the channel has room. A side that does not take its reliable messages fills the channel; renet would
    /// disconnect.
    fn send(&mut self, channel: u8, message: Bytes) -> bool {
        match (&mut self.server, &mut self.client) {
            (Some(server), _) if server.can_send_message(self.id, channel, message.len()) => {
                server.send_message(self.id, channel, message);
                true
            }
            (None, Some(client)) if client.can_send_message(channel, message.len()) => {
                client.send_message(channel, message);
                true
            }
            _ => false,
        }
    }

    fn rtt(&self) -> f64 {
        match (&self.server, &self.client) {
            (Some(server), _) => server.rtt(self.id),
            (None, Some(client)) => client.rtt(),
            (None, None) => 0.0,
        }
    }
}

/// Sends what is due and counts what came.
pub(crate) fn play(
    mut session: ResMut<Session>,
    mut scores: ResMut<Scores>,
    output: Res<Output>,
    mut server: Option<ResMut<RenetServer>>,
    mut client: Option<ResMut<RenetClient>>,
    (room, seats): (Res<CurrentRoom>, Res<SeatFlags>),
) {
    // Whoever only watches is not heard, so it says nothing.
    let silent = room.spectating && !seats.speaks();
    let Some((rates, size)) = session
        .game
        .as_ref()
        .map(|game| ([game.rate, game.reliable_rate.unwrap_or(game.rate)], game.size as usize))
    else {
        return;
    };
    let (due, closing) = (if silent { [0, 0] } else { scores.due(rates) }, scores.closing);
    if !closing {
        scores.players.values_mut().for_each(|score| score.tell_silence(&output));
    }
    for score in scores.players.values_mut().filter(|score| score.live) {
        let (server, client) = (server.as_deref_mut(), client.as_deref_mut());
        let mut connection = Connection { id: score.client_id, server, client };
        if !connection.is_connected() {
            continue;
        }
        if !score.in_game {
            score.in_game = true;
            session.connected_at.get_or_insert_with(Instant::now);
            output.event("game_connected", json!({"peer": score.name}));
        }
        for (index, (channel, name)) in channels().into_iter().enumerate() {
            while let Some(message) = connection.receive(channel) {
                score.heard(&output, index, name, &message);
            }
        }
        score.send(&mut connection, due, size);
        if let Some(word) = score.last_word().filter(|_| closing) {
            let message = [word.to_le_bytes(), score.next.to_le_bytes()].concat();
            if connection.send(channels()[RELIABLE].0, message.into()) {
                score.said = Some(word);
            }
        }
        let rtt = connection.rtt();
        if rtt > 0.0 {
            score.rtt_ms = Some(rounded(rtt * 1000.0));
        }
    }
}

impl Scores {
    /// Returns how many messages each player gets in this frame, by channel.
    fn due(&mut self, rates: [f64; 2]) -> [u64; 2] {
        let now = Instant::now();
        if self.closing {
            return [0, 0];
        }
        if !self.players.values().any(|score| score.in_game) {
            self.sending_since = None;
            return [0, 0];
        }
        let since = *self.sending_since.get_or_insert_with(|| {
            self.rounds = [0, 0];
            now
        });
        let mut due = [0, 0];
        for ((rate, rounds), due) in rates.into_iter().zip(&mut self.rounds).zip(&mut due) {
            let total = 1 + (now.duration_since(since).as_secs_f64() * rate.max(0.0)) as u64;
            // After a stop, not everything at once.
            *due = total.saturating_sub(*rounds).min(1 + rate as u64 / 10);
            *rounds = total;
        }
        due
    }
}

/// A silence of this length is told: messages come many times a second.
const SILENCE: Duration = Duration::from_millis(500);

/// This stands in place of a message's number, and says how many reliable ones there were, and that all of the other
/// side's have come.
const PROMISED: u64 = u64::MAX;
const DELIVERED: u64 = u64::MAX - 1;

impl Score {
    /// Nothing comes from a player that something came from.
    fn tell_silence(&mut self, output: &Output) {
        let Some(silence) = self.last.map(|last| last.elapsed()).filter(|silence| *silence >= SILENCE) else {
            return;
        };
        if !std::mem::replace(&mut self.silent, true) {
            output.event("silence_began", json!({"peer": self.name, "ms": ms(silence)}));
        }
    }

    /// All reliable messages of the other side have come.
    fn is_complete(&self) -> bool {
        self.promised == Some(self.expected)
    }

    /// Returns what is to be said at the end and was not said yet: first how many there were, then that all have
    /// come.
    fn last_word(&self) -> Option<u64> {
        match self.said {
            None => Some(PROMISED),
            Some(PROMISED) if self.is_complete() => Some(DELIVERED),
            Some(_) => None,
        }
    }

    /// Sends so many messages of `size` bytes, by channel.
    fn send(&mut self, connection: &mut Connection, due: [u64; 2], size: usize) {
        for (index, (channel, _)) in channels().into_iter().enumerate() {
            for _ in 0..due[index] {
                let number = if index == RELIABLE { self.next } else { self.unreliable };
                let sent = u64::from(connection.send(channel, message(number, size)));
                self.sent += sent;
                if index == RELIABLE {
                    self.next += sent;
                    self.all_sent += sent;
                } else {
                    self.unreliable += sent;
                }
            }
        }
    }

    fn heard(&mut self, output: &Output, index: usize, channel: &str, message: &[u8]) {
        let Some(number) = message.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else { return };
        if index == RELIABLE && matches!(number, PROMISED | DELIVERED) {
            let count = message.last_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            match number {
                DELIVERED => self.delivered = true,
                _ => self.promised = count,
            }
            return;
        }
        self.received += 1;
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.longest_silence = self.longest_silence.max(now - last);
            if std::mem::take(&mut self.silent) {
                output.event("silence_over", json!({"peer": self.name, "ms": ms(now - last)}));
            }
        }
        if index == RELIABLE {
            self.all_received += 1;
            self.disordered += u64::from(number != self.expected);
            self.reliable_in_order &= number == self.expected;
            self.expected = number + 1;
        }
        if let Some(heard) = self.heard.get_mut(index)
            && !std::mem::replace(heard, true)
        {
            output.event("game_message", json!({"peer": self.name, "channel": channel, "n": number}));
        }
    }
}

fn message(number: u64, size: usize) -> Bytes {
    let mut message = vec![0; size.max(8)];
    if let Some(start) = message.first_chunk_mut() {
        *start = number.to_le_bytes();
    }
    message.into()
}
