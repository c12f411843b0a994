//! What the registry promises, whichever it is.

use std::time::{Duration, Instant};

use super::*;

fn record(game: &str, name: &str, code: &str, room: u64) -> RoomRecord {
    RoomRecord {
        location: RoomLocation { node: 1, room: RoomId(room) },
        epoch: 0,
        game: game.into(),
        public: true,
        shown: Shown {
            summary: RoomSummary {
                name: name.into(),
                code: code.into(),
                host_name: "h".into(),
                members: 1,
                capacity: 8,
                ..RoomSummary::default()
            },
            ..Shown::default()
        },
    }
}

/// This is a registry whose time a test makes pass.
pub(crate) trait Rig {
    fn handle(&mut self, node: u64, operation: RegistryOperation) -> RegistryReply;
    fn beat(&mut self, site: NodeSite);
    fn notes(&mut self, node: u64) -> Vec<RegistryNote>;
    fn pass(&mut self, time: Duration);
}

struct InMemory {
    now: Instant,
    registry: MemoryRegistry,
}

impl Rig for InMemory {
    fn handle(&mut self, node: u64, operation: RegistryOperation) -> RegistryReply {
        self.registry.handle(self.now, node, operation)
    }

    fn beat(&mut self, site: NodeSite) {
        self.registry.beat(self.now, site);
    }

