//! The punching of one match: which methods run, what they may spend, and whose sockets are whose.

mod orders;
mod permit;
mod replanning;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;

use crate::cx::Cx;
use crate::failure::Tried;
use crate::id::MatchId;
use crate::login::ProbeSeen;
use crate::method::{Method, PlannedMethod};
use crate::nat::{FilteringBehavior, NatProfile};
use crate::plan::starts_together;
use crate::punch::{
    Budget, Ledger, Progress, PunchContext, PunchInput, Puncher, Slot, Spending, Verdict, expected_time,
    puncher,
};
use crate::reach::reach;
use crate::sockets::Owner;
use crate::timer::earliest;
use crate::wire::message::{Facts, PunchPlan};
use crate::wire::port_report::PortReport;

pub(crate) use orders::PunchTest;
use permit::PermitState;
pub(crate) use permit::PlanPermit;
use replanning::methods_of;

/// This is one attempt to get through: it has the plan, the methods that run, and what they have spent.
#[derive(Debug)]
pub(crate) struct Attempt {
    match_id: MatchId,
    context: PunchContext,
    /// These are the methods, as the plan orders them; the test messages of [`Method::Cone`] are the paths' own
    /// business.
    methods: Vec<PlannedMethod>,
    /// These methods have not begun.
    waiting: VecDeque<PlannedMethod>,
    running: Vec<Running>,
    /// These methods have run and are not to run again.
    done: Vec<PlannedMethod>,
    spending: Spending,
    /// Tags on the wire, and whose they are.
    probes: BTreeMap<u32, (Method, u32)>,
    tried: Vec<Tried>,
    started: Instant,
    /// This says when the next methods take over, whether or not the present ones have given up.
    switch_at: Option<Instant>,
    over: bool,
    /// These are the server's reports of the newest range probes, where this side works out its ranges itself (E2).
    reports: VecDeque<((Method, u32), PortReport)>,
    /// These facts overtook the plan which they belong to.
    early: VecDeque<Facts>,
    permit: PermitState,
    early_permit: Option<PlanPermit>,
}

/// Reports that are kept: two of each round, each up to three times, of the few rounds that are under way.
const REPORTS: usize = 24;

/// So many facts may wait for their plan: one or two a method.
const EARLY: usize = 8;

#[derive(Debug)]
struct Running {
    puncher: Box<dyn Puncher>,
    planned: PlannedMethod,
    since: Instant,
    before: u32,
}

impl Attempt {
    pub(crate) fn new(cx: &mut Cx<'_>, plan: &PunchPlan) -> Self {
        let rtt = cx.link.timing();
        let servers = cx.link.online().map(|online| online.welcome.probe_targets.clone()).unwrap_or_default();
        let seed = cx.rng.next_u64();
        let first = |method: &Method| PlannedMethod { method: *method, since: 0 };
        let methods = methods_of(cx.config, &plan.methods.iter().map(first).collect::<Vec<_>>(), 0);
        Self {
            match_id: plan.match_id,
            context: PunchContext::new(plan, &servers, rtt, cx.config, seed),
            waiting: methods.iter().copied().filter(|planned| planned.method != Method::Cone).collect(),
            methods,
            running: Vec::new(),
            done: Vec::new(),
            spending: Spending::default(),
            probes: BTreeMap::new(),
            tried: Vec::new(),
            started: cx.now,
            switch_at: None,
            over: false,
            reports: VecDeque::new(),
            early: VecDeque::new(),
            permit: PermitState::of(cx.now, plan.methods.first().copied()),
            early_permit: None,
        }
    }

    /// Returns the edition of the plan that runs.
    pub(crate) fn edition(&self) -> u8 {
        self.context.edition
    }

    /// Returns whether there is nothing to try.
    pub(crate) fn is_idle(&self) -> bool {
        self.methods.is_empty()
    }

