//! What one side of a method sends, from which socket and in which order, sentence by sentence of M14, M17, M19, M20.

use super::model::{PEER, SERVERS, context};
use super::*;
use crate::config::MOST_PORTS_AHEAD;

/// This is one puncher, driven by hand.
struct Side {
    puncher: Box<dyn Puncher>,
    now: Instant,
    budget: Budget,
    spending: Spending,
    sent: Vec<(Duration, PunchOrder)>,
    start: Instant,
}

impl Side {
    fn new(method: Method, role: Role, own: &str, peer: &str, change: impl Fn(&mut PunchContext)) -> Self {
        let mut context = context(role, own, peer);
        change(&mut context);
        let now = Instant::now();
        let (budget, puncher) = (Budget::new(context.caps), puncher(method, now, context).unwrap());
        let mut side =
            Self { puncher, now, budget, spending: Spending::default(), sent: Vec::new(), start: now };
        side.drain();
        side
    }

    fn drain(&mut self) {
        loop {
            let mut ledger = Ledger { budget: &mut self.budget, attempt: &mut self.spending };
            let Some(order) = self.puncher.poll_order(self.now, &mut ledger) else { return };
            if let PunchOrder::OpenSocket { slot } = order {
                self.puncher.handle(self.now, PunchInput::Socket { slot, port: Some(40_000 + slot) });
            }
            self.sent.push((self.now - self.start, order));
        }
    }

    fn hear(&mut self, facts: &Facts) {
        self.puncher.handle(self.now, PunchInput::Facts(facts));
        self.drain();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.puncher.poll_timeout().filter(|due| *due < end) {
            self.now = self.now.max(due);
            self.puncher.handle(self.now, PunchInput::Timeout);
            self.drain();
        }
        self.now = end;
    }

    /// Returns the destinations of tests in the order in which they first came.
    fn ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for (_, order) in &self.sent {
            if let PunchOrder::Test { to, .. } = order
                && !ports.contains(&to.port())
            {
                ports.push(to.port());
            }
        }
        ports
    }

    /// Probes and tests in their order: who was it sent to, from which socket.
    fn row(&self) -> Vec<(Duration, Slot, String)> {
        let sent = |(at, order): &(Duration, PunchOrder)| match order {
            PunchOrder::Probe { slot, to, .. } | PunchOrder::Test { slot, to, .. } => {
                Some((*at, *slot, to.to_string()))
            }
            _ => None,
        };
        self.sent.iter().filter_map(sent).collect()
    }
}

fn range(method: Method, first: u16, last: u16, step: i32) -> Facts {
    let round = Round { edition: 0, method, attempt: 1 }.number();
    Facts::Range { round, ip: "192.0.2.1".parse().unwrap(), first, last, step }
}

#[test]
fn m14_probe_bubble_probe_leave_back_to_back_from_one_new_socket_to_two_addresses() {
    let side = Side::new(Method::Bubble, Role::Sending, "as", "pr", |_| {});
    let told = |to: &str| (Duration::ZERO, Slot::Own(0), to.to_string());
    assert_eq!(side.row(), [told(SERVERS[0]), told(PEER), told(SERVERS[1])], "no answer is waited for");
}

#[test]
fn m14_m16_with_one_address_a_port_sensitive_nat_is_probed_at_the_other_port_and_any_other_from_a_fresh_socket()
 {
    let other_port = "203.0.113.1:3479";
    let one_address = |context: &mut PunchContext| context.servers[1] = other_port.parse().unwrap();
    let ps = Side::new(Method::Bubble, Role::Sending, "ps", "pr", one_address);
    let last = |side: &Side| side.row().last().cloned().map(|(_, slot, to)| (slot, to));
    assert_eq!(last(&ps), Some((Slot::Own(0), other_port.to_string())));
    let address_sensitive = Side::new(Method::Bubble, Role::Sending, "as", "pr", one_address);
    assert_eq!(last(&address_sensitive), Some((Slot::Own(1), SERVERS[0].to_string())));
}

