//! The agent among its contacts, and where the two of a call meet.

use std::time::{Duration, Instant};

use super::{Agent, RequestKind};
use crate::peer::Peer;
use crate::wire::message::{CallNews, CallPlace, Request, RoomTarget};

impl Agent {
    /// Takes news of a call; both come into a room if they have said yes.
    pub(super) fn handle_call(&mut self, now: Instant, news: CallNews) {
        match self.people.handle_call(&mut self.shared.cx(now), news) {
            Some(CallPlace::Opened(room)) => {
                let news = self.lobby.handle_room_of_call(&mut self.shared.cx(now), *room);
                self.handle_lobby(now, Some(news));
            }
            Some(CallPlace::Enter { code }) => {
                self.join_requested = Some((now, None));
                let request = Request::JoinRoom { target: RoomTarget::Code(code), password: None };
                self.lobby.ask(&mut self.shared.cx(now), RequestKind::Join, request, Duration::ZERO);
            }
            Some(CallPlace::Stay) | None => {}
        }
    }

    /// Contacts hear whether this player is connected to another one.
    pub(super) fn show_playing(&mut self, now: Instant) {
        let playing = self.peers.values().any(Peer::is_connected);
        self.people.set_playing(&mut self.shared.cx(now), playing);
    }
}
