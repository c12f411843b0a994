//! The host: the one true world, fed with everybody's inputs.

mod seen;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bevy::math::Vec2;

use super::EventLog;
use crate::network::Joining;
use crate::protocol::{self, ClientMessage, GAME_PROTOCOL, HostMessage, encode};
use crate::sim::{GameEvent, Input, Phase, PlayerSlot, Rules, Simulation, TICK_HZ};

/// Steps between two snapshots: 30 a second.
const SNAPSHOT_EVERY: u32 = 2;
/// Inputs kept for a player at the most: 0.4 s.
const QUEUE: usize = 24;
/// Above so many waiting inputs two are applied in a step, to catch up after a hiccup of the network.
const BACKLOG: usize = 3;
/// Steps that a player may be ahead of the clock: bounds what a dishonest client gains by sending more inputs.
const CREDIT: u32 = 24;
/// After so many steps without any input a player is let go on with the last one, trigger off.
const STARVED: u32 = 12;

/// Steps that a player is waited for after a change of the host: longer than an attempt to connect takes.
const AWAITED: u32 = 12 * TICK_HZ;

/// This is a message to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// This is the receiver's client id in renet.
    pub client: u64,
    /// Must arrive, in order.
    pub reliable: bool,
    /// This is the message as bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Seat {
    player: PlayerSlot,
    queue: VecDeque<Input>,
    newest: u32,
    last: Input,
    starved: u32,
    credit: u32,
}

/// The match as its host runs it.
#[derive(Debug)]
pub struct HostGame {
    /// This is the simulation that counts.
    pub world: Simulation,
    /// This keeps all events so far.
    pub log: EventLog,
    /// So many messages could not be read.
    pub malformed: u32,
    local: Option<PlayerSlot>,
    /// This is renet's client id for the host's own player.
    own: Option<u64>,
    local_seq: u32,
    seats: BTreeMap<u64, Seat>,
    /// These clients watch.
    watchers: BTreeSet<u64>,
    /// Players whose clients are on their way here, after a change of the host, and how long they are waited for.
    awaited: BTreeMap<u64, (PlayerSlot, u32)>,
    before: BTreeMap<PlayerSlot, Vec2>,
    joinings: BTreeMap<u64, Joining>,
    /// These players are ready for a match.
    ready: BTreeSet<PlayerSlot>,
    next_event: u32,
    fresh: Vec<GameEvent>,
    outbox: Vec<Outgoing>,
}

impl HostGame {
    /// Returns a new match; where a name is given, the host plays too.
    pub fn new(rules: Rules, seed: u64, local: Option<&str>) -> Self {
        Self::dressed(rules, seed, local, None)
    }

    /// Returns a new match, in which the host's own player wishes a number, and so a colour.
    pub fn dressed(rules: Rules, seed: u64, local: Option<&str>, wish: Option<PlayerSlot>) -> Self {
        let mut world = Simulation::new(rules, seed);
        let local = local.and_then(|name| world.join_as(name, wish));
        let mut game = Self {
            world,
            log: EventLog::default(),
            malformed: 0,
            local,
            own: None,
            local_seq: 0,
            seats: BTreeMap::new(),
            watchers: BTreeSet::new(),
            awaited: BTreeMap::new(),
            before: BTreeMap::new(),
            joinings: BTreeMap::new(),
            ready: BTreeSet::new(),
            next_event: 0,
            fresh: Vec::new(),
            outbox: Vec::new(),
        };
        game.publish();
        game
    }

    /// Returns a match that another host began: `seats` are the players of those who are on their way here.
    pub fn resumed(
        world: Simulation,
        (own, local): (u64, PlayerSlot),
        seats: BTreeMap<u64, PlayerSlot>,
        log: EventLog,
    ) -> Self {
        let mut game = Self::new(world.rules, 0, None);
        game.next_event = log.next.unwrap_or(0);
        (game.world, game.log, game.local, game.own) = (world, log, Some(local), Some(own));
        game.awaited = seats.into_iter().map(|(client, slot)| (client, (slot, AWAITED))).collect();
        game.publish();
        game
    }