    fn notes(&mut self, node: u64) -> Vec<RegistryNote> {
        self.registry.notes(node)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// A promise of every registry.
pub(crate) type Promise = fn(&mut dyn Rig);

/// These are all promises, with their names.
pub(crate) const PROMISES: [(&str, Promise); 10] = [
    ("names_are_unique_per_game_whatever_their_case", names_are_unique_per_game_whatever_their_case),
    ("names_that_look_the_same_are_one_room", names_that_look_the_same_are_one_room),
    ("a_release_of_somebody_elses_room_does_nothing", a_release_of_somebody_elses_room_does_nothing),
    (
        "other_nodes_are_told_of_all_public_rooms_and_of_each_change",
        other_nodes_are_told_of_all_public_rooms_and_of_each_change,
    ),
    ("very_many_rooms_are_told_in_parts", very_many_rooms_are_told_in_parts),
    (
        "a_room_is_found_from_another_node_while_its_own_is_there",
        a_room_is_found_from_another_node_while_its_own_is_there,
    ),
    (
        "a_room_of_a_node_that_is_gone_goes_to_those_who_were_in_it",
        a_room_of_a_node_that_is_gone_goes_to_those_who_were_in_it,
    ),
    ("names_of_a_node_that_is_gone_are_free_in_the_end", names_of_a_node_that_is_gone_are_free_in_the_end),
    (
        "a_node_hears_of_the_others_and_of_players_who_went_there",
        a_node_hears_of_the_others_and_of_players_who_went_there,
    ),
    ("what_is_posted_comes_to_the_nodes_of_the_players", what_is_posted_comes_to_the_nodes_of_the_players),
];

#[test]
fn the_registry_in_memory_keeps_its_promises() {
    for (name, promise) in PROMISES {
        eprintln!("{name}");
        promise(&mut InMemory { now: Instant::now(), registry: MemoryRegistry::new() });
    }
}

/// Returns where a room of the asking node is.
fn own(room: u64) -> RoomSite {
    RoomSite { location: RoomLocation { node: 1, room: RoomId(room) }, addresses: Vec::new() }
}

fn node(node: u64) -> NodeSite {
    let addresses = vec![SocketAddr::from(([198, 51, 100, node as u8], 3478))];
    NodeSite { node, addresses, players: 3, draining: false }
}

/// Returns where a room of this node is, for the others.
fn site_of(its_node: u64, room: u64) -> RoomSite {
    let location = RoomLocation { node: its_node, room: RoomId(room) };
    RoomSite { location, addresses: node(its_node).addresses }
}

fn of_node(its_node: u64, record: RoomRecord) -> RoomRecord {
    RoomRecord { location: RoomLocation { node: its_node, ..record.location }, ..record }
}

fn find_code(registry: &mut dyn Rig, asker: u64, code: &str) -> RegistryReply {
    let target = RoomTarget::Code(code.into());
    registry.handle(asker, RegistryOperation::Find { game: "g".into(), target })
}

/// Returns what is new for this node of the public rooms of others, since then.
fn changes(registry: &mut dyn Rig, asker: u64, since: ChangeMark) -> Changes {
    let changes = RegistryOperation::Changes { game: "g".into(), since };
    let RegistryReply::Changes(changes) = registry.handle(asker, changes) else { panic!("changes") };
    changes
}

fn names(changes: &Changes) -> Vec<&str> {
    let mut names: Vec<&str> = changes.rooms.iter().map(|(_, shown)| shown.summary.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn listed(registry: &mut dyn Rig, asker: u64) -> Vec<String> {
    names(&changes(registry, asker, ChangeMark::default())).into_iter().map(String::from).collect()
}

fn others(registry: &mut dyn Rig, asker: u64) -> Vec<u64> {
    let mut others = Vec::new();
    for note in registry.notes(asker) {
        if let RegistryNote::Nodes(nodes) = note {
            others = nodes.into_iter().map(|site| site.node).collect();
        }
    }
    others
}

fn names_are_unique_per_game_whatever_their_case(registry: &mut dyn Rig) {
    assert_eq!(
        registry.handle(1, RegistryOperation::Claim(record("g", "Room", "AAAAAA", 1))),
        RegistryReply::Claimed
    );
    let taken = registry.handle(1, RegistryOperation::Claim(record("g", "rOOM ", "BBBBBB", 2)));
    assert_eq!(taken, RegistryReply::NameTaken(RoomLocation { node: 1, room: RoomId(1) }));
    let code = registry.handle(1, RegistryOperation::Claim(record("g", "other", "aaaaaa", 3)));
    assert_eq!(code, RegistryReply::CodeTaken);
    let elsewhere = registry.handle(1, RegistryOperation::Claim(record("h", "room", "AAAAAA", 4)));
    assert_eq!(elsewhere, RegistryReply::Claimed);
    let find = |registry: &mut dyn Rig, target| {
        registry.handle(1, RegistryOperation::Find { game: "g".into(), target })
    };
    let by_code = find(registry, RoomTarget::Code(" aaa-aaa ".into()));
    assert_eq!(by_code, RegistryReply::Found(Some(own(1))));
    registry.handle(
        1,
        RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 1, room: RoomId(1) },
            name: "Room".into(),
        },
    );
    assert_eq!(find(registry, RoomTarget::Name("room".into())), RegistryReply::Found(None));
    assert_eq!(find(registry, RoomTarget::Code("AAAAAA".into())), RegistryReply::Found(None));
}

fn names_that_look_the_same_are_one_room(registry: &mut dyn Rig) {
    let mut claim = |name: &str, room: u64| {
        registry.handle(1, RegistryOperation::Claim(record("g", name, &format!("CODE{room:02}"), room)))
    };
    assert_eq!(claim("Café", 1), RegistryReply::Claimed);
    assert_eq!(claim("paypal 10", 2), RegistryReply::Claimed);
    let taken = |room| RegistryReply::NameTaken(RoomLocation { node: 1, room: RoomId(room) });
    // Another normal form, full-width letters, a space of another width, Cyrillic letters, l and O for 1 and 0.
    for (name, room) in [
        ("Cafe\u{301}", 1),
        ("ｃａｆé", 1),
        ("paypal\u{a0}\u{2003}10", 2),
        ("\u{440}\u{430}\u{443}pal 10", 2),
        ("paypal lO", 2),
    ] {
        assert_eq!(claim(name, 9), taken(room), "{name}");
    }
    assert_eq!(claim("paypal 11", 3), RegistryReply::Claimed);
    let find = RegistryOperation::Find { game: "g".into(), target: RoomTarget::Name("CAFE\u{301}".into()) };
    let found = RegistryReply::Found(Some(own(1)));
    assert_eq!(registry.handle(1, find), found);
    let location = RoomLocation { node: 1, room: RoomId(1) };
    registry.handle(1, RegistryOperation::Release { game: "g".into(), location, name: "Café".into() });
    let again = registry.handle(1, RegistryOperation::Claim(record("g", "Cafe\u{301}", "CODE09", 9)));
    assert_eq!(again, RegistryReply::Claimed);
}

fn a_release_of_somebody_elses_room_does_nothing(registry: &mut dyn Rig) {
    registry.handle(1, RegistryOperation::Claim(record("g", "r", "AAAAAA", 1)));
    registry.handle(
        1,
        RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 1, room: RoomId(2) },
            name: "r".into(),
        },
    );
    let again = registry.handle(1, RegistryOperation::Claim(record("g", "r", "BBBBBB", 3)));
    assert!(matches!(again, RegistryReply::NameTaken(_)));
}