    /// Returns whether the plan has direct test messages.
    pub(crate) fn has_cone(&self) -> bool {
        self.methods.iter().any(|planned| planned.method == Method::Cone)
    }

    /// Returns whether direct test messages are likely to arrive. They are tried, too, where a symmetric NAT meets
    /// one that nothing is known of yet; but that one is rarely open.
    pub(crate) fn cone_is_likely(&self) -> bool {
        let (own, peer) = (&self.context.own, &self.context.peer);
        let hopeful = |one: &NatProfile, other: &NatProfile| {
            reach(one).mapping_is_hoped_fixed() || other.filtering != FilteringBehavior::Unknown
        };
        self.has_cone() && hopeful(own, peer) && hopeful(peer, own)
    }

    /// Returns how long the methods that run now have before the next ones take over: a failed try is followed by
    /// another method, not by itself. What is left of the time is shared out by what each needs to have had its
    /// chance.
    fn share(&self, deadline: Instant, now: Instant) -> Duration {
        let need = |method| expected_time(method, &self.context).as_secs_f64();
        let running = self.running.iter().map(|running| need(running.planned.method)).fold(0.0, f64::max);
        let running = if running > 0.0 { running } else { need(Method::Cone) };
        let waiting: f64 = self.waiting.iter().map(|planned| need(planned.method)).sum();
        let left = deadline.saturating_duration_since(now);
        left.mul_f64(running / (running + waiting)).max(expected_time(Method::Cone, &self.context))
    }