#[test]
fn m17_replies_leave_from_the_port_that_the_server_knows() {
    for receiver in ["fc", "r", "pr", "ps"] {
        let mut side = Side::new(Method::Bubble, Role::Receiving, receiver, "as", |_| {});
        assert_eq!(side.row(), [], "{receiver} waits for the range");
        side.hear(&range(Method::Bubble, 10_135, 10_145, 5));
        let row = side.row();
        assert!(row.iter().all(|(at, slot, _)| *at == Duration::ZERO && *slot == Slot::Main), "{row:?}");
        assert_eq!(side.ports(), [10_135, 10_140, 10_145], "M15's vector");
    }
}

#[test]
fn m19_the_ladder_comes_first_then_all_ports_but_the_well_known_within_a_rate_and_a_total() {
    let caps = Caps { targets_per_attempt: 400, ..Caps::default() };
    let mut side = Side::new(Method::Bubble, Role::Receiving, "pr", "ps", |context: &mut PunchContext| {
        context.caps = caps
    });
    side.hear(&range(Method::Bubble, 40_000, 40_008, 4));
    side.run(Duration::from_secs(10));
    let ports = side.ports();
    assert_eq!(ports[..3], [40_000, 40_004, 40_008], "the detected step");
    assert_eq!(ports[3..5], [40_002, 40_006], "then its divisors: 2");
    assert_eq!(ports[5..9], [40_001, 40_003, 40_005, 40_007], "and 1");
    assert!(ports.iter().all(|port| *port >= 1024));
    // A quarter of the targets a round, so that a later one with a better range has some left.
    assert_eq!(ports.len(), 100);
    let times: Vec<Duration> = side.sent.iter().map(|(at, _)| *at).collect();
    let busiest = times
        .iter()
        .map(|from| times.iter().filter(|at| **at >= *from && **at < *from + Duration::from_secs(1)).count());
    // Half of the rate, but for the range itself, which goes out three times.
    assert!(busiest.max().unwrap() <= 100 + 9);
}

#[test]
fn m19_an_open_range_is_searched_away_from_its_known_end() {
    for step in [2, -2] {
        let mut side = Side::new(Method::Bubble, Role::Receiving, "pr", "ps", |_| {});
        let round = Round { edition: 0, method: Method::Bubble, attempt: 1 }.number();
        let ip = "192.0.2.1".parse().unwrap();
        side.hear(&Facts::OpenRange { round, ip, bound: 40_000, step });
        let first: Vec<i32> =
            side.ports().into_iter().map(|port| (i32::from(port) - 40_000) / step).collect();
        assert_eq!(first, [0, 1, 2, 3, 4, 5, 6, 7, 8], "the next few in a row");
        side.run(Duration::from_secs(5));
        let all = side.ports();
        let beyond = |port: &&u16| (i32::from(**port) - 40_000) * step.signum() >= 0;
        assert!(all.len() > 60 && all.iter().all(|port| beyond(&port)), "only on that side: {all:?}");
        assert!(all.len() <= 300, "a quarter of the targets");
    }
}

#[test]
fn m40_a_silent_second_address_is_done_without() {
    let mut side = Side::new(Method::Bubble, Role::Sending, "as", "pr", |_| {});
    side.puncher
        .handle(side.now, PunchInput::ProbeSeen { tag: 1, observed: "198.51.100.1:7".parse().unwrap() });
    side.run(Duration::from_millis(300));
    let second = Slot::Own(2);
    let fresh = |(_, slot, to): &(Duration, Slot, String)| *slot == second && to == SERVERS[0];
    assert!(
        side.row().iter().any(fresh),
        "from a fresh socket to the address that answers: {:?}",
        side.row()
    );
}