fn other_nodes_are_told_of_all_public_rooms_and_of_each_change(registry: &mut dyn Rig) {
    let claim = |registry: &mut dyn Rig, room| registry.handle(1, RegistryOperation::Claim(room));
    for (index, name) in ["d", "B", "a", "c"].iter().enumerate() {
        let mut room = record("g", name, &format!("CODE{index:02}"), index as u64);
        room.public = *name != "c";
        assert_eq!(claim(registry, room), RegistryReply::Claimed);
    }
    claim(registry, record("f", "a", "CODE00", 9));
    claim(registry, record("h", "a", "CODE00", 8));
    let first = changes(registry, 2, ChangeMark::default());
    assert_eq!((names(&first), first.anew, first.more), (vec!["B", "a", "d"], true, false));
    assert!(first.rooms.iter().all(|(node, _)| *node == 1) && first.gone.is_empty());
    assert_eq!(names(&changes(registry, 1, ChangeMark::default())), [""; 0], "its own it knows");
    let none = changes(registry, 2, first.mark);
    assert_eq!((names(&none), none.gone.len(), none.anew), (vec![], 0, false), "nothing is new");

    // One room fills, one is said again as it is, one goes, one is not public any more.
    let mut fuller = record("g", "B", "CODE01", 1);
    fuller.shown.summary.members = 5;
    registry.handle(1, RegistryOperation::Update(fuller));
    registry.handle(1, RegistryOperation::Update(record("g", "d", "CODE00", 0)));
    registry.handle(
        1,
        RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 1, room: RoomId(2) },
            name: "a".into(),
        },
    );
    let second = changes(registry, 2, none.mark);
    assert_eq!((names(&second), &second.gone[..], second.anew), (vec!["B"], &["a".to_owned()][..], false));
    assert_eq!(second.rooms[0].1.summary.members, 5);
    let mut hidden = record("g", "d", "CODE00", 0);
    hidden.public = false;
    registry.handle(1, RegistryOperation::Update(hidden));
    claim(registry, record("g", "a", "CODE07", 7));
    let third = changes(registry, 2, second.mark);
    assert_eq!((names(&third), &third.gone[..]), (vec!["a"], &["d".to_owned()][..]));

    // Who has not asked for long is told all.
    registry.pass(GONE + Duration::from_secs(1));
    claim(registry, record("g", "new", "CODE08", 10));
    registry.handle(
        1,
        RegistryOperation::Release {
            game: "g".into(),
            location: RoomLocation { node: 1, room: RoomId(10) },
            name: "new".into(),
        },
    );
    let late = changes(registry, 2, second.mark);
    assert_eq!((names(&late), late.anew), (vec!["B", "a"], true));
}

fn very_many_rooms_are_told_in_parts(registry: &mut dyn Rig) {
    let count = CHANGES * 2 + 10;
    for index in 0..count {
        let room = record("g", &format!("room {index}"), &format!("CODE{index}"), index as u64);
        assert_eq!(registry.handle(1, RegistryOperation::Claim(room)), RegistryReply::Claimed);
    }
    let (mut mark, mut all, mut parts) = (ChangeMark::default(), std::collections::BTreeSet::new(), 0);
    loop {
        let part = changes(registry, 2, mark);
        assert_eq!(part.anew, parts == 0);
        all.extend(names(&part).into_iter().map(String::from));
        (mark, parts) = (part.mark, parts + 1);
        if !part.more {
            break;
        }
    }
    assert!(all.len() == count && (3..=4).contains(&parts), "{} in {parts}", all.len());
    let nothing = changes(registry, 2, mark);
    assert!(nothing.rooms.is_empty() && !nothing.anew);
}

