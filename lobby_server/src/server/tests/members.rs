//! What members tell each other: who may write what, how often the others are told, and what outlives what.

use super::*;
use crate::server::tests::{World, back_to, by_name, named};
use traversal_core::wire::message::{
    Changes, CountdownEnd, CountdownRule, InRoom, MemberChanges, MemberState, RoomNews, TeamWish,
};

fn put(key: &str, value: &str) -> Changes {
    [(String::from(key), Some(String::from(value)))].into()
}

fn ask(world: &mut World, index: usize, asked: InRoom) -> Result<Response, RequestError> {
    world.answer(index, Request::InRoom(asked))
}

fn ready(ready: bool) -> InRoom {
    InRoom::Member(MemberChanges { ready: Some(ready), ..MemberChanges::default() })
}

fn news(world: &World, index: usize) -> Vec<RoomNews> {
    let told = world.fakes[index].told.iter();
    told.filter_map(|message| match message {
        ToPlayer::InRoom { news, .. } => Some(news.clone()),
        _ => None,
    })
    .collect()
}

/// Returns the newest state that this player was told of another one.
fn state(world: &World, index: usize, of: PlayerId) -> Option<MemberState> {
    news(world, index).into_iter().rev().find_map(|news| match news {
        RoomNews::Member { player, state, .. } if player == of => Some(state),
        _ => None,
    })
}

/// Returns the newest value that this player was told of a property.
fn property(world: &World, index: usize, of: &str) -> Option<String> {
    news(world, index).into_iter().rev().find_map(|news| match news {
        RoomNews::Property { key, value, .. } if key == of => Some(value),
        _ => None,
    })?
}

/// Three players in one room, whose host is the first.
fn three(options: RoomOptions) -> (World, [usize; 3], RoomInfo) {
    let mut world = World::new();
    let players = [(1, "203.0.113.1:4000"), (2, "198.51.100.1:5000"), (3, "198.51.100.2:5000")]
        .map(|(secret, address)| world.player(secret, address));
    let room = world.host(players[0], options.clone());
    for member in &players[1..] {
        assert!(world.answer(*member, by_name(&options.name)).is_ok());
    }
    (world, players, room)
}

#[test]
fn only_the_host_writes_the_rooms_properties_and_each_its_own() {
    let (mut world, [host, member, other], _) = three(named("r"));
    assert_eq!(ask(&mut world, host, InRoom::Properties(put("map", "cave"))), Ok(Response::Done));
    let of_host = [
        InRoom::Properties(put("map", "sea")),
        InRoom::Lock(true),
        InRoom::Teams(vec![2]),
        InRoom::StartCountdown { after_ms: 1000, rule: CountdownRule::default() },
        InRoom::CancelCountdown { id: None },
        InRoom::HandOver { player: world.fakes[member].id() },
        InRoom::Show { part: 0, parts: 1, properties: Default::default(), countdown: None },
    ];
    for asked in of_host {
        assert_eq!(ask(&mut world, member, asked.clone()), Err(RequestError::NotHost), "{asked:?}");
    }
    let changes = MemberChanges { properties: put("skin", "red"), ready: Some(true), team: None };
    assert!(ask(&mut world, member, InRoom::Member(changes)).is_ok());
    let member_id = world.fakes[member].id();
    for index in [host, member, other] {
        assert_eq!(property(&world, index, "map").as_deref(), Some("cave"));
        let said = state(&world, index, member_id).expect("told");
        assert_eq!((said.ready, said.properties["skin"].as_str()), (true, "red"));
    }
    let late = world.player(4, "198.51.100.4:5000");
    assert_eq!(ask(&mut world, late, ready(true)), Err(RequestError::NotInRoom));
    assert!(world.answer(late, by_name("r")).is_ok());
    assert_eq!(property(&world, late, "map").as_deref(), Some("cave"), "who comes later is told all");
    assert!(state(&world, late, member_id).is_some_and(|said| said.ready));
}

#[test]
fn a_flood_of_changes_is_told_slowly_and_ends_as_it_is() {
    let (mut world, [_, member, other], _) = three(named("r"));
    let member_id = world.fakes[member].id();
    let (start, mut taken) = (news(&world, other).len(), 0);
    for n in 0..600 {
        let changes = MemberChanges { properties: put("n", &n.to_string()), ..MemberChanges::default() };
        if ask(&mut world, member, InRoom::Member(changes)).is_ok() {
            taken = n;
        }
        world.pass(Duration::from_millis(10));
    }
    world.pass(Duration::from_secs(1));
    let told = news(&world, other).len() - start;
    // Six seconds: 16 at once and four a second.
    assert!((10..=16 + 4 * 7 + 1).contains(&told), "{told}");
    assert_eq!(state(&world, other, member_id).expect("told").properties["n"], taken.to_string());
}

