//! One player that this one is matched with: the sealed channel, its paths, its end.

mod away;
mod ending;
mod keeping;
mod opening;
mod punching;
mod receiving;
mod sending;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::api::{DisconnectReason, Event, LinkQuality, PathInfo, SocketId};
use crate::attempt::Attempt;
use crate::config::AgentConfig;
use crate::cx::Cx;
use crate::failure::{FailureReason, Stage};
use crate::id::{MatchId, PlayerId};
use crate::path::Paths;
use crate::pulse::Pulse;
use crate::seat::Seat;
use crate::timer::{due, earliest};
use crate::way::Way;
use crate::wire::life::{CHALLENGE, PROOF};
use crate::wire::message::{PlayerInfo, PunchPlan};
use crate::wire::pair::{Audience, Joiner, Opened, PairChannel};

pub(crate) use away::Contact;
use away::{Away, LOST};

/// The other ways of an attempt stay open for so long once a direct one stands: the two sides may have chosen
/// differently. Or it is two round trips of a far player.
const TIDY: Duration = Duration::from_secs(2);

/// This is one match: the channel to another player, or the attempt to make one.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PlayerInfo,
    pub(crate) match_id: MatchId,
    channel: PairChannel,
    plan: PunchPlan,
    paths: Paths,
    attempt: Attempt,
    /// Until then direct ways are looked for, also while the game plays over the relay; without a relay perhaps longer
    /// (see [`Peer::deadline`]).
    punch_until: Instant,
    /// An attempt may take so long once both NATs are known; beside it stands when it ends whatever becomes known.
    allowed: Duration,
    punch_latest: Instant,
    /// This says where the server is, for the relay.
    server: Option<SocketAddr>,
    /// This says whether private addresses count as one network with ours.
    lan: bool,
    /// A round trip to the other side may take so long.
    expected: Duration,
    stage: PeerStage,
    requested: Instant,
    last_heard: Instant,
    /// Nothing is heard of the other side, or nothing of ours answered.
    away: Option<Away>,
    /// This is the news of whether the player is heard, which the agent has not taken yet.
    contact: Option<Contact>,
    /// The server was asked about the silence that began then.
    asked_about: Option<Instant>,
    packets_sent: u32,
    /// Bytes of sealed datagrams, sent and received: see [`LinkQuality`].
    bytes: (u64, u64),
    search: DirectSearch,
    /// Until then the other side's first packet is waited for (see [`hold_back`](punching::hold_back)).
    hold_until: Option<Instant>,
    /// The game knows why it plays over the relay.
    told_relayed: bool,
    /// This is what the game knows of the longest datagram that goes in one piece.
    told_size: Option<usize>,
    /// These are game datagrams of which some parts are here.
    joiner: Joiner,
    /// One of the two was logged in over TCP when the match was planned, whatever is known of its network since.
    over_tcp: bool,
    cause: Option<FailureReason>,
    /// The last datagram said this about a proof of life.
    life_word: Option<LifeWord>,
    /// The last datagram said this of a text.
    chat_word: Option<ChatWord>,
}

/// This is what the other player says about proofs of life, for the agent, which knows the room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LifeWord {
    /// It asks for one, by this way and in a datagram of so many bytes.
    Asked { challenge: [u8; CHALLENGE], way: Way, length: usize },
    /// The other player gives a proof.
    Proof { challenge: [u8; CHALLENGE], proof: [u8; PROOF] },
}

/// This is what the other player's agent says of texts, for the agent, which knows the room.
#[derive(Clone, Debug)]
pub(crate) enum ChatWord {
    /// This was written, see [`PairMessage::Chat`](crate::wire::pair::PairMessage::Chat).
    Said { from: PlayerId, number: u64, audience: Audience, text: String },
    /// It was taken, see [`PairMessage::ChatTaken`](crate::wire::pair::PairMessage::ChatTaken).
    Taken { from: PlayerId, number: u64, all: bool },
}

/// This says how far the search for a direct way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectSearch {
    /// It goes on, perhaps while the game plays over the relay.
    Running,
    /// A direct way stands; then the sockets are closed that it does not need.
    Won { tidy_at: Instant },
    /// Nothing is tried any more.
    Over,
}

#[derive(Debug)]
enum PeerStage {
    Punching,
    Connected,
    Closing { repeats: usize, next: Instant, reason: String },
    Ended,
}

