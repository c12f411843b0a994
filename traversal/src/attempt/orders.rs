//! Carries out what the punchers want.

use std::net::SocketAddr;

use super::Attempt;
use crate::api::SocketId;
use crate::cx::Cx;
use crate::method::Method;
use crate::punch::{Ledger, PunchOrder, Slot};
use crate::sockets::Owner;
use crate::way::Way;
use crate::wire::message::{Facts, Frame, Probe, ToServer};

/// A test that a puncher wants sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PunchTest {
    pub(crate) way: Way,
    /// None: the system's own TTL.
    pub(crate) ttl: Option<u8>,
    pub(crate) method: Method,
}

impl Attempt {
    /// Carries out what the punchers want, up to the next test, which is the caller's to seal. `in_use`: sockets that
    /// are not to be closed.
    pub(crate) fn poll(&mut self, cx: &mut Cx<'_>, in_use: &[SocketId]) -> Option<PunchTest> {
        let match_id = self.match_id;
        let v6 = self.context.servers.first().is_some_and(SocketAddr::is_ipv6);
        for running in &mut self.running {
            let method = running.puncher.method();
            let owner = |slot| Owner::Match(match_id, method, slot);
            loop {
                let mut ledger = Ledger { budget: cx.budget, attempt: &mut self.spending };
                let Some(order) = running.puncher.poll_order(cx.env.now, &mut ledger) else { break };
                match order {
                    PunchOrder::OpenSocket { slot } => cx.sockets.open(&mut cx.env, owner(slot), v6),
                    PunchOrder::CloseSocket { slot } => {
                        let used = cx.sockets.get(owner(slot)).is_some_and(|(id, _)| in_use.contains(&id));
                        if !used {
                            cx.sockets.close(&mut cx.env, owner(slot));
                        }
                    }
                    PunchOrder::Test { slot, to, ttl } => {
                        let socket = match slot {
                            Slot::Main => cx.main.towards(to),
                            Slot::Own(slot) => cx.sockets.get(owner(slot)).map(|(socket, _)| socket),
                        };
                        if let Some(socket) = socket {
                            return Some(PunchTest { way: Way::new(socket, to), ttl, method });
                        }
                    }
                    PunchOrder::Probe { slot, to, purpose, tag } => {
                        let socket = match slot {
                            Slot::Main => cx.main.towards(to),
                            Slot::Own(slot) => cx.sockets.get(owner(slot)).map(|(socket, _)| socket),
                        };
                        let wire_tag = cx.sockets.next_probe_tag();
                        self.probes.insert(wire_tag, (method, tag));
                        let frame = Frame::Probe(Probe { tag: wire_tag, purpose });
                        let sealed = cx.link.seal_probe(cx.env.now, &frame);
                        if let (Some(socket), Some(datagram)) = (socket, sealed) {
                            cx.transmit(socket, to, datagram);
                        }
                    }
                    PunchOrder::TellKept { round, ports } => {
                        cx.tell(ToServer::KeptPorts { match_id, round, ports });
                    }
                    PunchOrder::Report { facts, tags } => {
                        let report = |tag| {
                            self.reports
                                .iter()
                                .rev()
                                .find(|(of, _)| *of == (method, tag))
                                .map(|(_, report)| *report)
                        };
                        if let (Facts::Range { round, step, .. }, [Some(first), Some(last)]) =
                            (facts, tags.map(report))
                        {
                            let reports = [first, last];
                            cx.tell(ToServer::ClaimRange { match_id, round, step, reports });
                        }
                    }
                }
            }
        }
        None
    }
}
