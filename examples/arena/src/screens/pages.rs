//! What stands on each screen.

mod room;
#[cfg(test)]
mod tests;
mod ways_in;

use super::Screen;
use super::form::Form;
use super::navigate::TroubleText;
use super::page::{Action, Choice, Field, Item, Page, Tone, button, text};
use crate::chat::Chat;
use crate::scene::Scene;
use crate::session::{Goal, Session};
use crate::settings::Act;

/// Returns the page of a screen; `None`: only the match is to be seen.
pub(super) fn page(
    screen: Screen,
    form: &Form,
    session: &Session,
    goal: &Goal,
    scene: &Scene,
    trouble: &TroubleText,
    chat: &Chat,
) -> Option<Page> {
    let (width, items) = match screen {
        Screen::Title => (820.0, ways_in::title(form, session)),
        Screen::Host => (820.0, ways_in::host(form)),
        Screen::Rooms => (1060.0, ways_in::rooms(form, session)),
        Screen::Code => (720.0, ways_in::code(form)),
        Screen::Quick => (720.0, ways_in::quick(form)),
        Screen::Connecting => (900.0, ways_in::connecting(session, goal)),
        Screen::Lobby => (940.0, room::lobby(session, scene, chat)),
        Screen::Game => return None,
        Screen::Paused => (860.0, room::paused(session)),
        Screen::Settings => (860.0, settings(form)),
        Screen::Over => (1120.0, room::over(session, scene, chat)),
        Screen::Sure(parting) => (860.0, room::sure(session, parting)),
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
