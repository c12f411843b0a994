//! What players write to each other: lines of the standard input, or flags, and what comes of them.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Mutex, PoisonError};

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use bevy_traversal::{
    ChatReceived, ChatRefused, ChatSent, ChatSwitched, ChatTo, Contacts, CurrentParty, CurrentRoom,
    LobbyLink, MutePlayer, PlayerId, PlayerReported, ReportPlayer, SendChat,
};
use clap::Args;
use headless::Output;
use serde_json::{Value, json};

/// These events are printed with --json.
pub(crate) const EVENTS: &str = "Chat: lines of --say and of the standard input with --chat:
  TEXT             is for all in the room
  @ID TEXT         is for the contact with this id
  /party TEXT      is for all in the party
  /mute ID         has nothing shown of this player; /unmute ID shows it again
  /report ID TEXT  tells the operator of the lobby server

Events of --json about chat:
  chat           somebody wrote: from, player, number, to (\"room\", \"party\" or \"you\"), text, by (\"server\" or \"connection\")
  chat_sent      this player's text was handed on: to (\"room\", \"party\" or an id), text, by, all
  chat_refused   it was not: to, text, why
  chat_switched  the operator has switched chat: on
  reported       the operator can read the report: player";

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ChatArgs {
    /// Write this as soon as those who are to read it can be written to; may be given several times
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) say: Vec<String>,
    /// Write each line of the standard input
    #[arg(long)]
    pub(crate) chat: bool,
}

/// This is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Say(ChatTo, String),
    Mute(PlayerId, bool),
    Report(PlayerId, String),
}

impl Line {
    fn read(line: &str) -> Result<Self, String> {
        let id = |text: &str| text.parse::<PlayerId>().map_err(|error| format!("{error}: {text}"));
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/mute" => Ok(Self::Mute(id(rest)?, true)),
            "/unmute" => Ok(Self::Mute(id(rest)?, false)),
            "/party" => Ok(Self::Say(ChatTo::Party, rest.into())),
            "/report" => {
                let (player, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok(Self::Report(id(player)?, text.into()))
            }
            _ => match word.strip_prefix('@') {
                Some(player) => Ok(Self::Say(ChatTo::Player(id(player)?), rest.into())),
                None => Ok(Self::Say(ChatTo::Room, line.into())),
            },
        }
    }
}

/// This has the lines that are to be written.
#[derive(Resource)]
pub(crate) struct Lines {
    /// These wait until those are there who are to read them.
    waiting: Vec<String>,
    typed: Option<Mutex<Receiver<String>>>,
}

impl Lines {
    /// Takes what the flags say, and begins to read the standard input if they want that.
    pub(crate) fn of(args: &ChatArgs) -> Self {
        let typed = args.chat.then(|| {
            let (sender, receiver) = channel();
            std::thread::spawn(move || {
                let lines = std::io::stdin().lock().lines().map_while(Result::ok);
                for line in lines {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
            Mutex::new(receiver)
        });
        Self { waiting: args.say.clone(), typed }
    }

    fn typed(&mut self) -> Option<String> {
        let typed = self.typed.as_mut()?.get_mut().unwrap_or_else(PoisonError::into_inner);
        match typed.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.typed = None;
                None
            }
        }
    }
}

/// These requests are written.
#[derive(SystemParam)]
pub(crate) struct Writers<'w> {
    send: MessageWriter<'w, SendChat>,
    mute: MessageWriter<'w, MutePlayer>,
    report: MessageWriter<'w, ReportPlayer>,
}

/// Writes what is to be written.
pub(crate) fn say(
    mut lines: ResMut<Lines>,
    (room, contacts, link): (Res<CurrentRoom>, Res<Contacts>, Res<LobbyLink>),
    party: Res<CurrentParty>,
    output: Res<Output>,
    mut out: Writers,
) {
    let can_be_read = |line: &Line| match line {
        Line::Say(ChatTo::Player(player), _) => contacts.presence(*player).is_some(),
        Line::Say(ChatTo::Party, _) => party.0.as_ref().is_some_and(|party| party.members.len() > 1),
        Line::Say(..) => room.info.is_some(),
        Line::Mute(..) => true,
        Line::Report(..) => link.online(),
    };
    let mut ready = Vec::new();
    lines.waiting.retain(|text| {
        let line = Line::read(text);
        let waits = line.as_ref().is_ok_and(|line| !can_be_read(line));
        if !waits {
            ready.push(line);
        }
        waits
    });
    while let Some(text) = lines.typed() {
        ready.push(Line::read(&text));
    }
    for line in ready {
        match line {
            Ok(Line::Say(to, text)) => _ = out.send.write(SendChat { to, text }),
            Ok(Line::Mute(player, muted)) => _ = out.mute.write(MutePlayer { player, muted }),
            Ok(Line::Report(player, text)) => _ = out.report.write(ReportPlayer { player, text }),
            Err(text) => output.event("failed_line", json!({"text": text})),
        }
    }
}

/// These outcomes are read.
#[derive(SystemParam)]
pub(crate) struct Readers<'w, 's> {
    received: MessageReader<'w, 's, ChatReceived>,
    sent: MessageReader<'w, 's, ChatSent>,
    refused: MessageReader<'w, 's, ChatRefused>,
    switched: MessageReader<'w, 's, ChatSwitched>,
    reported: MessageReader<'w, 's, PlayerReported>,
}

/// Returns whom a text is for, as it is printed.
fn name(to: ChatTo) -> Value {
    match to {
        ChatTo::Player(player) => json!(player.to_string()),
        ChatTo::Party => json!("party"),
        _ => json!("room"),
    }
}

/// Prints what is written, and what became of what this player wrote.
pub(crate) fn print(output: Res<Output>, mut read: Readers) {
    for ChatReceived { from, number, to, text, by } in read.received.read() {
        let to = match to {
            ChatTo::Room => "room",
            ChatTo::Party => "party",
            _ => "you",
        };
        output.event(
            "chat",
            json!({"from": from.name, "player": from.id.to_string(), "number": number, "to": to, "text": text,
                   "by": by.name()}),
        );
    }
    for ChatSent { to, text, by, all } in read.sent.read() {
        output.event("chat_sent", json!({"to": name(*to), "text": text, "by": by.name(), "all": all}));
    }
    for ChatRefused { to, text, why } in read.refused.read() {
        output.event("chat_refused", json!({"to": name(*to), "text": text, "why": why.to_string()}));
    }
    for ChatSwitched { on } in read.switched.read() {
        output.event("chat_switched", json!({"on": on}));
    }
    for PlayerReported { player } in read.reported.read() {
        output.event("reported", json!({"player": player.to_string()}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_help_says() {
        let id = PlayerId([0x11; 16]);
        assert_eq!(Line::read("hello there"), Ok(Line::Say(ChatTo::Room, "hello there".into())));
        assert_eq!(Line::read(&format!("@{id} hi you")), Ok(Line::Say(ChatTo::Player(id), "hi you".into())));
        assert_eq!(Line::read(&format!("/mute {id}")), Ok(Line::Mute(id, true)));
        assert_eq!(Line::read(&format!("/unmute {id}")), Ok(Line::Mute(id, false)));
        assert_eq!(
            Line::read(&format!("/report {id} rude words")),
            Ok(Line::Report(id, "rude words".into()))
        );
        assert_eq!(Line::read("/party to me"), Ok(Line::Say(ChatTo::Party, "to me".into())));
        assert!(Line::read("@nobody hi").is_err() && Line::read("/mute").is_err());
    }
}
