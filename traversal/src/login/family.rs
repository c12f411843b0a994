//! The address in the other family: a player on IPv4 and IPv6 is reached by both.
//!
//! The session runs over one of them. From the main socket of the other one a probe of the session goes to the
//! server's address there; the server has the address that it sees proven by an echo, and names it to those who are
//! matched with this player. The session itself stays where it is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::api::SocketId;
use crate::config::RelayPolicy;
use crate::env::Env;
use crate::wire::Kind;
use crate::wire::message::{Frame, Probe, ProbePurpose, REGISTER_TAG};
use crate::wire::session::ClientSession;

/// So many addresses of the server are asked.
const MAX_TARGETS: usize = 4;
/// These are the gaps between probes while no answer comes, however far the server is, since nothing waits for it: a
/// lost one costs little, and a machine without IPv6 to the internet sends one in half a minute.
const GAPS: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];
/// The next probe comes this long after an answer: it keeps a NAT's mapping (RFC 8445 section 11) and the server's
/// knowledge fresh.
const REFRESH: Duration = Duration::from_secs(15);

/// This is the other family's side of a login.
#[derive(Debug)]
pub(super) struct OtherFamily {
    socket: SocketId,
    targets: Vec<SocketAddr>,
    next: Instant,
    tries: usize,
    /// This says where the server sees this player there.
    public: Option<SocketAddr>,
}

impl OtherFamily {
    /// Returns `None` where this machine has no socket, or the server no address, in that family. `named` is the
    /// server's own word; `known` are all addresses that it was looked for at.
    pub(super) fn new(
        env: &Env<'_>,
        server: SocketAddr,
        named: &[SocketAddr],
        known: &[SocketAddr],
    ) -> Option<Self> {
        let mut targets: Vec<SocketAddr> = Vec::new();
        for target in named.iter().chain(known) {
            if target.is_ipv4() != server.is_ipv4() && !targets.contains(target) {
                targets.push(*target);
            }
        }
        targets.truncate(MAX_TARGETS);
        let socket = env.main.towards(*targets.first()?)?;
        let wanted = env.config.relay != RelayPolicy::Only;
        wanted.then_some(Self { socket, targets, next: env.now, tries: 0, public: None })
    }

    /// Returns where the server sees this player in that family, as long as it answers there.
    pub(super) fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    pub(super) fn is_from(&self, from: SocketAddr) -> bool {
        self.targets.contains(&from)
    }

    /// The machine's addresses changed, so the server is asked anew.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        (self.next, self.tries) = (now, 0);
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>, session: &mut ClientSession) {
        if self.next > env.now {
            return;
        }
        self.next = env.now + GAPS[self.tries.min(GAPS.len() - 1)];
        self.tries += 1;
        if self.tries > GAPS.len() {
            self.public = None;
        }
        let frame = Frame::Probe(Probe { tag: REGISTER_TAG, purpose: ProbePurpose::Register });
        for target in &self.targets {
            if let Some(datagram) = session.seal(env.now, Kind::Probe, &frame) {
                env.transmit(self.socket, *target, datagram);
            }
        }
    }

    /// The server wants it proven.
    pub(super) fn echo(
        &self,
        env: &mut Env<'_>,
        session: &mut ClientSession,
        to: SocketAddr,
        token: [u8; 16],
    ) {
        if let Some(datagram) = session.seal(env.now, Kind::Probe, &Frame::PathResponse { token }) {
            env.transmit(self.socket, to, datagram);
        }
    }

    /// The server has it on record.
    pub(super) fn registered(&mut self, now: Instant, observed: SocketAddr) {
        if self.public != Some(observed) {
            tracing::debug!(family = if observed.is_ipv6() { "IPv6" } else { "IPv4" }, "also reached by");
        }
        self.public = Some(observed);
        (self.next, self.tries) = (now + REFRESH, 0);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.next
    }
}
