//! Proofs of life (see [`crate::wire::life`]): as a member, the agent has its host give one; as the host, it gives them.

use std::time::{Duration, Instant};

use super::Agent;
use crate::id::{MatchId, RoomEpoch};
use crate::peer::{LifeWord, Peer};
use crate::timer::due;
use crate::wire::life::{CHALLENGE, LifeKey};
use crate::wire::message::ToServer;
use crate::wire::pair::PairMessage;

/// Two requests for one proof are this far apart, or the time of an answer: both may get lost.
const AGAIN: Duration = Duration::from_millis(300);
/// A host is asked for one proof for so long. The server waits less by default, and as long where players are far
/// away.
const WITHIN: Duration = Duration::from_secs(10);

/// This is what the agent knows for proofs.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The server of the latest login has this key; what is made of it is made when the first member asks.
    server_key: Option<[u8; 32]>,
    key: Option<LifeKey>,
    question: Option<Question>,
}

/// The server has asked this member about its host.
#[derive(Clone, Copy, Debug)]
struct Question {
    about: RoomEpoch,
    challenge: [u8; CHALLENGE],
    until: Instant,
    next: Instant,
}

impl Life {
    pub(super) fn logged_in(&mut self, server_key: [u8; 32]) {
        if self.server_key != Some(server_key) {
            (self.server_key, self.key) = (Some(server_key), None);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.question.map(|question| question.next)
    }
}

impl Agent {
    /// Has the host answer the server's challenge. A server that asks again and again has it asked no more often.
    pub(super) fn seek_proof(&mut self, now: Instant, about: RoomEpoch, challenge: [u8; CHALLENGE]) {
        let next = self.life.question.map_or(now, |open| open.next.max(now));
        self.life.question = Some(Question { about, challenge, until: now + WITHIN, next });
        self.life_timeout(now);
    }

    pub(super) fn life_timeout(&mut self, now: Instant) {
        let Some(mut question) = self.life.question.take_if(|question| due(Some(question.next), now)) else {
            return;
        };
        let host = self.lobby.room().filter(|room| room.epoch() == question.about);
        let host = host.and_then(|room| self.by_player.get(&room.info.host)).copied();
        let Some(peer) = host.and_then(|id| self.peers.get_mut(&id)).filter(|peer| peer.is_connected())
        else {
            return;
        };
        if question.until <= now {
            return;
        }
        peer.ask_for_proof(&mut self.shared.cx(now), question.challenge);
        question.next = now + AGAIN.max(peer.answer_time());
        self.life.question = Some(question);
    }

    /// Another player asks for a proof, or gives one.
    pub(super) fn handle_life(&mut self, now: Instant, match_id: MatchId, word: LifeWord) {
        let Some(room) = self.lobby.room() else { return };
        match word {
            LifeWord::Asked { challenge, way, length } if room.hosting => {
                let about = room.epoch();
                let life = &mut self.life;
                if life.key.is_none() {
                    life.key =
                        life.server_key.and_then(|server| LifeKey::new(&self.shared.identity, &server));
                }
                let proof = life.key.as_ref().and_then(|key| key.prove(about, &challenge));
                let Some((peer, proof)) = self.peers.get_mut(&match_id).zip(proof) else { return };
                let answer = PairMessage::ProofOfLife { challenge, proof };
                peer.answer(&mut self.shared.cx(now), (way, length), &answer);
            }
            LifeWord::Proof { challenge, proof } => {
                let of_host = self.by_player.get(&room.info.host) == Some(&match_id);
                let about = room.epoch();
                let answered = |question: &mut Question| {
                    of_host && question.about == about && question.challenge == challenge
                };
                let asked = self.life.question.take_if(answered);
                let Some(key) = asked.and_then(|_| self.peers.get(&match_id)).map(Peer::public_key) else {
                    return;
                };
                let RoomEpoch { room, epoch } = about;
                self.tell_server(now, ToServer::HostProof { room, epoch, key, proof });
            }
            LifeWord::Asked { .. } => {}
        }
    }
}
