//! What players write to each other in their room: the lines to be shown, the one that is being typed, and what ties both to the
//! plugin's chat.

use std::collections::VecDeque;
use std::time::Duration;

use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::prelude::*;
use bevy_traversal::text::CHAT;
use bevy_traversal::{
    ChatReceived, ChatRefused, ChatSent, ChatSwitched, ChatTo, MutePlayer, SendChat, TraversalSystems,
};

use crate::session::{Session, sentence};

/// So many lines are kept.
const KEPT: usize = 16;

/// This is a line to be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// This is the writer's client id in renet; none: the game itself says it.
    pub client: Option<u64>,
    /// This is the writer's name; it is empty where the game says it.
    pub name: String,
    /// This is the text, in one line and without what is not to be shown.
    pub text: String,
    /// It came at this time since the start of the program.
    pub at: Duration,
}

/// This is what has been written in the room, and what is being typed.
#[derive(Resource, Clone, Debug, Default)]
pub struct Chat {
    lines: VecDeque<Line>,
    /// So many lines have come.
    pub count: usize,
    /// The player types this; none: keys are for the ship and for pages.
    pub typing: Option<String>,
    /// This was refused: whoever opens the entry finds it there.
    unsent: Option<String>,
}

impl Chat {
    /// Returns the lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> + ExactSizeIterator {
        self.lines.iter()
    }

    /// Adds a line; the newest are kept.
    pub fn add(&mut self, line: Line) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.count += 1;
    }

    /// Opens the entry.
    pub fn open(&mut self) {
        if self.typing.is_none() {
            self.typing = Some(self.unsent.take().unwrap_or_default());
        }
    }

    /// Takes a key that was pressed while the entry is open, and what it pastes. Returns what is to be said.
    pub fn key(&mut self, key: &KeyboardInput, pasted: Option<&str>) -> Option<String> {
        let typing = self.typing.as_mut()?;
        match (&key.logical_key, pasted) {
            (Key::Enter, _) => return self.typing.take().filter(|text| !text.trim().is_empty()),
            (Key::Escape, _) => self.typing = None,
            (Key::Backspace, _) => _ = typing.pop(),
            (_, pasted) => {
                let typed = pasted.or(key.text.as_deref()).unwrap_or_default();
                for c in typed.chars().filter(|c| !c.is_control()) {
                    if typing.chars().count() < CHAT.chars && typing.len() + c.len_utf8() <= CHAT.bytes {
                        typing.push(c);
                    }
                }
            }
        }
        None
    }
}

/// Request: say this in the room. `/mute NAME` and `/unmute NAME` are for this player alone.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct Say(pub String);

/// These are said as soon as somebody is there to read them.
#[derive(Resource, Clone, Debug, Default)]
pub struct Prepared(pub Vec<String>);

/// This plugin ties the chat to that of the traversal plugin.
#[derive(Debug)]
pub struct ChatPlugin;

impl Plugin for ChatPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Chat>()
            .init_resource::<Prepared>()
            .add_message::<Say>()
            .add_systems(PreUpdate, hear.after(TraversalSystems::Receive))
            .add_systems(PostUpdate, (say_prepared, say).chain().before(TraversalSystems::Send));
    }
}

/// Takes what was written, and what became of the own texts.
fn hear(
    (time, session): (Res<Time<Real>>, Res<Session>),
    (mut received, mut sent): (MessageReader<ChatReceived>, MessageReader<ChatSent>),
    (mut refused, mut switched): (MessageReader<ChatRefused>, MessageReader<ChatSwitched>),
    (mut chat, mut room): (ResMut<Chat>, Local<Option<String>>),
) {
    let at = time.elapsed();
    let code = session.room.as_ref().map(|room| room.code.clone());
    if code.is_some() && *room != code {
        // What was said in another room stays there.
        chat.lines.clear();
        *room = code;
    }
    for ChatReceived { from, text, .. } in received.read().filter(|news| news.to == ChatTo::Room) {
        let (client, name) = (Some(from.id.client_id()), from.name.clone());
        chat.add(Line { client, name, text: text.clone(), at });
    }
    for ChatSent { text, all, .. } in sent.read() {
        let own = session.members.iter().find(|member| member.me);
        let name = own.map_or_else(|| String::from("you"), |own| own.name.clone());
        chat.add(Line { client: session.me, name, text: text.clone(), at });
        if !all {
            let text = String::from("Not all have it: the lobby server does not answer.");
            chat.add(Line { text, at, ..Line::default() });
        }
    }
    for ChatRefused { text, why, .. } in refused.read() {
        chat.unsent = Some(text.clone());
        chat.add(Line { text: sentence(&format!("not sent: {why}")), at, ..Line::default() });
    }
    for ChatSwitched { on } in switched.read() {
        let text = if *on { "There is chat again." } else { "The operator has switched the chat off." };
        chat.add(Line { text: text.to_owned(), at, ..Line::default() });
    }
}

