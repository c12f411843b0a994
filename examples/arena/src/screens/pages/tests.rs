//! Pages as plain data.

use bevy_traversal::QueueStatus;

use super::*;
use crate::chat::Line;
use crate::network::Light;
use crate::screens::Parting;
use crate::screens::page::Control;
use crate::screens::sample;
use crate::session::{Link, QuickPlan};
use crate::sim::Rules;

const SCREENS: [Screen; 14] = [
    Screen::Title,
    Screen::Host,
    Screen::Rooms,
    Screen::Code,
    Screen::Quick,
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
        let page = page(
            screen,
            &Form::default(),
            &session,
            &Goal::Idle,
            &scene,
            &TroubleText::default(),
            &Chat::default(),
        )
        .unwrap();
        let out = page
            .controls()
            .into_iter()
            .any(|control| matches!(control, Control::Button(Action::Back | Action::Leave | Action::Quit)));
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
            &Chat::default(),
        );
        let controls = page.unwrap().controls();
        controls.iter().filter(|c| matches!(c, Control::Button(Action::Enter { watch: false, .. }))).count()
    };
    let open = enterable(&session);
    assert!(open > 0);
    for room in session.rooms.as_mut().unwrap() {
        room.members = room.capacity;
    }
    assert_eq!(enterable(&session), 0);
    let begin = Control::Button(Action::Begin);
    let lobby = |session: &Session, scene: &Scene| {
        page(
            Screen::Lobby,
            &Form::default(),
            session,
            &Goal::Idle,
            scene,
            &TroubleText::default(),
            &Chat::default(),
        )
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
        &Chat::default(),
    );
    let items = page.unwrap().items;
    assert!(items.contains(&text(Tone::Plain, "Step 29")));
    assert!(!items.contains(&text(Tone::Faint, "Step 3")));
}

#[test]
fn who_waits_for_a_quick_match_reads_with_whom_and_how_long() {
    let (mut session, scene) = sample::sample();
    session.room = None;
    session.members.clear();
    session.queue = Some(QueueStatus { position: 2, waiting: 2, players: 4, estimate_s: Some(12) });
    let goal = Goal::Quick(QuickPlan { players: 4, rules: Rules::default() });
    let items = |session: &Session| {
        let (form, trouble) = (Form::default(), TroubleText::default());
        page(Screen::Connecting, &form, session, &goal, &scene, &trouble, &Chat::default()).unwrap().items
    };
    let shown = items(&session);
    assert!(shown.contains(&text(Tone::Plain, "2 of 4 players are here.")), "{shown:?}");
    assert!(shown.contains(&text(Tone::Faint, "Half of those before you waited no longer than 12 s.")));
    let Some(Item::Row(lamps)) = shown.get(1) else { panic!("lamps: {shown:?}") };
    let lit = |lamp: &&Item| matches!(lamp, Item::Light(Light::Green, _));
    assert_eq!((lamps.len(), lamps.iter().filter(lit).count()), (4, 2));
    session.link = Link::Retrying { reason: String::from("No answer.") };
    let said = |item: &Item| matches!(item, Item::Text(Tone::Bad, text) if text.starts_with("No answer."));
    assert!(items(&session).iter().any(said));
    // The room is there: from now on it is about the way to the host.
    session.queue = None;
    assert!(!items(&session).iter().any(|item| matches!(item, Item::Light(..))));
}

#[test]
fn a_room_shows_the_latest_lines_with_their_writers_colours() {
    let (session, scene) = sample::sample();
    let mut chat = Chat::default();
    for (client, text) in [(1, "one"), (1, "two"), (9, "three")] {
        let (client, name, text) = (Some(client), String::from("Bo"), String::from(text));
        chat.add(Line { client, name, text, ..Line::default() });
    }
    chat.open();
    let (form, trouble) = (Form::default(), TroubleText::default());
    for screen in [Screen::Lobby, Screen::Over] {
        let items = page(screen, &form, &session, &Goal::Idle, &scene, &trouble, &chat).unwrap().items;
        let chats = items.iter().find_map(|item| match item {
            Item::Chat(lines, typing) => Some((lines.clone(), typing.clone())),
            _ => None,
        });
        let (lines, typing) = chats.expect("the chat is on the page");
        let line = |tone, text: &str| (tone, String::from("Bo"), String::from(text));
        assert_eq!(lines, [line(Tone::Player(1), "two"), line(Tone::Faint, "three")]);
        assert_eq!(typing.as_deref(), Some(""));
    }
}