#[test]
fn m20_m22_bubble_targets_end_one_step_before_the_last_probe_and_the_packet_leaves_from_the_replying_socket()
{
    let mut side = Side::new(Method::MultiBubble, Role::Receiving, "as", "ps", |_| {});
    let told = |slot, to: &str| (Duration::ZERO, Slot::Own(slot), to.to_string());
    let first = [told(0, SERVERS[0]), told(0, PEER), told(1, SERVERS[0])];
    assert_eq!(
        side.row(),
        first,
        "probe, port-assigning packet, probe from a fresh socket; one server address"
    );
    side.sent.clear();
    side.hear(&range(Method::MultiBubble, 20_000, 20_009, 3));
    assert_eq!(side.ports(), [20_000, 20_003, 20_006], "M21: the last probe's own port is none of them");
    assert!(side.row().iter().all(|(_, slot, _)| *slot == Slot::Own(0)), "M22: from the assigned socket");

    let mut sender = Side::new(Method::MultiBubble, Role::Sending, "ps", "as", |_| {});
    assert_eq!(sender.row(), [], "M21: the sender's bubbles need the targets");
    sender.hear(&range(Method::MultiBubble, 30_000, 30_004, 2));
    let row = sender.row();
    assert_eq!(row[0], told(0, SERVERS[0]));
    assert_eq!(row[1..3], [told(0, "192.0.2.1:30000"), told(0, "192.0.2.1:30002")]);
    assert_eq!(row[3], told(1, SERVERS[0]), "and a probe from a fresh socket");
}

#[test]
fn m24_n_follows_the_measured_rate_of_foreign_ports() {
    let sockets = |rate: f32| {
        // Of two that are alike the plan's sending side is the one whose ports are foretold.
        let busy = |context: &mut PunchContext| {
            (context.own.foreign_rate, context.peer.foreign_rate) = (Some(rate), Some(rate));
        };
        let mut side = Side::new(Method::Prediction, Role::Sending, "ps", "ps", busy);
        side.now += Duration::from_millis(150);
        let round = Round { edition: 0, method: Method::Prediction, attempt: 1 }.number();
        side.hear(&Facts::Newest { round, address: "192.0.2.1:50000".parse().unwrap(), ahead: [0; 4] });
        let volley = side.sent.iter().filter(|(_, order)| matches!(order, PunchOrder::Test { .. }));
        volley.count()
    };
    let (quiet, busy, very) = (sockets(0.0), sockets(20.0), sockets(50.0));
    assert!(quiet < busy && busy < very, "{quiet}, {busy}, {very}");
    assert!((3..=12).contains(&quiet) && very <= 96, "{quiet}, {busy}, {very}");
}

/// S4: the other side is told to aim n ports further, and n packets leave in a row from as many sockets.
#[test]
fn m24_n_that_is_set_is_what_the_call_names_and_as_many_packets_leave() {
    for n in [4, 20, MOST_PORTS_AHEAD] {
        let set = |context: &mut PunchContext| context.ports_ahead = Some(n);
        let mut side = Side::new(Method::Prediction, Role::Sending, "ps", "ps", set);
        let named = side.sent.iter().find_map(|(_, order)| match order {
            PunchOrder::Probe { purpose: ProbePurpose::Newest { ahead, .. }, .. } => Some(*ahead),
            _ => None,
        });
        assert_eq!(named, Some([n, 0, 0, 0]));
        side.now += Duration::from_millis(150);
        let round = Round { edition: 0, method: Method::Prediction, attempt: 1 }.number();
        side.hear(&Facts::Newest { round, address: "192.0.2.1:50000".parse().unwrap(), ahead: [0; 4] });
        let row = side.row();
        let from: std::collections::BTreeSet<Slot> = row
            .iter()
            .filter(|(at, _, to)| *at >= Duration::from_millis(150) && to == "192.0.2.1:50001")
            .map(|(_, slot, _)| *slot)
            .collect();
        assert_eq!(from.len(), usize::from(n), "one packet from each of n sockets: {row:?}");
    }
}

