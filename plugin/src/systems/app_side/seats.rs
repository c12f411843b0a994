//! What the game sees of seats, spectators and ban lists.

use std::time::Duration;

use bevy_ecs::message::MessageWriter;
use bevy_ecs::system::SystemParam;
use traversal_core::Event;

use super::AppSide;
use crate::messages::outcomes as m;

/// This writes the outcomes about seats.
#[derive(SystemParam)]
pub(crate) struct SeatOutcomes<'w> {
    away: MessageWriter<'w, m::PlayerAway>,
    back: MessageWriter<'w, m::PlayerBack>,
    spectators: MessageWriter<'w, m::SpectatorsChanged>,
    kept: MessageWriter<'w, m::SeatKept>,
    listed: MessageWriter<'w, m::BansListed>,
    lifted: MessageWriter<'w, m::BanLifted>,
}

impl AppSide<'_> {
    /// Takes an event about seats; another one comes back.
    pub(super) fn seat_event(&mut self, event: Event) -> Option<Event> {
        let out = &mut self.out.seats;
        match event {
            Event::PlayerAway { player, kept } => {
                self.seats.away.insert(player.id);
                let client_id = player.id.client_id();
                out.away.write(m::PlayerAway { player, client_id, kept });
            }
            Event::PlayerBack { player } => {
                self.seats.away.remove(&player.id);
                let client_id = player.id.client_id();
                out.back.write(m::PlayerBack { player, client_id });
            }
            Event::Spectators(spectators) => {
                self.seats.spectators.clone_from(&spectators);
                out.spectators.write(m::SpectatorsChanged(spectators));
            }
            Event::SeatKept(kept) => {
                let (hosting, time) = (kept.hosting, Duration::from_secs(kept.kept_s.into()));
                out.kept.write(m::SeatKept { name: kept.name, code: kept.code, hosting, kept: time });
            }
            Event::Bans(bans) => _ = out.listed.write(m::BansListed(bans)),
            Event::BanLifted(player) => _ = out.lifted.write(m::BanLifted(player)),
            other => return Some(other),
        }
        None
    }
}
