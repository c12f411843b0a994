//! Lists and watchers against a plain model, and what they cost.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::{
    ExpectedWay, FilterTest, MAX_LISTED, MAX_LISTED_METADATA, MAX_NAME, MAX_ROOM_NAME, Response, RoomFilter,
    RoomQuery, RoomSort, RoomSummary,
};

use super::*;
use crate::registry::{HostReach, Shown};

fn nat(mapping: MappingBehavior, allocation: PortAllocation) -> NatProfile {
    NatProfile {
        mapping,
        filtering: FilteringBehavior::AddressAndPortDependent,
        allocation,
        confidence: Confidence::Full,
        ..NatProfile::UNKNOWN
    }
}

fn cone() -> NatProfile {
    nat(MappingBehavior::EndpointIndependent, PortAllocation::Preserving)
}

fn random() -> NatProfile {
    nat(MappingBehavior::AddressAndPortDependent, PortAllocation::Random)
}

fn viewer() -> Viewer {
    Viewer {
        nat: Some(cone()),
        v6: false,
        relay_only: false,
        relay: true,
        rtt: Some(Duration::from_millis(31)),
        protocol: 1,
        region: "eu".into(),
        now_s: 1000,
    }
}

fn room(index: u64, members: u16, map: &str) -> Shown {
    Shown {
        summary: RoomSummary {
            name: format!("Room {index:05}"),
            code: format!("C{index:05}"),
            host_name: format!("host {}", index % 10),
            members,
            capacity: 8,
            region: "eu".into(),
            protocol: 1,
            rtt_ms: Some(10 * (1 + index % 20) as u16),
            metadata: BTreeMap::from([
                ("map".into(), map.into()),
                ("level".into(), (index % 50).to_string()),
            ]),
            ..RoomSummary::default()
        },
        opened_s: 900 - index % 300,
        properties: BTreeMap::new(),
        host: Some(HostReach {
            nat: if index.is_multiple_of(3) { random() } else { cone() },
            ..HostReach::default()
        }),
    }
}

fn all_pages(catalogue: &Catalogue, query: &RoomQuery, viewer: &Viewer) -> Vec<RoomSummary> {
    let (mut all, mut query) = (Vec::new(), query.clone());
    loop {
        let page = page(catalogue, &query, viewer);
        assert!(page.looks <= LOOKS_PER_PAGE);
        let response = Response::Rooms { rooms: page.rooms.clone(), next: page.next.clone() };
        assert!(traversal_core::wire::codec::encode(&response).is_ok(), "it fits a datagram");
        all.extend(page.rooms);
        let Some(next) = page.next else { return all };
        query.after = Some(next);
    }
}

/// Returns all rooms that the query wants, in its order, in the plainest way.
fn model(rooms: &BTreeMap<u64, Shown>, query: &RoomQuery, viewer: &Viewer) -> Vec<String> {
    let seen = |shown: &Shown| {
        let mut catalogue = Catalogue::new("eu");
        catalogue.put(0, shown.clone());
        let entry = catalogue.entry(&traversal_core::text::fold(&shown.summary.name)).unwrap();
        viewer.sees(entry, &query.show)
    };
    let mut rooms: Vec<RoomSummary> =
        rooms.values().map(seen).filter(|room| query.passes(room, viewer.protocol)).collect();
    rooms.sort_by(|a, b| query.compare(a, b));
    rooms.into_iter().map(|room| room.code).collect()
}

fn queries() -> Vec<RoomQuery> {
    let all = RoomQuery::default();
    let map = |map: &str| vec![RoomFilter::new("map", FilterTest::Equal(map.into()))];
    let mut queries = vec![
        all.clone(),
        RoomQuery { filters: map("ice"), ..all.clone() },
        RoomQuery { filters: map("nowhere"), ..all.clone() },
        RoomQuery { filters: vec![RoomFilter::new("level", FilterTest::Less("7".into()))], ..all.clone() },
        RoomQuery { text: "HOST 3".into(), not_full: true, ..all.clone() },
        RoomQuery { direct: true, limit: 7, ..all.clone() },
    ];
    for sort in [RoomSort::Name, RoomSort::Players, RoomSort::Age, RoomSort::RoundTrip] {
        for descending in [false, true] {
            queries.push(RoomQuery { sort, descending, limit: 9, ..all.clone() });
        }
    }
    queries
}