fn a_room_is_found_from_another_node_while_its_own_is_there(registry: &mut dyn Rig) {
    registry.beat(node(1));
    registry.beat(node(2));
    let claim = RegistryOperation::Claim(of_node(2, record("g", "there", "AAAAAA", 7)));
    assert_eq!(registry.handle(2, claim), RegistryReply::Claimed);
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Found(Some(site_of(2, 7))));
    assert_eq!(listed(registry, 1), ["there"]);
    let taken = registry.handle(1, RegistryOperation::Claim(record("g", "there", "BBBBBB", 8)));
    assert_eq!(taken, RegistryReply::NameTaken(RoomLocation { node: 2, room: RoomId(7) }));
    let same = registry.handle(1, RegistryOperation::Claim(record("g", "there", "AAAAAA", 7)));
    assert_eq!(same, RegistryReply::Held(site_of(2, 7)));

    // Silent for a while: nobody is sent there, and nobody takes it.
    registry.pass(Duration::from_secs(3));
    registry.beat(node(1));
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Moving);
    assert!(others(registry, 1).is_empty(), "its rooms are in no list: those of nodes that are there are");
    let same = registry.handle(1, RegistryOperation::Claim(record("g", "there", "AAAAAA", 7)));
    assert_eq!(same, RegistryReply::Moving);

    // It was only slow.
    registry.beat(node(2));
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Found(Some(site_of(2, 7))));
}

fn a_room_of_a_node_that_is_gone_goes_to_those_who_were_in_it(registry: &mut dyn Rig) {
    registry.beat(node(1));
    registry.beat(node(2));
    for (name, code, room, epoch) in [("first", "AAAAAA", 7, 3), ("second", "BBBBBB", 8, 3)] {
        let claim = RoomRecord { epoch, ..of_node(2, record("g", name, code, room)) };
        assert_eq!(registry.handle(2, RegistryOperation::Claim(claim)), RegistryReply::Claimed);
    }
    registry.pass(LEASE + Duration::from_millis(500));
    registry.beat(node(1));
    assert_eq!(others(registry, 1), [0; 0]);
    // Strangers get neither name nor code.
    let stranger = registry.handle(1, RegistryOperation::Claim(record("g", "first", "CCCCCC", 9)));
    assert_eq!(stranger, RegistryReply::NameTaken(RoomLocation { node: 2, room: RoomId(7) }));
    let stranger = registry.handle(1, RegistryOperation::Claim(record("g", "new", "AAAAAA", 9)));
    assert_eq!(stranger, RegistryReply::CodeTaken);
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Moving);
    // A host who was replaced does not get it, one of the last members does.
    let of_epoch = |epoch| RoomRecord { epoch, ..record("g", "first", "AAAAAA", 7) };
    let old = registry.handle(1, RegistryOperation::Claim(of_epoch(2)));
    assert_eq!(old, RegistryReply::Stale { epoch: 3 });
    assert_eq!(registry.handle(1, RegistryOperation::Claim(of_epoch(3))), RegistryReply::Claimed);
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Found(Some(own(7))));

    // The node was cut off, and is back: its room is elsewhere by now, the other one is still its own.
    registry.beat(node(2));
    registry.notes(2);
    for (name, code, room) in [("first", "AAAAAA", 7), ("second", "BBBBBB", 8)] {
        let update = RoomRecord { epoch: 3, ..of_node(2, record("g", name, code, room)) };
        assert_eq!(registry.handle(2, RegistryOperation::Update(update)), RegistryReply::Done);
    }
    let lost = RegistryNote::RoomLost { room: RoomId(7), site: Some(site_of(1, 7)) };
    assert_eq!(registry.notes(2), [lost]);
    let release = RegistryOperation::Release {
        game: "g".into(),
        location: RoomLocation { node: 2, room: RoomId(7) },
        name: "first".into(),
    };
    registry.handle(2, release);
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Found(Some(own(7))));
}

