//! What is written in a room goes to all others who are there.

use std::time::Duration;

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{ChatFault, ChatNews, ChatPlace, PlayerInfo, ToPlayer};

use super::{Others, Rooms};
use crate::server::chat::{ROOM_TEXTS, too_fast};
use crate::server::refusals::Refusal;

/// Who has others told more than it may is to wait so long.
const LATER: Duration = Duration::from_secs(2);

impl Rooms {
    /// Hands on what a member writes to all others who are there, members and those who watch.
    pub(in crate::server) fn say(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        number: u64,
        text: &str,
    ) -> Result<(), ChatFault> {
        let now = others.cx.now;
        let id = others.roster.present_room(player).ok_or(ChatFault::NotInRoom)?;
        let room = self.rooms.get_mut(&id).ok_or(ChatFault::NotInRoom)?;
        if room.is_watched_by(player) {
            return Err(ChatFault::OnlyWatches);
        }
        if !room.texts.take(ROOM_TEXTS, now) {
            others.cx.counters.limit(Refusal::ChatRoomRate);
            return Err(too_fast(room.texts.wait(ROOM_TEXTS, now)));
        }
        let readers: Vec<PlayerId> = room.inside().filter(|other| *other != player).collect();
        if !others.roster.may_cause(others.cx, player, readers.len() as f64) {
            return Err(too_fast(LATER));
        }
        let from = PlayerInfo { id: player, name: room.name_of(player).unwrap_or_default() };
        for reader in readers {
            if !others.roster.is_present(reader, id) {
                continue;
            }
            let (from, text, place) = (from.clone(), text.into(), ChatPlace::Room(id));
            let news = ToPlayer::Chat(ChatNews::Text { from, number, place, text });
            if !others.roster.try_tell(others.cx, reader, news) {
                others.cx.counters.texts_dropped += 1;
            }
        }
        Ok(())
    }

    /// Hands on what a member of a party writes to all others of it who are there.
    pub(in crate::server) fn say_in_party(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        number: u64,
        text: &str,
    ) -> Result<(), ChatFault> {
        let party = self.party_id(player).ok_or(ChatFault::NotInParty)?;
        let readers = self.party_members(player);
        if !others.roster.may_cause(others.cx, player, readers.len() as f64) {
            return Err(too_fast(LATER));
        }
        let client = others.roster.client_of(player);
        let name = client.map(|client| client.login().name().to_owned()).unwrap_or_default();
        for reader in readers.into_iter().filter(|reader| *reader != player) {
            let from = PlayerInfo { id: player, name: name.clone() };
            let news = ChatNews::Text { from, number, place: ChatPlace::Party(party), text: text.into() };
            if !others.roster.try_tell(others.cx, reader, ToPlayer::Chat(news)) {
                others.cx.counters.texts_dropped += 1;
            }
        }
        Ok(())
    }
}
