//! What players write to each other, on the app's side: requests, outcomes, and whom this player does not want to read.

use std::collections::BTreeSet;

use bevy_app::App;
use bevy_ecs::message::{Message, MessageReader, MessageWriter};
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Res, ResMut, SystemParam};
use traversal_core::id::PlayerId;
use traversal_core::wire::message::{ChatTo, PlayerInfo};
use traversal_core::{ChatWay, Command, Event, RequestFailure, RequestKind};

use crate::link::TraversalLink;
use crate::messages::outcomes::RequestFailed;

/// Request: write this to all in the room, in the party, or to a contact. It is answered by [`ChatSent`] or [`ChatRefused`]. Where all who are to
/// read it are connected it goes over the connections, else through the lobby server. Five texts go at once, then one a
/// second.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use bevy_traversal::{ChatReceived, ChatRefused, ChatTo, SendChat};
///
/// fn greet(mut send: MessageWriter<SendChat>) {
///     send.write(SendChat { to: ChatTo::Room, text: "hello".into() });
/// }
///
/// fn read(mut texts: MessageReader<ChatReceived>, mut refused: MessageReader<ChatRefused>) {
///     for ChatReceived { from, text, .. } in texts.read() {
///         println!("{}: {text}", from.name);
///     }
///     for ChatRefused { text, why, .. } in refused.read() {
///         println!("\"{text}\" was not sent: {why}");
///     }
/// }
/// ```
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct SendChat {
    /// This says whom it is for.
    pub to: ChatTo,
    /// This is the text: 1 to 256 characters, at most 448 bytes, after the rule [`text::CHAT`](crate::text::CHAT).
    pub text: String,
}

/// Request: do not show what this player writes any more, or do again. Who is muted does not hear of it. It counts until the
/// game ends; all who are muted are in [`MutedPlayers`].
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutePlayer {
    /// This player is not to be read.
    pub player: PlayerId,
    /// It is muted from now on; else not any more.
    pub muted: bool,
}

/// Request: tell the operator of the lobby server of a player. It is answered by [`PlayerReported`] or
/// [`RequestFailed`](crate::RequestFailed) with [`RequestKind::Report`]. Five go at once, then one a minute.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ReportPlayer {
    /// This player is reported.
    pub player: PlayerId,
    /// This is what this player says about it, with the text in question if it likes: at most 400 characters and 800 bytes.
    pub text: String,
}

/// Outcome: a text of this player was handed on. A game shows it now, so that it stands where the others see it.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ChatSent {
    /// This says whom it was for.
    pub to: ChatTo,
    /// This is the text as the others read it.
    pub text: String,
    /// It went by this way.
    pub by: ChatWay,
    /// All have it, or had it sent by the server; else the server is not reached and some in the room have not taken it.
    pub all: bool,
}

/// Outcome: a text of this player was not handed on.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ChatRefused {
    /// This says whom it was for.
    pub to: ChatTo,
    /// This is the text as the game gave it.
    pub text: String,
    /// This says why, in words for a player; what the server or the agent refuses is a [`ChatFault`](crate::ChatFault) in
    /// [`RequestError::Chat`](crate::RequestError::Chat).
    pub why: RequestFailure,
}

/// Outcome: somebody has written something. Each text comes once, by whichever way; nothing comes of who is muted.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct ChatReceived {
    /// This is the writer.
    pub from: PlayerInfo,
    /// The writer's number of the text. It counts up as long as the writer's game runs, so that texts that have overtaken each
    /// other can be put in order.
    pub number: u64,
    /// It was for all in the room or in the party; or for this player alone, whose id stands there.
    pub to: ChatTo,
    /// This is the text, in one line and without what is not to be shown.
    pub text: String,
    /// It came by this way.
    pub by: ChatWay,
}

/// Outcome: the operator of the lobby server has switched chat off, or on again.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatSwitched {
    /// There is chat.
    pub on: bool,
}

/// Outcome: the operator can read what this player said of another one.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayerReported {
    /// This player was reported.
    pub player: PlayerId,
}

/// Resource: what these players write is not shown. It changes by [`MutePlayer`], and is empty at the start of the game: who wants
/// to keep it writes it to a file, and sends the messages again.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct MutedPlayers(pub(crate) BTreeSet<PlayerId>);

impl MutedPlayers {
    /// Returns whether this player is muted.
    pub fn contains(&self, player: PlayerId) -> bool {
        self.0.contains(&player)
    }

    /// Gives all who are muted, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = PlayerId> + '_ {
        self.0.iter().copied()
    }
}

/// Registers messages and resource.
pub(crate) fn add(app: &mut App) {
    app.init_resource::<MutedPlayers>()
        .add_message::<SendChat>()
        .add_message::<MutePlayer>()
        .add_message::<ReportPlayer>()
        .add_message::<ChatSent>()
        .add_message::<ChatRefused>()
        .add_message::<ChatReceived>()
        .add_message::<ChatSwitched>()
        .add_message::<PlayerReported>();
}

/// This reads what the game wants of chat.
#[derive(SystemParam)]
pub(crate) struct ChatRequests<'w, 's> {
    muted: ResMut<'w, MutedPlayers>,
    mute: MessageReader<'w, 's, MutePlayer>,
    send: MessageReader<'w, 's, SendChat>,
    report: MessageReader<'w, 's, ReportPlayer>,
    refused: MessageWriter<'w, ChatRefused>,
}

impl ChatRequests<'_, '_> {
    /// Hands over what is new.
    pub(crate) fn hand_over(&mut self, link: &mut TraversalLink, failed: &mut MessageWriter<RequestFailed>) {
        for MutePlayer { player, muted } in self.mute.read() {
            if *muted {
                self.muted.0.insert(*player)
            } else {
                self.muted.0.remove(player)
            };
        }
        for SendChat { to, text } in self.send.read().cloned() {
            if !link.command(Command::Say { to, text: text.clone() }) {
                self.refused.write(ChatRefused { to, text, why: RequestFailure::NotLoggedIn });
            }
        }
        for ReportPlayer { player, text } in self.report.read().cloned() {
            if !link.command(Command::Report { player, text }) {
                let (request, error) = (RequestKind::Report, RequestFailure::NotLoggedIn);
                failed.write(RequestFailed { request, error });
            }
        }
    }
}

/// This writes what is heard of chat.
#[derive(SystemParam)]
pub(crate) struct ChatSide<'w> {
    muted: Res<'w, MutedPlayers>,
    sent: MessageWriter<'w, ChatSent>,
    refused: MessageWriter<'w, ChatRefused>,
    received: MessageWriter<'w, ChatReceived>,
    switched: MessageWriter<'w, ChatSwitched>,
    reported: MessageWriter<'w, PlayerReported>,
}

impl ChatSide<'_> {
    /// Takes an event, or gives back one that is of something else.
    pub(crate) fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::ChatSent { to, text, by, all, .. } => _ = self.sent.write(ChatSent { to, text, by, all }),
            Event::ChatRefused { to, text, why } => _ = self.refused.write(ChatRefused { to, text, why }),
            Event::ChatReceived { from, .. } if self.muted.contains(from.id) => {}
            Event::ChatReceived { from, number, to, text, by } => {
                self.received.write(ChatReceived { from, number, to, text, by });
            }
            Event::ChatSwitched { on } => _ = self.switched.write(ChatSwitched { on }),
            Event::Reported { player } => _ = self.reported.write(PlayerReported { player }),
            event => return Some(event),
        }
        None
    }
}