fn names_of_a_node_that_is_gone_are_free_in_the_end(registry: &mut dyn Rig) {
    registry.beat(node(2));
    let claim = RegistryOperation::Claim(of_node(2, record("g", "room", "AAAAAA", 7)));
    assert_eq!(registry.handle(2, claim), RegistryReply::Claimed);
    registry.pass(LEASE + RESERVED + Duration::from_secs(1));
    registry.beat(node(1));
    assert_eq!(find_code(registry, 1, "AAAAAA"), RegistryReply::Found(None));
    let claim = RegistryOperation::Claim(record("g", "room", "AAAAAA", 8));
    assert_eq!(registry.handle(1, claim), RegistryReply::Claimed);
}

fn a_node_hears_of_the_others_and_of_players_who_went_there(registry: &mut dyn Rig) {
    registry.beat(node(1));
    registry.beat(NodeSite { draining: true, ..node(2) });
    registry.beat(node(1));
    let nodes = RegistryNote::Nodes(vec![NodeSite { draining: true, ..node(2) }]);
    assert_eq!(registry.notes(1), [nodes]);
    let player = PlayerId([7; 16]);
    registry.handle(1, RegistryOperation::Arrive(player));
    registry.handle(1, RegistryOperation::Arrive(player));
    assert_eq!(registry.notes(1), []);
    registry.handle(2, RegistryOperation::Arrive(player));
    assert_eq!(registry.notes(1), [RegistryNote::PlayerElsewhere(player)]);
    assert_eq!(registry.handle(1, RegistryOperation::Locate(player)), RegistryReply::At(Some(2)));
    assert_eq!(registry.handle(1, RegistryOperation::Locate(PlayerId([8; 16]))), RegistryReply::At(None));
    // The former node's word comes late.
    registry.handle(1, RegistryOperation::Depart(player));
    registry.handle(1, RegistryOperation::Arrive(player));
    assert!(registry.notes(2).contains(&RegistryNote::PlayerElsewhere(player)));
    registry.handle(1, RegistryOperation::Depart(player));
    registry.handle(2, RegistryOperation::Arrive(player));
    assert_eq!(registry.notes(1), []);
}

fn what_is_posted_comes_to_the_nodes_of_the_players(registry: &mut dyn Rig) {
    let player = |n| PlayerId([n; 16]);
    for n in [1, 2, 3] {
        registry.beat(node(n));
        registry.notes(n);
        registry.handle(n, RegistryOperation::Arrive(player(n as u8)));
    }
    registry.handle(2, RegistryOperation::Arrive(player(4)));
    let post = |to: &[u8], body: &str| RegistryOperation::Post {
        to: to.iter().map(|n| player(*n)).collect(),
        body: body.into(),
    };
    // One word for each node with all its players; none to the own one, and none about a player that is nowhere.
    assert_eq!(registry.handle(1, post(&[1, 2, 3, 4, 9], "hello {}\n\u{e9}")), RegistryReply::Done);
    assert_eq!(registry.handle(1, post(&[2], "again")), RegistryReply::Done);
    let posted = |registry: &mut dyn Rig, n| -> Vec<RegistryNote> {
        let notes = registry.notes(n).into_iter();
        notes.filter(|note| matches!(note, RegistryNote::Post { .. })).collect()
    };
    let from_one = |to: &[u8], body: &str| RegistryNote::Post {
        from: 1,
        to: to.iter().map(|n| player(*n)).collect(),
        body: body.into(),
    };
    assert_eq!(posted(registry, 1), []);
    assert_eq!(posted(registry, 2), [from_one(&[2, 4], "hello {}\n\u{e9}"), from_one(&[2], "again")]);
    assert_eq!(posted(registry, 2), [], "each comes once");
    assert_eq!(posted(registry, 3), [from_one(&[3], "hello {}\n\u{e9}")]);
    // Where it moved, and where nobody hears any more.
    registry.handle(3, RegistryOperation::Arrive(player(2)));
    registry.handle(1, post(&[2], "moved"));
    assert_eq!((posted(registry, 2).len(), posted(registry, 3)), (0, vec![from_one(&[2], "moved")]));
    registry.pass(LEASE + Duration::from_millis(500));
    registry.beat(node(1));
    assert_eq!(registry.handle(1, post(&[3], "nobody")), RegistryReply::Done);
    registry.beat(node(3));
    assert_eq!(posted(registry, 3), []);
}
