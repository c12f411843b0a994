//! One player that this one is matched with: the sealed channel, its paths, its end.

mod away;
mod ending;
mod keeping;
mod punching;
mod receiving;
mod sending;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use zeroize::Zeroize;

use crate::Identity;
use crate::address::{is_local, is_sendable};
use crate::api::{DisconnectReason, Event, PathInfo, PathKind, SocketId};
use crate::attempt::Attempt;
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::failure::{FailureReason, Stage};
use crate::id::{MatchId, PlayerId};
use crate::method::Method;
use crate::path::{Paths, kind_of};
use crate::timer::{due, earliest};
use crate::way::Way;
use crate::wire::life::{CHALLENGE, PROOF};
use crate::wire::message::{PlayerInfo, PunchPlan};
use crate::wire::pair::{Joiner, Opened, PairChannel, PairKeys};

pub(crate) use away::Contact;
use away::{Away, LOST};
use punching::{head_start, hold_back, is_tested, round_trips};

/// How long the other ways of an attempt stay open once a direct one stands: the two sides may have chosen differently. Or
/// two round trips of a far player.
const TIDY: Duration = Duration::from_secs(2);

/// One match.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: PlayerInfo,
    pub(crate) match_id: MatchId,
    /// This side hosts, or came first in a pair of a mesh.
    pub(crate) host: bool,
    channel: PairChannel,
    plan: PunchPlan,
    paths: Paths,
    attempt: Attempt,
    /// Until then direct ways are looked for, also while the game plays over the relay; without a relay perhaps longer
    /// (see [`Peer::deadline`]).
    punch_until: Instant,
    /// What an attempt may take once both NATs are known, and when it ends whatever becomes known.
    allowed: Duration,
    punch_latest: Instant,
    /// Where the server is, for the relay.
    server: Option<SocketAddr>,
    /// Private addresses count as one network with ours.
    lan: bool,
    /// What a round trip to the other side may take.
    expected: Duration,
    stage: PeerStage,
    requested: Instant,
    last_heard: Instant,
    /// Nothing is heard of the other side, or nothing of ours answered.
    away: Option<Away>,
    /// What the agent has to hear of that.
    contact: Option<Contact>,
    /// The server was asked about the silence that began then.
    asked_about: Option<Instant>,
    packets_sent: u32,
    search: DirectSearch,
    /// Until then the other side's first packet is waited for (see [`hold_back`]).
    hold_until: Option<Instant>,
    /// The game knows why it plays over the relay.
    told_relayed: bool,
    /// What the game knows of the longest datagram that goes in one piece.
    told_size: Option<usize>,
    /// Game datagrams of which some parts are here.
    joiner: Joiner,
    /// One of the two was logged in over TCP when the match was planned, whatever is known of its network since.
    over_tcp: bool,
    cause: Option<FailureReason>,
    /// The last datagram's word about a proof of life.
    life_word: Option<LifeWord>,
}

/// What the other player says about proofs of life, for the agent, which knows the room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LifeWord {
    /// It asks for one, by this way and in a datagram of so many bytes.
    Asked { challenge: [u8; CHALLENGE], way: Way, length: usize },
    /// It gives one.
    Proof { challenge: [u8; CHALLENGE], proof: [u8; PROOF] },
}

/// How far the search for a direct way has come.
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

/// What a match came to, for the agent's book-keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerNews {
    Connected,
    /// A direct path came after the relay.
    Direct,
    /// It stays with the relay, or fell back to it.
    Relayed,
    Ended,
    Failed,
    Lost,
}

