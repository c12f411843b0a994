use super::*;

fn id(n: u8) -> PlayerId {
    PlayerId([n; 16])
}

fn members(ids: &[u8]) -> Vec<PlayerInfo> {
    ids.iter().map(|n| PlayerInfo { id: id(*n), name: n.to_string() }).collect()
}

fn team(wish: TeamWish) -> MemberChanges {
    MemberChanges { team: Some(wish), ..MemberChanges::default() }
}

fn ready(ready: bool) -> MemberChanges {
    MemberChanges { ready: Some(ready), ..MemberChanges::default() }
}

fn put(key: &str, value: &str) -> Changes {
    [(String::from(key), Some(String::from(value)))].into()
}

#[test]
fn a_full_team_is_refused_and_the_server_balances() {
    let mut shared = Shared::new(true, Instant::now());
    let teams = [1, 2];
    assert_eq!(shared.set_member(id(1), &team(TeamWish::Any), &teams), Ok(()));
    assert_eq!(shared.states[&id(1)].team, Some(1), "it has two places");
    assert_eq!(shared.set_member(id(2), &team(TeamWish::Any), &teams), Ok(()));
    assert_eq!(shared.states[&id(2)].team, Some(0), "both have one left, the first is taken");
    let full = shared.set_member(id(3), &team(TeamWish::Team(0)), &teams);
    assert_eq!(full, Err(RequestError::TeamFull { size: 1 }));
    assert_eq!(shared.set_member(id(2), &team(TeamWish::Team(0)), &teams), Ok(()), "it is in it");
    assert_eq!(shared.set_member(id(3), &team(TeamWish::Any), &teams), Ok(()));
    assert_eq!(
        shared.set_member(id(4), &team(TeamWish::Any), &teams),
        Err(RequestError::TeamFull { size: 3 })
    );
    assert_eq!(
        shared.set_member(id(4), &team(TeamWish::Team(2)), &teams),
        Err(RequestError::NoSuchTeam { teams: 2 })
    );
    // The later one of the second team has no place any more.
    shared.teams_are(&[1, 1], &members(&[1, 2, 3, 4]));
    assert_eq!([1, 2, 3].map(|n| shared.states[&id(n)].team), [Some(1), Some(0), None]);
    assert_eq!(shared.set_member(id(1), &team(TeamWish::Leave), &[1, 1]), Ok(()));
    shared.members_are(&members(&[1, 3]));
    assert_eq!(shared.set_member(id(3), &team(TeamWish::Team(0)), &[1, 1]), Ok(()), "who had it is gone");
}

#[test]
fn what_changes_often_is_told_once_and_as_it_is_by_then() {
    let mut shared = Shared::new(true, Instant::now());
    for n in 0..1000 {
        shared.set_properties(id(1), &put("round", &n.to_string())).unwrap();
        shared.set_member(id(2), &ready(n % 2 == 0), &[]).unwrap();
    }
    let news = shared.take_news(id(1));
    assert_eq!(news.len(), 2);
    let told = |news: &RoomNews| matches!(news, RoomNews::Property { value: Some(value), by, .. } if value == "999" && *by == id(1));
    assert!(news.iter().any(told), "{news:?}");
    assert!(!shared.has_news());
    // What changes nothing is no news.
    shared.set_properties(id(1), &put("round", "999")).unwrap();
    shared.set_properties(id(1), &[(String::from("none"), None)].into()).unwrap();
    assert!(!shared.has_news());
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut shared = Shared::new(true, Instant::now());
    let both =
        MemberChanges { ready: Some(true), team: Some(TeamWish::Team(3)), properties: put("skin", "red") };
    assert!(shared.set_member(id(1), &both, &[2]).is_err());
    assert_eq!((shared.states.get(&id(1)), shared.has_news()), (None, false));
    assert!(shared.set_properties(id(1), &put("k", &"x".repeat(513))).is_err());
    assert!(!shared.has_news());
}