    /// Tells the others by which name renet knows the host's own player.
    pub fn known_as(mut self, own: Option<u64>) -> Self {
        self.own = own;
        self
    }

    /// A player is ready for a match, or no longer. The first match is begun by the host; when all want another one, it begins.
    pub fn set_ready(&mut self, player: PlayerSlot, ready: bool) {
        if !matches!(self.world.phase, Phase::Lobby | Phase::MatchOver { .. }) {
            return;
        }
        if ready {
            self.ready.insert(player);
        } else {
            self.ready.remove(&player);
        }
        let all = self.world.players.keys().all(|player| self.ready.contains(player));
        if all && matches!(self.world.phase, Phase::MatchOver { .. }) {
            self.begin();
        }
    }

    /// Returns the number of the host's own player, if the host plays.
    pub fn local(&self) -> Option<PlayerSlot> {
        self.local
    }

    /// Returns the player who sits behind a connection.
    pub fn player_of(&self, client: u64) -> Option<PlayerSlot> {
        self.seats.get(&client).map(|seat| seat.player)
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, client: u64) {
        if let Some(seat) = self.seats.remove(&client) {
            self.world.leave(seat.player);
            self.publish();
            self.tell_seats();
        }
    }

    /// A reliable message came.
    pub fn reliable(&mut self, client: u64, bytes: &[u8]) {
        let (protocol, name, wish) = match protocol::read_client_message(bytes) {
            Some(ClientMessage::Hello { protocol, name, wish }) => (protocol, name, wish),
            Some(ClientMessage::Ready(ready)) => {
                if let Some(player) = self.player_of(client) {
                    self.set_ready(player, ready);
                }
                return;
            }
            None => {
                self.malformed += 1;
                return;
            }
        };
        if self.seats.contains_key(&client) {
            return;
        }
        if protocol != GAME_PROTOCOL {
            let reason = format!("The host plays version {GAME_PROTOCOL} of the game, this is {protocol}.");
            self.send(client, &HostMessage::Refused { reason });
            return;
        }
        let place = match self.awaited.remove(&client) {
            Some((slot, _)) => Some(slot),
            None => self.world.join_as(&name, wish),
        };
        let Some(player) = place else {
            self.send(client, &HostMessage::Refused { reason: String::from("The arena is full.") });
            return;
        };
        // Everybody hears of the newcomer, and the newcomer hears what comes after that.
        self.publish();
        let players = self.world.players.iter().map(|(slot, p)| (*slot, p.name.clone())).collect();
        let (next_event, rules) = (self.next_event, self.world.rules);
        self.send(client, &HostMessage::Welcome { you: player, next_event, players, rules });
        let seat = Seat {
            player,
            queue: VecDeque::new(),
            newest: 0,
            last: Input::default(),
            starved: 0,
            credit: CREDIT,
        };
        self.seats.insert(client, seat);
        self.tell_seats();
        self.tell_joinings();
    }

    /// Whose player is whose.
    fn tell_seats(&mut self) {
        let own = self.own.zip(self.local);
        let awaited = self.awaited.iter().map(|(client, (slot, _))| (*client, *slot));
        let seated = self.seats.iter().map(|(client, seat)| (*client, seat.player));
        let message = HostMessage::Seats(own.into_iter().chain(awaited).chain(seated).collect());
        for client in self.listeners() {
            self.send(client, &message);
        }
    }

    /// Takes how the host is joined with each client, and tells all when it has changed.
    pub fn set_joinings(&mut self, joinings: BTreeMap<u64, Joining>) {
        if self.joinings != joinings {
            self.joinings = joinings;
            self.tell_joinings();
        }
    }

    fn tell_joinings(&mut self) {
        let seated =
            self.seats.iter().filter_map(|(client, seat)| Some((seat.player, *self.joinings.get(client)?)));
        let message = HostMessage::Joinings(seated.collect());
        for client in self.listeners() {
            self.send(client, &message);
        }
    }

