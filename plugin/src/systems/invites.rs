//! Invites: where they lead, and what is in one.

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::{MessageReader, Messages};
use bevy_ecs::system::{Res, ResMut, SystemParam};
use traversal_core::invite::{Invite, InviteError, PartyInvite};
use traversal_core::wire::message::PartyRequest;
use traversal_core::{Command, HostPort, RequestFailure, RequestKind};

use super::app_side::AppSide;
use crate::link::TraversalLink;
use crate::messages::invites as m;
use crate::messages::outcomes::{LobbyFailed, RequestFailed, RoomJoined, RoomLeft};
use crate::party::{CurrentParty, JoinParty, PartyChanged, PartyEnded, is_invite};
use crate::visit::{Moves, Way};

/// This reads all requests that have to do with invites.
#[derive(SystemParam)]
pub(crate) struct Requests<'w, 's> {
    join: MessageReader<'w, 's, m::JoinInvite>,
    join_party: MessageReader<'w, 's, JoinParty>,
    make: MessageReader<'w, 's, m::MakeInvite>,
    revoke: MessageReader<'w, 's, m::RevokeInvites>,
}

/// Run condition: the game has asked for something that has to do with invites.
pub(crate) fn has_invites(
    join: Res<Messages<m::JoinInvite>>,
    join_party: Res<Messages<JoinParty>>,
    make: Res<Messages<m::MakeInvite>>,
    revoke: Res<Messages<m::RevokeInvites>>,
) -> bool {
    !(join.is_empty() && join_party.is_empty() && make.is_empty() && revoke.is_empty())
}

/// Does what the game asks for that has to do with invites.
pub(crate) fn invites(mut requests: Requests, mut link: ResMut<TraversalLink>, mut app: AppSide) {
    let link = link.bypass_change_detection();
    for request in requests.join.read() {
        app.wants_room();
        if let Err(error) = join(link, &mut app, request) {
            app.request_failed(RequestKind::Join, error);
        }
    }
    for JoinParty { code } in requests.join_party.read().filter(|request| is_invite(&request.code)) {
        if let Err(error) = join_party(link, &mut app, code) {
            app.request_failed(RequestKind::Party, error);
        }
    }
    for m::MakeInvite { allows } in requests.make.read().copied() {
        let made = match allows {
            None => app.invite(link, None).map(|invite| app.invite_made(invite)).map_err(Into::into),
            Some(_) if !app.is_online() => Err(RequestFailure::NotLoggedIn),
            Some(terms) => link.ask(Command::MakeInvite(terms)),
        };
        if let Err(error) = made {
            app.request_failed(RequestKind::MakeInvite, error);
        }
    }
    for _ in requests.revoke.read() {
        if let Err(error) = link.ask(Command::RevokeInvites) {
            app.request_failed(RequestKind::RevokeInvites, error);
        }
    }
    link.hand_over();
}

fn join(link: &mut TraversalLink, app: &mut AppSide, request: &m::JoinInvite) -> Result<(), RequestFailure> {
    let invite: Invite = request.text.parse()?;
    go(link, app, (invite.host_port(), invite.key()), RequestKind::Join)?;
    let code = invite.code().unwrap_or_default().to_owned();
    link.ask(Command::JoinInvited { code, token: invite.token(), wait: request.wait })
}

fn join_party(link: &mut TraversalLink, app: &mut AppSide, text: &str) -> Result<(), RequestFailure> {
    let invite: PartyInvite = text.parse()?;
    go(link, app, (invite.server(), invite.key()), RequestKind::Party)?;
    link.ask(Command::Party(PartyRequest::Join { code: invite.code().to_owned() }))
}

/// Logs in to this server, unless the player is there already.
fn go(
    link: &mut TraversalLink,
    app: &mut AppSide,
    place: (&HostPort, [u8; 32]),
    to: RequestKind,
) -> Result<(), RequestFailure> {
    if let Way::There { own } = link.way_to(place, app.server_key())? {
        if link.visit(place, own, to) {
            app.driver_gone();
        }
        app.servers(&link.config.lobby);
    }
    Ok(())
}

impl TraversalLink {
    fn ask(&mut self, command: Command) -> Result<(), RequestFailure> {
        if self.command(command) { Ok(()) } else { Err(RequestFailure::NotLoggedIn) }
    }
}

/// Notes when the room or the party that an invite has led to is left, or was not entered.
pub(crate) fn follow_visit(
    (mut joined, mut left): (MessageReader<RoomJoined>, MessageReader<RoomLeft>),
    (mut party, mut ended): (MessageReader<PartyChanged>, MessageReader<PartyEnded>),
    current: Res<CurrentParty>,
    mut failed: MessageReader<RequestFailed>,
    mut lobby: MessageReader<LobbyFailed>,
    mut link: ResMut<TraversalLink>,
) {
    let rooms = Moves { entered: joined.read().count() > 0, left: left.read().count() > 0 };
    // News of a party may come with its end.
    let in_party = party.read().count() > 0 && current.0.is_some();
    let parties = Moves { entered: in_party, left: ended.read().count() > 0 };
    let to = link.on_its_way();
    let entering = |failed: &RequestFailed| match failed.request {
        RequestKind::Join | RequestKind::Host => to != Some(RequestKind::Party),
        request => to == Some(request),
    };
    let failed = failed.read().any(entering);
    let refused = lobby.read().any(|failed| failed.retry_in.is_none());
    link.bypass_change_detection().note(rooms, parties, failed || refused);
}

/// Run condition: there is no reason to be at the server of an invite any more.
pub(crate) fn wants_home(link: Option<Res<TraversalLink>>) -> bool {
    link.is_some_and(|link| link.wants_home())
}

/// Goes back to the game's own lobby servers.
pub(crate) fn go_home(mut link: ResMut<TraversalLink>, mut app: AppSide) {
    let link = link.bypass_change_detection();
    // The network thread that was to join ends here, and would not say so.
    if let Some(request) = link.on_its_way().filter(|_| app.is_refused()) {
        app.request_failed(request, RequestFailure::LobbyLost);
    }
    let gone = link.go_home();
    app.servers(&link.config.lobby);
    if gone {
        app.driver_gone();
    }
}

impl AppSide<'_> {
    /// Returns an invite to the present room.
    pub(super) fn invite(
        &self,
        link: &TraversalLink,
        allowed: Option<(String, traversal_core::wire::message::InviteToken)>,
    ) -> Result<Invite, InviteError> {
        let code = match (&allowed, self.room_code()) {
            (Some((code, _)), _) => code.clone(),
            (None, Some(code)) => code,
            (None, None) => return Err(InviteError::NoRoom),
        };
        let (server, key) = link.reached.as_ref().ok_or(InviteError::NoRoom)?;
        let invite = Invite::new(link.public_name().unwrap_or(server), *key)?.with_code(&code)?;
        Ok(match allowed {
            Some((_, token)) => invite.with_token(token),
            None => invite,
        })
    }
}
