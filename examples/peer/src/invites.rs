//! Invites on the command line, and what is printed of them.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    Invite, InviteMade, InviteTerms, InvitesRevoked, MAX_INVITE_MINUTES, MakeInvite, RevokeInvites,
    RoomJoined,
};
use clap::Args;
use headless::Output;
use headless::args::seconds;
use serde_json::{Value, json};

use crate::session::{Goal, Session};

/// These flags say how a host invites.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Inviting {
    /// Print an invite to the room: `plain` says where the room is, `once` lets in one player, past the password and
    /// --refuse, and a number lets in everybody who shows it for so many minutes (event "invite")
    #[arg(long, value_name = "plain|once|MINUTES", value_parser = kind)]
    pub(crate) invite: Option<MakeInvite>,
    /// Print a link, too: the invite as the fragment of this page
    #[arg(long, value_name = "URL", requires = "invite")]
    pub(crate) invite_page: Option<String>,
    /// End all invites so long after the first one was printed (event "invites_revoked")
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "invite")]
    pub(crate) revoke_after: Option<Duration>,
}

fn kind(text: &str) -> Result<MakeInvite, String> {
    match text {
        "plain" => Ok(MakeInvite { allows: None }),
        "once" => Ok(MakeInvite::once()),
        minutes => match minutes.parse() {
            Ok(minutes @ 1..=MAX_INVITE_MINUTES) => {
                Ok(MakeInvite { allows: Some(InviteTerms::for_minutes(minutes)) })
            }
            _ => Err(format!("plain, once, or minutes from 1 to {MAX_INVITE_MINUTES}")),
        },
    }
}

/// Returns the fields of an `invite` event.
pub(crate) fn fields(invite: &Invite, page: Option<&str>) -> Value {
    let token = invite.token();
    json!({
        "text": invite.to_string(),
        "link": page.map(|page| invite.link(page)),
        "discord": invite.discord_secret().ok(),
        "steam": invite.steam_connect().ok(),
        "server": invite.server(),
        "code": invite.code(),
        "once": token.map(|token| token.once),
        "until_s": token.map(|token| token.until_s),
    })
}

/// Asks for an invite when the room is open, prints it, and ends it when its time has come.
pub(crate) fn invites(
    session: Res<Session>,
    output: Res<Output>,
    mut entered: MessageReader<RoomJoined>,
    mut made: MessageReader<InviteMade>,
    mut revoked: MessageReader<InvitesRevoked>,
    (mut make, mut revoke): (MessageWriter<MakeInvite>, MessageWriter<RevokeInvites>),
    mut revoke_at: Local<Option<Instant>>,
) {
    let Goal::Host { inviting, .. } = &session.goal else { return };
    if entered.read().any(|entered| entered.hosting)
        && let Some(wanted) = inviting.invite
    {
        make.write(wanted);
    }
    for InviteMade { invite } in made.read() {
        output.event("invite", fields(invite, inviting.invite_page.as_deref()));
        *revoke_at = inviting.revoke_after.map(|after| Instant::now() + after);
    }
    if revoke_at.is_some_and(|at| at <= Instant::now()) {
        *revoke_at = None;
        revoke.write(RevokeInvites);
    }
    for InvitesRevoked in revoked.read() {
        output.event("invites_revoked", Value::Null);
    }
}
