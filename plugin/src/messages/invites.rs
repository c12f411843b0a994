//! Invites: texts that lead another player to this player's room, wherever that is.

use std::time::Duration;

use bevy_app::App;
use bevy_ecs::message::Message;
use traversal_core::invite::Invite;
use traversal_core::wire::message::InviteTerms;

/// Request: enter the room that an invite leads to. It is answered as [`JoinRoom`](crate::JoinRoom) is.
///
/// Where the invite is to another lobby server than the present one, the plugin logs in there, pins the key that the invite
/// has, and shows no token; the game's own server is logged in to again when the room is left. This ends the connections
/// that stand.
///
/// ```
/// use bevy_traversal::JoinInvite;
///
/// let pasted = "bevy-traversal:lobby.example.com/K7PX2M#BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
/// let request = JoinInvite::from(pasted);
/// # assert_eq!(request.text, pasted);
/// ```
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinInvite {
    /// This is the invite as the player has pasted it: the text itself, a link, or what Discord or Steam hand over.
    pub text: String,
    /// The plugin keeps asking for this long while there is no such room.
    pub wait: Duration,
}

impl<T: Into<String>> From<T> for JoinInvite {
    fn from(text: T) -> Self {
        Self { text: text.into(), wait: Duration::ZERO }
    }
}

/// Request: make an invite to the present room. It is answered by [`InviteMade`] or
/// [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeInvite {
    /// This is what the host allows to those who show the invite: they come in without the room's password, and the host
    /// is not asked again. None: the invite says where the room is, and allows nothing; any member may make one.
    pub allows: Option<InviteTerms>,
}

impl MakeInvite {
    /// Makes a request for an invite that lets in one player, within a day.
    pub fn once() -> Self {
        Self { allows: Some(InviteTerms::once()) }
    }

    /// Makes a request for an invite that lets in everybody who shows it, for this many minutes: 1 to
    /// [`MAX_INVITE_MINUTES`](crate::MAX_INVITE_MINUTES).
    pub fn for_minutes(minutes: u16) -> Self {
        Self { allows: Some(InviteTerms::for_minutes(minutes)) }
    }
}

/// Request of a host: end all invites to the room that allow something. A player whom the host puts out for good, and another
/// host, end them too. It is answered by [`InvitesRevoked`] or [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevokeInvites;

/// Outcome: the invite is made. Its `Display` is the text to be sent to a friend.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct InviteMade {
    /// This is the invite.
    pub invite: Invite,
}

/// Outcome: no invite that was made before lets anybody in any more.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvitesRevoked;

/// Registers all of them.
pub(crate) fn add(app: &mut App) {
    app.add_message::<JoinInvite>()
        .add_message::<MakeInvite>()
        .add_message::<RevokeInvites>()
        .add_message::<InviteMade>()
        .add_message::<InvitesRevoked>();
}