#[test]
fn pages_hold_all_rooms_that_pass_in_every_order() {
    let (mut catalogue, mut rooms) = (Catalogue::new("eu"), BTreeMap::new());
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    for index in 0..300 {
        let shown =
            room(index, 1 + (rng.next_u32() % 8) as u16, ["ice", "hills"][(rng.next_u32() % 2) as usize]);
        catalogue.put(index % 2, shown.clone());
        rooms.insert(index, shown);
    }
    for query in queries() {
        let query = RoomQuery { limit: MAX_LISTED, ..query };
        let listed: Vec<String> =
            all_pages(&catalogue, &query, &viewer()).into_iter().map(|room| room.code).collect();
        assert_eq!(listed, model(&rooms, &query, &viewer()), "{query:?}");
    }
}

#[test]
fn a_page_costs_no_more_than_its_looks_however_few_rooms_pass() {
    let mut catalogue = Catalogue::new("eu");
    for index in 0..10_000 {
        catalogue.put(0, room(index, 1, if index == 9_999 { "last" } else { "ice" }));
    }
    let filters = vec![RoomFilter::new("map", FilterTest::Equal("last".into()))];
    let query = RoomQuery { filters, ..RoomQuery::default() };
    let first = page(&catalogue, &query, &viewer());
    assert_eq!((first.looks, first.rooms.len(), first.next.is_some()), (LOOKS_PER_PAGE, 0, true));
    assert_eq!(all_pages(&catalogue, &query, &viewer())[0].code, "C09999");
}

/// Random rooms come, change and go, and a watcher's player knows what the model says whenever it is settled.
#[test]
fn a_watcher_knows_what_the_model_says_after_every_change() {
    for seed in 0..6 {
        for query in queries() {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            let (mut catalogue, mut rooms) = (Catalogue::new("eu"), BTreeMap::new());
            let mut watcher = Watcher::new(query.clone());
            let mut known: BTreeMap<String, RoomSummary> = BTreeMap::new();
            for _ in 0..40 {
                for _ in 0..rng.next_u32() % 12 {
                    let index = u64::from(rng.next_u32() % 60);
                    if rng.next_u32().is_multiple_of(3) {
                        rooms.remove(&index);
                        catalogue
                            .remove(|_| true, &traversal_core::text::fold(&room(index, 1, "").summary.name));
                    } else {
                        let map = ["ice", "hills"][(rng.next_u32() % 2) as usize];
                        let shown = room(index, 1 + (rng.next_u32() % 8) as u16, map);
                        catalogue.put(0, shown.clone());
                        rooms.insert(index, shown);
                    }
                }
                // Few looks at a time, as on a busy server.
                let mut settled = false;
                for _ in 0..200 {
                    let mut looks = 1 + (rng.next_u32() % 9) as usize;
                    watcher.advance(&catalogue, &viewer(), &mut looks);
                    while let Some(news) = watcher.news(&catalogue, &viewer()) {
                        for code in news.gone {
                            known.remove(&code).expect("it was told before");
                        }
                        known.extend(news.changed.into_iter().map(|room| (room.code.clone(), room)));
                        settled = news.settled;
                    }
                    settled |= watcher.is_current(&catalogue);
                }
                assert!(settled);
                let mut told: Vec<&RoomSummary> = known.values().collect();
                told.sort_by(|a, b| query.compare(a, b));
                let told: Vec<String> = told.into_iter().map(|room| room.code.clone()).collect();
                let mut expected = model(&rooms, &query, &viewer());
                expected.truncate(query.limit.into());
                assert_eq!(told, expected, "{query:?}");
                for (code, room) in &known {
                    let index: u64 = code[1..].parse().unwrap();
                    assert_eq!(room.members, rooms[&index].summary.members, "as it is now");
                }
            }
        }
    }
}

#[test]
fn who_has_not_read_for_long_looks_at_all_anew_and_still_misses_nothing() {
    let mut catalogue = Catalogue::new("eu");
    catalogue.put(0, room(1, 1, "ice"));
    let mut watcher = Watcher::new(RoomQuery::default());
    let mut all = usize::MAX;
    watcher.advance(&catalogue, &viewer(), &mut all);
    assert_eq!(watcher.news(&catalogue, &viewer()).map(|news| news.changed.len()), Some(1));
    catalogue.remove(|_| true, "room 00001");
    for index in 2..5000 {
        catalogue.put(0, room(index, 1, "ice"));
        catalogue.remove(|_| true, &format!("room {index:05}"));
    }
    catalogue.put(0, room(5000, 1, "ice"));
    watcher.advance(&catalogue, &viewer(), &mut all);
    let news = watcher.news(&catalogue, &viewer()).unwrap();
    assert_eq!(
        (news.gone, news.changed[0].code.as_str(), news.settled),
        (vec!["C00001".to_owned()], "C05000", true)
    );
}