#[test]
fn a_locked_room_lets_in_who_has_a_ticket_and_nobody_else() {
    let (mut world, [host, member, _], room) = three(named("r"));
    assert!(ask(&mut world, host, InRoom::Lock(true)).is_ok());
    let locked = world.fakes[member]
        .told
        .iter()
        .any(|told| matches!(told, ToPlayer::RoomChanged(room) if room.locked));
    assert!(locked);
    let stranger = world.player(4, "198.51.100.4:5000");
    assert_eq!(world.answer(stranger, by_name("r")), Err(RequestError::RoomLocked));
    let tickets = [host, member].map(|index| world.fakes[index].ticket());
    world.log_in(member);
    assert!(world.answer(member, back_to(&room, tickets[1])).is_ok());

    // Also after a restart, and whoever was inside comes first.
    let room = RoomInfo { locked: true, ..room };
    world.restart();
    let member = world.player(2, "198.51.100.1:5000");
    assert!(world.answer(member, back_to(&room, tickets[1])).is_ok());
    let stranger = world.player(4, "198.51.100.4:5000");
    assert_eq!(world.answer(stranger, by_name("r")), Err(RequestError::RoomLocked));
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.answer(host, back_to(&room, tickets[0])).is_ok());
    assert!(ask(&mut world, host, InRoom::Lock(false)).is_ok());
    assert!(world.answer(stranger, by_name("r")).is_ok());
}

#[test]
fn a_host_hands_over_and_stays_as_a_member_with_what_it_said() {
    let (mut world, [host, member, other], room) = three(named("r"));
    let [host_id, member_id, other_id] = [host, member, other].map(|index| world.fakes[index].id());
    assert!(ask(&mut world, host, ready(true)).is_ok());
    assert!(ask(&mut world, host, InRoom::Properties(put("map", "cave"))).is_ok());
    for nobody in [host_id, PlayerId([77; 16])] {
        let refused = ask(&mut world, host, InRoom::HandOver { player: nobody });
        assert_eq!(refused, Err(RequestError::NoSuchPlayer));
    }
    assert_eq!(ask(&mut world, host, InRoom::HandOver { player: member_id }), Ok(Response::Done));
    world.ping(host);
    for index in [host, member, other] {
        let changed = world.fakes[index].told.iter().find_map(|told| match told {
            ToPlayer::HostChanged { room, previous } => Some((room.host, room.epoch, *previous)),
            _ => None,
        });
        assert_eq!(changed, Some((member_id, 1, host_id)));
        assert_eq!(world.fakes[index].members(), [member_id, other_id, host_id]);
    }
    let plans = world.fakes[member].plans();
    let with: Vec<PlayerId> = plans.iter().filter(|plan| plan.epoch == 1).map(|plan| plan.peer.id).collect();
    assert_eq!(with, [other_id, host_id], "a match with each, the former host too");
    // The new host writes, and what was said stays.
    assert_eq!(ask(&mut world, host, InRoom::Properties(put("map", "sea"))), Err(RequestError::NotHost));
    assert!(ask(&mut world, member, InRoom::Properties(put("mode", "duel"))).is_ok());
    let late = world.player(4, "198.51.100.4:5000");
    assert!(world.answer(late, by_name("r")).is_ok());
    assert_eq!(property(&world, late, "map").as_deref(), Some("cave"));
    assert!(state(&world, late, host_id).is_some_and(|said| said.ready));
    assert_eq!(room.epoch, 0);

    let (mut world, [host, member, _], _) = three(RoomOptions { migrate: false, ..named("r") });
    let player = world.fakes[member].id();
    assert_eq!(ask(&mut world, host, InRoom::HandOver { player }), Err(RequestError::HostStays));
}

