//! What comes from the other player: opened, noted as a sign of life of its way, and handled by its kind.

use std::net::SocketAddr;

use super::away::LOST;
use super::{ChatWord, LifeWord, Peer, PeerNews, PeerStage};
use crate::address::is_local;
use crate::api::{DisconnectReason, Event, PathKind};
use crate::cx::Cx;
use crate::failure::{FailureReason, Stage};
use crate::path::{Origin, kind_of};
use crate::seat::Seat;
use crate::way::Way;
use crate::wire::Dropped;
use crate::wire::pair::{Opened, PairMessage};

/// This says how an authentic datagram came.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    way: Way,
    origin: Origin,
    /// This says whether a way may be made of where it came from, and answers may go there.
    admitted: bool,
    /// It has this length in bytes, sealed.
    length: usize,
}

impl Peer {
    /// Handles a datagram of this match.
    pub(crate) fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        way: Way,
        datagram: &mut [u8],
    ) -> Result<Option<PeerNews>, Dropped> {
        let length = datagram.len();
        let opened = self.channel.open(datagram)?;
        self.last_heard = cx.now;
        self.bytes.1 += length as u64;
        let arrival = self.note_arrival(cx, way, length);
        Ok(match opened {
            Opened::Message(message) => self.handle_message(cx, arrival, message),
            _ if !self.is_live() => None,
            Opened::Data(channel, payload) => {
                self.handle_data(cx, arrival, Some((channel, payload.to_vec())))
            }
            Opened::Part(part) => {
                let whole = self.joiner.take(cx.now, &part);
                self.handle_data(cx, arrival, whole)
            }
        })
    }

    fn note_arrival(&mut self, cx: &mut Cx<'_>, way: Way, length: usize) -> Arrival {
        let owner = cx.sockets.owner(way.socket);
        let method = self.attempt.method_of(owner);
        if way.is_relay() {
            let origin = Origin { kind: PathKind::Relay, vouched: true, method };
            return Arrival { way, origin, admitted: true, length };
        }
        let vouched = self.plan.peer_public.iter().any(|address| address.ip() == way.remote.ip());
        let origin = Origin { kind: kind_of(way.remote, self.lan), vouched, method };
        self.attempt.handle_datagram(cx.now, owner, way.remote);
        // Over the cap of destinations, and from a private address where the server knows of no common network, the
        // game's data still gets in, but no way is made of it.
        let private = !self.plan.same_nat && is_local(way.remote.ip());
        let admitted = !private && self.attempt.admits(cx.budget, way.remote);
        Arrival { way, origin, admitted, length }
    }

    /// Game data waits for nobody: its sender had both directions proven. `whole`: the datagram, unless parts of it are
    /// still missing.
    fn handle_data(
        &mut self,
        cx: &mut Cx<'_>,
        Arrival { way, origin, admitted, .. }: Arrival,
        whole: Option<(u8, Vec<u8>)>,
    ) -> Option<PeerNews> {
        if admitted {
            self.paths.heard(cx.now, way, origin);
            // Anybody could stand behind another source, and would get the game's answers.
            let known_ip = |address: &SocketAddr| address.ip() == way.remote.ip();
            if origin.vouched || (self.lan && self.plan.peer_local.iter().any(known_ip)) {
                self.paths.carried_data(way);
            }
        }
        let news = self.choose(cx);
        let passes = |whole: &(u8, Vec<u8>)| self.may_pass(cx, Seat::Watched, whole.0);
        if let Some((channel, payload)) = whole.filter(passes) {
            cx.emit(Event::Datagram { player: self.info.id, channel, payload });
        }
        news
    }

    fn handle_message(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        message: PairMessage,
    ) -> Option<PeerNews> {
        let Arrival { way, admitted, length, .. } = arrival;
        match message {
            PairMessage::Close { reason } => return self.handle_close(cx, way, reason),
            PairMessage::CloseAck => {
                if matches!(self.stage, PeerStage::Closing { .. }) {
                    self.stage = PeerStage::Ended;
                }
            }
            _ if !self.is_live() => {}
            PairMessage::Test { tag, .. } if admitted => return self.handle_test(cx, arrival, tag),
            PairMessage::Confirm { tag, test, .. } if admitted => {
                return self.handle_confirm(cx, arrival, tag, test);
            }
            PairMessage::ProveLife { challenge } if admitted => {
                self.life_word = Some(LifeWord::Asked { challenge, way, length });
            }
            PairMessage::ProofOfLife { challenge, proof } => {
                self.life_word = Some(LifeWord::Proof { challenge, proof });
            }
            PairMessage::Chat { from, number, audience, text } => {
                self.chat_word = Some(ChatWord::Said { from, number, audience, text });
            }
            PairMessage::ChatTaken { from, number, all } => {
                self.chat_word = Some(ChatWord::Taken { from, number, all });
            }
            PairMessage::Test { .. } | PairMessage::Confirm { .. } | PairMessage::ProveLife { .. } => {}
        }
        None
    }

    fn handle_test(&mut self, cx: &mut Cx<'_>, arrival: Arrival, tag: u32) -> Option<PeerNews> {
        let Arrival { way, origin, length, .. } = arrival;
        let own = self.paths.heard(cx.now, way, origin);
        let answer = PairMessage::Confirm { tag, observed: way.remote, test: own };
        self.answer(cx, (way, length), &answer);
        self.choose(cx)
    }

    /// Takes a confirmation; `test` is the tag of a test that came along with it.
    fn handle_confirm(
        &mut self,
        cx: &mut Cx<'_>,
        Arrival { way, origin, length, .. }: Arrival,
        tag: u32,
        test: Option<u32>,
    ) -> Option<PeerNews> {
        self.paths.confirmed(cx.now, tag, way, self.lan);
        self.notice_answer(cx);
        self.tell_size(cx);
        self.paths.heard(cx.now, way, origin);
        if let Some(tag) = test {
            let answer = PairMessage::Confirm { tag, observed: way.remote, test: None };
            self.answer(cx, (way, length), &answer);
        }
        self.choose(cx)
    }

    fn handle_close(&mut self, cx: &mut Cx<'_>, way: Way, reason: String) -> Option<PeerNews> {
        self.send_message(cx, way, &PairMessage::CloseAck);
        if !self.is_live() {
            return None;
        }
        let connected = self.is_connected();
        self.stage = PeerStage::Ended;
        if !connected {
            self.emit_failure(cx, Stage::Punch, FailureReason::PeerLeft);
            return Some(PeerNews::Failed);
        }
        let (reason, news) = match self.away {
            // The other side has waited as long as this one.
            Some(_) if reason == LOST => (DisconnectReason::Lost, PeerNews::Lost),
            _ => (DisconnectReason::Closed { reason }, PeerNews::Ended),
        };
        cx.emit(Event::PeerDisconnected { peer: self.info.clone(), reason });
        Some(news)
    }
}
