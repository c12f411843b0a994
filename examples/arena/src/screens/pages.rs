//! What stands on each screen.

use super::form::Form;
use super::hud::CONTROLS;
use super::navigate::TroubleText;
use super::page::{Action, Choice, Field, Item, Page, Tone, button, text};
use super::picture::Picture;
use super::{Parting, Screen};
use crate::network::{Light, OwnNat};
use crate::scene::Scene;
use crate::session::{Goal, Link, Member, Session, target_words};
use crate::settings::Act;
use crate::sim::Phase;

/// So many rooms of a list fit on a screen.
const ROOMS: usize = 4;
/// So many sentences of a story fit on a screen.
const STORY: usize = 5;

/// Returns the page of a screen; `None`: only the match is to be seen.
pub(super) fn page(
    screen: Screen,
    form: &Form,
    session: &Session,
    goal: &Goal,
    scene: &Scene,
    trouble: &TroubleText,
) -> Option<Page> {
    let (width, items) = match screen {
        Screen::Title => (820.0, title(form, session)),
        Screen::Host => (820.0, host(form)),
        Screen::Rooms => (1060.0, rooms(form, session)),
        Screen::Code => (720.0, code(form)),
        Screen::Connecting => (900.0, connecting(session, goal)),
        Screen::Lobby => (940.0, lobby(session, scene)),
        Screen::Game => return None,
        Screen::Paused => (860.0, paused(session)),
        Screen::Settings => (860.0, settings(form)),
        Screen::Over => (1120.0, over(session, scene)),
        Screen::Sure(parting) => (860.0, sure(session, parting)),
        Screen::Trouble => (860.0, sorry(trouble, goal)),
    };
    Some(Page { items, width })
}

fn field(field: Field, label: &'static str, hint: &'static str) -> Item {
    Item::Field(field, label, hint)
}

fn choice(form: &Form, choice: Choice, label: &'static str) -> Item {
    Item::Choice(choice, label, form.shown(choice))
}

