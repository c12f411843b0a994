//! Login, rooms and the queue: what the plugin says of them, printed, and what is asked next.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    Announcement, CurrentRoom, HostHere, HostMigrated, HostRoom, JoinInvite, JoinRequested, JoinRoom,
    LobbyChanged, LobbyFailed, LobbyLink, LobbyState, Members, QuickMatch, RefusePeer, RequestError,
    RequestFailed, RequestFailure, RequestKind, RoomJoined, RoomLeft, RoomTarget, TraversalError,
    WrongPasswords,
};
use headless::Output;
use serde_json::json;

use crate::seats::SeatFlags;
use crate::session::{Goal, Session};

/// The room is asked for again so long after the server could not serve it for the moment.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Follows the lobby: the plugin logs in by itself, and the room is asked for once it is online.
pub(crate) fn lobby(
    mut session: ResMut<Session>,
    output: Res<Output>,
    link: Res<LobbyLink>,
    mut changed: MessageReader<LobbyChanged>,
    mut failed: MessageReader<LobbyFailed>,
    (mut host, mut quick, seats): (MessageWriter<HostRoom>, MessageWriter<QuickMatch>, Res<SeatFlags>),
    mut here: MessageWriter<HostHere>,
    (mut join, mut invited): (MessageWriter<JoinRoom>, MessageWriter<JoinInvite>),
) {
    for LobbyChanged(state) in changed.read() {
        if let LobbyState::Online { player, public, .. } = state {
            let local: Vec<String> = link.local.iter().map(ToString::to_string).collect();
            output.event(
                "logged_in",
                json!({"player": player.to_string(), "public": public.to_string(), "local": local}),
            );
        }
    }
    for LobbyFailed { error, retry_in, .. } in failed.read() {
        let text = error.to_string();
        match retry_in {
            Some(retry_in) => {
                let retry_ms = headless::ms(*retry_in);
                output.event("lobby_failed", json!({"text": text, "retry_ms": retry_ms}));
                session.trouble = Some(text);
            }
            None => session.give_up(&output, "lobby", lobby_reason(error), &text),
        }
    }
    let idled = link.online() && {
        let online_at = *session.online_at.get_or_insert_with(Instant::now);
        !matches!(&session.goal, Goal::Join { idle, .. } if online_at.elapsed() < *idle)
    };
    // An invite and a room that is hosted here have a server of their own.
    let ready = idled || session.goal.needs_no_lobby();
    if ready && !seats.waits_for_seat(&session) && session.ask_at.is_some_and(|at| at <= Instant::now()) {
        session.ask_at = None;
        match &session.goal {
            // The list of rooms decides.
            Goal::Nat { .. } | Goal::Found { .. } | Goal::Rooms(_) => {}
            Goal::Host { room, serving, .. } => match serving.of(&room.0) {
                Some(wish) => _ = here.write(wish),
                None => _ = host.write(room.clone()),
            },
            Goal::Invited { invite } => {
                output.event("request", json!({"peer": null, "player": null, "invite": invite.text}));
                invited.write(invite.clone());
            }
            Goal::Quick(wanted, _) => {
                output.event("request", json!({"peer": null, "player": null, "mode": wanted.mode}));
                quick.write(wanted.clone());
            }
            Goal::Join { join: room, .. } => {
                let name = match &room.target {
                    RoomTarget::Name(name) | RoomTarget::Code(name) => name,
                };
                output.event("request", json!({"peer": null, "player": null, "room": name}));
                join.write(room.clone());
            }
        }
    }
}

fn lobby_reason(error: &TraversalError) -> &'static str {
    use bevy_traversal::LobbyError as L;
    match error {
        TraversalError::Lobby(L::NoAnswer) => "no-answer",
        TraversalError::Lobby(L::Unresolvable { .. }) => "unresolvable",
        TraversalError::Lobby(L::WrongKey) => "wrong-key",
        TraversalError::Lobby(L::KeyChanged { .. }) | TraversalError::ServerKeyChanged { .. } => {
            "key-changed"
        }
        TraversalError::Lobby(L::Replaced) => "replaced",
        TraversalError::Lobby(L::PutOut { .. }) => "put-out",
        TraversalError::Lobby(L::OtherProtocol { .. }) => "other-protocol",
        TraversalError::Lobby(L::Busy) => "busy",
        TraversalError::Lobby(L::Refused(_)) => "refused",
        TraversalError::Lobby(_) => "lost",
        TraversalError::Bind { .. } => "bind",
        TraversalError::Identity { .. } => "identity",
        TraversalError::Facts(_) => "settings",
        _ => "driver",
    }
}

