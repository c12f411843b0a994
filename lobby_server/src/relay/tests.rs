use std::net::Ipv4Addr;

use rand_chacha::rand_core::SeedableRng;

use super::*;

const A: PlayerId = PlayerId([1; 16]);
const B: PlayerId = PlayerId([2; 16]);
const IP: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))];
const M: MatchId = MatchId(0x0102_0304_0506_0708);

fn relay(now: Instant) -> (Relay, [RelayGrant; 2]) {
    let limits = RelayLimits {
        side: Rate::new(1000.0, 2000.0),
        total: Rate::new(10_000.0, 2500.0),
        lifetime: Duration::from_secs(60),
    };
    let mut relay = Relay::new(limits, now);
    let grants = relay.grant(now, M, [A, B], &mut ChaCha20Rng::from_seed([1; 32]));
    (relay, grants)
}

fn datagram(token: &Token, match_id: MatchId, content: usize) -> Vec<u8> {
    let mut out = vec![Kind::Relay as u8];
    out.extend_from_slice(token);
    out.push(Kind::Pair as u8);
    out.extend_from_slice(&match_id.0.to_le_bytes());
    out.resize(out.len() + content, 7);
    out
}

#[test]
fn each_token_leads_to_the_other_side_and_is_swapped_for_the_receivers() {
    let now = Instant::now();
    let (relay, [a, b]) = relay(now);
    assert_ne!(a.token, b.token);
    let sent = datagram(&a.token, M, 20);
    let lane = relay.find(now, &sent).expect("a lane");
    assert_eq!((lane.from, lane.to), (A, B));
    let received = forwarded(&lane, &sent);
    assert_eq!(received, datagram(&b.token, M, 20));
    assert!(relay.find(now, &datagram(&b.token, M, 0)).is_some_and(|lane| lane.to == A));
}

#[test]
fn what_is_not_of_the_match_is_not_carried() {
    let now = Instant::now();
    let (mut relay, [a, _]) = relay(now);
    assert_eq!(relay.find(now, &datagram(&[0; TOKEN], M, 20)), None, "guessed");
    assert_eq!(relay.find(now, &datagram(&a.token, MatchId(9), 20)), None, "another match");
    let mut other = datagram(&a.token, M, 20);
    other[RELAY_HEADER] = b'x';
    assert_eq!(relay.find(now, &other), None, "something else");
    let whole = datagram(&a.token, M, 0);
    for end in 0..whole.len() {
        assert_eq!(relay.find(now, &whole[..end]), None, "cut at {end}");
    }
    assert_eq!(relay.find(now + Duration::from_secs(60), &whole), None, "too late");
    relay.end(M);
    assert_eq!(relay.find(now, &whole), None, "over");
    assert_eq!((relay.len(), relay.tokens.len()), (0, 0));
}

#[test]
fn a_side_and_the_whole_server_have_a_quota() {
    let now = Instant::now();
    let (mut relay, grants) = relay(now);
    let lanes = grants.map(|grant| relay.find(now, &datagram(&grant.token, M, 0)).unwrap());
    assert!(relay.charge(now, &lanes[0], IP[0], 2000));
    assert!(!relay.charge(now, &lanes[0], IP[0], 1), "this side's is used up");
    assert!(relay.charge(now, &lanes[1], IP[1], 400));
    assert!(!relay.charge(now, &lanes[1], IP[1], 400), "the server's is used up");
    assert!(relay.charge(now + Duration::from_secs(1), &lanes[0], IP[0], 1000));
}

/// Returns a relay of 100 kB/s in total, the lanes of so many greedy pairs, and those of a modest one.
fn crowded(now: Instant, pairs: u64) -> (Relay, Vec<Lane>, [Lane; 2]) {
    let limits = RelayLimits {
        side: Rate::new(512_000.0, 1_024_000.0),
        total: Rate::new(100_000.0, 200_000.0),
        lifetime: Duration::from_secs(600),
    };
    let mut relay = Relay::new(limits, now);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut pair = |n: u64| {
        let grants = relay.grant(now, MatchId(n), [A, B], &mut rng);
        grants.map(|grant| relay.find(now, &datagram(&grant.token, MatchId(n), 0)).unwrap())
    };
    let greedy = (0..pairs).flat_map(&mut pair).collect();
    let modest = pair(pairs);
    (relay, greedy, modest)
}

/// The relay's total is 100 kB/s. Six pairs of one address send as fast as a side may, another pair 24 datagrams of
/// 400 bytes a second in each direction, for 10 s: 480 in all.
#[test]
fn pairs_of_one_address_do_not_starve_another_pair() {
    let mut now = Instant::now();
    let (mut relay, greedy, modest) = crowded(now, 6);
    let (mut passed, mut of_greedy) = (0, 0);
    for tick in 0..2400 {
        now += Duration::from_millis(1000) / 240;
        for lane in &greedy {
            of_greedy += usize::from(relay.charge(now, lane, IP[0], 1200)) * 1200;
        }
        if tick % 10 == 0 {
            let one = relay.charge(now, &modest[0], IP[1], 400);
            let other = relay.charge(now, &modest[1], "198.51.100.2".parse().unwrap(), 400);
            passed += usize::from(one) + usize::from(other);
        }
    }
    assert_eq!(passed, 480);
    // What the modest ones leave over is used: 100 kB/s less 19.2 kB/s, for 10 s, and the burst.
    assert!((750_000..1_100_000).contains(&of_greedy), "{of_greedy}");
}

/// It is the same when the greedy address sends in bursts, with pauses in which its lanes look idle.
#[test]
fn pauses_do_not_make_a_share_larger() {
    let mut now = Instant::now();
    let (mut relay, greedy, modest) = crowded(now, 20);
    let (mut passed, mut sent) = (0, 0);
    for tick in 0..14_400 {
        now += Duration::from_millis(1000) / 240;
        let second = tick / 240;
        if second % 3 == 0 || (second > 30 && second % 12 == 0) {
            for lane in &greedy {
                relay.charge(now, lane, IP[0], 1200);
            }
        }
        if tick % 10 == 0 {
            passed += usize::from(relay.charge(now, &modest[0], IP[1], 400));
            sent += 1;
        }
    }
    assert_eq!(passed, sent);
}

#[test]
fn no_further_match_gets_it_when_the_shares_would_be_too_small_to_play() {
    let mut now = Instant::now();
    let limits = RelayLimits {
        side: Rate::new(10_000.0, 20_000.0),
        total: Rate::new(50_000.0, 100_000.0),
        lifetime: Duration::from_secs(600),
    };
    let mut relay = Relay::new(limits, now);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut lanes = Vec::new();
    let mut granted = 0;
    for n in 0..20 {
        now += SHARING;
        for (lane, ip) in &lanes {
            assert!(relay.charge(now, lane, *ip, 400));
        }
        now += SHARING;
        for (lane, ip) in &lanes {
            assert!(relay.charge(now, lane, *ip, 400));
        }
        if !relay.has_room(now) {
            continue;
        }
        granted += 1;
        let grants = relay.grant(now, MatchId(n), [A, B], &mut rng);
        for grant in grants {
            lanes.push((relay.find(now, &datagram(&grant.token, MatchId(n), 0)).unwrap(), IP[0]));
        }
    }
    assert_eq!(granted, 3, "six lanes of 8 kB/s, of 50");
}