#[test]
fn a_countdown_needs_all_to_be_ready_and_ends_when_its_rule_says_so() {
    let rule = CountdownRule::default();
    let start = InRoom::StartCountdown { after_ms: 5000, rule };
    let (mut world, players, _) = three(named("r"));
    let [host, member, other] = players;
    assert!(ask(&mut world, host, ready(true)).is_ok());
    assert_eq!(ask(&mut world, host, start.clone()), Err(RequestError::NotReady { waiting: 2 }));
    for index in [member, other] {
        assert!(ask(&mut world, index, ready(true)).is_ok());
    }
    assert!(matches!(
        ask(&mut world, host, InRoom::StartCountdown { after_ms: 600_001, rule }),
        Err(RequestError::Malformed { .. })
    ));
    assert!(ask(&mut world, host, start.clone()).is_ok());
    assert_eq!(ask(&mut world, host, start.clone()), Err(RequestError::CountdownRuns));
    let Ok(Response::Time { now_ms }) = ask(&mut world, other, InRoom::Time) else { panic!("a time") };
    let told = |world: &World, index| {
        news(world, index).into_iter().rev().find_map(|news| match news {
            RoomNews::Countdown(countdown) => Some(countdown),
            _ => None,
        })
    };
    let countdowns = players.map(|index| told(&world, index).expect("told"));
    assert!(countdowns.iter().all(|countdown| countdown.at_ms == countdowns[0].at_ms));
    assert!((4000..=5000).contains(&(countdowns[0].at_ms - now_ms)), "{countdowns:?}, now {now_ms}");

    let ended = |world: &World, index| {
        news(world, index).into_iter().rev().find_map(|news| match news {
            RoomNews::CountdownCancelled { why, .. } => Some(why),
            _ => None,
        })
    };
    let other_id = world.fakes[other].id();
    assert!(ask(&mut world, other, ready(false)).is_ok());
    assert_eq!(ended(&world, member), Some(CountdownEnd::NotReady(other_id)));
    assert_eq!(ask(&mut world, host, InRoom::CancelCountdown { id: None }), Err(RequestError::NoCountdown));

    assert!(ask(&mut world, other, ready(true)).is_ok());
    assert!(ask(&mut world, host, start.clone()).is_ok());
    assert!(ask(&mut world, host, InRoom::CancelCountdown { id: None }).is_ok());
    assert_eq!(ended(&world, member), Some(CountdownEnd::ByHost));

    assert!(ask(&mut world, host, start.clone()).is_ok());
    assert!(world.answer(other, Request::LeaveRoom).is_ok());
    assert_eq!(ended(&world, member), Some(CountdownEnd::Left(other_id)));

    assert!(ask(&mut world, host, start).is_ok());
    assert!(world.answer(other, by_name("r")).is_ok());
    assert_eq!(ended(&world, member), Some(CountdownEnd::Joined(other_id)));
}

#[test]
fn teams_are_balanced_and_refused_by_an_error_of_their_own() {
    let (mut world, [host, member, other], _) = three(RoomOptions { teams: vec![1, 2], ..named("r") });
    let wish = |wish| InRoom::Member(MemberChanges { team: Some(wish), ..MemberChanges::default() });
    assert!(ask(&mut world, host, wish(TeamWish::Team(0))).is_ok());
    assert_eq!(ask(&mut world, member, wish(TeamWish::Team(0))), Err(RequestError::TeamFull { size: 1 }));
    assert_eq!(ask(&mut world, member, wish(TeamWish::Team(2))), Err(RequestError::NoSuchTeam { teams: 2 }));
    for index in [member, other] {
        assert!(ask(&mut world, index, wish(TeamWish::Any)).is_ok());
    }
    let ids = [host, member, other].map(|index| world.fakes[index].id());
    let teams = |world: &World| ids.map(|id| state(world, host, id).expect("told").team);
    assert_eq!(teams(&world), [Some(0), Some(1), Some(1)]);
    assert!(matches!(ask(&mut world, host, InRoom::Teams(vec![0])), Err(RequestError::Malformed { .. })));
    assert!(ask(&mut world, host, InRoom::Teams(vec![1, 1])).is_ok());
    assert_eq!(teams(&world), [Some(0), Some(1), None]);
}

#[test]
fn after_a_restart_the_hosts_copy_counts_for_the_room_and_each_ones_own_for_itself() {
    let (mut world, [host, member, _], room) = three(named("r"));
    let tickets = [host, member].map(|index| world.fakes[index].ticket());
    world.restart();
    let member = world.player(2, "198.51.100.1:5000");
    assert!(world.answer(member, back_to(&room, tickets[1])).is_ok());
    let complete = |world: &World, index| {
        news(world, index).into_iter().rev().find_map(|news| match news {
            RoomNews::Keys { complete, .. } => Some(complete),
            _ => None,
        })
    };
    assert_eq!(complete(&world, member), Some(false), "members keep what they know");
    let skin = InRoom::Member(MemberChanges { properties: put("skin", "red"), ..MemberChanges::default() });
    assert!(ask(&mut world, member, skin).is_ok());
    let host = world.player(1, "203.0.113.1:4000");
    assert!(world.answer(host, back_to(&room, tickets[0])).is_ok());
    let show = |part| InRoom::Show {
        part,
        parts: 2,
        properties: [(format!("key{part}"), String::from("kept"))].into(),
        countdown: Some((9, 60_000, CountdownRule::default())),
    };
    assert!(ask(&mut world, host, show(1)).is_ok());
    assert_eq!(complete(&world, member), Some(false));
    assert!(ask(&mut world, host, show(0)).is_ok());
    assert_eq!(complete(&world, member), Some(true));
    for key in ["key0", "key1"] {
        assert_eq!(property(&world, member, key).as_deref(), Some("kept"));
    }
    let said = state(&world, host, world.fakes[member].id()).expect("told");
    assert_eq!(said.properties["skin"], "red");
    // The countdown that they all know can be stopped again.
    assert!(ask(&mut world, host, InRoom::CancelCountdown { id: Some(9) }).is_ok());
    let stopped = |news: &RoomNews| matches!(news, RoomNews::CountdownCancelled { id: 9, .. });
    assert!(news(&world, member).iter().any(stopped));
}
