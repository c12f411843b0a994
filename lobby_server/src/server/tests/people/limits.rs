//! What an operator sets about contacts and calls, and what is counted of them.

use super::*;
use crate::server::Refusal;

fn nodes(config: ServerConfig) -> Nodes {
    Nodes { worlds: vec![World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))])] }
}

#[test]
fn the_operator_bounds_lists_and_they_are_counted() {
    let mut nodes = nodes(ServerConfig { max_contacts: 2, ..ServerConfig::default() });
    let [a, b, c, d] = nodes.players(4)[..] else { unreachable!() };
    nodes.list(a, &[b, c]);
    nodes.list(b, &[a]);
    let gauges = nodes.worlds[0].server.gauges();
    assert_eq!((gauges.contact_lists, gauges.contacts), (2, 3));
    let too_many = Err(RequestError::TooManyContacts { limit: 2 });
    let allow = Request::Contacts(ContactsRequest::Allow { player: nodes.id(d), allow: true });
    assert_eq!(nodes.try_ask(a, allow), too_many);
    let all = [b, c, d].map(|player| nodes.id(player)).to_vec();
    let list = Request::Contacts(ContactsRequest::Part { first: true, last: true, allow: all });
    assert_eq!(nodes.try_ask(a, list), too_many);
    nodes.allow(a, c, false);
    nodes.log_out(b);
    let (gauges, counters) = (nodes.worlds[0].server.gauges(), nodes.worlds[0].server.counters());
    assert_eq!((gauges.contact_lists, gauges.contacts), (1, 1));
    assert_eq!(counters.refusals.of(Refusal::ContactsFull), 2);
    assert!(counters.contacts_told >= 2, "{}", counters.contacts_told);
}

#[test]
fn the_operator_bounds_rings_of_strangers_and_contacts_apart() {
    let mut nodes = nodes(ServerConfig {
        ring_rate: crate::limits::Rate::new(0.001, 2.0),
        stranger_ring_rate: crate::limits::Rate::new(0.001, 1.0),
        ..ServerConfig::default()
    });
    let [called, friend, one, other] = nodes.players(4)[..] else { unreachable!() };
    nodes.list(called, &[friend]);
    nodes.status(called, Status { strangers_ring: true, ..Status::default() });
    let mut rung = Vec::new();
    for (n, caller) in [(1, one), (2, other), (3, friend), (4, friend), (5, friend)] {
        let callee = nodes.id(called);
        let ring = CallRequest::Ring { call: CallId(n), player: callee };
        nodes.ask(caller, Request::Call(ring));
        let rings = |news: CallNews| matches!(news, CallNews::Ring { call, .. } if call == CallId(n));
        rung.extend(nodes.calls(called).into_iter().any(rings).then_some(n));
        // What does not ring ends by itself.
        let _ = nodes.try_ask(caller, Request::Call(CallRequest::HangUp { call: CallId(n) }));
        nodes.pass(Duration::from_secs(3));
    }
    assert_eq!(rung, [1, 3, 4]);
    let counters = nodes.worlds[0].server.counters();
    assert_eq!((counters.calls, counters.calls_rung, counters.calls_taken), (5, 3, 0));
    assert_eq!(counters.refusals.of(Refusal::RingRate), 2);
}
