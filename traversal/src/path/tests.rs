//! Whole ways to a player, driven through their tests. One file of over 400 lines, since all of it shares the fixture.

use std::net::SocketAddr;

use super::*;
use crate::api::SocketId;
use crate::way::RELAY;

const SOCKET: SocketId = SocketId::MAIN;
const STRANGER: Origin = Origin { kind: PathKind::Direct, vouched: false, method: None };

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Fixture {
    paths: Paths,
    config: AgentConfig,
    now: Instant,
    start: Instant,
}

impl Fixture {
    fn new(candidates: &[(&str, PathKind)]) -> Self {
        let now = Instant::now();
        let mut paths = Paths::new([7; 32], None);
        for (remote, kind) in candidates {
            paths.add(now, Way::new(SOCKET, address(remote)), *kind, Method::Cone);
        }
        Self { paths, config: AgentConfig::default(), now, start: now }
    }

    fn tick(&mut self, ms: u64) -> Vec<TestOrder> {
        self.now += Duration::from_millis(ms);
        let mut orders = Vec::new();
        self.paths.handle_timeout(self.now, &self.config, &mut orders);
        // These are about which way is taken: all of them carry all lengths.
        let (probes, orders) = orders.into_iter().partition(|order: &TestOrder| order.probe.is_some());
        for TestOrder { tag, way, .. } in probes {
            self.paths.confirmed(self.now, tag, way, false);
        }
        orders
    }

    fn confirm(&mut self, order: TestOrder) -> bool {
        self.paths.confirmed(self.now, order.tag, order.way, false);
        self.paths.choose(self.now, &self.config)
    }
}

#[test]
fn m30_addresses_that_the_server_named_are_tested_at_once_and_again() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    assert_eq!(fixture.tick(0).len(), 2);
    assert_eq!(fixture.tick(10).len(), 0);
    assert_eq!(fixture.tick(15).len(), 2, "the second opener follows after 25 ms");
    let mut tests = 4;
    while fixture.now - fixture.start < Duration::from_secs(10) {
        tests += fixture.tick(5).len();
    }
    assert!((60..90).contains(&tests), "{tests} datagrams in ten seconds to two addresses");
}

#[test]
fn an_address_learned_from_a_packet_gets_one_answer_each_and_nothing_on_our_own_clock() {
    let mut fixture = Fixture::new(&[]);
    assert!(fixture.paths.heard(fixture.now, Way::new(SOCKET, address("203.0.113.9:9")), STRANGER).is_some());
    for _ in 0..200 {
        assert_eq!(fixture.tick(50), []);
    }
}

#[test]
fn lan_wins_over_direct_even_when_direct_was_first() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    let orders = fixture.tick(0);
    assert!(fixture.confirm(orders[0]));
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Direct);
    assert!(fixture.confirm(orders[1]));
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Lan);
}

#[test]
fn direct_does_not_win_over_lan() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    let orders = fixture.tick(0);
    assert!(fixture.confirm(orders[1]));
    assert!(!fixture.confirm(orders[0]));
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Lan);
}

#[test]
fn m18_a_confirmation_from_elsewhere_proves_the_address_tested_and_no_other() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    let elsewhere = address("192.0.2.1:1001");
    assert!(fixture.paths.confirmed(fixture.now, order.tag, Way::new(SOCKET, elsewhere), false));
    let tag =
        fixture.paths.heard(fixture.now, Way::new(SOCKET, elsewhere), Origin { vouched: true, ..STRANGER });
    assert!(tag.is_some(), "it is answered with a test of its own");
    assert!(fixture.paths.choose(fixture.now, &fixture.config));
    assert!(fixture.paths.is_selected(Way::new(SOCKET, order.way.remote)));
    assert!(fixture.paths.is_crossed());
    let mut sent = Vec::new();
    for _ in 0..20 {
        let pings = fixture.tick(50);
        pings.iter().for_each(|ping| _ = fixture.confirm(*ping));
        sent.extend(pings);
    }
    assert!(
        !sent.is_empty() && sent.iter().all(|order| order.way.remote != elsewhere),
        "nor chased: {sent:?}"
    );
}

