//! The pages of those who are in a room: before a match, in its menu, after it.

use super::super::hud::CONTROLS;
use super::super::page::{Action, Item, Tone, button, text};
use super::super::{Parting, Screen};
use super::short;
use crate::chat::{Chat, Line};
use crate::scene::{Scene, label};
use crate::session::{Member, Session};
use crate::sim::Phase;

/// So many lines of the chat are shown.
const LINES: usize = 2;

pub(super) fn lobby(session: &Session, scene: &Scene, chat: &Chat) -> Vec<Item> {
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
    let mut lines = Vec::new();
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
        lines.push(Item::Line(tone, left, right, kick.into_iter().collect()));
    }
    items.push(Item::Column(lines));
    items.push(written(chat, scene));
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

/// Returns the latest that was written, and what is being typed.
fn written(chat: &Chat, scene: &Scene) -> Item {
    let line = |line: &Line| {
        let actor = scene.actors.iter().find(|actor| line.client.is_some() && actor.client == line.client);
        let tone = actor.map_or(Tone::Faint, |actor| Tone::Player(actor.player));
        (tone, label(&line.name, 14), line.text.clone())
    };
    let skip = chat.lines().len().saturating_sub(LINES);
    Item::Chat(chat.lines().skip(skip).map(line).collect(), chat.typing.clone())
}

pub(super) fn paused(session: &Session) -> Vec<Item> {
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
pub(super) fn over(session: &Session, scene: &Scene, chat: &Chat) -> Vec<Item> {
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
    let mut lines = Vec::new();
    for actor in &scene.actors {
        let hosts = |member: &Member| member.host && Some(member.client) == actor.client;
        let joined = match actor.joined {
            Some(joined) => joined.in_words(),
            None if session.members.iter().any(hosts) => String::from("host"),
            None => String::new(),
        };
        let ready = if actor.ready { "   again!" } else { "" };
        let left = format!("{}  {}", actor.wins, actor.label(14));
        lines.push(Item::Line(Tone::Player(actor.player), left, format!("{joined}{ready}"), Vec::new()));
    }
    let mut items = vec![text(Tone::Heading, heading), Item::Column(lines), written(chat, scene)];
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

/// Asks before a match is left: one key too many must not end it.
pub(super) fn sure(session: &Session, parting: Parting) -> Vec<Item> {
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
