use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

/// Returns the watch of a machine with these addresses and this gateway.
fn watch(own: &[&str], gateway: &str) -> Watch {
    let around = Surroundings { own: ips(own), gateways: vec![ip(gateway)], container: false };
    let mut watch = Watch::default();
    assert!(!watch.set(Instant::now(), around));
    watch
}

/// Lets players of these numbers come in from `seen`; `local` is the network that they are in.
fn come(watch: &mut Watch, numbers: std::ops::Range<u8>, seen: &str, local: &str) {
    for number in numbers {
        let own = ip(&format!("{local}.{number}"));
        let seen = if seen == "own" { own } else { ip(seen) };
        watch.logged_in(PlayerId([number; 16]), seen, [own].into_iter());
    }
}

fn names(watch: &Watch) -> Vec<&'static str> {
    watch.findings(Instant::now(), std::iter::empty(), false).iter().map(Finding::name).collect()
}

#[test]
fn players_who_all_come_from_the_gateway_or_from_the_server_itself_are_hidden() {
    // Docker's proxy; rootless Docker and Podman; a proxy on the machine.
    for address in ["172.17.0.1", "172.17.0.2", "127.0.0.1"] {
        let mut watch = watch(&["127.0.0.1", "172.17.0.2"], "172.17.0.1");
        come(&mut watch, 1..2, address, "192.168.1");
        assert!(names(&watch).is_empty(), "one may be in a network of this machine");
        // The same one again is no other.
        come(&mut watch, 1..2, address, "192.168.1");
        assert!(names(&watch).is_empty());
        come(&mut watch, 2..3, address, "192.168.7");
        let all = watch.findings(Instant::now(), std::iter::empty(), false);
        assert_eq!(all, [Finding::OneAddress { address: ip(address), players: 2 }]);
        let text = all[0].to_string();
        assert!(text.contains("--network host") && text.contains("userland-proxy"), "{text}");
        // One who is seen where it is: the proxy is not before everybody.
        come(&mut watch, 9..10, "203.0.113.9", "192.168.1");
        assert!(!names(&watch).contains(&"one-address"));
        // But it is an old story in time.
        come(&mut watch, 20..36, address, "192.168.1");
        assert!(names(&watch).contains(&"one-address"));
    }
}

#[test]
fn a_lan_party_a_carriers_nat_and_tests_on_one_machine_are_as_they_should_be() {
    let home = || watch(&["127.0.0.1", "192.168.1.50"], "192.168.1.1");
    let mut lan = home();
    come(&mut lan, 1..40, "own", "192.168.1");
    assert!(names(&lan).is_empty());

    let mut machine = home();
    for number in 1..40 {
        machine.logged_in(PlayerId([number; 16]), ip("127.0.0.1"), [ip("192.168.1.50")].into_iter());
    }
    assert!(names(&machine).is_empty());
    // Without any interface but loopback, and with players who do not say where they are.
    let mut bare = watch(&["127.0.0.1"], "127.0.0.1");
    for number in 1..40 {
        bare.logged_in(PlayerId([number; 16]), ip("127.0.0.1"), std::iter::empty());
    }
    assert!(names(&bare).is_empty());

    let mut carrier = watch(&["127.0.0.1", "198.51.100.7"], "198.51.100.1");
    come(&mut carrier, 1..40, "203.0.113.1", "100.64.3");
    assert!(names(&carrier).is_empty(), "many customers of one public address");

    // Three virtual machines of one player behind its address, in a network where nobody else plays.
    let mut machines = home();
    come(&mut machines, 1..4, "192.168.1.77", "10.0.2");
    assert!(names(&machines).is_empty());
    // But eight players behind one address that is no player's are no household.
    come(&mut machines, 4..9, "192.168.1.77", "10.0.2");
    assert_eq!(names(&machines), ["one-address"]);
}

#[test]
fn a_server_that_does_not_know_its_public_address_is_told_where_players_come_from_the_internet() {
    let mut cloud = watch(&["10.0.0.5", "127.0.0.1"], "10.0.0.1");
    come(&mut cloud, 1..3, "own", "10.0.0");
    assert!(names(&cloud).is_empty(), "a server of a LAN");
    come(&mut cloud, 3..4, "203.0.113.1", "192.168.1");
    assert_eq!(names(&cloud), ["public-address-unknown"]);
    assert!(cloud.findings(Instant::now(), std::iter::empty(), true).is_empty(), "it was set");
    let mut public = watch(&["198.51.100.7", "10.0.0.5"], "198.51.100.1");
    come(&mut public, 3..4, "203.0.113.1", "192.168.1");
    assert!(names(&public).is_empty());
}

#[test]
fn a_container_is_told_until_it_is_known_to_hide_the_players() {
    let around = Surroundings {
        own: ips(&["127.0.0.1", "172.17.0.2"]),
        gateways: ips(&["172.17.0.1"]),
        container: true,
    };
    let mut container = Watch::default();
    container.set(Instant::now(), around);
    assert_eq!(names(&container), ["container"]);
    come(&mut container, 1..3, "172.17.0.1", "192.168.1");
    assert_eq!(names(&container), ["one-address"]);
}

#[test]
fn addresses_that_change_are_told_for_a_day_and_a_bound_one_that_is_gone_for_good() {
    let mut watch = watch(&["127.0.0.1", "203.0.113.5"], "203.0.113.1");
    let start = Instant::now();
    let bound = || ["0.0.0.0", "127.0.0.1", "203.0.113.5", "203.0.113.5"].map(ip).into_iter();
    assert!(watch.findings(start, bound(), false).is_empty());
    let later = |own: &[&str]| Surroundings { own: ips(own), ..Surroundings::default() };
    assert!(!watch.set(start, later(&["127.0.0.1", "203.0.113.5"])));
    assert!(watch.set(start, later(&["127.0.0.1", "203.0.113.77"])));
    let gone = Finding::AddressGone { address: ip("203.0.113.5") };
    let changed = Finding::AddressesChanged { gone: ips(&["203.0.113.5"]), new: ips(&["203.0.113.77"]) };
    assert_eq!(watch.findings(start, bound(), false), [gone.clone(), changed.clone()]);
    assert!(gone.is_serious() && !changed.is_serious());
    assert!(changed.to_string().contains("gone: 203.0.113.5; new: 203.0.113.77"));
    let tomorrow = start + CHANGE_SHOWN;
    assert_eq!(watch.findings(tomorrow, bound(), false), [gone]);
}

#[test]
fn this_machine_has_addresses() {
    let around = Surroundings::read();
    assert!(around.own.iter().any(|ip| realm(*ip) == Realm::Loopback), "{around:?}");
}
