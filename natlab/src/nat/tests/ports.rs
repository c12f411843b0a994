//! Which external ports a NAT chooses, and how foreign traffic takes them.

use super::*;

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
