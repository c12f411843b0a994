//! The title, and the pages that lead into a room.

use bevy_traversal::QueueStatus;

use super::super::Screen;
use super::super::form::Form;
use super::super::page::{Action, Choice, Field, Item, Tone, button, text};
use super::super::picture::Picture;
use super::{choice, field, short};
use crate::network::{Light, OwnNat};
use crate::session::{Goal, Link, Session, estimate_words, queue_words, target_words};

/// So many rooms of a list fit on a screen.
const ROOMS: usize = 4;
/// So many sentences of a story fit on a screen.
const STORY: usize = 5;

pub(super) fn title(form: &Form, session: &Session) -> Vec<Item> {
    vec![
        Item::Logo,
        Item::Row(vec![
            field(Field::Name, "Your name", "player"),
            field(Field::Server, "Lobby server", "host:port"),
        ]),
        Item::Row(vec![
            button("Play against 3 bots", Action::QuickPlay),
            button("Quick match", Action::Go(Screen::Quick)),
        ]),
        Item::Row(vec![
            button("Host a room", Action::Go(Screen::Host)),
            button("Rooms", Action::Browse),
            button("Enter a code", Action::Go(Screen::Code)),
        ]),
        Item::Row(vec![button("Settings", Action::Go(Screen::Settings)), button("Quit", Action::Quit)]),
        own_network(session),
        text(Tone::Faint, form.note.clone()),
    ]
}

/// Returns the own NAT, or what is between this player and the server that measures it.
fn own_network(session: &Session) -> Item {
    let (light, words) = match (&session.link, &session.nat) {
        (Link::Online { .. }, Some(OwnNat { light, words })) => (*light, words.clone()),
        (Link::Online { .. }, None) => (Light::Grey, String::from("Measuring your network ...")),
        (Link::Connecting, _) => (Light::Grey, String::from("Looking for the lobby server ...")),
        (Link::Retrying { reason } | Link::Refused { reason }, _) => (Light::Red, reason.clone()),
        (Link::Offline, _) => (Light::Grey, String::from("Not logged in to a lobby server.")),
    };
    Item::Light(light, words)
}

pub(super) fn host(form: &Form) -> Vec<Item> {
    vec![
        text(Tone::Heading, "Host a room"),
        Item::Row(vec![
            field(Field::Room, "Name of the room", "any"),
            field(Field::Password, "Password", "none"),
        ]),
        Item::Row(vec![choice(form, Choice::Capacity, "Players"), choice(form, Choice::Bots, "Bots")]),
        Item::Row(vec![
            choice(form, Choice::Points, "Points to win"),
            choice(form, Choice::Listed, "In the list"),
        ]),
        Item::Row(vec![choice(form, Choice::Map, "Map"), choice(form, Choice::Mode, "Mode")]),
        Item::Gap,
        Item::Row(vec![button("Back", Action::Back), button("Open the room", Action::OpenRoom)]),
    ]
}

pub(super) fn rooms(form: &Form, session: &Session) -> Vec<Item> {
    let mut items = vec![
        text(Tone::Heading, "Rooms"),
        Item::Row(vec![
            field(Field::Search, "Search", "any name"),
            choice(form, Choice::Order, "Order"),
            choice(form, Choice::Full, "Full ones"),
        ]),
    ];
    match &session.rooms {
        None => items.push(text(Tone::Faint, "Asking the lobby server ...")),
        Some(rooms) if rooms.is_empty() => {
            items.push(text(Tone::Faint, "No such room is open just now. Host one!"));
        }
        Some(rooms) => {
            for room in rooms.iter().take(ROOMS) {
                let rtt = room.rtt.map(|rtt| format!("{rtt} ms"));
                let lock = room.locked.then(|| String::from("locked"));
                let words = [lock, room.way.map(String::from), rtt];
                let words: Vec<_> = words.into_iter().flatten().collect();
                let words = if words.is_empty() { String::new() } else { format!(", {}", words.join(", ")) };
                let right = format!("{} of {}{words}", room.members, room.capacity);
                let enter = |watch| Action::Enter { code: room.code.clone(), locked: room.locked, watch };
                let left = format!("{}  by {}", short(&room.name, 20), short(&room.host, 12));
                let watch = room.watchable.then(|| (String::from("Watch"), enter(true)));
                let play = (room.members < room.capacity).then(|| (String::from("Enter"), enter(false)));
                items.push(Item::Line(Tone::Plain, left, right, watch.into_iter().chain(play).collect()));
            }
            if rooms.len() > ROOMS {
                let more = format!("... and {} more; enter those by their code.", rooms.len() - ROOMS);
                items.push(text(Tone::Faint, more));
            }
            if rooms.iter().any(|room| room.locked) {
                items.push(field(Field::Password, "Password for locked rooms", "none"));
            }
        }
    }
    items.push(Item::Gap);
    items.push(Item::Row(vec![
        button("Back", Action::Back),
        button("Enter a code", Action::Go(Screen::Code)),
        button("Host a room", Action::Go(Screen::Host)),
    ]));
    items
}

