//! Lists of rooms with conditions, and players who watch rooms.

use traversal_core::nat::{MappingBehavior, PortAllocation};
use traversal_core::wire::message::{
    ExpectedWay, FilterTest, RoomFilter, RoomQuery, RoomSort, RoomSummary, RoomsNews,
};

use super::*;
use crate::limits::Rate;
use crate::server::Refusal;

fn with_metadata(name: &str, pairs: &[(&str, &str)]) -> RoomOptions {
    let metadata = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    RoomOptions { metadata, ..named(name) }
}

fn listed(world: &mut World, player: usize, query: RoomQuery) -> Result<Vec<RoomSummary>, RequestError> {
    match world.answer(player, Request::ListRooms { query })? {
        Response::Rooms { rooms, next: None } => Ok(rooms),
        other => panic!("a page, not {other:?}"),
    }
}

fn names(rooms: &[RoomSummary]) -> Vec<&str> {
    rooms.iter().map(|room| room.name.as_str()).collect()
}

fn news(fake: &Fake) -> Vec<RoomsNews> {
    let news = |message: &ToPlayer| match message {
        ToPlayer::Rooms(news) => Some(news.clone()),
        _ => None,
    };
    fake.told.iter().filter_map(news).collect()
}

fn watch(watch: u32) -> Request {
    Request::WatchRooms { watch, query: RoomQuery::default(), pause_ms: 0 }
}