#[test]
fn the_longest_rooms_fit_and_say_less_of_their_metadata() {
    let mut catalogue = Catalogue::new("eu");
    for index in 0..5u64 {
        let mut shown = room(index, 64, "ice");
        let long = |letter: &str, count: usize| letter.repeat(count);
        shown.summary.name = format!("{index}{}", long("n", MAX_ROOM_NAME - 1));
        shown.summary.host_name = long("h", MAX_NAME);
        shown.summary.region = long("r", 16);
        shown.summary.metadata = BTreeMap::from([
            ("a".into(), long("v", 200)),
            ("b".into(), long("v", 3000)),
            ("c".into(), long("v", 180)),
        ]);
        catalogue.put(0, shown);
    }
    let rooms = all_pages(&catalogue, &RoomQuery::default(), &viewer());
    assert_eq!(rooms.len(), 5);
    for room in rooms {
        assert_eq!(room.metadata.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert!(
            room.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
                <= MAX_LISTED_METADATA
        );
    }
    // Filters look at what is not shown.
    let filters = vec![RoomFilter::new("b", FilterTest::Exists)];
    let query = RoomQuery { filters, ..RoomQuery::default() };
    assert_eq!(all_pages(&catalogue, &query, &viewer()).len(), 5);
}

#[test]
fn four_kilobytes_are_looked_at_and_the_keys_that_were_asked_for_are_shown() {
    let mut catalogue = Catalogue::new("eu");
    for index in 0..5u64 {
        let mut shown = room(index, 64, "ice");
        shown.summary.name = format!("{index}{}", "n".repeat(MAX_ROOM_NAME - 1));
        shown.summary.host_name = "h".repeat(MAX_NAME);
        shown.summary.region = "r".repeat(16);
        let long = |n: usize| (format!("list.{n}"), format!("{index}{}", "v".repeat(500)));
        shown.properties = (0..7).map(long).chain([("list.mode".into(), format!("m{index}"))]).collect();
        catalogue.put(0, shown);
    }
    let all = RoomQuery::default();
    assert!(
        all_pages(&catalogue, &all, &viewer()).iter().all(|room| !room.metadata.contains_key("list.mode"))
    );
    let filters = vec![RoomFilter::new("list.6", FilterTest::Equal(format!("3{}", "v".repeat(500))))];
    let show = vec!["list.mode".into(), "list.6".into(), "list.5".into(), "nothing".into(), "map".into()];
    let found = all_pages(&catalogue, &RoomQuery { filters, show: show.clone(), ..all.clone() }, &viewer());
    assert_eq!(found.iter().map(|room| room.code.as_str()).collect::<Vec<_>>(), ["C00003"]);
    let shown: Vec<&str> = found[0].metadata.keys().map(String::as_str).collect();
    assert_eq!(shown, ["list.6", "list.mode", "map"], "in the order of the names, what fits");
    assert_eq!(found[0].metadata["list.6"].len(), 501);
    // Who watches is told the same.
    let query = RoomQuery { show, ..all };
    let (mut watcher, mut told) = (Watcher::new(query), BTreeMap::new());
    watcher.advance(&catalogue, &viewer(), &mut 1000);
    while let Some(news) = watcher.news(&catalogue, &viewer()) {
        told.extend(news.changed.into_iter().map(|room| (room.code, room.metadata["list.mode"].clone())));
    }
    assert_eq!((told.len(), told["C00002"].as_str()), (5, "m2"));
}

#[test]
fn round_trips_are_told_in_steps_and_only_within_a_region() {
    let mut catalogue = Catalogue::new("eu");
    let mut far = room(2, 1, "ice");
    far.summary.region = "us".into();
    catalogue.put(0, room(1, 1, "ice"));
    catalogue.put(1, far);
    let query = RoomQuery { sort: RoomSort::RoundTrip, ..RoomQuery::default() };
    let rooms = all_pages(&catalogue, &query, &viewer());
    assert_eq!(rooms.iter().map(|room| room.rtt_ms).collect::<Vec<_>>(), [Some(60), None]);
    assert_eq!(rooms[0].age_s, 101);
    for (measured, told) in [(1, 10), (10, 10), (11, 20), (70_000, u16::MAX)] {
        assert_eq!(told_rtt(Duration::from_millis(measured)), told);
    }
}

#[test]
fn the_expected_way_is_by_both_nats_and_closed_rooms_tell_none() {
    let ways = |viewer: &Viewer| -> Vec<ExpectedWay> {
        let mut catalogue = Catalogue::new("eu");
        let hosts = [Some(cone()), Some(random()), None];
        for (index, host) in hosts.into_iter().enumerate() {
            let mut shown = room(index as u64, 1, "ice");
            shown.host = host.map(|nat| HostReach { nat, ..HostReach::default() });
            catalogue.put(0, shown);
        }
        all_pages(&catalogue, &RoomQuery::default(), viewer).iter().map(|room| room.way).collect()
    };
    use ExpectedWay as W;
    assert_eq!(ways(&viewer()), [W::Direct, W::Search, W::Unknown]);
    assert_eq!(ways(&Viewer { nat: Some(random()), ..viewer() }), [W::Search, W::Relay, W::Unknown]);
    let alone = Viewer { nat: Some(random()), relay: false, ..viewer() };
    assert_eq!(ways(&alone), [W::Search, W::Unreachable, W::Unknown]);
    assert_eq!(ways(&Viewer { nat: None, ..viewer() }), [W::Unknown; 3]);
    assert_eq!(ways(&Viewer { relay_only: true, ..viewer() }), [W::Relay, W::Relay, W::Unknown]);
    assert_eq!(ways(&Viewer { v6: true, ..viewer() }), [W::Unknown; 3], "NATs of two families");
}

/// A stranger that claims one NAT after the other learns no more of a host than by one of them.
#[test]
fn what_a_stranger_claims_later_from_the_same_address_changes_nothing() {
    let (mut views, now) = (Views::default(), Instant::now());
    let ip: IpAddr = "203.0.113.7".parse().unwrap();
    assert_eq!(views.nat(now, ip, NatProfile::UNKNOWN), None, "nothing is known yet");
    assert_eq!(views.nat(now, ip, cone()), Some(cone()));
    for claimed in [random(), nat(MappingBehavior::AddressDependent, PortAllocation::Sequential { step: 2 })]
    {
        assert_eq!(views.nat(now + Duration::from_secs(599), ip, claimed), Some(cone()));
    }
    assert_eq!(views.nat(now, "203.0.113.8".parse().unwrap(), random()), Some(random()), "another household");
    assert_eq!(views.nat(now + Duration::from_secs(601), ip, random()), Some(random()), "networks change");
    // Nobody fills the memory with addresses: others are told nothing then.
    for index in 0..40_000u32 {
        let ip = IpAddr::from(std::net::Ipv4Addr::from(index + 0x0b00_0000));
        views.nat(now + Duration::from_secs(601), ip, cone());
    }
    assert_eq!(views.nat(now + Duration::from_secs(601), "198.51.100.1".parse().unwrap(), cone()), None);
}

/// This is the figure of docs/listing.md: 1,000 players watch 10,000 rooms of which 100 change in a second, each with filters as
/// costly as may be.
#[test]
fn a_second_of_a_thousand_watchers_of_ten_thousand_rooms() {
    let mut catalogue = Catalogue::new("eu");
    for index in 0..10_000 {
        catalogue.put(0, room(index, 1, "ice"));
    }
    let bomb: Vec<RoomFilter> = (0..8)
        .map(|filter| {
            let values = (0..7).map(|value| format!("{filter}{value}")).chain(["ice".into()]);
            RoomFilter::new("map", FilterTest::OneOf(values.collect()))
        })
        .collect();
    let query = RoomQuery { filters: bomb, text: "host".into(), reachable: true, ..RoomQuery::default() };
    let query = query.checked(100).unwrap();
    let mut watchers: Vec<Watcher> = (0..1000).map(|_| Watcher::new(query.clone())).collect();
    let (mut all, viewer) = (usize::MAX, viewer());
    let mut turn = |catalogue: &Catalogue| {
        let (begun, before, mut rooms, mut messages) = (Instant::now(), all, 0, 0);
        for watcher in &mut watchers {
            watcher.advance(catalogue, &viewer, &mut all);
            while let Some(news) = watcher.news(catalogue, &viewer) {
                rooms += news.changed.len();
                messages += 1;
            }
        }
        (begun.elapsed(), before - all, rooms, messages)
    };
    let (took, looks, rooms, messages) = turn(&catalogue);
    println!("beginning: {took:?}, {looks} looks, {rooms} rooms in {messages} messages");
    assert_eq!(rooms, 100_000);
    let mut rng = ChaCha20Rng::from_seed([8; 32]);
    let (mut time, mut all_looks, mut told) = (Duration::ZERO, 0, 0);
    for half in 0..2 {
        for _ in 0..50 {
            catalogue.put(0, room(u64::from(rng.next_u32() % 10_000), 2 + half, "ice"));
        }
        let (took, looks, rooms, _) = turn(&catalogue);
        (time, all_looks, told) = (time + took, all_looks + looks, told + rooms);
    }
    println!("a second: {time:?}, {all_looks} looks, {told} rooms told");
    assert_eq!(all_looks, 100_000, "one look for each change and player");
}
