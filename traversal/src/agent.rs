//! The player's agent: the facade that a driver turns.
//!
//! Here are its state and its run loop. What comes in is handled in `commands` (from the game), `datagrams` (from the
//! network) and `server` (what the server says); `matches` keeps the matches, `rooms` the room and its changing host.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::life::Life;
use self::matches::MatchNews;
use crate::Identity;
pub use crate::api::*;
use crate::chat::Chat;
use crate::config::AgentConfig;
use crate::cx::Shared;
use crate::detection::Detection;
use crate::env::Main;
use crate::id::{MatchId, PlayerId};
use crate::lobby::Lobby;
use crate::mapping_check::MappingCheck;
use crate::mesh::Mesh;
use crate::peer::Peer;
use crate::people::People;
use crate::sockets::Owner;
use crate::timer::{due, earliest};
use crate::way::Way;
use crate::wire::Dropped;
use crate::wire::message::PunchPlan;
use crate::wire::secret::mixed;
pub use reading::Said;

/// Passes over all parts in one wake-up: what one part finds out may make another one due at once, as a silent path has the link ask
/// the server. None needs more than three.
const PASSES: usize = 4;

/// While a room is open, the link to the server is idle no longer than this (see [`Agent::quiet`]).
const ROOM_KEEPALIVE: Duration = Duration::from_secs(4);

/// This is one player's side of the traversal. It has no sockets, no clock and no threads of its own.
///
/// Run loop: give one input (`handle_*`, [`send`](Self::send)), then drain [`poll_output`](Self::poll_output) and
/// [`poll_event`](Self::poll_event) until both are empty, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
#[derive(Debug)]
pub struct Agent {
    shared: Shared,
    lobby: Lobby,
    people: People,
    chat: Chat,
    detection: Detection,
    mapping: MappingCheck,
    peers: BTreeMap<MatchId, Peer>,
    /// A player's game datagrams go by this match.
    by_player: BTreeMap<PlayerId, MatchId>,
    /// These plans overtook the news of the host they are for.
    early_plans: Vec<PunchPlan>,
    mesh: Mesh,
    life: Life,
    /// This says when the game last asked to join, and when the first plan came of it.
    join_requested: Option<(Instant, Option<Instant>)>,
    /// News of matches whose plan has not come yet.
    early: VecDeque<(MatchId, MatchNews)>,
    dropped: BTreeMap<Dropped, u64>,
}

mod chat;
mod commands;
mod datagrams;
mod life;
mod matches;
mod people;
mod reading;
mod rooms;
mod seats;
mod server;
#[cfg(test)]
mod wake_tests;

