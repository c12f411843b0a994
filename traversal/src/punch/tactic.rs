//! What the methods do alike with their inputs and outputs, so that each file holds only what differs.

use std::net::SocketAddr;
use std::time::Instant;

use super::engine::Engine;
use super::{Ledger, Progress, PunchInput, PunchOrder, Puncher};
use crate::method::Method;
use crate::wire::message::Facts;

/// This is what a method makes of its inputs. [`Puncher`] comes with it.
pub(super) trait Tactic: std::fmt::Debug + Send {
    const METHOD: Method;

    fn engine(&self) -> &Engine;
    fn engine_mut(&mut self) -> &mut Engine;

    /// The other side was heard: a path is made of it, so what is under way is dropped.
    fn drop_search(&mut self) {}

    /// Takes the server's answer to a probe.
    fn on_probe_seen(&mut self, _now: Instant, _tag: u32, _observed: SocketAddr) {}

    /// A socket is open at this local port, or could not be opened.
    fn on_socket(&mut self, _now: Instant, _slot: u16, _port: Option<u16>) {}

    /// Takes news about ports, though not while it holds still.
    fn on_facts(&mut self, _now: Instant, _facts: &Facts) {}

    /// The other side's address is another one.
    fn on_moved(&mut self, _now: Instant) {}

    /// Some time has passed; not while it holds still.
    fn on_timeout(&mut self, now: Instant);

    /// Returns when the next step of the method is due.
    fn due(&self) -> Option<Instant>;

    /// Returns whether it searches by many sockets or ports, see [`Puncher::searches`].
    fn searches(&self) -> bool {
        Self::METHOD.searches() && self.engine().progress() != Progress::Exhausted
    }
}

impl<T: Tactic> Puncher for T {
    fn method(&self) -> Method {
        Self::METHOD
    }

    fn handle(&mut self, now: Instant, input: PunchInput<'_>) {
        match input {
            PunchInput::Datagram { .. } => {
                self.engine_mut().heard(now);
                self.drop_search();
            }
            PunchInput::ProbeSeen { tag, observed } => self.on_probe_seen(now, tag, observed),
            PunchInput::Socket { slot, port } => self.on_socket(now, slot, port),
            PunchInput::Facts(Facts::PeerPublic(addresses)) => {
                self.engine_mut().peer_moved(addresses);
                self.on_moved(now);
            }
            _ if self.engine_mut().holds_still(now) => {}
            PunchInput::Facts(facts) => self.on_facts(now, facts),
            PunchInput::Timeout => self.on_timeout(now),
        }
    }

    fn poll_order(&mut self, now: Instant, ledger: &mut Ledger<'_>) -> Option<PunchOrder> {
        self.engine_mut().poll_order(now, ledger)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine().poll_timeout(self.due())
    }

    fn progress(&self) -> Progress {
        self.engine().progress()
    }

    fn searches(&self) -> bool {
        self.searches()
    }
}