/// This is what a match came to, for the agent's book-keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerNews {
    Connected,
    /// A direct path came after the relay.
    Direct,
    /// The game stays on the relay, or fell back to it.
    Relayed,
    Ended,
    Failed,
    Lost,
}

impl Peer {
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.stage, PeerStage::Connected)
    }

    /// Returns whether it is being connected, or connected: it is not on its way out.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, PeerStage::Punching | PeerStage::Connected)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, PeerStage::Ended)
    }

    /// Returns whether this is a match with a member of the room that this side hosts, and no pair of a mesh.
    pub(crate) fn is_of_own_room(&self) -> bool {
        self.plan.seat().hosts()
    }

    /// Returns how long an answer may take on the path in use.
    pub(crate) fn answer_time(&self) -> Duration {
        self.paths.selected().map_or(Duration::ZERO, |path| path.pulse.overdue())
    }

    /// Returns whether something authentic arrived not longer ago than this.
    pub(crate) fn heard_within(&self, now: Instant, time: Duration) -> bool {
        self.is_connected() && now.saturating_duration_since(self.last_heard) <= time
    }

    /// Returns the other player's lasting key.
    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.plan.peer_key
    }

    /// Returns what the datagram that was just handled says about proofs of life.
    pub(crate) fn take_life_word(&mut self) -> Option<LifeWord> {
        self.life_word.take()
    }

    /// Returns what the datagram that was just handled says of a text.
    pub(crate) fn take_chat_word(&mut self) -> Option<ChatWord> {
        self.chat_word.take()
    }

    /// Returns what this player is to the other one.
    pub(crate) fn seat(&self) -> Seat {
        self.plan.seat()
    }

    /// Opens a datagram without taking it, see [`PairChannel::read`].
    pub(crate) fn read<'a>(&self, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        self.channel.read(datagram)
    }

    pub(crate) fn export(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        self.channel.export(label, context)
    }

    /// Returns the way in use.
    pub(crate) fn selected(&self) -> Option<Way> {
        self.paths.selected().map(|path| path.way)
    }

    /// Returns the path to be given away: both sides must mean the same one, so the other side follows the host.
    pub(crate) fn releasable(&self) -> Option<Way> {
        let path = if self.plan.hosting { self.paths.selected() } else { self.paths.selected_there() };
        path.map(|path| path.way)
    }

    /// Returns whether the two directions take different ways, see [`Paths::is_crossed`].
    pub(crate) fn is_crossed(&self) -> bool {
        self.paths.is_crossed()
    }

    /// Takes the best proven path, and says so when that is news.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        if !self.paths.choose(cx.now, cx.config) {
            return None;
        }
        let path = self.path_info(cx.now)?;
        self.told_size = Some(path.size);
        let relayed = self.is_relayed();
        if !relayed {
            self.told_relayed = false;
            if self.search == DirectSearch::Running {
                self.search = DirectSearch::Won { tidy_at: cx.now + TIDY.max(self.expected * 2) };
            }
        }
        if self.is_connected() {
            cx.emit(Event::PathChanged { player: self.info.id, path });
            return if relayed {
                self.tell_relayed(cx, Stage::Established, FailureReason::PathLost)
            } else {
                Some(PeerNews::Direct)
            };
        }
        self.stage = PeerStage::Connected;
        let (peer, seat) = (self.info.clone(), self.plan.seat());
        let (proven, code) = (self.channel.is_proven(), self.channel.code());
        cx.emit(Event::PeerConnected { peer, seat, path, proven, code });
        if relayed && self.attempt.is_idle() && !self.udp_is_in_doubt() {
            // Nothing is being tried that this could be the end of.
            _ = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx));
        }
        Some(PeerNews::Connected)
    }

    /// Returns the path in use, as the game may see it.
    pub(crate) fn path_info(&self, now: Instant) -> Option<PathInfo> {
        let path = self.paths.selected()?;
        let relay = path.is_relay();
        Some(PathInfo {
            kind: path.kind,
            remote: (!relay).then_some(path.way.remote),
            socket: if relay { SocketId::MAIN } else { path.way.socket },
            method: (!relay).then_some(path.method),
            rtt: path.pulse.rtt(),
            size: Self::in_one_piece(path.kind, path.size.present()),
            since_request: now.saturating_duration_since(self.requested),
            packets_sent: self.packets_sent,
            targets: self.attempt.spending().targets().max(1),
            sockets: self.attempt.spending().sockets + 1,
        })
    }

    /// Returns how the connection does.
    pub(crate) fn quality(&self, now: Instant) -> LinkQuality {
        let pulse = self.paths.selected().map(|path| &path.pulse);
        LinkQuality {
            rtt: pulse.and_then(Pulse::rtt),
            jitter: pulse.and_then(Pulse::jitter),
            loss: pulse.map_or(0.0, |pulse| pulse.loss(now)),
            bytes_sent: self.bytes.0,
            bytes_received: self.bytes.1,
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        let lost = self.watch_contact(cx);
        match &self.stage {
            PeerStage::Ended => return None,
            PeerStage::Closing { next, .. } => {
                if *next <= cx.now {
                    self.send_close(cx);
                }
                return None;
            }
            PeerStage::Punching if self.deadline(cx.config) <= cx.now => {
                self.emit_failure(cx, Stage::Punch, self.failure_reason(cx));
                self.stage = PeerStage::Ended;
                return Some(PeerNews::Failed);
            }
            PeerStage::Connected if lost => {
                self.close(cx, LOST, Some(DisconnectReason::Lost));
                return Some(PeerNews::Lost);
            }
            PeerStage::Punching | PeerStage::Connected => {}
        }
        let mut told = self.end_search_when_due(cx);
        let mut orders = Vec::new();
        let news = self.paths.handle_timeout(cx.now, cx.config, &mut orders);
        if news.doubt {
            // Perhaps this side's NAT forgot everything: then the server sees it elsewhere now, and has to know
            // before the relay takes anything.
            cx.link.check_now(cx.now);
        }
        if news.upgrade {
            // By our own clock alone, so that nobody else can have us spend more.
            self.attempt.renew(cx.now);
            self.ask_to_punch_again(cx);
        }
        told = self.choose(cx).or(told);
        for order in orders {
            let established = self.is_connected() && self.paths.is_selected(order.way);
            // What is over the caps is left out: it will be due again.
            if !established
                && !order.way.is_relay()
                && !self.attempt.may_send(cx.now, cx.budget, order.way.remote)
            {
                continue;
            }
            self.send_test(cx, order);
        }
        self.tell_size(cx);
        if due(self.hold_until, cx.now) {
            self.hold_until = None;
        }
        if self.is_punching() {
            self.attempt.handle_timeout(cx.now);
            self.punch(cx);
        }
        told
    }

    /// Tells why the game plays over the relay once that is sure, and ends the search for a direct way when its time is up.
    fn end_search_when_due(&mut self, cx: &mut Cx<'_>) -> Option<PeerNews> {
        let mut told = None;
        if self.is_relayed() && self.attempt.is_idle() && !self.told_relayed && !self.udp_is_in_doubt() {
            // It was open whether UDP is blocked, and is so no longer.
            told = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx));
        }
        let relayed_too_long = self.is_connected() && self.punch_until <= cx.now;
        let over = match self.search {
            DirectSearch::Running => relayed_too_long,
            DirectSearch::Won { tidy_at } => tidy_at <= cx.now || relayed_too_long,
            DirectSearch::Over => false,
        };
        if over {
            if self.is_relayed() {
                told = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx)).or(told);
            }
            self.end_punching(cx);
        }
        told
    }

    pub(crate) fn poll_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        let paths = earliest(self.paths.poll_timeout(), self.hold_until);
        let paths = earliest(paths, self.attempt.permit_timeout(config));
        match &self.stage {
            PeerStage::Ended => None,
            PeerStage::Closing { next, .. } => Some(*next),
            PeerStage::Punching => {
                earliest(Some(self.deadline(config)), earliest(paths, self.punch_timeout()))
            }
            PeerStage::Connected => {
                let punching = self.punch_timeout().filter(|_| self.is_punching());
                let end = match self.search {
                    DirectSearch::Running => Some(self.punch_until),
                    DirectSearch::Won { tidy_at } => Some(tidy_at),
                    DirectSearch::Over => None,
                };
                let paths = earliest(paths, earliest(punching, end));
                earliest(Some(self.look_at(config)), paths)
            }
        }
    }
}