impl Agent {
    /// Returns an agent that does nothing until [`Command::Connect`]. `seed` is where all its randomness comes from:
    /// take it from the system's entropy, or from the simulator. `main` are the local addresses of [`SocketId::MAIN`]
    /// and, if there is IPv6, [`SocketId::MAIN_V6`].
    pub fn new(
        config: AgentConfig,
        identity: Identity,
        seed: [u8; 32],
        main: (SocketAddr, Option<SocketAddr>),
    ) -> Self {
        Self {
            shared: Shared::new(config, identity, seed, Main { v4: main.0, v6: main.1 }),
            lobby: Lobby::default(),
            people: People::default(),
            chat: Chat::default(),
            detection: Detection::default(),
            mapping: MappingCheck::default(),
            peers: BTreeMap::new(),
            by_player: BTreeMap::new(),
            early_plans: Vec::new(),
            mesh: Mesh::default(),
            life: Life::default(),
            join_requested: None,
            early: VecDeque::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Returns this agent's settings.
    pub fn config(&self) -> &AgentConfig {
        &self.shared.config
    }

    /// Returns this player's id.
    pub fn player_id(&self) -> PlayerId {
        self.shared.identity.player_id()
    }

    /// Returns how many datagrams were dropped so far, by reason.
    pub fn dropped(&self) -> &BTreeMap<Dropped, u64> {
        &self.dropped
    }

    /// Returns the path to a player at present; none without a connection.
    pub fn path(&self, now: Instant, player: PlayerId) -> Option<PathInfo> {
        self.peer(player)?.path_info(now)
    }

    /// Returns how the connections do that stand, one for each player. For looking at now and then, not for each packet: it makes no
    /// measurement of its own.
    pub fn qualities(&self, now: Instant) -> impl Iterator<Item = (PlayerId, LinkQuality)> {
        let peers = self.by_player.iter().filter_map(|(player, id)| Some((*player, self.peers.get(id)?)));
        peers.filter(|(_, peer)| peer.is_connected()).map(move |(player, peer)| (player, peer.quality(now)))
    }

    /// Returns whether a login has begun since entropy was last mixed in: the driver is to give some
    /// ([`mix_entropy`](Self::mix_entropy)), so that each handshake has fresh keys whatever became of the seed. A
    /// simulator does not, and has the same run from the same seed.
    pub fn wants_entropy(&self) -> bool {
        self.shared.link.has_begun()
    }

    /// Takes an input: 32 bytes from the system's entropy.
    pub fn mix_entropy(&mut self, entropy: [u8; 32]) {
        self.shared.rng = mixed(&mut self.shared.rng, entropy);
        self.shared.link.forget_begun();
    }

    /// Makes a key for another protocol between this player and the other one, the same on both sides. There is none
    /// without a connection. See [`PairChannel::export`](crate::wire::pair::PairChannel::export).
    pub fn export(&self, player: PlayerId, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        Some(self.peer(player).filter(|peer| peer.is_connected())?.export(label, context))
    }

    fn peer(&self, player: PlayerId) -> Option<&Peer> {
        self.peers.get(self.by_player.get(&player)?)
    }

    /// Takes an input: a socket asked for with [`Output::OpenSocket`] is open at this local address, or could not be
    /// opened. Also: the driver had to open a main socket anew.
    pub fn handle_socket(&mut self, now: Instant, socket: SocketId, local: std::io::Result<SocketAddr>) {
        match (socket, local) {
            (SocketId::MAIN, Ok(local)) => {
                self.shared.main.v4 = local;
                self.mapping.network_changed(&mut self.shared.cx(now));
            }
            (SocketId::MAIN_V6, local) => self.shared.main.v6 = local.ok(),
            (socket, local) => {
                let local = local.ok();
                let Some(owner) = self.shared.sockets.opened(socket, local) else { return };
                let mut cx = self.shared.cx(now);
                if let Owner::Match(id, method, slot) = owner {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.handle_socket(&mut cx, (method, slot), local.map(|local| local.port()));
                    }
                } else {
                    self.detection.handle_socket(&mut cx, owner, local);
                }
                return self.sweep(now);
            }
        }
        self.register_addresses(now);
        self.sweep(now);
    }

    /// Takes an input: what became of the stream that [`Output::OpenStream`] asked for last.
    pub fn handle_stream(&mut self, now: Instant, state: StreamState) {
        let cx = &mut self.shared.cx(now);
        cx.link.handle_stream(&mut cx.env, state);
    }

    /// Takes an input: [`poll_timeout`](Self::poll_timeout) has come. Afterwards something was put out, or
    /// [`poll_timeout`](Self::poll_timeout) is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..PASSES {
            self.pass(now);
            if !due(self.poll_timeout(), now) {
                return;
            }
        }
    }

    fn pass(&mut self, now: Instant) {
        let quiet = self.quiet();
        self.shared.link.set_in_room(self.lobby.room().is_some());
        let cx = &mut self.shared.cx(now);
        let event = cx.link.handle_timeout(&mut cx.env, quiet);
        self.handle_link(now, event);
        self.detection.handle_timeout(&mut self.shared.cx(now));
        self.mapping.handle_timeout(&mut self.shared.cx(now));
        self.show_mapping(now);
        let news = self.lobby.handle_timeout(&mut self.shared.cx(now));
        self.handle_lobby(now, news);
        let matches: Vec<MatchId> = self.peers.keys().copied().collect();
        for match_id in matches {
            self.handle_peer_timeout(now, match_id);
        }
        self.people.handle_timeout(&mut self.shared.cx(now));
        self.show_playing(now);
        self.chat_timeout(now);
        self.life_timeout(now);
        self.mend_mesh(now);
        self.sweep(now);
    }

    /// Returns how long the link to the server may be idle (M31). While a room is open a lost server is to be noticed
    /// sooner: others want to join.
    fn quiet(&self) -> Duration {
        let quiet = self.detection.keepalive(self.shared.config.keepalive);
        if self.lobby.is_busy() { quiet.min(ROOM_KEEPALIVE) } else { quiet }
    }

    /// Sends a game datagram on channel 0 over the best path to `player`; false if there is none, or it is longer than
    /// [`MAX_PAYLOAD`](crate::wire::pair::MAX_PAYLOAD). In parts if it is longer than [`PathInfo::size`].
    pub fn send(&mut self, now: Instant, player: PlayerId, payload: &[u8]) -> bool {
        self.send_on(now, player, 0, payload)
    }

    /// The same on a channel of its own, told apart from the others on the other side; false also if there are fewer
    /// than this many ([`CHANNELS`](crate::wire::pair::CHANNELS)).
    pub fn send_on(&mut self, now: Instant, player: PlayerId, channel: u8, payload: &[u8]) -> bool {
        let Some(peer) = self.by_player.get(&player).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        peer.send(&mut self.shared.cx(now), channel, payload)
    }

    /// Takes an input: the system refused to send a datagram of `length` bytes from `socket` to this address because
    /// it is too long (`EMSGSIZE`). Shorter ones are sent there from now on.
    pub fn handle_too_long(&mut self, now: Instant, socket: SocketId, to: SocketAddr, length: usize) {
        tracing::debug!(%to, length, "the system refuses datagrams of this length");
        for peer in self.peers.values_mut() {
            peer.refused(&mut self.shared.cx(now), Way::new(socket, to), length);
        }
    }

    /// Returns what to send, open or close next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    /// Returns something that happened, for the game.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due; `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = earliest(self.shared.link.poll_timeout(self.quiet()), self.detection.poll_timeout());
        // It asks the server, and so waits for a link.
        let link = earliest(link, self.mapping.poll_timeout().filter(|_| self.shared.link.is_online()));
        let lobby = self.lobby.poll_timeout(&self.shared.link);
        let peers = self.peers.values().filter_map(|peer| peer.poll_timeout(&self.shared.config)).min();
        let mesh = self.mesh.poll_timeout().filter(|_| self.shared.link.is_online());
        let people = self.people.poll_timeout(self.shared.link.is_online());
        let people = earliest(people, self.chat.poll_timeout());
        let own = earliest(people, self.life.poll_timeout());
        earliest(earliest(earliest(link, lobby), earliest(peers, mesh)), own)
    }
}