#[test]
fn after_a_restart_what_the_host_shows_counts_and_what_was_written_since() {
    let mut shared = Shared::new(false, Instant::now());
    let keys =
        |news: &[RoomNews]| news.iter().any(|news| matches!(news, RoomNews::Keys { complete: true, .. }));
    assert!(!keys(&shared.all_news(id(1), Instant::now(), 0)));
    shared.set_properties(id(1), &put("b", "new")).unwrap();
    let part = |key: &str| Metadata::from([(String::from(key), String::from("old"))]);
    assert_eq!(shared.show(id(1), (1, 2), part("a")), Ok(false));
    assert!(shared.show(id(1), (2, 2), part("c")).is_err());
    assert_eq!(shared.show(id(1), (0, 2), part("b")), Ok(true));
    assert!(keys(&shared.take_news(id(1))));
    let all: Vec<(String, String)> = shared.properties().into_iter().collect();
    assert_eq!(all, [("a", "old"), ("b", "new")].map(|(key, value)| (key.into(), value.into())));
    assert_eq!(shared.show(id(1), (0, 1), part("d")), Ok(false), "it is known");
    assert_eq!(shared.properties().len(), 2);
}

#[test]
fn a_countdown_ends_by_the_rule_that_the_host_chose_but_not_in_its_last_moment() {
    let now = Instant::now();
    let three = members(&[1, 2, 3]);
    let begin = |rule: CountdownRule| {
        let mut shared = Shared::new(true, now);
        three.iter().for_each(|member| shared.set_member(member.id, &ready(true), &[]).unwrap());
        assert_eq!(shared.waiting(&three), 0);
        shared.begin_countdown(7, (now + Duration::from_secs(5), 5_000), rule, Some(&three));
        shared
    };
    let strict = CountdownRule::default();
    let mut shared = begin(strict);
    assert_eq!(shared.countdown_ends(&three), None);
    assert_eq!(shared.countdown_ends(&members(&[1, 2])), Some(CountdownEnd::Left(id(3))));
    assert_eq!(shared.countdown_ends(&members(&[1, 2, 3, 4])), Some(CountdownEnd::Joined(id(4))));
    shared.set_member(id(2), &ready(false), &[]).unwrap();
    assert_eq!(shared.countdown_ends(&three), Some(CountdownEnd::NotReady(id(2))));
    assert_eq!(shared.waiting(&three), 1);

    let loose = begin(CountdownRule { unready: true, leave: false, join: false });
    assert_eq!(loose.countdown_ends(&members(&[1, 2])), None);
    assert_eq!(loose.countdown_ends(&members(&[1, 2, 3, 4])), None, "who came later need not be ready");

    let late = now + Duration::from_secs(5) - FINAL;
    assert_eq!(shared.stop_countdown(late), None);
    assert!(shared.countdown(late, 4_500).is_some());
    assert_eq!(shared.stop_countdown(late - Duration::from_millis(1)), Some(7));
    assert_eq!(shared.countdown(late, 4_500), None);
}

/// A host that removes and makes properties all the time makes others wait for no more than what there is.
#[test]
fn properties_that_come_and_go_are_no_growing_line() {
    for complete in [true, false] {
        let mut shared = Shared::new(complete, Instant::now());
        let mut refused = 0;
        for n in 0..1000 {
            let mut changes: Changes = shared.properties().into_keys().map(|key| (key, None)).collect();
            changes.extend((0..60).map(|key| (format!("{n}-{key}"), Some(String::new()))));
            match shared.set_properties(id(1), &changes) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, RequestError::Limited { retry_after_s: 2 });
                    refused += 1;
                }
            }
            assert!(shared.untold.len() <= 2 * 60 + MAX_REMOVED + 1, "{}", shared.untold.len());
        }
        assert_eq!(refused > 0, !complete, "{refused}");
        if complete {
            let told: Vec<RoomNews> = std::iter::repeat_with(|| shared.take_news(id(1)))
                .take_while(|news| !news.is_empty())
                .flatten()
                .collect();
            assert_eq!(told.len(), 61, "what is there, and which these are");
            let keys = |news: &&RoomNews| matches!(news, RoomNews::Keys { keys, complete: true, .. } if keys.len() == 60);
            assert_eq!(told.iter().filter(keys).count(), 1);
        }
    }
}
