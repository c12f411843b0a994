//! What presence costs at the most, counted at the wire.

use super::*;
use crate::registry::{RegistryDown, RegistryOperation, RegistryReply};

/// Whom these tests have as contacts.
const CONTACTS: u16 = 1_000;

/// One server with a player and its contacts, who are on line and allow it.
struct Crowd {
    nodes: Nodes,
    one: Player,
    contacts: Vec<Player>,
}

pub(super) fn identity(n: u16) -> Identity {
    let mut secret = [1; 32];
    // The lowest three bits of the first byte are none of a key's.
    secret[4..6].copy_from_slice(&n.to_le_bytes());
    Identity::from_secret(secret)
}

impl Crowd {
    fn new(count: u16) -> Self {
        let mut nodes = Nodes::new(1);
        let one = Player { node: 0, index: nodes.worlds[0].add(9, "203.0.113.9:4000") };
        let id = nodes.id(one);
        let mut contacts = Vec::new();
        for n in 0..count {
            let world = &mut nodes.worlds[0];
            let [high, low] = n.to_be_bytes();
            let index = world.add(1, &format!("198.18.{}.{low}:4000", 100 + high));
            world.fakes[index].identity = identity(n);
            world.fakes[index].login.name = format!("player {n}");
            world.log_in(index);
            let contact = Player { node: 0, index };
            let part = ContactsRequest::Part { first: true, last: true, allow: vec![id] };
            assert!(world.answer(index, Request::Contacts(part)).is_ok());
            contacts.push(contact);
        }
        nodes.worlds[0].log_in(one.index);
        Self { nodes, one, contacts }
    }

    fn messages(&self, of: impl Fn(&Fake) -> usize) -> usize {
        self.contacts.iter().map(|contact| of(self.nodes.fake(*contact))).sum()
    }
}

fn pushes(fake: &Fake) -> usize {
    fake.told.iter().filter(|told| matches!(told, ToPlayer::Contacts(_))).count()
}

#[test]
fn a_login_with_a_thousand_contacts_costs_one_message_to_each_and_some_forty_to_the_player() {
    let mut crowd = Crowd::new(CONTACTS);
    let ids: Vec<PlayerId> = crowd.contacts.iter().map(|contact| crowd.nodes.id(*contact)).collect();
    let before = crowd.nodes.worlds[0].server.counters();
    let parts: Vec<&[PlayerId]> = ids.chunks(60).collect();
    for (n, part) in parts.iter().enumerate() {
        let (first, last, allow) = (n == 0, n + 1 == parts.len(), part.to_vec());
        crowd.nodes.ask(crowd.one, Request::Contacts(ContactsRequest::Part { first, last, allow }));
    }
    let after = crowd.nodes.worlds[0].server.counters();
    let at_once = crowd.nodes.seen(crowd.one).len();
    let begun = crowd.nodes.worlds[0].now;
    while crowd.nodes.seen(crowd.one).len() < ids.len() {
        crowd.nodes.pass(Duration::from_millis(200));
        assert!(crowd.nodes.worlds[0].now - begun < Duration::from_secs(10));
    }
    let took = crowd.nodes.worlds[0].now - begun;
    let (own, others) = (pushes(crowd.nodes.fake(crowd.one)), crowd.messages(pushes));
    println!(
        "{} contacts in {} requests: {others} messages to contacts, {own} to the player (of {at_once} contacts at once, of all \
         in {took:?}); {} datagrams and {} bytes left the server at \
         once",
        ids.len(),
        parts.len(),
        after.datagrams_out - before.datagrams_out,
        after.bytes_out - before.bytes_out,
    );
    assert_eq!(others, ids.len());
    assert!(own <= 60, "{own}");
    assert!(after.bytes_out - before.bytes_out < 300_000);
}

#[test]
fn who_changes_without_end_is_told_of_now_and_then_and_in_the_end_as_it_is() {
    let mut crowd = Crowd::new(60);
    let list: Vec<Player> = crowd.contacts.clone();
    crowd.nodes.list(crowd.one, &list);
    crowd.nodes.pass(Duration::from_secs(5));
    let before = crowd.messages(pushes);
    let text = |n: u32| Status { text: n.to_string(), ..Status::default() };
    let mut changes = 0;
    // For 30 s as fast as requests are let through.
    for n in 0..600 {
        let changed = crowd.nodes.try_ask(crowd.one, Request::Contacts(ContactsRequest::Status(text(n))));
        changes += u32::from(changed.is_ok());
        crowd.nodes.pass(Duration::from_millis(50));
    }
    let told = crowd.messages(pushes) - before;
    let each = told / crowd.contacts.len();
    println!("{changes} changes in 30 s: each of {} contacts was told {each} times", crowd.contacts.len());
    assert!((30..=200).contains(&each), "{each}");
    let last = crowd.nodes.worlds[0].now;
    crowd.nodes.pass(Duration::from_secs(5));
    crowd.nodes.ask(crowd.one, Request::Contacts(ContactsRequest::Status(text(9_999))));
    crowd.nodes.pass(Duration::from_secs(3));
    assert!(crowd.nodes.worlds[0].now > last);
    for contact in &crowd.contacts {
        assert_eq!(crowd.nodes.sees(*contact, crowd.one).unwrap().text, "9999");
    }
}

