use super::*;
use traversal_core::id::PlayerId;
use traversal_core::wire::message::Role;

fn party(public: &str, local: &[&str]) -> Party {
    Party {
        info: PlayerInfo { id: PlayerId([1; 16]), name: "p".into() },
        ephemeral: [2; 32],
        key: [3; 32],
        public: public.parse().unwrap(),
        mapped: None,
        local: local.iter().map(|address| address.parse().unwrap()).collect(),
        relay_only: false,
        other: None,
        over_stream: false,
        server_ip: None,
        nat: NatProfile::default(),
        timing: RttEstimate::default(),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn policy() -> Policy {
    Policy { mask_v4: 32, mask_v6: 64, deadline_ms: 10_000 }
}

fn pairing() -> Pairing {
    Pairing { match_id: MatchId(7), pair_secret: [3; 32], epoch: 0, mesh: false, spectator: false }
}

fn told(host: &Party, joiner: &Party, policy: &Policy) -> (PunchPlan, PunchPlan) {
    let parties = Sides { host: host.clone(), joiner: joiner.clone() };
    let Sides { host, joiner } = plans(pairing(), &parties, &choose(&parties), Err(NoRelay::Off), policy);
    assert!(host.hosting && !joiner.hosting);
    assert_eq!((host.role, joiner.role), (Role::Receiving, Role::Sending));
    assert_eq!(host.pair_secret, joiner.pair_secret);
    (host, joiner)
}

#[test]
fn players_behind_different_nats_get_public_addresses_only() {
    let a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
    let b = party("198.51.100.1:5000", &["192.168.1.2:5000"]);
    let (host, joiner) = told(&a, &b, &policy());
    assert!(!host.same_nat && host.peer_local.is_empty() && joiner.peer_local.is_empty());
    assert_eq!((host.peer_public, joiner.peer_public), (vec![b.public], vec![a.public]));
}

#[test]
fn a_forwarded_port_comes_first_and_the_sessions_own_address_after_it() {
    let mut a = party("203.0.113.1:4000", &[]);
    let b = party("198.51.100.1:5000", &[]);
    a.mapped = Some("203.0.113.1:40000".parse().unwrap());
    assert_eq!(told(&a, &b, &policy()).1.peer_public, [a.mapped.unwrap(), a.public]);
    a.mapped = Some(a.public);
    assert_eq!(told(&a, &b, &policy()).1.peer_public, [a.public]);
}

#[test]
fn one_nat_gives_private_addresses_but_never_loopback_or_a_strangers_public_one() {
    let a = party("203.0.113.1:4000", &["192.168.1.2:4000", "127.0.0.1:4000", "8.8.8.8:53", "[fd00::1]:4"]);
    let b = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
    let (_, joiner) = told(&a, &b, &policy());
    assert!(joiner.same_nat);
    assert_eq!(joiner.peer_local, [a.local[0], a.local[3]]);
    assert_eq!(joiner.peer_public, [a.public]);
}

#[test]
fn an_address_pool_is_one_nat_under_a_mask() {
    let a = party("203.0.113.1:4000", &[]);
    let b = party("203.0.113.6:5000", &[]);
    assert!(!told(&a, &b, &policy()).0.same_nat);
    assert!(told(&a, &b, &Policy { mask_v4: 29, ..policy() }).0.same_nat);
    assert!(told(&a, &b, &Policy { mask_v4: 0, ..policy() }).0.same_nat);
    let a = party("[2001:db8::1]:4000", &[]);
    let b = party("[2001:db8::9]:4000", &[]);
    let c = party("[2001:db8:0:1::9]:4000", &[]);
    assert!(told(&a, &b, &policy()).0.same_nat);
    assert!(!told(&a, &c, &policy()).0.same_nat);
    assert!(told(&a, &c, &Policy { mask_v6: 0, ..policy() }).0.same_nat);
}

#[test]
fn shared_space_is_a_network_of_its_own() {
    // A server inside Tailscale or behind a carrier's NAT sees its players there (RFC 6598).
    let a = party("100.64.0.7:4000", &["100.64.0.7:4000", "192.168.1.2:4000"]);
    let b = party("100.127.3.9:5000", &["100.127.3.9:5000"]);
    let (host, joiner) = told(&a, &b, &policy());
    assert!(host.same_nat && joiner.same_nat);
    assert_eq!((host.peer_public, joiner.peer_public), (vec![b.public], vec![a.public]));
    assert_eq!((host.peer_local, joiner.peer_local), (b.local.clone(), a.local.clone()));
    // One of them alone: the other one is elsewhere.
    let outside = party("198.51.100.1:5000", &[]);
    let (host, joiner) = told(&a, &outside, &policy());
    assert!(!host.same_nat && !joiner.same_nat && joiner.peer_local.is_empty());
    // In whichever form.
    assert_eq!(realm("::ffff:100.64.0.7".parse().unwrap()), Realm::Local);
    assert_eq!(realm("::ffff:127.0.0.1".parse().unwrap()), Realm::Loopback);
    assert_eq!(realm("100.128.0.1".parse().unwrap()), Realm::Public);
}

#[test]
fn loopback_is_for_loopback() {
    let a = party("127.0.0.1:4000", &["127.0.0.1:4000", "192.168.1.2:4000"]);
    let b = party("127.0.0.1:5000", &["127.0.0.1:5000"]);
    let (_, joiner) = told(&a, &b, &policy());
    assert_eq!(joiner.peer_public, [a.public]);
    assert_eq!(joiner.peer_local, a.local);

    // One on the server's machine, one on its LAN: the private address serves, loopback does not.
    let lan = party("192.168.1.9:5000", &["192.168.1.9:5000"]);
    let (host, joiner) = told(&a, &lan, &policy());
    assert!(host.same_nat && joiner.same_nat);
    assert_eq!(host.peer_public, [lan.public]);
    assert!(joiner.peer_public.is_empty());
    assert_eq!(joiner.peer_local, ["192.168.1.2:4000".parse().unwrap()]);

    // And one on the internet: only the address that it knows us by.
    let mut far = party("203.0.113.1:5000", &[]);
    let (_, joiner) = told(&a, &far, &policy());
    assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
    far.server_ip = Some("198.51.100.7".parse().unwrap());
    assert_eq!(told(&a, &far, &policy()).1.peer_public, ["198.51.100.7:4000".parse().unwrap()]);
    far.server_ip = Some("10.0.0.7".parse().unwrap());
    assert!(told(&a, &far, &policy()).1.peer_public.is_empty());
}

#[test]
fn a_private_address_does_not_go_to_the_internet() {
    let lan = party("10.0.0.5:4000", &["10.0.0.5:4000"]);
    let far = party("203.0.113.1:5000", &["10.0.0.5:4000"]);
    let (host, joiner) = told(&lan, &far, &policy());
    assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
    assert_eq!(host.peer_public, [far.public]);
    assert!(host.peer_local.is_empty());
}

#[test]
fn the_tcp_address_of_a_player_is_no_place_to_punch_at() {
    let mut a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
    a.over_stream = true;
    a.nat.udp_blocked = true;
    let far = party("198.51.100.1:5000", &["192.168.1.3:5000"]);
    let (host, joiner) = told(&a, &far, &policy());
    assert!(joiner.peer_public.is_empty() && joiner.peer_local.is_empty());
    assert!(host.methods.is_empty() && joiner.methods.is_empty());
    // UDP inside its own network is another matter.
    let near = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
    let (_, joiner) = told(&a, &near, &policy());
    assert!(joiner.same_nat && joiner.peer_public.is_empty());
    assert_eq!(joiner.peer_local, a.local);
    // On the server's own machine, too, the port is TCP's.
    a.public = at("127.0.0.1:4000");
    let far = Party { server_ip: Some(at("198.51.100.7:1").ip()), ..far };
    assert!(told(&a, &far, &policy()).1.peer_public.is_empty());
}

#[test]
fn both_families_are_told_once_they_are_proven() {
    let mut a = party("203.0.113.1:4000", &[]);
    a.other = Some(at("[2001:db8:1::1]:4001"));
    let v4 = party("198.51.100.1:5000", &[]);
    let (host, joiner) = told(&a, &v4, &policy());
    assert_eq!(joiner.peer_public, [a.public, a.other.unwrap()]);
    assert_eq!(host.peer_public, [v4.public]);
    // Sessions in different families: the profiles are about different NATs, so nothing but tests.
    let v6 = party("[2001:db8:2::1]:5000", &[]);
    let (host, joiner) = told(&a, &v6, &policy());
    assert_eq!((host.methods, joiner.methods), (vec![Method::Cone], vec![Method::Cone]));
    assert_eq!(joiner.peer_public.len(), 2);
    // One network, as IPv6 alone tells; a private address still needs the bit.
    let near = party("[2001:db8:1::2]:5000", &["192.168.1.3:5000", "[fd00::3]:5000"]);
    let (host, joiner) = told(&a, &near, &policy());
    assert!(host.same_nat && joiner.same_nat);
    assert_eq!(host.peer_local, near.local);
    a.other = Some(at("[fd00::1]:4001"));
    assert_eq!(told(&a, &v4, &policy()).1.peer_public, [a.public]);
    a.relay_only = true;
    assert!(told(&a, &v6, &policy()).1.peer_public.is_empty());
}

#[test]
fn relay_only_players_leave_no_address_in_either_plan() {
    let mut a = party("203.0.113.1:4000", &["192.168.1.2:4000"]);
    let b = party("203.0.113.1:5000", &["192.168.1.3:5000"]);
    (a.relay_only, a.mapped) = (true, Some("203.0.113.1:40000".parse().unwrap()));
    let (host, joiner) = told(&a, &b, &policy());
    for plan in [host, joiner] {
        assert!(plan.peer_public.is_empty() && plan.peer_local.is_empty() && !plan.same_nat);
        assert!(plan.methods.is_empty());
    }
}