    /// Returns whose client plays this player.
    fn client_of(&self, player: PlayerSlot) -> Option<u64> {
        let seat = self.seats.iter().find(|(_, seat)| seat.player == player).map(|(client, _)| *client);
        seat.or(self.own.filter(|_| self.local == Some(player)))
    }

    /// Lets go of those who did not find their way here.
    fn await_players(&mut self) {
        let world = &mut self.world;
        self.awaited.retain(|_, (slot, left)| {
            *left -= 1;
            if *left == 0 {
                world.leave(*slot);
            }
            *left > 0
        });
    }

    /// Takes inputs that came in.
    pub fn unreliable(&mut self, client: u64, bytes: &[u8]) {
        let Some(inputs) = protocol::read_inputs(bytes) else {
            self.malformed += 1;
            return;
        };
        let Some(seat) = self.seats.get_mut(&client) else { return };
        for input in inputs {
            if input.seq > seat.newest {
                seat.newest = input.seq;
                seat.queue.push_back(input);
            }
        }
        while seat.queue.len() > QUEUE {
            seat.queue.pop_front();
        }
    }

    /// Plays one step of the match.
    pub fn tick(&mut self, own: Input) {
        self.await_players();
        if !self.awaited.is_empty() {
            self.world.wait();
        }
        self.before = self.world.players.iter().map(|(slot, p)| (*slot, p.body.at)).collect();
        if let Some(local) = self.local {
            self.local_seq += 1;
            self.world.apply(local, &Input { seq: self.local_seq, ..own });
        }
        for seat in self.seats.values_mut() {
            seat.credit = (seat.credit + 1).min(CREDIT);
            let wanted = if seat.queue.len() > BACKLOG { 2 } else { 1 };
            let mut applied = 0;
            while applied < wanted && seat.credit > 0 {
                let Some(input) = seat.queue.pop_front() else { break };
                seat.credit -= 1;
                applied += 1;
                seat.last = input;
                self.world.apply(seat.player, &input);
            }
            seat.starved = if applied == 0 { seat.starved + 1 } else { 0 };
            if seat.starved > STARVED {
                let idle = Input { fire: false, dash: false, walk: (0, 0), ..seat.last };
                self.world.apply(seat.player, &idle);
            }
        }
        self.world.step();
        if !matches!(self.world.phase, Phase::Lobby | Phase::MatchOver { .. }) {
            self.ready.clear();
        }
        self.ready.retain(|player| self.world.players.contains_key(player));
        self.publish();
        if self.world.tick.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshots();
        }
    }

    /// The host presses start.
    pub fn begin(&mut self) {
        self.world.begin();
        self.publish();
    }

    /// The match begins in so many steps: the lobby server counts down for all.
    pub fn begin_in(&mut self, steps: u32) {
        self.begin();
        if let Phase::Countdown { ends } = &mut self.world.phase {
            *ends = self.world.tick + steps;
        }
    }

    /// Returns the messages to be sent now.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outbox)
    }

    /// Returns the events since the last call, for the pictures.
    pub fn take_events(&mut self) -> Vec<GameEvent> {
        std::mem::take(&mut self.fresh)
    }

    fn publish(&mut self) {
        for event in self.world.take_events() {
            let number = self.next_event;
            self.next_event = self.next_event.wrapping_add(1);
            self.log.add(number, event.clone());
            let bytes = encode(&HostMessage::Event { number, event: event.clone() });
            for client in self.listeners() {
                self.outbox.push(Outgoing { client, reliable: true, bytes: bytes.clone() });
            }
            self.fresh.push(event);
        }
        // Nobody may be watching.
        let surplus = self.fresh.len().saturating_sub(256);
        self.fresh.drain(..surplus);
    }

    fn send(&mut self, client: u64, message: &HostMessage) {
        self.outbox.push(Outgoing { client, reliable: true, bytes: encode(message) });
    }
}
