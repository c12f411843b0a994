//! The start of a match: its keys, and the ways that are tested from the beginning.

use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use zeroize::Zeroize;

use super::punching::{self, head_start, hold_back, is_tested, round_trips};
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
}