#[test]
fn confirmations_of_a_way_that_are_answered_from_elsewhere_keep_it() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    let elsewhere = address("192.0.2.1:1001");
    fixture.paths.confirmed(fixture.now, order.tag, Way::new(SOCKET, elsewhere), false);
    fixture.paths.choose(fixture.now, &fixture.config);
    for _ in 0..200 {
        for ping in fixture.tick(50) {
            fixture.paths.confirmed(fixture.now, ping.tag, Way::new(SOCKET, elsewhere), false);
        }
        assert!(!fixture.paths.is_doubtful());
    }
    let rtt = fixture.paths.selected().unwrap().pulse.rtt();
    assert_eq!(rtt, Some(Duration::ZERO), "measured by the pings");
    // And without them it is given up as any other.
    (0..200).for_each(|_| _ = fixture.tick(50));
    assert!(fixture.paths.is_doubtful());
}

#[test]
fn whoever_guesses_tags_must_at_least_forge_the_address() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    let elsewhere = address("192.0.2.1:1001");
    let wrong = (0..1000).filter(|guess| *guess != order.tag);
    for guess in wrong.take(STRIKES as usize) {
        assert!(!fixture.paths.confirmed(fixture.now, guess, Way::new(SOCKET, elsewhere), false));
    }
    assert!(!fixture.paths.confirmed(fixture.now, order.tag, Way::new(SOCKET, elsewhere), false));
    let next = fixture.tick(25)[0];
    assert!(fixture.paths.confirmed(fixture.now, next.tag, Way::new(SOCKET, next.way.remote), false));
}

#[test]
fn a_confirmation_counts_once() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    assert!(fixture.paths.confirmed(fixture.now, order.tag, Way::new(SOCKET, order.way.remote), false));
    assert!(!fixture.paths.confirmed(fixture.now, order.tag, Way::new(SOCKET, order.way.remote), false));
}

#[test]
fn once_settled_only_the_chosen_path_is_pinged() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    let orders = fixture.tick(0);
    fixture.confirm(orders[0]);
    for _ in 0..32 {
        let pings = fixture.tick(50).into_iter().filter(|ping| ping.way.remote == orders[0].way.remote);
        pings.for_each(|ping| _ = fixture.confirm(ping));
    }
    let mut sent = Vec::new();
    for _ in 0..100 {
        let pings = fixture.tick(50);
        pings.iter().for_each(|ping| _ = fixture.confirm(*ping));
        sent.extend(pings);
    }
    assert!(sent.iter().all(|order| order.way.remote == orders[0].way.remote), "{sent:?}");
    assert_eq!(sent.len(), 12, "one every 400 ms in five seconds");
}

/// The test is as where the system lets nothing out into the own network before its user allows it.
#[test]
fn from_a_direct_way_the_own_network_is_tried_again_twice() {
    let ways = [("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)];
    let mut fixture = Fixture::new(&ways);
    let orders = fixture.tick(0);
    fixture.confirm(orders[0]);
    let (mut tries, mut tests) = (Vec::new(), 0);
    for _ in 0..20 * 1000 / 50 * 60 {
        let orders_now = fixture.tick(50);
        let at = (fixture.now - fixture.start).as_secs();
        for order in orders_now {
            if order.way.remote == orders[0].way.remote {
                fixture.confirm(order);
            } else if at > 5 {
                tests += 1;
                if tries.last().is_none_or(|last| at > last + 5) {
                    tries.push(at);
                }
            }
        }
    }
    assert!(matches!(tries[..], [60, 360]) && (2..=20).contains(&tests), "{tests} tests at {tries:?} s");
    // The next pair is allowed meanwhile.
    let mut fixture = Fixture::new(&ways);
    let orders = fixture.tick(0);
    fixture.confirm(orders[0]);
    for _ in 0..70 * 1000 / 50 {
        let open = fixture.now - fixture.start > Duration::from_secs(50);
        for order in fixture.tick(50) {
            if order.way.remote == orders[0].way.remote || open {
                fixture.confirm(order);
            }
        }
    }
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Lan);
}

#[test]
fn silence_brings_back_every_address() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    let orders = fixture.tick(0);
    fixture.confirm(orders[0]);
    fixture.tick(1600);
    let mut sent = Vec::new();
    for _ in 0..60 {
        fixture.now += Duration::from_millis(50);
        fixture.paths.handle_timeout(fixture.now, &fixture.config, &mut sent);
    }
    let lan = sent.iter().find(|order| order.way.remote == orders[1].way.remote).copied();
    assert!(fixture.confirm(lan.expect("the LAN address is tried again")));
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Lan);
}