    /// Starts what is due to start, and returns the methods that it has started.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>, deadline: Instant) -> Vec<Method> {
        let mut begun = Vec::new();
        if self.over || self.waiting.is_empty() {
            return begun;
        }
        let first = self.switch_at.is_none();
        let spent = self
            .running
            .iter()
            .all(|running| matches!(running.puncher.progress(), Progress::Exhausted | Progress::CapReached));
        let time_is_up = self.switch_at.is_some_and(|at| at <= cx.now);
        // Between plain test messages and the first heavier method nothing is waited for but their chance to work.
        if !first && !time_is_up && (self.running.is_empty() || !spent) {
            return begun;
        }
        // What a better plan goes on with has its time first, and so have plain test messages; but what comes before it in
        // the plan does not wait for it.
        let mut earlier: Vec<Method> = Vec::new();
        if first {
            let place = |method| self.methods.iter().position(|planned| planned.method == method);
            let next = self.waiting.front().and_then(|planned| place(planned.method));
            earlier.extend(self.has_cone().then_some(Method::Cone));
            let running = self.running.iter().map(|running| running.planned.method);
            earlier.extend(running.filter(|method| place(*method) < next));
        }
        if earlier.is_empty()
            && self.waiting.front().is_some_and(|next| next.method.searches())
            && !self.may_search(cx)
        {
            return begun; // What runs goes on meanwhile.
        }
        if !first {
            self.stop_running(cx.now);
        }
        while let Some(planned) = self.waiting.front().copied() {
            if !earlier.is_empty() && !starts_together(&earlier, planned.method) {
                break;
            }
            self.waiting.pop_front();
            earlier.push(planned.method);
            let context = PunchContext { edition: planned.since, ..self.context.clone() };
            if let Some(puncher) = puncher(planned.method, cx.now, context) {
                let before = self.spending.datagrams;
                self.running.push(Running { puncher, planned, since: cx.now, before });
                begun.push(planned.method);
            }
        }
        self.switch_at = Some(cx.now + self.share(deadline, cx.now));
        begun
    }

    fn stop_running(&mut self, now: Instant) {
        self.stop_running_if(now, |_| true);
    }

    fn stop_running_if(&mut self, now: Instant, stops: impl Fn(PlannedMethod) -> bool) {
        for running in self.running.extract_if(.., |running| stops(running.planned)) {
            self.done.push(running.planned);
            self.tried.push(Tried {
                method: running.planned.method,
                time: now.saturating_duration_since(running.since),
                packets: self.spending.datagrams - running.before,
            });
        }
    }

    /// A way stands, or time is up: no more orders.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.stop_running(now);
        self.waiting.clear();
        self.over = true;
    }

    /// Returns what was tried so far, with the test messages if the plan had them.
    pub(crate) fn tried(&self, now: Instant) -> Vec<Tried> {
        let time = now.saturating_duration_since(self.started);
        let cone = Tried { method: Method::Cone, time, packets: self.spending.datagrams };
        let cone_alone = self.tried.is_empty() && self.running.is_empty();
        let running = self.running.iter().map(|running| Tried {
            method: running.puncher.method(),
            time: now.saturating_duration_since(running.since),
            packets: self.spending.datagrams - running.before,
        });
        let cone = self.has_cone().then_some(if cone_alone { cone } else { Tried { packets: 0, ..cone } });
        cone.into_iter().chain(self.tried.iter().cloned()).chain(running).collect()
    }

    pub(crate) fn spending(&self) -> &Spending {
        &self.spending
    }

    /// Asks for one datagram outside of the punchers: test messages of the paths, and answers.
    pub(crate) fn may_send(&mut self, now: Instant, budget: &mut Budget, to: SocketAddr) -> bool {
        let mut ledger = Ledger { budget, attempt: &mut self.spending };
        ledger.answer(now, to) == Verdict::Go
    }

    /// Returns whether an address that the other side sent from may become a destination.
    pub(crate) fn admits(&mut self, budget: &mut Budget, from: SocketAddr) -> bool {
        Ledger { budget, attempt: &mut self.spending }.admit(from)
    }

    /// Returns which method a way on this socket belongs to, as far as this side can tell.
    pub(crate) fn method_of(&self, owner: Option<Owner>) -> Option<Method> {
        match owner {
            Some(Owner::Match(_, method, _)) => Some(method),
            _ if self.has_cone() => None,
            _ => self.running.first().map(|running| running.puncher.method()),
        }
    }

    fn tell(&mut self, now: Instant, input: PunchInput<'_>, whose: impl Fn(Method) -> bool) {
        for running in &mut self.running {
            if whose(running.puncher.method()) {
                running.puncher.handle(now, input);
            }
        }
    }

    pub(crate) fn handle_socket(&mut self, now: Instant, method: Method, slot: u16, port: Option<u16>) {
        self.tell(now, PunchInput::Socket { slot, port }, |running| running == method);
    }

    /// Takes an answer to a probe. True: the probe was this attempt's.
    pub(crate) fn handle_seen(&mut self, now: Instant, tag: u32, seen: ProbeSeen) -> bool {
        let Some((method, tag)) = self.probes.get(&tag).copied() else { return false };
        let observed = seen.observed;
        if let Some(report) = seen.report {
            if self.reports.len() >= REPORTS {
                self.reports.pop_front();
            }
            self.reports.push_back(((method, tag), report));
        }
        self.tell(now, PunchInput::ProbeSeen { tag, observed }, |running| running == method);
        true
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, owner: Option<Owner>, from: SocketAddr) {
        match owner {
            Some(Owner::Match(_, method, slot)) => {
                let input = PunchInput::Datagram { slot: Slot::Own(slot), from };
                self.tell(now, input, |running| running == method);
            }
            _ => self.tell(now, PunchInput::Datagram { slot: Slot::Main, from }, |_| true),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for running in &mut self.running {
            if running.puncher.poll_timeout().is_some_and(|at| at <= now) {
                running.puncher.handle(now, PunchInput::Timeout);
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.iter().filter_map(|running| running.puncher.poll_timeout()).min();
        // A search that has asked for its permit begins when that comes; time alone does not start it.
        let asked = self.permit != PermitState::NotAsked
            && self.waiting.front().is_some_and(|next| next.method.searches());
        let switch = self.switch_at.filter(|_| !self.over && !self.waiting.is_empty() && !asked);
        earliest(running, switch)
    }
}