#[test]
fn a_player_whose_contacts_all_change_at_once_is_told_in_few_messages() {
    let mut crowd = Crowd::new(300);
    let list: Vec<PlayerId> = crowd.contacts.iter().map(|contact| crowd.nodes.id(*contact)).collect();
    for (n, part) in list.chunks(60).enumerate() {
        let part = ContactsRequest::Part { first: n == 0, last: n == 4, allow: part.to_vec() };
        crowd.nodes.ask(crowd.one, Request::Contacts(part));
    }
    crowd.nodes.pass(Duration::from_secs(10));
    let before = pushes(crowd.nodes.fake(crowd.one));
    for contact in crowd.contacts.clone() {
        let away = Status { away: true, ..Status::default() };
        assert!(
            crowd.nodes.worlds[0]
                .answer(contact.index, Request::Contacts(ContactsRequest::Status(away)))
                .is_ok()
        );
    }
    crowd.nodes.pass(Duration::from_secs(10));
    let told = pushes(crowd.nodes.fake(crowd.one)) - before;
    println!("300 contacts change in one moment: {told} messages");
    assert!(crowd.nodes.seen(crowd.one).values().all(|presence| presence.away));
    assert!(told <= 40, "{told}");
}

#[test]
fn ten_thousand_contacts_are_too_many_and_lists_without_end_are_slowed_down() {
    let mut nodes = Nodes::new(1);
    let a = nodes.players(1)[0];
    let stranger = |n: u32| {
        let mut id = [7; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        PlayerId(id)
    };
    let mut refused = None;
    for part in 0..167u32 {
        let allow: Vec<PlayerId> = (part * 60..(part + 1) * 60).map(stranger).collect();
        let request = ContactsRequest::Part { first: part == 0, last: part == 166, allow };
        if let Err(error) = nodes.try_ask(a, Request::Contacts(request)) {
            refused = Some((part, error));
            break;
        }
        nodes.pass(Duration::from_millis(100));
    }
    assert_eq!(refused, Some((16, RequestError::TooManyContacts { limit: 1000 })));
    // Sixty others each time: 60 of them cost 3,600 of what 40,000 are free of.
    let mut limited = 0;
    for list in 0..1_000u32 {
        let allow: Vec<PlayerId> = (list * 60..(list + 1) * 60).map(stranger).collect();
        let request = ContactsRequest::Part { first: true, last: true, allow };
        let answer = nodes.try_ask(a, Request::Contacts(request));
        limited += usize::from(matches!(answer, Err(RequestError::Limited { .. })));
        nodes.pass(Duration::from_millis(20));
    }
    println!("{limited} of 1,000 lists in 20 s were over the rate");
    assert!(limited > 300, "{limited}");
}

/// Returns how many words for other nodes leave in each turn of this time; the registry answers each as `reply` does.
fn words_in_turns(
    world: &mut World,
    time: Duration,
    reply: impl Fn() -> Result<RegistryReply, RegistryDown>,
) -> Vec<usize> {
    let (end, mut turns) = (world.now + time, Vec::new());
    while world.now < end {
        world.now += Duration::from_millis(10);
        world.server.handle_timeout(world.now);
        let mut words = Vec::new();
        while let Some(command) = world.server.poll_registry() {
            words.extend(matches!(command.operation, RegistryOperation::Post { .. }).then_some(command.id));
        }
        turns.push(words.len());
        for id in words {
            world.server.handle_registry_reply(world.now, id, reply());
        }
    }
    turns
}

#[test]
fn contacts_are_told_anew_some_words_at_a_time_however_many_a_player_has() {
    let mut nodes = Nodes::new(2);
    let stranger = |n: u16| {
        let [high, low] = n.to_be_bytes();
        PlayerId([7, high, low, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
    };
    let all: Vec<PlayerId> = (0..CONTACTS).map(stranger).collect();
    for n in 1..=20 {
        let player = nodes.player(n, 0);
        for (part, allow) in all.chunks(60).enumerate() {
            let (first, last) = (part == 0, part == 16);
            nodes
                .ask(player, Request::Contacts(ContactsRequest::Part { first, last, allow: allow.to_vec() }));
        }
    }
    let world = &mut nodes.worlds[0];
    world.registry = None;
    // Each of the twenty needs 17 words. Of a turn's 64 the last player may need 16 more.
    let bounded = |turns: &[usize]| turns.iter().all(|words| *words <= 80);
    let second = Duration::from_secs(1);
    world.server.handle_registry_note(world.now, RegistryNote::Resumed);
    let turns = words_in_turns(world, second, || Err(RegistryDown));
    assert_eq!(turns.iter().sum::<usize>(), 20 * 17);
    assert!(bounded(&turns), "{turns:?}");
    // The registry took nothing of it: all is told once more, at the same pace.
    let turns = words_in_turns(world, 2 * second, || Ok(RegistryReply::Done));
    assert_eq!(turns.iter().sum::<usize>(), 20 * 17);
    assert!(bounded(&turns), "{turns:?}");
    assert_eq!(words_in_turns(world, 3 * second, || Ok(RegistryReply::Done)).iter().sum::<usize>(), 0);
}