pub(super) fn code(form: &Form) -> Vec<Item> {
    let ready = !form.code.trim().is_empty();
    vec![
        text(Tone::Heading, "Enter a code"),
        text(
            Tone::Faint,
            "All in the room see its code, and can copy an invite for you: paste it with Ctrl+V.",
        ),
        Item::Row(vec![
            field(Field::Code, "Code or invite", "K7QF2M"),
            field(Field::Password, "Password", "none"),
        ]),
        Item::Gap,
        Item::Row(vec![
            button("Back", Action::Back),
            Item::Button(String::from("Enter"), Action::EnterCode, ready),
        ]),
    ]
}

pub(super) fn quick(form: &Form) -> Vec<Item> {
    vec![
        text(Tone::Heading, "Quick match"),
        text(Tone::Faint, "With whoever wants a match of as many players, each for himself."),
        choice(form, Choice::Together, "Players"),
        Item::Gap,
        Item::Row(vec![button("Back", Action::Back), button("Find players", Action::FindPlayers)]),
    ]
}

pub(super) fn connecting(session: &Session, goal: &Goal) -> Vec<Item> {
    if let (Goal::Quick(_), None, Some(queue)) = (goal, &session.room, &session.queue) {
        return waiting(session, goal, queue);
    }
    let heading = match goal {
        Goal::Host(_) => String::from("Opening the room"),
        Goal::Join { target, .. } => format!("Entering {}", target_words(target)),
        Goal::Invited(_) => String::from("Following the invite"),
        Goal::Quick(_) => String::from("Quick match"),
        Goal::Browse | Goal::Idle => String::from("Looking for rooms"),
    };
    let mut items = vec![text(Tone::Heading, heading)];
    items.extend(Picture::of(session, goal).map(Item::Picture));
    let skip = session.story.len().saturating_sub(STORY);
    let story = session.story.iter().skip(skip);
    let last = session.story.len().saturating_sub(skip + 1);
    items.extend(story.enumerate().map(|(i, sentence)| {
        let tone = if i == last { Tone::Plain } else { Tone::Faint };
        text(tone, sentence.clone())
    }));
    items.push(Item::Gap);
    items.push(Item::Row(vec![button("Cancel", Action::Leave), button("Quit", Action::Quit)]));
    items
}

/// The player waits for a quick match: a lamp for each who is to come, lit for those who are here.
fn waiting(session: &Session, goal: &Goal, queue: &QueueStatus) -> Vec<Item> {
    let lamp = |number: u32| {
        let here = number < queue.waiting;
        Item::Light(if here { Light::Green } else { Light::Grey }, String::new())
    };
    let mut items = vec![
        text(Tone::Heading, "Quick match"),
        Item::Row((0..u32::from(queue.players)).map(lamp).collect()),
        text(Tone::Plain, queue_words(queue)),
        text(Tone::Faint, estimate_words(queue)),
    ];
    items.extend(Picture::of(session, goal).map(Item::Picture));
    if let Link::Retrying { reason } = &session.link {
        items.push(text(Tone::Bad, format!("{reason} You wait on when it answers.")));
    }
    items.extend([Item::Gap, Item::Row(vec![button("Cancel", Action::Leave), button("Quit", Action::Quit)])]);
    items
}