fn title(form: &Form, session: &Session) -> Vec<Item> {
    vec![
        Item::Logo,
        Item::Row(vec![
            field(Field::Name, "Your name", "player"),
            field(Field::Server, "Lobby server", "host:port"),
        ]),
        button("Play against 3 bots", Action::QuickPlay),
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

fn host(form: &Form) -> Vec<Item> {
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

fn rooms(form: &Form, session: &Session) -> Vec<Item> {
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

fn code(form: &Form) -> Vec<Item> {
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

fn connecting(session: &Session, goal: &Goal) -> Vec<Item> {
    let heading = match goal {
        Goal::Host(_) => String::from("Opening the room"),
        Goal::Join { target, .. } => format!("Entering {}", target_words(target)),
        Goal::Invited(_) => String::from("Following the invite"),
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

fn lobby(session: &Session, scene: &Scene) -> Vec<Item> {
    let Some(room) = &session.room else { return vec![text(Tone::Faint, "...")] };
    let mut heading = vec![text(Tone::Heading, short(&room.name, 14))];
    let lost = session.lobby_lost();
    if lost.is_none() {
        heading.push(text(Tone::Code, format!("Code {}", room.code)));
        heading.push(match &session.invite {
            Some(invite) => button("Copy invite", Action::Copy(invite.clone())),
            None => button("Copy code", Action::Copy(room.code.clone())),
        });
    }
    let mut items = vec![Item::Row(heading)];
    // Nobody can come in by the code now.
    items.extend(lost.map(|lost| text(Tone::Bad, lost)));
    for member in session.members.iter().take(8) {
        let playing = scene.actors.iter().find(|actor| actor.client == Some(member.client));
        let tone = playing.map_or(Tone::Faint, |actor| Tone::Player(actor.player));
        let mut left = member.name.clone();
        if member.me {
            left.push_str("  (you)");
        }
        let connection = member.connection.as_ref().map(|connection| connection.short());
        let right = match (member.host, connection.clone()) {
            _ if member.ready && !member.host => {
                format!("ready, {}", connection.unwrap_or_default()).trim_end_matches(", ").to_owned()
            }
            (true, Some(connection)) => format!("host, {connection}"),
            (true, None) => String::from("host"),
            (false, Some(connection)) => connection,
            (false, None) if room.hosting && !member.me => String::from("connecting ..."),
            (false, None) => String::new(),
        };
        let kick = (room.hosting && !member.me).then(|| (String::from("Remove"), Action::Kick(member.id)));
        items.push(Item::Line(tone, left, right, kick.into_iter().collect()));
    }
    items.push(Item::Row(lobby_foot(session, scene, room.hosting)));
    items
}

/// Returns what can be done in a room, and what is waited for.
fn lobby_foot(session: &Session, scene: &Scene, hosting: bool) -> Vec<Item> {
    let here = scene.actors.len();
    let guests = session.members.iter().filter(|member| !member.host);
    let ready = guests.clone().filter(|member| member.ready).count();
    let said = match here {
        0 | 1 => String::from("Tell others the code."),
        _ => format!("{ready} of {} ready", guests.count()),
    };
    let audience = match session.audience {
        0 => String::new(),
        1 => String::from(", 1 watches"),
        n => format!(", {n} watch"),
    };
    let words = match session.count {
        Some(count) => format!("It begins in {count}"),
        None => format!("{said}{audience}"),
    };
    let own = session.members.iter().any(|member| member.me && member.ready);
    let mut foot = vec![button("Leave", Action::Leave)];
    if hosting {
        foot.push(Item::Button(String::from("Begin"), Action::Begin, here >= 2 && session.count.is_none()));
    } else if !session.watching {
        foot.push(button(if own { "Not ready" } else { "Ready" }, Action::Ready(!own)));
    }
    let watching = if session.watching { "You watch. " } else { "" };
    foot.push(text(Tone::Faint, format!("{watching}{words}")));
    foot
}

fn paused(session: &Session) -> Vec<Item> {
    let mut heading = vec![text(Tone::Heading, "Menu")];
    let lost = session.lobby_lost();
    if let Some(room) = session.room.as_ref().filter(|_| lost.is_none()) {
        heading.push(text(Tone::Code, format!("Code {}", room.code)));
    }
    let mut items = vec![Item::Row(heading)];
    // Nobody can come in by the code now.
    items.extend(lost.map(|lost| text(Tone::Bad, lost)));
    for member in session.members.iter().filter(|member| !member.me).take(7) {
        if let Some(connection) = &member.connection {
            items.push(text(Tone::Faint, format!("{}: {}", short(&member.name, 14), connection.long())));
        }
    }
    items.extend([
        text(Tone::Faint, CONTROLS),
        button("Back to the match", Action::Back),
        Item::Row(vec![
            button("Settings", Action::Go(Screen::Settings)),
            button("Leave the room", Action::Go(Screen::Sure(Parting::Leave))),
            button("Quit", Action::Go(Screen::Sure(Parting::Quit))),
        ]),
    ]);
    items
}

/// The end of a match: who won, how each was joined with the host, and who wants another one.
fn over(session: &Session, scene: &Scene) -> Vec<Item> {
    let winner = match scene.phase {
        Some(Phase::MatchOver { winner, .. }) => scene.actor(winner),
        _ => None,
    };
    let heading = match winner {
        Some(winner) if scene.local == Some(winner.player) && !scene.teams => {
            String::from("You win the match!")
        }
        Some(winner) if scene.teams => format!("The team of {} wins the match", winner.label(14)),
        Some(winner) => format!("{} wins the match", winner.label(14)),
        None => String::from("The match is over"),
    };
    let mut items = vec![text(Tone::Heading, heading)];
    for actor in &scene.actors {
        let hosts = |member: &Member| member.host && Some(member.client) == actor.client;
        let joined = match actor.joined {
            Some(joined) => joined.in_words(),
            None if session.members.iter().any(hosts) => String::from("host"),
            None => String::new(),
        };
        let ready = if actor.ready { "   again!" } else { "" };
        let left = format!("{}  {}", actor.wins, actor.label(14));
        items.push(Item::Line(Tone::Player(actor.player), left, format!("{joined}{ready}"), Vec::new()));
    }
    let wants = scene.me().is_some_and(|me| me.ready);
    let again = scene.actors.iter().filter(|actor| actor.ready).count();
    let left = scene.seconds_left().unwrap_or_default().ceil();
    let words = format!("{again} of {} want another match ({left:.0} s).", scene.actors.len());
    let vote = button(if wants { "Rather not" } else { "Play again" }, Action::Ready(!wants));
    let mut foot = vec![button("Leave", Action::Leave)];
    foot.extend((!session.watching).then_some(vote));
    foot.push(text(Tone::Faint, words));
    items.push(Item::Row(foot));
    items.extend(session.lobby_lost().map(|lost| text(Tone::Bad, lost)));
    items
}

fn settings(form: &Form) -> Vec<Item> {
    let key = |act: &Act| {
        let name = form.settings.key_name(*act);
        let shown = if form.awaits_key == Some(*act) { "press a key" } else { name };
        button(format!("{}: {shown}", act.word()), Action::SetKey(*act))
    };
    let (walk, other) = Act::ALL.split_at(2);
    let (back, act) = other.split_at(2);
    vec![
        text(Tone::Heading, "Settings"),
        Item::Row(vec![
            choice(form, Choice::Colour, "Your colour, if it is free"),
            choice(form, Choice::FullScreen, "Full screen (F11)"),
        ]),
        Item::Row(vec![choice(form, Choice::Volume, "Sounds"), choice(form, Choice::Music, "Music")]),
        text(Tone::Faint, "Keys; arrows, mouse and Ctrl work too"),
        Item::Row(walk.iter().map(key).collect()),
        Item::Row(back.iter().map(key).collect()),
        Item::Row(act.iter().map(key).collect()),
        Item::Gap,
        button("Back", Action::Back),
    ]
}

/// Asks before a match is left: one key too many must not end it.
fn sure(session: &Session, parting: Parting) -> Vec<Item> {
    let (question, yes, action) = match parting {
        Parting::Leave => ("Leave the room?", "Leave", Action::Leave),
        Parting::Quit => ("Quit the game?", "Quit", Action::Quit),
    };
    let hosting = session.room.as_ref().is_some_and(|room| room.hosting);
    let others = session.members.iter().any(|member| !member.me);
    let then = match (hosting, others) {
        (true, true) => "Another player hosts the match then.",
        (true, false) => "The room closes then.",
        (false, _) => "The match goes on without you.",
    };
    vec![
        text(Tone::Heading, question),
        text(Tone::Plain, then),
        Item::Gap,
        Item::Row(vec![button("Back to the match", Action::Back), button(yes, action)]),
    ]
}

fn sorry(trouble: &TroubleText, goal: &Goal) -> Vec<Item> {
    let mut buttons = vec![button("To the title", Action::Leave)];
    if *goal != Goal::Idle {
        buttons.push(button("Try again", Action::Retry));
    }
    let heading = if trouble.played { "The match is over" } else { "That did not work" };
    let mut items = vec![text(Tone::Heading, heading), text(Tone::Bad, trouble.text.clone())];
    if trouble.password {
        items.push(field(Field::Password, "Password", "none"));
    }
    items.extend([Item::Gap, Item::Row(buttons)]);
    items
}

/// Returns the beginning of a name.
fn short(name: &str, letters: usize) -> String {
    match name.char_indices().nth(letters) {
        Some((end, _)) => format!("{}..", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::page::Control;
    use crate::screens::sample;

    const SCREENS: [Screen; 13] = [
        Screen::Title,
        Screen::Host,
        Screen::Rooms,
        Screen::Code,
        Screen::Connecting,
        Screen::Lobby,
        Screen::Game,
        Screen::Paused,
        Screen::Over,
        Screen::Settings,
        Screen::Sure(Parting::Leave),
        Screen::Sure(Parting::Quit),
        Screen::Trouble,
    ];

    #[test]
    fn every_screen_has_a_way_back_or_out() {
        let (session, scene) = sample::sample();
        for screen in SCREENS.into_iter().filter(|screen| *screen != Screen::Game) {
            let page = page(screen, &Form::default(), &session, &Goal::Idle, &scene, &TroubleText::default())
                .unwrap();
            let out = page.controls().into_iter().any(|control| {
                matches!(control, Control::Button(Action::Back | Action::Leave | Action::Quit))
            });
            assert!(out, "{screen:?}");
        }
    }

    #[test]
    fn a_full_room_cannot_be_entered_and_a_lonely_host_cannot_begin() {
        let (mut session, mut scene) = sample::sample();
        let enterable = |session: &Session| {
            let page = page(
                Screen::Rooms,
                &Form::default(),
                session,
                &Goal::Browse,
                &Scene::default(),
                &TroubleText::default(),
            );
            let controls = page.unwrap().controls();
            controls
                .iter()
                .filter(|c| matches!(c, Control::Button(Action::Enter { watch: false, .. })))
                .count()
        };
        let open = enterable(&session);
        assert!(open > 0);
        for room in session.rooms.as_mut().unwrap() {
            room.members = room.capacity;
        }
        assert_eq!(enterable(&session), 0);
        let begin = Control::Button(Action::Begin);
        let lobby = |session: &Session, scene: &Scene| {
            page(Screen::Lobby, &Form::default(), session, &Goal::Idle, scene, &TroubleText::default())
                .unwrap()
                .controls()
        };
        assert!(lobby(&session, &scene).contains(&begin));
        scene.actors.truncate(1);
        assert!(!lobby(&session, &scene).contains(&begin));
    }

    #[test]
    fn the_story_of_a_connection_is_told_to_the_end() {
        let mut session = Session::default();
        for i in 0..30 {
            session.tell(format!("Step {i}"));
        }
        let page = page(
            Screen::Connecting,
            &Form::default(),
            &session,
            &Goal::Browse,
            &Scene::default(),
            &TroubleText::default(),
        );
        let items = page.unwrap().items;
        assert!(items.contains(&text(Tone::Plain, "Step 29")));
        assert!(!items.contains(&text(Tone::Faint, "Step 3")));
    }
}
