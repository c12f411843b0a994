//! What the game asks for, handed to the driver.

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::{Message, MessageReader, MessageWriter};
use bevy_ecs::system::{Res, ResMut, SystemParam};
use traversal_core::{Command, RequestFailure, RequestKind as Kind};

use super::News;
use super::room::RoomRequests;
use crate::chat::ChatRequests;
use crate::link::TraversalLink;
use crate::messages::outcomes::RequestFailed;
use crate::messages::requests as m;
use crate::party::PartyRequests;
use crate::people::PeopleRequests;
use crate::state::LobbyLink;

/// This reads all requests but [`ConnectLobby`](m::ConnectLobby).
#[derive(SystemParam)]
pub(crate) struct Requests<'w, 's> {
    disconnect: MessageReader<'w, 's, m::DisconnectLobby>,
    host: MessageReader<'w, 's, m::HostRoom>,
    join: MessageReader<'w, 's, m::JoinRoom>,
    leave: MessageReader<'w, 's, m::LeaveRoom>,
    list: MessageReader<'w, 's, m::ListRooms>,
    watch: MessageReader<'w, 's, m::WatchRooms>,
    stop_watching: MessageReader<'w, 's, m::StopWatchingRooms>,
    allow: MessageReader<'w, 's, m::AllowPeer>,
    refuse: MessageReader<'w, 's, m::RefusePeer>,
    kick: MessageReader<'w, 's, m::KickPeer>,
    metadata: MessageReader<'w, 's, m::SetRoomMetadata>,
    close: MessageReader<'w, 's, m::ClosePeer>,
    quick: MessageReader<'w, 's, m::QuickMatch>,
    cancel: MessageReader<'w, 's, m::CancelQuickMatch>,
    room: RoomRequests<'w, 's>,
    answer: MessageReader<'w, 's, m::AnswerMatch>,
    bans: MessageReader<'w, 's, m::ListBans>,
    lift: MessageReader<'w, 's, m::LiftBan>,
    take: MessageReader<'w, 's, m::TakeSeat>,
}

pub(crate) fn hand_over_requests(
    requests: Requests,
    mut link: ResMut<TraversalLink>,
    lobby: Res<LobbyLink>,
    (mut people, mut chat, mut party): (PeopleRequests, ChatRequests, PartyRequests),
    mut failed: MessageWriter<RequestFailed>,
    mut news: ResMut<News>,
) {
    let Requests {
        mut disconnect,
        mut host,
        mut join,
        mut leave,
        mut list,
        mut watch,
        mut stop_watching,
        mut allow,
        mut refuse,
        mut kick,
        mut metadata,
        mut close,
        mut quick,
        mut cancel,
        mut room,
        mut answer,
        mut bans,
        mut lift,
        mut take,
    } = requests;
    #[cfg(feature = "states")]
    {
        let asked = !(host.is_empty() && join.is_empty() && quick.is_empty() && take.is_empty());
        let given_up = !(leave.is_empty() && cancel.is_empty() && disconnect.is_empty());
        if asked || given_up {
            news.wants_room = Some(asked);
        }
    }
    let link = link.bypass_change_detection();
    each(&mut disconnect, |_| _ = link.command(Command::Disconnect));
    let mut ask = |command, request| {
        if !link.command(command) {
            failed.write(RequestFailed { request, error: RequestFailure::NotLoggedIn });
            news.set_changed();
        }
    };
    // Leaving first: a game that changes rooms writes both in one frame.
    each(&mut leave, |_| ask(Command::LeaveRoom, Kind::Leave));
    each(&mut cancel, |_| ask(Command::CancelQuickMatch, Kind::CancelQuickMatch));
    each(&mut host, |request| ask(Command::HostRoom(request.0.clone()), Kind::Host));
    each(&mut join, |request| {
        let m::JoinRoom { target, password, wait, spectate } = request.clone();
        let command = if spectate {
            Command::Spectate { target, password, wait }
        } else {
            Command::JoinRoom { target, password, wait }
        };
        ask(command, Kind::Join);
    });
    each(&mut quick, |request| ask(Command::QuickMatch(request.clone().into()), Kind::QuickMatch));
    each(&mut take, |_| ask(Command::TakeSeat, Kind::TakeSeat));
    each(&mut list, |request| ask(Command::ListRooms(request.0.clone()), Kind::List));
    each(&mut stop_watching, |_| ask(Command::StopWatching, Kind::Watch));
    each(&mut watch, |request| {
        let m::WatchRooms { query, pause } = request.clone();
        ask(Command::WatchRooms { query, pause }, Kind::Watch);
    });
    room.ask(&mut ask);
    each(&mut answer, |request| {
        let m::AnswerMatch { proposal, accept } = *request;
        ask(Command::AnswerMatch { proposal, accept }, Kind::AnswerMatch);
    });
    each(&mut metadata, |request| ask(Command::SetMetadata(request.0.clone()), Kind::SetMetadata));
    each(&mut kick, |request| {
        let m::KickPeer { player, reason, rejoin } = request.clone();
        if lobby.online() {
            // The connection ends with the server's yes.
            ask(Command::Kick { player, reason, rejoin }, Kind::Kick);
        } else {
            let reason = format!("removed by the host: {reason}");
            ask(Command::ClosePeer { player, reason }, Kind::Kick);
        }
    });
    each(&mut lift, |request| ask(Command::LiftBan { player: request.player }, Kind::LiftBan));
    // Of what was changed in this frame the list tells already.
    each(&mut bans, |_| ask(Command::ListBans, Kind::ListBans));
    each(&mut allow, |request| {
        link.command(Command::AnswerJoin { join: request.join, allow: true, reason: String::new() });
    });
    each(&mut refuse, |request| {
        let m::RefusePeer { join, reason } = request.clone();
        link.command(Command::AnswerJoin { join, allow: false, reason });
    });
    each(&mut close, |request| {
        let m::ClosePeer { player, reason } = request.clone();
        link.command(Command::ClosePeer { player, reason });
    });
    people.hand_over(link, &mut failed);
    chat.hand_over(link, &mut failed);
    party.hand_over(link, &mut failed);
    link.hand_over();
}

fn each<M: Message>(messages: &mut MessageReader<M>, mut handle: impl FnMut(&M)) {
    for message in messages.read() {
        handle(message);
    }
}
