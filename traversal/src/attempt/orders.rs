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
use crate::wire::port_report::PortReport;

/// This is a test that a puncher wants sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PunchTest {
    pub(crate) way: Way,
    /// The packet gets this TTL; `None`: the system's own.
    pub(crate) ttl: Option<u8>,
    pub(crate) method: Method,
}

impl Attempt {
    /// Carries out what the punchers want, up to the next test, which is the caller's to seal. `in_use`: sockets that
    /// are not to be closed.
    pub(crate) fn poll(&mut self, cx: &mut Cx<'_>, in_use: &[SocketId]) -> Option<PunchTest> {
        for index in 0..self.running.len() {
            loop {
                let running = &mut self.running[index];
                let method = running.puncher.method();
                let mut ledger = Ledger { budget: cx.budget, attempt: &mut self.spending };
                let Some(order) = running.puncher.poll_order(cx.env.now, &mut ledger) else { break };
                let test = self.carry_out(cx, method, order, in_use);
                if test.is_some() {
                    return test;
                }
            }
        }
        None
    }

    fn owner(&self, method: Method, slot: u16) -> Owner {
        Owner::Match(self.match_id, method, slot)
    }

    /// Returns the socket in a slot of this method that reaches `to`, once it is open.
    fn socket(&self, cx: &Cx<'_>, method: Method, slot: Slot, to: SocketAddr) -> Option<SocketId> {
        match slot {
            Slot::Main => cx.main.towards(to),
            Slot::Own(slot) => cx.sockets.get(self.owner(method, slot)).map(|(socket, _)| socket),
        }
    }

    /// Carries out one order, but for a test, which is returned.
    fn carry_out(
        &mut self,
        cx: &mut Cx<'_>,
        method: Method,
        order: PunchOrder,
        in_use: &[SocketId],
    ) -> Option<PunchTest> {
        let match_id = self.match_id;
        match order {
            PunchOrder::OpenSocket { slot } => {
                let v6 = self.context.servers.first().is_some_and(SocketAddr::is_ipv6);
                cx.sockets.open(&mut cx.env, self.owner(method, slot), v6);
            }
            PunchOrder::CloseSocket { slot } => {
                let owner = self.owner(method, slot);
                if !cx.sockets.get(owner).is_some_and(|(id, _)| in_use.contains(&id)) {
                    cx.sockets.close(&mut cx.env, owner);
                }
            }
            PunchOrder::Test { slot, to, ttl } => {
                let socket = self.socket(cx, method, slot, to)?;
                return Some(PunchTest { way: Way::new(socket, to), ttl, method });
            }
            PunchOrder::Probe { slot, to, purpose, tag } => {
                let socket = self.socket(cx, method, slot, to);
                let wire_tag = cx.sockets.next_probe_tag();
                self.probes.insert(wire_tag, (method, tag));
                let sealed = cx.link.seal_probe(cx.env.now, &Frame::Probe(Probe { tag: wire_tag, purpose }));
                if let (Some(socket), Some(datagram)) = (socket, sealed) {
                    cx.transmit(socket, to, datagram);
                }
            }
            PunchOrder::TellKept { round, ports } => cx.tell(ToServer::KeptPorts { match_id, round, ports }),
            PunchOrder::Report { facts, tags } => {
                if let (Facts::Range { round, step, .. }, [Some(first), Some(last)]) =
                    (facts, tags.map(|tag| self.report_of(method, tag)))
                {
                    let reports = [first, last];
                    cx.tell(ToServer::ClaimRange { match_id, round, step, reports });
                }
            }
        }
        None
    }

    /// Returns the server's newest report of a probe of this method.
    fn report_of(&self, method: Method, tag: u32) -> Option<PortReport> {
        let known = self.reports.iter().rev().find(|(probe, _)| *probe == (method, tag));
        known.map(|(_, report)| *report)
    }
}
