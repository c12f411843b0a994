//! The start of a match: its keys, and the ways that are tested from the beginning.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use zeroize::Zeroize;

use super::punching::{self, head_start, hold_back, round_trips};
use super::{DirectSearch, Peer, PeerStage};
use crate::Identity;
use crate::address::{is_local, is_sendable};
use crate::api::PathKind;
use crate::attempt::Attempt;
use crate::config::RelayPolicy;
use crate::cx::Cx;
use crate::id::PlayerId;
use crate::method::Method;
use crate::path::{Paths, kind_of};
use crate::way::Way;
use crate::wire::message::PunchPlan;
use crate::wire::pair::{Joiner, PairChannel, PairKeys};

impl Peer {
    /// Begins a match; none when the plan's keys are no keys, or not those of the player that it names.
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
        let attempt = Attempt::new(cx, &plan);
        let allowed = Duration::from_millis(u64::from(plan.deadline_ms)).min(cx.config.connect_deadline);
        let mut peer = Self {
            info: plan.peer.clone(),
            match_id: plan.match_id,
            channel,
            paths: Paths::new(seed, Some(expected)),
            attempt,
            punch_until: now + allowed,
            allowed,
            punch_latest: now + allowed * 2,
            server: cx.link.online().map(|online| online.server),
            lan: cx.config.lan && plan.same_nat,
            expected,
            stage: PeerStage::Punching,
            requested,
            last_heard: now,
            away: None,
            contact: None,
            asked_about: None,
            packets_sent: 0,
            bytes: (0, 0),
            search: DirectSearch::Running,
            hold_until: hold_back(&plan, cx.link).map(|hold| now + hold),
            told_relayed: false,
            told_size: None,
            joiner: Joiner::default(),
            over_tcp: plan.own_nat.udp_blocked || plan.peer_nat.udp_blocked,
            cause: None,
            life_word: None,
            chat_word: None,
            plan,
        };
        peer.add_first_ways(cx);
        Some(peer)
    }

    /// Adds the ways that are tested from the beginning: to the other side's own network, to where the server sees
    /// it, to ports that were set by hand, and through the relay.
    fn add_first_ways(&mut self, cx: &Cx<'_>) {
        let local = |address: &&SocketAddr| is_local(address.ip()) && is_sendable(**address);
        if self.lan && cx.config.relay != RelayPolicy::Only {
            for address in self.plan.peer_local.iter().filter(local) {
                if let Some(socket) = cx.main.towards(*address) {
                    let way = Way::new(socket, *address);
                    self.paths.add(cx.now, way, kind_of(*address, true), Method::Cone);
                }
            }
        }
        self.add_public(cx);
        punching::add_set_targets(cx, &self.plan, &mut self.paths);
        let relayed = self.plan.relay.is_some() && cx.config.relay != RelayPolicy::Never;
        if let Some(server) = self.server.filter(|_| relayed) {
            // Where direct test messages are likely to arrive, they get a start, so that the game need not move.
            let likely = self.attempt.cone_is_likely() && !self.paths.is_empty();
            let start = if likely { head_start(&self.plan, cx.link) } else { Duration::ZERO };
            self.paths.add(cx.now + start, Way::relay(server), PathKind::Relay, Method::Cone);
        }
    }
}