#[test]
fn a_way_that_is_not_answered_is_given_up_though_the_other_side_is_heard() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct), ("10.0.0.2:1000", PathKind::Lan)]);
    let orders = fixture.tick(0);
    fixture.confirm(orders[1]);
    let mut direct = None;
    // `tick` says that something was heard all the time.
    for _ in 0..100 {
        direct =
            direct.or(fixture.tick(50).into_iter().find(|order| order.way.remote == orders[0].way.remote));
    }
    assert!(fixture.confirm(direct.expect("the other way is tried again")));
    assert_eq!(fixture.paths.selected().unwrap().kind, PathKind::Direct);
}

#[test]
fn the_socket_that_the_other_side_uses_is_not_closed() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    fixture.confirm(order);
    let other = SocketId(7);
    fixture.paths.heard(fixture.now, Way::new(other, address("192.0.2.1:1000")), STRANGER);
    fixture.paths.carried_data(Way::new(other, address("192.0.2.1:1000")));
    fixture.tick(5000);
    let used = fixture.paths.sockets_used(Some(fixture.now));
    assert!(used.contains(&SOCKET) && used.contains(&other), "{used:?}");
    fixture.paths.keep_only(&used, |_| false);
    assert_eq!(fixture.paths.selected_there().unwrap().way.socket, other);
}

#[test]
fn memory_is_bounded_whatever_arrives() {
    let mut fixture = Fixture::new(&[]);
    for port in 1..5000 {
        fixture.paths.heard(
            fixture.now,
            Way::new(SOCKET, SocketAddr::from(([192, 0, 2, 1], port))),
            STRANGER,
        );
    }
    assert_eq!(fixture.paths.candidates.len(), MAX_CANDIDATES);
}

#[test]
fn the_newest_of_very_many_sources_is_a_way_and_the_one_in_use_stays_one() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    let order = fixture.tick(0)[0];
    assert!(fixture.confirm(order));
    let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
    for port in 2000..2300 {
        fixture.tick(1);
        fixture.paths.heard(fixture.now, Way::new(SOCKET, source(port)), STRANGER);
    }
    let tag = fixture.paths.heard(fixture.now, Way::new(SOCKET, source(2299)), STRANGER).unwrap();
    assert!(fixture.paths.confirmed(fixture.now, tag, Way::new(SOCKET, source(2299)), false));
    assert!(fixture.paths.is_selected(Way::new(SOCKET, order.way.remote)), "the one in use stays");
    assert_eq!(fixture.paths.candidates.len(), MAX_CANDIDATES);
}

#[test]
fn a_confirmation_proves_nothing_about_where_it_comes_from_nor_does_a_guessed_tag() {
    let mut fixture = Fixture::new(&[]);
    let (own, victim) = (address("192.0.2.1:1000"), address("203.0.113.9:9"));
    let tag = fixture.paths.heard(fixture.now, Way::new(SOCKET, own), STRANGER).unwrap();
    let to_victim = fixture.paths.heard(fixture.now, Way::new(SOCKET, victim), STRANGER).unwrap();
    for near in 1..200 {
        let guess = tag.wrapping_add(near);
        assert!(
            guess == to_victim
                || !fixture.paths.confirmed(fixture.now, guess, Way::new(SOCKET, victim), false)
        );
    }
    assert!(!fixture.paths.choose(fixture.now, &fixture.config), "nothing is proven");
    assert!(
        !fixture.paths.confirmed(fixture.now, tag, Way::new(SOCKET, victim), false),
        "too many were wrong"
    );
    let tag = fixture.paths.heard(fixture.now, Way::new(SOCKET, own), STRANGER).unwrap();
    assert!(fixture.paths.confirmed(fixture.now, tag, Way::new(SOCKET, own), false));
    assert!(fixture.paths.choose(fixture.now, &fixture.config));
    assert!(fixture.paths.is_selected(Way::new(SOCKET, own)), "the stranger gets nothing");
}