fn say_prepared(session: Res<Session>, mut prepared: ResMut<Prepared>, mut say: MessageWriter<Say>) {
    let others = session.members.iter().any(|member| !member.me);
    if session.room.is_some() && others && !prepared.0.is_empty() {
        say.write_batch(prepared.0.drain(..).map(Say));
    }
}

fn say(
    mut says: MessageReader<Say>,
    (time, session): (Res<Time<Real>>, Res<Session>),
    mut chat: ResMut<Chat>,
    (mut send, mut mute): (MessageWriter<SendChat>, MessageWriter<MutePlayer>),
) {
    for Say(text) in says.read() {
        let Some((muted, name)) = asks_to_mute(text) else {
            send.write(SendChat { to: ChatTo::Room, text: text.clone() });
            continue;
        };
        let named = |name: &str| {
            session.members.iter().find(|member| !member.me && member.name.eq_ignore_ascii_case(name))
        };
        let text = match named(name) {
            Some(member) => {
                mute.write(MutePlayer { player: member.id, muted });
                let name = &member.name;
                match muted {
                    true => format!("You do not read {name} any more; /unmute {name} undoes it."),
                    false => format!("You read {name} again."),
                }
            }
            None => format!("Nobody else here is called \"{name}\"."),
        };
        chat.add(Line { text, at: time.elapsed(), ..Line::default() });
    }
}

/// Returns who is to be muted, or no longer; none: the text is for the others.
fn asks_to_mute(text: &str) -> Option<(bool, &str)> {
    let (word, name) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match word {
        "/mute" => Some((true, name.trim())),
        "/unmute" => Some((false, name.trim())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bevy::input::ButtonState;

    use super::*;

    fn press(logical_key: Key, text: Option<&str>) -> KeyboardInput {
        KeyboardInput {
            key_code: KeyCode::KeyA,
            logical_key,
            state: ButtonState::Pressed,
            text: text.map(Into::into),
            repeat: false,
            window: Entity::PLACEHOLDER,
        }
    }

    #[test]
    fn a_text_is_typed_bounded_sent_and_given_up() {
        let mut chat = Chat::default();
        let letter = press(Key::Character("a".into()), Some("a"));
        assert_eq!(chat.key(&letter, None), None, "the entry is closed");
        chat.open();
        for _ in 0..400 {
            chat.key(&letter, None);
        }
        assert_eq!(chat.typing.as_deref().map(str::len), Some(256));
        chat.key(&press(Key::Backspace, None), None);
        assert_eq!(chat.key(&press(Key::Enter, Some("\r")), None).map(|text| text.len()), Some(255));
        assert_eq!(chat.typing, None);
        chat.open();
        chat.key(&letter, Some("pasted\n text"));
        assert_eq!(chat.typing.as_deref(), Some("pasted text"));
        chat.key(&press(Key::Escape, None), None);
        assert_eq!(chat.typing, None);
        chat.open();
        assert_eq!(chat.key(&press(Key::Enter, None), None), None, "nothing is not said");
        chat.unsent = Some(String::from("too fast"));
        chat.open();
        assert_eq!(chat.typing.as_deref(), Some("too fast"), "what was refused is there again");
    }

    #[test]
    fn who_is_muted_is_told_in_words_and_so_is_whom_nobody_knows() {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins)
            .init_resource::<Chat>()
            .insert_resource(crate::screens::sample().0)
            .add_message::<Say>()
            .add_message::<SendChat>()
            .add_message::<MutePlayer>()
            .add_systems(Update, say);
        for text in ["/mute bo", "/unmute Bo", "/mute Zoe", "hello"] {
            app.world_mut().write_message(Say(text.to_owned()));
        }
        app.update();
        let lines: Vec<_> = app.world().resource::<Chat>().lines().map(|line| line.text.clone()).collect();
        let words = [
            "You do not read Bo any more; /unmute Bo undoes it.",
            "You read Bo again.",
            "Nobody else here is called \"Zoe\".",
        ];
        assert_eq!(lines, words);
        let mutes: Vec<_> = app.world_mut().resource_mut::<Messages<MutePlayer>>().drain().collect();
        assert_eq!(mutes.iter().map(|mute| mute.muted).collect::<Vec<_>>(), [true, false]);
        let sent: Vec<_> = app.world_mut().resource_mut::<Messages<SendChat>>().drain().collect();
        assert_eq!(sent, [SendChat { to: ChatTo::Room, text: String::from("hello") }]);
    }

    #[test]
    fn lines_are_bounded_and_muting_is_a_command() {
        let mut chat = Chat::default();
        for number in 0..100 {
            chat.add(Line { text: number.to_string(), ..Line::default() });
        }
        assert_eq!((chat.lines().len(), chat.count), (KEPT, 100));
        assert_eq!(chat.lines().next_back().map(|line| line.text.as_str()), Some("99"));
        assert_eq!(asks_to_mute("/mute Bo"), Some((true, "Bo")));
        assert_eq!(asks_to_mute(" /unmute  Bo "), Some((false, "Bo")));
        assert_eq!(asks_to_mute("/mutes Bo"), None);
        assert_eq!(asks_to_mute("hello"), None);
    }
}