/// Three rooms, the second of which is full, and a player who looks for rooms.
fn three_rooms() -> (World, [usize; 3], usize) {
    let config = ServerConfig { region: "eu".into(), ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let hosts = [1, 2, 3].map(|index| world.player(index, &format!("203.0.113.{index}:4000")));
    world.host(hosts[0], with_metadata("alpha", &[("map", "desert"), ("level", "9")]));
    world.host(
        hosts[1],
        RoomOptions { capacity: 2, ..with_metadata("beta", &[("map", "ice"), ("level", "10")]) },
    );
    world.host(
        hosts[2],
        RoomOptions { password: Some("pw".into()), ..with_metadata("gamma", &[("map", "desert")]) },
    );
    let guest = world.player(4, "198.51.100.4:5000");
    assert!(world.answer(guest, by_name("beta")).is_ok());
    let looker = world.player(9, "198.51.100.9:5000");
    (world, hosts, looker)
}

#[test]
fn conditions_order_and_limits() {
    let (mut world, _, looker) = three_rooms();
    let all = RoomQuery::default();
    let with = |filters: &[(&str, FilterTest)]| {
        let filters = filters.iter().map(|(key, test)| RoomFilter::new(*key, test.clone())).collect();
        RoomQuery { filters, ..RoomQuery::default() }
    };
    let desert = FilterTest::Equal("desert".into());
    for (query, expected) in [
        (all.clone(), &["alpha", "beta", "gamma"][..]),
        (with(&[("map", desert.clone())]), &["alpha", "gamma"]),
        (with(&[("level", FilterTest::Less("10".into()))]), &["alpha"]),
        (with(&[("level", FilterTest::Greater("9".into()))]), &["beta"]),
        (with(&[("map", desert), ("level", FilterTest::Exists)]), &["alpha"]),
        (with(&[("map", FilterTest::NotEqual("ice".into()))]), &["alpha", "gamma"]),
        (RoomQuery { not_full: true, ..all.clone() }, &["alpha", "gamma"]),
        (RoomQuery { no_password: true, ..all.clone() }, &["alpha", "beta"]),
        (RoomQuery { text: "ALPH".into(), ..all.clone() }, &["alpha"]),
        (RoomQuery { text: "p3".into(), ..all.clone() }, &["gamma"]),
        (RoomQuery { region: "us".into(), ..all.clone() }, &[]),
        (RoomQuery { sort: RoomSort::Players, descending: true, ..all.clone() }, &["beta", "gamma", "alpha"]),
    ] {
        let rooms = listed(&mut world, looker, query.clone()).unwrap();
        assert_eq!(names(&rooms), expected, "{query:?}");
        assert!(rooms.iter().all(|room| room.region == "eu" && room.protocol == 1 && room.rtt_ms.is_some()));
    }
    // What is over a limit names the limit.
    let many = RoomQuery { filters: vec![RoomFilter::new("k", FilterTest::Exists); 9], ..all.clone() };
    let Err(RequestError::Malformed { what }) = listed(&mut world, looker, many) else { panic!("refused") };
    assert!(what.contains("at most 8"), "{what}");
    let watch = Request::WatchRooms { watch: 1, query: RoomQuery { limit: 101, ..all }, pause_ms: 500 };
    let Err(RequestError::Malformed { what }) = world.answer(looker, watch) else { panic!("refused") };
    assert!(what.contains("1 to 100"), "{what}");
}

#[test]
fn who_watches_is_told_all_at_first_and_then_each_change_twice_a_second_at_the_most() {
    let (mut world, hosts, looker) = three_rooms();
    assert_eq!(world.answer(looker, watch(7)), Ok(Response::Done));
    world.pass(Duration::from_millis(60));
    let first = news(&world.fakes[looker]);
    assert_eq!(first.len(), 1);
    assert_eq!(
        (names(&first[0].changed), first[0].watch, first[0].number),
        (vec!["alpha", "beta", "gamma"], 7, 0)
    );
    assert!(first[0].settled && first[0].gone.is_empty());
    world.pass(Duration::from_secs(5));
    assert_eq!(news(&world.fakes[looker]).len(), 1, "nothing is new");

    // Forty changes in two seconds: five news, and the last one says how it is.
    world.fakes[looker].told.clear();
    for change in 0..40 {
        let metadata = [("turn".to_string(), change.to_string())].into();
        assert_eq!(world.answer(hosts[0], Request::SetMetadata(metadata)), Ok(Response::Done));
        world.pass(Duration::from_millis(50));
    }
    world.pass(Duration::from_secs(1));
    let told = news(&world.fakes[looker]);
    assert!((3..=6).contains(&told.len()), "{} news", told.len());
    let last = told.last().unwrap();
    assert_eq!((names(&last.changed), last.changed[0].metadata["turn"].as_str()), (vec!["alpha"], "39"));
    assert_eq!(last.number as usize, told.len());

    // One room goes and another one comes.
    world.fakes[looker].told.clear();
    assert_eq!(world.answer(hosts[0], Request::LeaveRoom), Ok(Response::Done));
    world.host(hosts[0], named("delta"));
    world.pass(Duration::from_millis(600));
    let told = news(&world.fakes[looker]);
    assert_eq!((told.len(), told[0].gone.len(), names(&told[0].changed)), (1, 1, vec!["delta"]));

    // It says no more, or is in a room: nothing more comes.
    world.fakes[looker].told.clear();
    assert_eq!(world.answer(looker, Request::StopWatching), Ok(Response::Done));
    world.host_changes(hosts[0]);
    assert_eq!(news(&world.fakes[looker]).len(), 0);
    assert_eq!(world.answer(looker, watch(8)), Ok(Response::Done));
    world.pass(Duration::from_millis(60));
    assert_eq!(news(&world.fakes[looker]).len(), 1);
    assert!(world.answer(looker, by_name("delta")).is_ok());
    world.fakes[looker].told.clear();
    world.host_changes(hosts[0]);
    assert_eq!(news(&world.fakes[looker]).len(), 0);
    assert_eq!(world.answer(looker, watch(9)), Err(RequestError::AlreadyInRoom));
}

impl World {
    fn host_changes(&mut self, host: usize) {
        let metadata = [("at".to_string(), format!("{:?}", self.now))].into();
        assert_eq!(self.answer(host, Request::SetMetadata(metadata)), Ok(Response::Done));
        self.pass(Duration::from_secs(2));
    }
}

#[test]
fn the_wish_ends_after_ten_minutes_and_goes_on_where_it_is_said_again() {
    let (mut world, hosts, looker) = three_rooms();
    let keep_alive = |world: &mut World, seconds: u64| {
        for _ in 0..seconds / 20 {
            world.pass(Duration::from_secs(20));
            for player in 0..world.fakes.len() {
                world.ping(player);
            }
        }
    };
    assert_eq!(world.answer(looker, watch(1)), Ok(Response::Done));
    keep_alive(&mut world, 580);
    assert_eq!(world.answer(looker, watch(1)), Ok(Response::Done));
    keep_alive(&mut world, 580);
    world.fakes[looker].told.clear();
    world.host_changes(hosts[0]);
    let told = news(&world.fakes[looker]);
    assert_eq!((told.len(), names(&told[0].changed)), (1, vec!["alpha"]), "what was told is not told again");
    keep_alive(&mut world, 40);
    world.fakes[looker].told.clear();
    world.host_changes(hosts[0]);
    assert_eq!(news(&world.fakes[looker]).len(), 0);
}

#[test]
fn who_takes_nothing_is_told_nothing_more_and_another_wish_is_no_way_to_be_told_more() {
    let (mut world, hosts, looker) = three_rooms();
    world.answer(looker, watch(1)).unwrap();
    world.pass(Duration::from_millis(60));
    world.kill(looker);
    for _ in 0..10 {
        world.host_changes(hosts[0]);
    }
    let told = world.server.counters().rooms_told;
    assert!(told <= 8, "{told}");
    // Twenty wishes in a second, each of which is another one.
    let other = world.player(10, "198.51.100.10:5000");
    let before = world.server.counters().rooms_told;
    for number in 0..20 {
        assert_eq!(world.answer(other, watch(number)), Ok(Response::Done));
        world.pass(Duration::from_millis(50));
    }
    let told = world.server.counters().rooms_told - before;
    assert!((1..=4).contains(&told), "{told}");
}

#[test]
fn who_has_very_many_rooms_looked_at_waits_and_others_do_not() {
    let none = Rate::new(1e9, 1e9);
    let config = ServerConfig { request_rate: none, frame_rate: none, ..ServerConfig::default() };
    let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
    let host = world.player(1, "203.0.113.1:4000");
    world.host(host, named("r"));
    let (flood, honest) = (world.player(2, "198.51.100.2:5000"), world.player(3, "198.51.100.3:5000"));
    let asked = (0..30_000).find(|_| listed(&mut world, flood, RoomQuery::default()).is_err());
    // Each costs 11, of 200,000 at once.
    assert_eq!(asked, Some(18_181));
    assert_eq!(world.server.counters().refusals.of(Refusal::ListRate), 1);
    assert!(listed(&mut world, honest, RoomQuery::default()).is_ok());
    world.pass(Duration::from_secs(1));
    assert!(listed(&mut world, flood, RoomQuery::default()).is_ok(), "after a second");
}

#[test]
fn the_way_to_a_host_is_told_by_both_nats_and_not_by_claims_made_one_after_the_other() {
    let (mut world, hosts, looker) = three_rooms();
    let ways = |world: &mut World| -> Vec<ExpectedWay> {
        let rooms = listed(world, looker, RoomQuery::default()).unwrap();
        rooms.iter().map(|room| room.way).collect()
    };
    use ExpectedWay as W;
    assert_eq!(ways(&mut world), [W::Unknown; 3]);
    let random = (MappingBehavior::AddressAndPortDependent, PortAllocation::Random);
    for host in hosts {
        world.profile(host, random.0, random.1);
    }
    world.profile(looker, MappingBehavior::EndpointIndependent, PortAllocation::Preserving);
    // The third room has a password: strangers are told nothing of it.
    assert_eq!(ways(&mut world), [W::Search, W::Search, W::Unknown]);
    let direct = RoomQuery { direct: true, ..RoomQuery::default() };
    assert_eq!(listed(&mut world, looker, direct.clone()).unwrap().len(), 0);
    world.profile(hosts[0], MappingBehavior::EndpointIndependent, PortAllocation::Preserving);
    assert_eq!(ways(&mut world), [W::Direct, W::Search, W::Unknown]);
    assert_eq!(names(&listed(&mut world, looker, direct).unwrap()), ["alpha"]);
    // It claims another NAT: the one that was measured first counts.
    world.profile(looker, random.0, random.1);
    assert_eq!(ways(&mut world), [W::Direct, W::Search, W::Unknown]);
}

/// The names of games are the players' own: whoever makes up many of them takes no game's list away.
#[test]
fn made_up_games_displace_each_other_and_not_one_that_is_played() {
    let (mut world, hosts, looker) = three_rooms();
    assert_eq!(listed(&mut world, looker, RoomQuery::default()).unwrap().len(), 3);
    let mut asked = 0;
    for number in 0..1_100u32 {
        let [a, b] = (number as u16).to_be_bytes();
        let player = world.add(10, &format!("203.0.{}.{b}:4000", 114 + a));
        world.fakes[player].login.game = format!("made up {number}");
        world.log_in(player);
        asked +=
            usize::from(world.answer(player, Request::ListRooms { query: RoomQuery::default() }).is_ok());
        world.kill(player);
        // The honest ones are there.
        if number % 50 == 0 {
            for index in hosts.into_iter().chain([looker]) {
                world.ping(index);
            }
        }
    }
    assert_eq!(asked, 1_100, "each of them has been answered");
    assert_eq!(listed(&mut world, looker, RoomQuery::default()).unwrap().len(), 3);
}
