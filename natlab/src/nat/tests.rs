//! Each axis by itself.

mod ports;
mod presets;

use std::net::IpAddr;

use super::*;

fn nat(spec: &str) -> Nat {
    let spec: NatSpec = spec.parse().unwrap();
    let config = spec.chain[0].clone();
    let pool = (1..=config.pool).map(|n| IpAddr::from([198, 18, 1, n as u8])).collect();
    Nat::new(config, pool, 1)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const IN: &str = "192.168.1.2:40000";

fn out(nat: &mut Nat, now: Duration, from: &str, to: &str) -> SocketAddr {
    match nat.outbound(now, Header::udp(addr(from), addr(to))) {
        Verdict::Forward(header) => header.src,
        other => panic!("{other:?}"),
    }
}

fn comes_in(nat: &mut Nat, now: Duration, from: &str, to: SocketAddr) -> bool {
    matches!(nat.inbound(now, Header::udp(addr(from), to)), Verdict::Forward(_))
}

#[test]
fn mapping_axis() {
    for (spec, other_port, other_address) in
        [("mapping=eim", true, true), ("mapping=adm", true, false), ("mapping=apdm", false, false)]
    {
        let mut nat = nat(&format!("{spec},ports=random"));
        let first = out(&mut nat, ms(0), IN, "198.18.0.1:1");
        assert_eq!(first, out(&mut nat, ms(0), IN, "198.18.0.1:1"), "{spec}: same destination");
        assert_eq!(first == out(&mut nat, ms(0), IN, "198.18.0.1:2"), other_port, "{spec}");
        assert_eq!(first == out(&mut nat, ms(0), IN, "198.18.0.2:1"), other_address, "{spec}");
        assert_ne!(first, out(&mut nat, ms(0), "192.168.1.2:40001", "198.18.0.1:1"), "{spec}");
    }
}

#[test]
fn filtering_axis() {
    for (spec, other_port, other_address) in
        [("filtering=eif", true, true), ("filtering=adf", true, false), ("filtering=apdf", false, false)]
    {
        for mapping in ["eim", "adm", "apdm"] {
            let mut nat = nat(&format!("{spec},mapping={mapping},ports=random"));
            let external = out(&mut nat, ms(0), IN, "198.18.0.1:1");
            assert!(comes_in(&mut nat, ms(1), "198.18.0.1:1", external));
            assert_eq!(comes_in(&mut nat, ms(1), "198.18.0.1:2", external), other_port, "{spec}");
            assert_eq!(comes_in(&mut nat, ms(1), "198.18.0.2:1", external), other_address, "{spec}");
            let stranger = SocketAddr::new(external.ip(), external.port() ^ 0x55);
            assert!(!comes_in(&mut nat, ms(1), "198.18.0.1:1", stranger), "no mapping there");
        }
    }
}

#[test]
fn pool() {
    let distinct = |seen: Vec<IpAddr>| seen.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    let destinations = |spec: &str| {
        let mut nat = nat(spec);
        distinct((0..40).map(|n| out(&mut nat, ms(0), IN, &format!("198.18.0.1:{}", n + 1)).ip()).collect())
    };
    let sockets = |spec: &str| {
        let mut nat = nat(spec);
        let socket =
            |n: u16| out(&mut nat, ms(0), &format!("192.168.1.2:{}", 40_000 + n), "198.18.0.1:1").ip();
        distinct((0..40).map(socket).collect())
    };
    assert_eq!(destinations("ps,pool=4"), 1);
    assert_eq!(destinations("ps,pool=4,pooling=arbitrary"), 4);
    assert_eq!(destinations("fullcone,pool=4,pooling=arbitrary"), 1, "one mapping has one address");
    for mapping in ["eim", "adm", "apdm"] {
        assert_eq!(sockets(&format!("mapping={mapping},pool=4")), 1, "{mapping}: paired (REQ-2)");
        assert_eq!(sockets(&format!("mapping={mapping},pool=4,pooling=arbitrary")), 4, "{mapping}");
    }
}

#[test]
fn timeout_and_refresh() {
    let mut nat = nat("portrestricted,timeout=20,ports=random");
    let external = out(&mut nat, ms(0), IN, "198.18.0.1:1");
    assert!(comes_in(&mut nat, ms(15_000), "198.18.0.1:1", external));
    assert!(comes_in(&mut nat, ms(30_000), "198.18.0.1:1", external), "inbound refreshed it");
    assert!(!comes_in(&mut nat, ms(51_000), "198.18.0.1:1", external));
    assert_ne!(external, out(&mut nat, ms(51_000), IN, "198.18.0.1:1"));

    let mut strict = self::nat("portrestricted,timeout=20,inbound-refresh=no");
    let external = out(&mut strict, ms(0), IN, "198.18.0.1:1");
    assert!(comes_in(&mut strict, ms(15_000), "198.18.0.1:1", external));
    assert!(!comes_in(&mut strict, ms(21_000), "198.18.0.1:1", external), "only outbound refreshes");
    out(&mut strict, ms(22_000), IN, "198.18.0.1:1");
    out(&mut strict, ms(40_000), IN, "198.18.0.1:1");
    assert!(comes_in(&mut strict, ms(59_000), "198.18.0.1:1", external));
}

#[test]
fn the_filter_forgets_each_remote_by_itself() {
    let mut nat = nat("portrestricted,timeout=20");
    let external = out(&mut nat, ms(0), IN, "198.18.0.1:1");
    out(&mut nat, ms(15_000), IN, "198.18.0.2:1");
    assert!(comes_in(&mut nat, ms(25_000), "198.18.0.2:1", external));
    assert!(!comes_in(&mut nat, ms(25_000), "198.18.0.1:1", external));
}

#[test]
fn hairpin_shows_the_external_source() {
    let mut nat = nat("fullcone,hairpin=yes,ports=random");
    let server = out(&mut nat, ms(0), "192.168.1.3:5000", "198.18.0.1:1");
    let Verdict::Hairpin(header) = nat.outbound(ms(1), Header::udp(addr(IN), server)) else {
        panic!("no hairpin");
    };
    assert_eq!(header.dst, addr("192.168.1.3:5000"));
    assert_eq!(header.src, out(&mut nat, ms(1), IN, "198.18.0.1:1"));
    let mut without = self::nat("fullcone");
    let server = out(&mut without, ms(0), "192.168.1.3:5000", "198.18.0.1:1");
    let verdict = without.outbound(ms(1), Header::udp(addr(IN), server));
    assert_eq!(verdict, Verdict::Drop(DropReason::NoHairpin));
}

#[test]
fn hairpin_may_show_the_internal_source_and_filters_all_the_same() {
    let mut nat = nat("restricted,hairpin=internal,ports=random");
    let other = "192.168.1.3:5000";
    let external = out(&mut nat, ms(0), other, "198.18.0.1:1");
    let knock = Header::udp(addr(IN), external);
    assert_eq!(nat.outbound(ms(1), knock), Verdict::Drop(DropReason::Filtered));
    let own = out(&mut nat, ms(2), IN, "198.18.0.1:1");
    assert!(matches!(nat.outbound(ms(3), Header::udp(addr(other), own)), Verdict::Hairpin(_)));
    let Verdict::Hairpin(header) = nat.outbound(ms(4), knock) else {
        panic!("the filter knows the address now")
    };
    assert_eq!((header.src, header.dst), (addr(IN), addr(other)));
}

#[test]
fn quota_drops_and_recovers() {
    let mut nat = nat("ps,quota=3,timeout=20");
    for port in 1..=3 {
        out(&mut nat, ms(0), IN, &format!("198.18.0.1:{port}"));
    }
    let more = Header::udp(addr(IN), addr("198.18.0.1:4"));
    assert_eq!(nat.outbound(ms(1), more), Verdict::Drop(DropReason::Quota));
    out(&mut nat, ms(1), "192.168.1.9:40000", "198.18.0.1:4");
    assert!(matches!(nat.outbound(ms(21_000), more), Verdict::Forward(_)), "old ones timed out");
    assert_eq!(nat.counters().drops[&DropReason::Quota], 1);
}

#[test]
fn an_inbound_packet_that_comes_first_takes_the_port() {
    let mut nat = nat("linux");
    let known = out(&mut nat, ms(0), IN, "198.18.0.10:3478");
    assert_eq!(known.port(), 40000, "preserved");
    assert!(!comes_in(&mut nat, ms(10), "198.18.2.1:50000", known));
    let clashed = out(&mut nat, ms(20), IN, "198.18.2.1:50000");
    assert_ne!(clashed.port(), 40000);
    assert_eq!(clashed, out(&mut nat, ms(30), IN, "198.18.2.1:50000"), "reused");
    assert_eq!(known, out(&mut nat, ms(30), IN, "198.18.0.10:3478"), "towards others as before");
    assert_eq!(nat.counters().clashes, 1);

    let mut opener_first = self::nat("linux");
    out(&mut opener_first, ms(0), IN, "198.18.2.1:50000");
    assert!(comes_in(&mut opener_first, ms(1), "198.18.2.1:50000", known));
    assert_eq!(out(&mut opener_first, ms(2), IN, "198.18.2.1:50000").port(), 40000);
}

#[test]
fn a_packet_that_dies_in_the_nat_makes_no_mapping_and_no_clash() {
    let mut nat = nat("linux");
    let dying = Header { ttl: 1, ..Header::udp(addr(IN), addr("198.18.2.1:50000")) };
    assert_eq!(nat.outbound(ms(0), dying), Verdict::Drop(DropReason::TtlExpired));
    assert_eq!(nat.counters().mappings, 0);
    let known = out(&mut nat, ms(0), IN, "198.18.0.10:3478");
    nat.inbound(ms(1), Header { ttl: 1, ..Header::udp(addr("198.18.2.1:50000"), known) });
    assert_eq!(out(&mut nat, ms(2), IN, "198.18.2.1:50000").port(), 40000);
}

#[test]
fn blacklist() {
    let mut nat = nat("portrestricted,blacklist=3");
    let external = out(&mut nat, ms(0), IN, "198.18.2.1:1");
    for _ in 0..3 {
        assert!(!comes_in(&mut nat, ms(1), "198.18.2.1:9", external));
    }
    let verdict = nat.inbound(ms(2), Header::udp(addr("198.18.2.1:1"), external));
    assert_eq!(verdict, Verdict::Drop(DropReason::Blacklisted));
    assert!(comes_in(&mut nat, ms(70_000), "198.18.2.1:1", external));
}

#[test]
fn reboot_and_new_address() {
    let mut nat = nat("portrestricted,ports=random");
    let before = out(&mut nat, ms(0), IN, "198.18.0.1:1");
    nat.reboot();
    assert!(!comes_in(&mut nat, ms(1), "198.18.0.1:1", before));
    assert_ne!(before, out(&mut nat, ms(2), IN, "198.18.0.1:1"));
    nat.change_address(vec![IpAddr::from([198, 18, 7, 7])]);
    assert_eq!(out(&mut nat, ms(3), IN, "198.18.0.1:1").ip(), IpAddr::from([198, 18, 7, 7]));
}

#[test]
fn firewall_and_router_do_not_translate() {
    let mut firewall = nat("firewall");
    let host = "198.18.1.1:40000";
    assert!(!comes_in(&mut firewall, ms(0), "198.18.0.1:1", addr(host)));
    assert_eq!(out(&mut firewall, ms(0), host, "198.18.0.1:1"), addr(host));
    assert!(comes_in(&mut firewall, ms(0), "198.18.0.1:1", addr(host)));
    assert!(!comes_in(&mut firewall, ms(0), "198.18.0.1:2", addr(host)));
    assert!(comes_in(&mut nat("none"), ms(0), "198.18.0.1:1", addr(host)));
}

/// What the laboratory believes of networks is its own: nothing of the product is asked.
#[test]
fn the_networks_share_no_code_with_the_product() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut places = vec![
        source.join("nat"),
        source.join("world"),
        source.join("link.rs"),
        source.join("oracle.rs"),
        source.join("bound.rs"),
    ];
    let mut read = 0;
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&place).unwrap();
        // Put together here, so that this file does not find itself.
        for crate_name in [["traversal", "_core"].concat(), ["lobby", "_server::"].concat()] {
            assert!(!text.contains(&crate_name), "{} uses {crate_name}", place.display());
        }
        read += 1;
    }
    assert!(read >= 12, "{read} files");
}

