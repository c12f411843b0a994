//! For tools that look on: what a sealed datagram says.

use super::Agent;
use crate::wire::message::{Frame, ToPlayer};
use crate::wire::pair::{self, Opened, PairMessage};
use crate::wire::{Kind, RELAY_HEADER};

/// This is what a datagram to a player says: see [`Agent::read`].
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The lobby server says this.
    Server(Box<Frame<ToPlayer>>),
    /// The other player's agent says this.
    Player(PairMessage),
    /// It is a game datagram, whose bytes are not shown.
    Game,
    /// It came by way of the server's relay, and says this.
    Relayed(Box<Said>),
}

impl Agent {
    /// Returns what a datagram to this player says, without taking it; `None` as long as this player cannot open it.
    /// It changes nothing and proves nothing, and is for tools that tell people what happens.
    pub fn read(&self, datagram: &[u8]) -> Option<Said> {
        match Kind::of(datagram)? {
            Kind::Control | Kind::Probe => Some(Said::Server(Box::new(self.shared.link.read(datagram)?))),
            Kind::Pair => {
                let peer = self.peers.get(&pair::match_of(datagram)?)?;
                Some(match peer.read(&mut datagram.to_vec())? {
                    Opened::Message(message) => Said::Player(message),
                    Opened::Data(..) | Opened::Part(_) => Said::Game,
                })
            }
            Kind::Relay => {
                let inner = datagram.get(RELAY_HEADER..)?;
                let said = self.read(inner).filter(|_| Kind::of(inner) == Some(Kind::Pair))?;
                Some(Said::Relayed(Box::new(said)))
            }
            _ => None,
        }
    }
}