/// S4: the call and its answer leave from new ports, so that the server sees each NAT's newest one; the answer's packet leaves
/// in the same row, by the next.
#[test]
fn m23_the_call_and_the_answer_leave_from_new_sockets() {
    let call = Side::new(Method::Prediction, Role::Sending, "ps", "ps", |_| {});
    let [(_, from @ Slot::Own(_), to)] = &call.row()[..] else { panic!("{:?}", call.row()) };
    assert_eq!(to, SERVERS[0], "the call, from {from:?}");
    let mut answer = Side::new(Method::Prediction, Role::Receiving, "ps", "ps", |_| {});
    assert_eq!(answer.row(), [], "it waits for the call");
    let round = Round { edition: 0, method: Method::Prediction, attempt: 1 }.number();
    let address = "192.0.2.1:50000".parse().unwrap();
    answer.hear(&Facts::Newest { round, address, ahead: [7, 0, 0, 0] });
    let row = answer.row();
    let [(_, Slot::Own(probe), to), (_, Slot::Own(packet), aimed), ..] = &row[..] else { panic!("{row:?}") };
    assert_eq!((to.as_str(), aimed.as_str()), (SERVERS[0], "192.0.2.1:50007"));
    assert_ne!(probe, packet);
}

/// Puts this player near the server, and the other one far from it.
fn far_peer(context: &mut PunchContext) {
    context.rtt = RttEstimate::of(Duration::from_millis(20));
    context.peer_rtt = RttEstimate::of(Duration::from_millis(1200));
}

#[test]
fn a_far_players_answer_to_a_range_is_waited_for_before_the_search_goes_wider() {
    let mut side = Side::new(Method::Bubble, Role::Receiving, "pr", "ps", far_peer);
    side.hear(&range(Method::Bubble, 40_000, 40_008, 4));
    // The two are at least half of the far one's round trip apart, and answer and confirmation take that time.
    side.run(Duration::from_millis(1200));
    assert_eq!(side.ports(), [40_000, 40_004, 40_008]);
    side.run(Duration::from_secs(4));
    assert!(side.ports().len() > 3, "then it does");
}

#[test]
fn who_has_heard_a_far_player_holds_still_until_a_path_can_be_made_of_it() {
    let mut side = Side::new(Method::Cone, Role::Sending, "pr", "pr", far_peer);
    let from = PEER.parse().unwrap();
    side.puncher.handle(side.now, PunchInput::Datagram { slot: Slot::Main, from });
    let sent = side.sent.len();
    side.run(Duration::from_millis(1200));
    assert_eq!(side.sent.len(), sent);
}

#[test]
fn replies_to_a_far_player_are_not_used_up_before_it_can_answer() {
    let mut side = Side::new(Method::Bubble, Role::Receiving, "as", "pr", far_peer);
    side.run(Duration::from_secs(8));
    assert_eq!(side.puncher.progress(), Progress::Running);
}

#[test]
fn openers_with_a_short_ttl_go_only_where_they_cannot_get_in_and_every_second_try_does_without() {
    let ttls = |peer: &str| {
        let short = |context: &mut PunchContext| context.first_ttl = Some(5);
        let mut side = Side::new(Method::Bubble, Role::Sending, "as", peer, short);
        side.run(Duration::from_secs(3));
        let mut ttls = std::collections::BTreeMap::<Slot, Vec<Option<u8>>>::new();
        for (_, order) in &side.sent {
            if let PunchOrder::Test { slot, ttl, .. } = order {
                ttls.entry(*slot).or_default().push(*ttl);
            }
        }
        ttls
    };
    let against_ports = ttls("pr");
    let first = |ttls: &Vec<Option<u8>>| ttls[0];
    let firsts: Vec<_> = against_ports.values().map(first).collect();
    assert!(firsts.contains(&Some(5)) && firsts.contains(&None), "{firsts:?}");
    for ttls in against_ports.values().filter(|ttls| ttls[0].is_some()) {
        assert!(ttls.len() < 4 || ttls.contains(&None), "once more with the system's: {ttls:?}");
    }
    for lenient in ["fc", "r"] {
        assert!(ttls(lenient).values().flatten().all(Option::is_none), "{lenient}: the bubble may get in");
    }
}