#[test]
fn specs_parse_or_say_what_is_wrong() {
    let spec: NatSpec = "mapping=apdm,filtering=adf,ports=block:4032,cross=5.5,timeout=20,pool=2,quota=64,clash=yes,hairpin=yes"
        .parse()
        .unwrap();
    let config = &spec.chain[0];
    assert_eq!(config.mapping, Mapping::AddressAndPortDependent);
    assert_eq!(config.filtering, Filtering::AddressDependent);
    assert_eq!(config.allocation, Allocation::RandomInBlock(4032));
    assert_eq!((config.cross, config.pool, config.quota), (5.5, 2, Some(64)));
    assert!(
        config.clash
            && config.hairpin == Hairpin::ExternalSource
            && config.timeout == Duration::from_secs(20)
    );
    let double: NatSpec = "portrestricted,cross=3+cgn".parse().unwrap();
    assert_eq!(double.chain.len(), 2);
    assert_eq!(double.chain[1], NatConfig::preset("cgn").unwrap());
    for bad in
        ["", "nonsense", "ports=sequential:0", "ports=block:1", "mapping=x", "speed=9", "ps+", "cross=-1"]
    {
        assert!(bad.parse::<NatSpec>().is_err(), "{bad}");
    }
}

#[test]
fn a_forwarded_port_lets_everybody_in_and_answers_leave_by_it() {
    let mut nat = nat("psrandom");
    nat.forward_port(Proto::Udp, 40_007, addr(IN));
    let forwarded = addr("198.18.1.1:40007");
    assert!(comes_in(&mut nat, ms(0), "198.18.9.9:9", forwarded));
    assert_eq!(out(&mut nat, ms(1), IN, "198.18.9.9:9"), forwarded);
    let own = out(&mut nat, ms(2), IN, "198.18.9.9:10");
    assert_ne!(own, forwarded, "of its own accord it leaves as ever");
    // Linux keeps one flow between two ends.
    let Verdict::Drop(why) = nat.inbound(ms(3), Header::udp(addr("198.18.9.9:10"), forwarded)) else {
        panic!()
    };
    assert_eq!(why, DropReason::FlowExists);
    nat.stop_forwarding(Proto::Udp, 40_007);
    assert!(!comes_in(&mut nat, ms(4), "198.18.9.9:9", forwarded));
    nat.forward_port(Proto::Udp, 40_007, addr(IN));
    nat.reboot();
    assert!(!comes_in(&mut nat, ms(5), "198.18.9.9:9", forwarded));
}
