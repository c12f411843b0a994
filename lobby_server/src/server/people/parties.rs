//! Invitations to parties: they go where calls may go, and show as little.

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{PartyNews, PlayerInfo, RequestError, ToPlayer};

use super::super::Server;
use super::post::{Envelope, Word};

impl Server {
    /// A member of a party invites a player. Whether that exists, is on line and has allowed it shows in nothing. It counts as a call.
    pub(super) fn invite_to_party(&mut self, player: PlayerId, other: PlayerId) -> Result<(), RequestError> {
        let code = self.rooms.party_code(player).ok_or(RequestError::NotInParty)?;
        if player == other {
            return Err(RequestError::Malformed { what: "you cannot invite yourself".into() });
        }
        self.people.contacts.may_call(self.cx.now, player, other)?;
        let client = self.roster.client_of(player).ok_or(RequestError::NoSuchPlayer)?;
        let (game, name) = (client.login().game().to_owned(), client.login().name().to_owned());
        let word = Word::Party { code, from: PlayerInfo { id: player, name } };
        self.people.post.push(Envelope { game, from: player, word, to: vec![other], far_only: false });
        Ok(())
    }

    /// A player of this node is invited. What it has not allowed is not told.
    pub(super) fn invited_to_party(&mut self, game: &str, player: PlayerId, code: &str, from: &PlayerInfo) {
        let Some(contact) = self.people.contacts.lets_ring(game, player, from.id) else { return };
        if !self.people.contacts.take_ring(&mut self.cx, player, contact) {
            return;
        }
        let invited = PartyNews::Invited { code: code.to_owned(), from: from.clone(), contact };
        self.roster.tell(&mut self.cx, player, ToPlayer::Party(invited));
    }
}