/// Prints what happens to the room and its members.
pub(crate) fn room(
    mut session: ResMut<Session>,
    output: Res<Output>,
    (room, members): (Res<CurrentRoom>, Res<Members>),
    (mut entered, mut migrated): (MessageReader<RoomJoined>, MessageReader<HostMigrated>),
    mut left: MessageReader<RoomLeft>,
    mut failed: MessageReader<RequestFailed>,
    (mut requested, mut wrong_passwords): (MessageReader<JoinRequested>, MessageReader<WrongPasswords>),
    mut announced: MessageReader<Announcement>,
    mut refuse: MessageWriter<RefusePeer>,
) {
    session.room_pending |= entered.read().count() > 0;
    if let Some(info) = room.info.as_ref().filter(|_| session.room_pending && !members.0.is_empty()) {
        session.room_pending = false;
        (session.hosting, session.hosted_first) = (room.hosting, room.hosting);
        let role = if room.hosting { "host" } else { "join" };
        output.event(
            "room",
            json!({"name": info.name, "code": info.code, "role": role, "members": members.0.len(),
                   "spectating": room.spectating, "dedicated": !info.seats.seat}),
        );
    }
    for HostMigrated { room, hosting, members, .. } in migrated.read() {
        let host = members.iter().find(|member| member.id == room.host).map(|member| &member.name);
        output.event(
            "host_changed",
            json!({"host": host, "hosting": hosting, "epoch": room.epoch, "members": members.len()}),
        );
        session.trouble = None;
        session.hosting = *hosting;
    }
    for RoomLeft { reason, .. } in left.read() {
        let text = reason.as_ref().map_or_else(|| "left".to_owned(), ToString::to_string);
        output.event("room_left", json!({"text": text}));
        if !matches!(session.goal, Goal::Host { .. }) {
            session.host_gone = true;
            session.trouble.get_or_insert(text);
        } else if session.ask_at.is_none() {
            // The room is opened anew with the next frame.
            session.ask_at = Some(Instant::now());
        }
    }
    for WrongPasswords { in_last_minute } in wrong_passwords.read() {
        output.event("wrong_passwords", json!({"in_last_minute": in_last_minute}));
    }
    for Announcement { text } in announced.read() {
        output.event("announcement", json!({"text": text}));
    }
    for JoinRequested { join, player } in requested.read() {
        output.event("request", json!({"peer": player.name, "player": player.id.to_string()}));
        if let Goal::Host { refuse: Some(reason), .. } = &session.goal {
            refuse.write(RefusePeer { join: *join, reason: reason.clone() });
        }
    }
    for RequestFailed { request, error } in failed.read() {
        if !matches!(
            request,
            RequestKind::Host | RequestKind::Join | RequestKind::QuickMatch | RequestKind::TakeSeat
        ) {
            continue;
        }
        let (reason, passing) = request_reason(error);
        let text = error.to_string();
        if passing || (reason == "no-such-room" && session.next_target()) {
            session.trouble = Some(text);
            let wait = if passing { ASK_AGAIN } else { Duration::ZERO };
            session.ask_at = Some(Instant::now() + wait);
        } else {
            session.give_up(&output, "room", reason, &text);
        }
    }
}

/// Returns the error's name, and whether it is worth trying again.
fn request_reason(error: &RequestFailure) -> (&'static str, bool) {
    use RequestError as E;
    match error {
        RequestFailure::Timeout => ("timeout", true),
        RequestFailure::NotLoggedIn | RequestFailure::LobbyLost => ("lobby-lost", true),
        RequestFailure::Invite(_) => ("invite", false),
        RequestFailure::Here(_) => ("cannot-serve", false),
        RequestFailure::Server(error) => match error {
            E::NoSuchRoom => ("no-such-room", false),
            E::RoomFull => ("room-full", false),
            E::RoomLocked => ("room-locked", false),
            E::WrongPassword => ("wrong-password", false),
            E::NameTaken => ("name-taken", false),
            E::Refused { .. } => ("refused", false),
            E::Banned { .. } => ("banned", false),
            E::SpectatorsFull { .. } => ("spectators-full", false),
            E::NoSeat => ("no-seat", false),
            E::HostSilent => ("host-silent", false),
            E::OtherVersion { .. } => ("other-version", false),
            E::InviteOver { .. } => ("invite-over", false),
            E::MatchRefused => ("match-refused", false),
            E::MatchUnanswered => ("match-unanswered", false),
            E::RegistryUnavailable | E::Stopping => ("server-unavailable", true),
            _ => ("rejected", false),
        },
        _ => ("rejected", false),
    }
}