impl Peer {
    /// None when the plan's keys are no keys, or not those of the player that it names.
    pub(crate) fn new(
        cx: &mut Cx<'_>,
        mut plan: PunchPlan,
        ephemeral: &Identity,
        requested: Instant,
    ) -> Option<Self> {
        let now = cx.now;
        if PlayerId::from_public_key(&plan.peer_key) != plan.peer.id {
            return None;
        }
        let keys = PairKeys::of_plan(&plan, cx.identity, ephemeral);
        let channel = PairChannel::new(plan.match_id, &keys)?;
        plan.pair_secret.zeroize();
        let mut seed = [0; 32];
        cx.rng.fill_bytes(&mut seed);
        let (own_rtt, peer_rtt) = round_trips(&plan, cx.link);
        // By the server is seldom shorter: two players on satellite links are twice as far apart as each from it.
        let expected = own_rtt + peer_rtt;
        let mut paths = Paths::new(seed, Some(expected));
        let attempt = Attempt::new(cx, &plan);
        let lan = cx.config.lan && plan.same_nat;
        let direct = cx.config.relay != RelayPolicy::Only;
        let local = plan.peer_local.iter().filter(|address| lan && is_local(address.ip()));
        // Whoever is on this network itself is seen at a private address by a server there (or on this machine).
        let public = plan.peer_public.iter().filter(|address| plan.same_nat || !is_local(address.ip()));
        let server = cx.link.online().map(|online| online.server);
        let public = public.filter(|address| is_tested(cx.config, &plan, &attempt, server, **address));
        let hold_until = hold_back(&plan, cx.link).map(|hold| now + hold);
        let from_now = local.map(|address| (now, address));
        let held = public.map(|address| (hold_until.filter(|_| address.is_ipv4()).unwrap_or(now), address));
        for (at, address) in from_now.chain(held).filter(|(_, address)| direct && is_sendable(**address)) {
            if let Some(socket) = cx.main.towards(*address) {
                paths.add(at, Way::new(socket, *address), kind_of(*address, lan), Method::Cone);
            }
        }
        punching::add_set_targets(cx, &plan, &mut paths);
        if let Some(server) = server.filter(|_| plan.relay.is_some() && cx.config.relay != RelayPolicy::Never)
        {
            // Where direct test messages are likely to arrive, they get a start, so that the game need not move.
            let likely = attempt.cone_is_likely() && !paths.is_empty();
            let start = if likely { head_start(&plan, cx.link) } else { Duration::ZERO };
            paths.add(now + start, Way::relay(server), PathKind::Relay, Method::Cone);
        }
        let allowed = Duration::from_millis(u64::from(plan.deadline_ms)).min(cx.config.connect_deadline);
        Some(Self {
            info: plan.peer.clone(),
            match_id: plan.match_id,
            host: plan.host,
            channel,
            paths,
            attempt,
            punch_until: now + allowed,
            allowed,
            punch_latest: now + allowed * 2,
            server,
            lan,
            expected,
            stage: PeerStage::Punching,
            requested,
            last_heard: now,
            away: None,
            contact: None,
            asked_about: None,
            packets_sent: 0,
            search: DirectSearch::Running,
            hold_until,
            told_relayed: false,
            told_size: None,
            joiner: Joiner::default(),
            over_tcp: plan.own_nat.udp_blocked || plan.peer_nat.udp_blocked,
            cause: None,
            life_word: None,
            plan,
        })
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.stage, PeerStage::Connected)
    }

    /// Being connected, or connected: not on its way out.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, PeerStage::Punching | PeerStage::Connected)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, PeerStage::Ended)
    }

    /// With a member of the room that this side hosts; no pair of a mesh.
    pub(crate) fn is_of_own_room(&self) -> bool {
        self.host && !self.plan.mesh
    }

    /// How long an answer may take on the path in use.
    pub(crate) fn answer_time(&self) -> Duration {
        self.paths.selected().map_or(Duration::ZERO, |path| path.pulse.overdue())
    }

    /// Something authentic arrived not longer ago than this.
    pub(crate) fn heard_within(&self, now: Instant, time: Duration) -> bool {
        self.is_connected() && now.saturating_duration_since(self.last_heard) <= time
    }

    /// The other player's lasting key.
    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.plan.peer_key
    }

    /// What the datagram that was just handled says about proofs of life.
    pub(crate) fn take_life_word(&mut self) -> Option<LifeWord> {
        self.life_word.take()
    }

    /// See [`PairChannel::read`].
    pub(crate) fn read<'a>(&self, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        self.channel.read(datagram)
    }

    pub(crate) fn export(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        self.channel.export(label, context)
    }

    /// The way in use.
    pub(crate) fn selected(&self) -> Option<Way> {
        self.paths.selected().map(|path| path.way)
    }

    /// The path to be given away: both sides must mean the same one, so the other side follows the host.
    pub(crate) fn releasable(&self) -> Option<Way> {
        let path = if self.host { self.paths.selected() } else { self.paths.selected_there() };
        path.map(|path| path.way)
    }

    /// See [`Paths::is_crossed`].
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
        let mesh = self.plan.mesh;
        let (proven, code) = (self.channel.is_proven(), self.channel.code());
        let (peer, host) = (self.info.clone(), self.host && !mesh);
        cx.emit(Event::PeerConnected { peer, host, mesh, path, proven, code });
        if relayed && self.attempt.is_idle() && !self.udp_is_in_doubt() {
            // Nothing is being tried that this could be the end of.
            _ = self.tell_relayed(cx, Stage::Punch, self.failure_reason(cx));
        }
        Some(PeerNews::Connected)
    }

    /// The path in use, as the game may see it.
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

    pub(crate) fn poll_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        let paths = earliest(self.paths.poll_timeout(), self.hold_until);
        let paths = earliest(paths, self.attempt.turn_timeout(config));
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
