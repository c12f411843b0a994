//! Each axis by itself.

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

fn ports_of(nat: &mut Nat, sockets: u16) -> Vec<i32> {
    (0..sockets)
        .map(|n| i32::from(out(nat, ms(0), &format!("192.168.1.2:{}", 40000 + n), "198.18.0.1:1").port()))
        .collect()
}

#[test]
fn allocation_axis() {
    let mut preserving = nat("ports=preserving");
    assert_eq!(ports_of(&mut preserving, 3), [40000, 40001, 40002]);
    let collided = out(&mut preserving, ms(0), "192.168.1.3:40000", "198.18.0.1:1").port();
    assert!(!(40000..=40002).contains(&collided));

    let mut rover = nat("ports=preserving:sequential");
    ports_of(&mut rover, 1);
    let one = out(&mut rover, ms(0), "192.168.1.3:40000", "198.18.0.1:1").port();
    let two = out(&mut rover, ms(0), "192.168.1.4:40000", "198.18.0.1:1").port();
    assert_eq!(two, one + 1, "the fallback counts");

    for step in [1, 3, -2] {
        let ports = ports_of(&mut nat(&format!("ports=sequential:{step}")), 20);
        assert!(ports.windows(2).filter(|pair| pair[1] - pair[0] == step).count() >= 18, "{ports:?}");
    }

    let ports = ports_of(&mut nat("ports=random"), 50);
    let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
    assert!(spread > 30_000, "{spread}");

    let ports = ports_of(&mut nat("ports=block:256"), 200);
    let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
    assert!((128..256).contains(&spread), "{spread}");
    assert!(ports.windows(2).any(|pair| pair[1] < pair[0]), "random inside");
}

#[test]
fn sequential_ports_wrap_and_step_over_taken_ones() {
    let mut config = NatConfig::preset("ps").unwrap();
    config.port_range = 5000..=5009;
    let mut nat = Nat::new(config, vec![IpAddr::from([198, 18, 1, 1])], 3);
    let mut ports = ports_of(&mut nat, 10);
    ports.sort_unstable();
    assert_eq!(ports, (5000..5010).collect::<Vec<_>>());
    let full = Header::udp(addr("192.168.1.2:50000"), addr("198.18.0.1:1"));
    assert_eq!(nat.outbound(ms(0), full), Verdict::Drop(DropReason::NoPort));
    assert!(matches!(nat.outbound(Duration::from_secs(121), full), Verdict::Forward(_)), "all timed out");
}

#[test]
fn parity_is_kept() {
    let mut nat = nat("ports=random,parity=yes");
    for port in ports_of(&mut nat, 20).iter().enumerate() {
        assert_eq!(*port.1 % 2, port.0 as i32 % 2);
    }
}

#[test]
fn foreign_traffic_is_poisson_and_takes_ports() {
    let mut nat = nat("ps,cross=50");
    let first = i32::from(out(&mut nat, ms(0), IN, "198.18.0.1:1").port());
    let second = i32::from(out(&mut nat, ms(10_000), IN, "198.18.0.1:2").port());
    let taken = nat.counters().foreign;
    // 500 expected, standard deviation 22.
    assert!((390..=610).contains(&taken), "{taken}");
    assert_eq!((second - first).rem_euclid(65536 - 1024), taken as i32 + 1);
}

/// A regular clock has the same mean; what is Poisson varies as much as its mean from second to second, and its gaps
/// are exponential.
#[test]
fn foreign_traffic_varies_as_a_poisson_process_does() {
    const RATE: f64 = 50.0;
    const SECONDS: u64 = 400;
    let mut nat = nat("mapping=apdm,ports=sequential:1,cross=50,timeout=1");
    let mut before = 0;
    let mut counts = Vec::new();
    let mut empty = 0;
    for tick in 1..=SECONDS * 50 {
        let taken = nat.counters().foreign;
        nat.inbound(ms(tick * 20), Header::udp(addr("198.18.0.1:1"), addr("198.18.1.1:9")));
        empty += u32::from(nat.counters().foreign == taken);
        if tick % 50 == 0 {
            counts.push((nat.counters().foreign - before) as f64);
            before = nat.counters().foreign;
        }
    }
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let variance = counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (counts.len() - 1) as f64;
    // Of 400 seconds: standard deviations 0.35 of the mean and 0.07 of the ratio.
    assert!((mean - RATE).abs() < 1.8, "{mean} a second");
    assert!((variance / mean - 1.0).abs() < 0.35, "variance {variance}, mean {mean}");
    // One is expected in 20 ms: e^-1 of them have none.
    let share = f64::from(empty) / (SECONDS * 50) as f64;
    assert!((share - (-1.0_f64).exp()).abs() < 0.02, "{share} of the gaps are empty");
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
fn each_subscriber_has_a_block_and_a_quota_of_its_own() {
    let mut nat = nat("ports=block:64,mapping=apdm,quota=40");
    let mut blocks = Vec::new();
    for host in 2..6 {
        let from = format!("192.168.1.{host}:40000");
        let ports: Vec<u16> =
            (1..=40).map(|port| out(&mut nat, ms(0), &from, &format!("198.18.0.1:{port}")).port()).collect();
        let more = Header::udp(addr(&from), addr("198.18.0.1:41"));
        assert_eq!(nat.outbound(ms(1), more), Verdict::Drop(DropReason::Quota), "RFC 6888 REQ-4");
        let (first, last) = (*ports.iter().min().unwrap(), *ports.iter().max().unwrap());
        assert!(last - first < 64, "RFC 7422: one block");
        blocks.push(first..=last);
    }
    for (one, block) in blocks.iter().enumerate() {
        for other in &blocks[one + 1..] {
            assert!(block.end() < other.start() || other.end() < block.start(), "{block:?} {other:?}");
        }
    }
}

#[test]
fn ports_stay_in_their_range_with_any_allocation_but_a_preserving_one() {
    for ports in ["random", "sequential:1", "sequential:-2", "sequential:7"] {
        for parity in ["yes", "no"] {
            let spec = format!("ports={ports},range=5000-5099,parity={parity}");
            let seen = ports_of(&mut nat(&spec), 40);
            assert!(seen.iter().all(|port| (5000..=5099).contains(port)), "{spec}: {seen:?}");
            let kept = seen.iter().enumerate().filter(|(n, port)| **port % 2 == *n as i32 % 2).count();
            assert!((kept == 40) == (parity == "yes"), "{spec}: {kept} of 40 keep their parity");
        }
    }
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
