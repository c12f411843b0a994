//! One player of a load: the shipping agent, what it does at the moment, and the smallest of games over the relay.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{RoomOptions, RoomTarget};
use traversal_core::{AgentConfig, Command, RelayPolicy, Secret};

use super::tally::Act;
use crate::player::{Game, Player};

/// A guest asks so long for a room that is not open yet.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a player is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Does what the rates say.
    Wanderer,
    /// Opens this room for others to join, and stays in it.
    Host(String),
    /// Opens this room for one guest, and plays over the relay.
    RelayHost(String),
    /// Joins this room, and plays over the relay.
    RelayGuest(String),
}

impl Role {
    fn is_relayed(&self) -> bool {
        matches!(self, Self::RelayHost(_) | Self::RelayGuest(_))
    }

    /// Returns what a player does once it is logged in.
    pub(super) fn first_command(&self) -> Option<Command> {
        let host = |name: &String, capacity| {
            let options = RoomOptions { name: name.clone(), capacity, ..RoomOptions::default() };
            Some(Command::HostRoom(options))
        };
        match self {
            Self::Wanderer => None,
            Self::Host(name) => host(name, 64),
            Self::RelayHost(name) => host(name, 2),
            Self::RelayGuest(name) => Some(join(name.clone(), PATIENCE)),
        }
    }
}

/// Returns the command to join a room, asking so long where there is none.
pub(super) fn join(name: String, wait: Duration) -> Command {
    Command::JoinRoom { target: RoomTarget::Name(name), password: None::<Secret<String>>, wait }
}

/// What a player does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing has begun yet, or the server has refused it for good.
    Nothing,
    /// Waits for an answer to this, since then.
    Waiting(Act, Instant),
    /// Logged in, in no room.
    Idle,
    /// In a room.
    Inside,
    /// On its way out of a room.
    Leaving,
}

/// This is one player with its place in the crew.
pub(super) struct Seat {
    pub(super) player: Player,
    pub(super) ip: IpAddr,
    pub(super) server: SocketAddr,
    pub(super) role: Role,
    pub(super) doing: Doing,
    /// Whether the server has it.
    pub(super) online: bool,
    /// It asked to join then, and has no path yet.
    pub(super) path_since: Option<Instant>,
    /// It writes to this player, who writes to it.
    pub(super) contact: Option<PlayerId>,
    /// It leaves its room then.
    pub(super) leave_at: Option<Instant>,
    /// Its sockets: how the agent calls them, and where the crew keeps them.
    pub(super) sockets: Vec<(u32, usize)>,
    /// It stands in the crew's timetable at this time.
    pub(super) due: Option<Instant>,
}

impl Seat {
    pub(super) fn new(
        (game, keepalive): (&str, Duration),
        secret: [u8; 32],
        role: Role,
        (ip, server): (IpAddr, SocketAddr),
        local: (SocketAddr, Option<SocketAddr>),
        now: Instant,
    ) -> Self {
        let config = AgentConfig {
            game: game.into(),
            relay: if role.is_relayed() { RelayPolicy::Only } else { RelayPolicy::Allow },
            keepalive,
            // UDP gets through on this machine: a stream is for those whose networks block it.
            tcp: false,
            ..AgentConfig::default()
        };
        let mut player = Player::dual(config, secret, local, now);
        player.chatty = false;
        Self {
            player,
            ip,
            server,
            role,
            doing: Doing::Nothing,
            online: false,
            path_since: None,
            contact: None,
            leave_at: None,
            sockets: Vec::new(),
            due: None,
        }
    }

    /// Has it log in.
    pub(super) fn log_in(&mut self, now: Instant, act: Act) {
        self.doing = Doing::Waiting(act, now);
        self.player.command(now, Command::LocalAddresses(vec![self.ip]));
        if let Some(contact) = self.contact.filter(|_| act != Act::Login) {
            self.player.command(now, Command::SetContacts(vec![contact]));
        }
        self.player.command(now, Command::Connect(vec![self.server]));
    }

    /// Returns when it has to be looked after.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        use crate::world::Node as _;
        [self.player.poll_timeout(), self.leave_at].into_iter().flatten().min()
    }
}

/// What came of the datagrams over the relay.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    pub(super) sent: u64,
    pub(super) times: Vec<Duration>,
}

/// This game sends datagrams of one length at a fixed rate, with the time in front.
#[derive(Debug)]
pub(super) struct Chatter {
    pub(super) start: Instant,
    pub(super) period: Duration,
    pub(super) length: usize,
    pub(super) relayed: Rc<RefCell<Relayed>>,
    pub(super) to: Option<PlayerId>,
    pub(super) next: Option<Instant>,
    pub(super) outgoing: VecDeque<Vec<u8>>,
}

impl Game for Chatter {
    fn connected(&mut self, now: Instant, player: PlayerId, _hosting: bool) {
        (self.to, self.next) = (Some(player), Some(now));
    }

    fn handle_datagram(&mut self, _now: Instant, _from: PlayerId, datagram: &[u8]) {
        // The time of now: what waited in this thread was on its way, too.
        let sent = datagram.first_chunk().map(|bytes| Duration::from_nanos(u64::from_le_bytes(*bytes)));
        if let Some(sent) = sent {
            self.relayed.borrow_mut().times.push(self.start.elapsed().saturating_sub(sent));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut datagram = (self.start.elapsed().as_nanos() as u64).to_le_bytes().to_vec();
        datagram.resize(self.length.max(8), 0);
        self.outgoing.push_back(datagram);
        self.next = Some(now + self.period);
    }

    fn poll_datagram(&mut self) -> Option<(PlayerId, Vec<u8>)> {
        let to = self.to?;
        let datagram = self.outgoing.pop_front()?;
        self.relayed.borrow_mut().sent += 1;
        Some((to, datagram))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}