impl Fixture {
    /// Returns what leaves in this time where a test is answered at once if it is no longer than this, where there is
    /// any answer; these are the probes alone.
    fn run_narrow(&mut self, ms: u64, takes: impl Fn(&TestOrder) -> Option<usize>) -> Vec<TestOrder> {
        let mut probes = Vec::new();
        for _ in 0..ms / 5 {
            self.now += Duration::from_millis(5);
            let mut orders = Vec::new();
            self.paths.handle_timeout(self.now, &self.config, &mut orders);
            for order in orders {
                probes.extend(order.probe.map(|_| order));
                if takes(&order).is_some_and(|most| order.probe.unwrap_or(0) <= most) {
                    self.paths.confirmed(self.now, order.tag, order.way, false);
                }
            }
            self.paths.choose(self.now, &self.config);
        }
        probes
    }

    fn kind(&self) -> PathKind {
        self.paths.selected().unwrap().kind
    }
}

#[test]
fn nothing_long_goes_to_an_address_that_has_not_confirmed() {
    let stranger = address("203.0.113.9:9");
    for confirms in [Some(1472), None] {
        let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
        fixture.paths.heard(fixture.now, Way::new(SOCKET, stranger), STRANGER);
        let answers = |order: &TestOrder| confirms.filter(|_| order.way.remote != stranger);
        let probes = fixture.run_narrow(20_000, answers);
        assert!(probes.iter().all(|order| order.way.remote != stranger));
        assert_eq!(probes.is_empty(), confirms.is_none());
    }
}

#[test]
fn a_way_that_passes_short_datagrams_only_gives_way_to_any_other() {
    let mut fixture = Fixture::new(&[("192.0.2.1:1000", PathKind::Direct)]);
    fixture.paths.add(
        fixture.now,
        Way::new(RELAY, address("198.51.100.1:3478")),
        PathKind::Relay,
        Method::Cone,
    );
    let silent = |order: &TestOrder| (order.way.socket != RELAY).then_some(900);
    let narrow = |order: &TestOrder| Some(if order.way.socket == RELAY { 1472 } else { 900 });
    fixture.run_narrow(100, silent);
    assert_eq!(fixture.kind(), PathKind::Direct, "taken at once");
    fixture.run_narrow(15_000, silent);
    assert_eq!(fixture.kind(), PathKind::Direct, "there is nothing better");
    assert_eq!(fixture.paths.selected().unwrap().size.present(), 548);
    fixture.run_narrow(12_000, narrow);
    assert_eq!(fixture.kind(), PathKind::Relay);
    assert_eq!(fixture.paths.selected().unwrap().size.present(), 1472);
    // It is tried again and again, and does not take the game back.
    fixture.run_narrow(60_000, |order| {
        assert!(order.probe.is_none() || order.way.socket == RELAY || order.probe == Some(1200));
        narrow(order)
    });
    assert_eq!(fixture.kind(), PathKind::Relay);
    // Once it carries more it does.
    fixture.run_narrow(70_000, |_| Some(1472));
    assert_eq!(fixture.kind(), PathKind::Direct);
}

#[test]
fn a_way_that_was_too_narrow_has_to_show_that_it_carries_more_before_the_game_goes_back() {
    let mut fixture = Fixture::new(&[]);
    fixture.paths.add(
        fixture.now,
        Way::new(RELAY, address("198.51.100.1:3478")),
        PathKind::Relay,
        Method::Cone,
    );
    fixture.run_narrow(500, |_| Some(1472));
    assert_eq!(fixture.kind(), PathKind::Relay);
    let narrow = |order: &TestOrder| Some(if order.way.socket == RELAY { 1472 } else { 900 });
    fixture.paths.add(
        fixture.now,
        Way::new(SOCKET, address("192.0.2.1:1000")),
        PathKind::Direct,
        Method::Cone,
    );
    fixture.run_narrow(100, narrow);
    assert_eq!(fixture.kind(), PathKind::Direct, "it has the benefit of the doubt");
    fixture.run_narrow(1_500, narrow);
    assert_eq!(fixture.kind(), PathKind::Relay);
    for _ in 0..12_000 {
        fixture.run_narrow(5, narrow);
        assert_eq!(fixture.kind(), PathKind::Relay, "tried again, and never taken");
    }
    fixture.run_narrow(70_000, |_| Some(1472));
    assert_eq!(fixture.kind(), PathKind::Direct);
}
