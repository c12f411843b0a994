//! What passed, in lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use traversal_core::wire::Kind;
use traversal_core::wire::message::Role;
use traversal_core::{Event, Said};

use super::Line;
use super::names::{self, Sender};
use crate::lobby;
use crate::scenario::PairWorld;
use crate::world::{Fate, HostId, NatId, Packet};

struct Passed {
    at: Duration,
    fate: Fate,
    src: SocketAddr,
    dst: SocketAddr,
    ttl: u8,
    payload: Vec<u8>,
}

/// What a tap has seen and nobody has looked at yet.
#[derive(Clone, Default)]
pub(super) struct Captured(Rc<RefCell<Vec<Passed>>>);

impl Captured {
    pub(super) fn note(&self, fate: Fate, packet: &Packet<'_>) {
        // What a NAT lets pass is told where it arrives.
        if matches!(fate, Fate::Out(_) | Fate::In(_)) {
            return;
        }
        let (src, dst, ttl) = (packet.header.src, packet.header.dst, packet.header.ttl);
        self.0.borrow_mut().push(Passed {
            at: packet.at,
            fate,
            src,
            dst,
            ttl,
            payload: packet.payload.to_vec(),
        });
    }
}

/// It holds everything that passed, with its name as soon as somebody can open it.
pub(super) struct Packets {
    left: HostId,
    right: HostId,
    server: HostId,
    left_nats: Vec<NatId>,
    right_nats: Vec<NatId>,
    passed: Vec<Passed>,
    names: BTreeMap<Vec<u8>, String>,
    /// They were sent, and are not opened yet, with their sender, and where they went from and to.
    sealed: Vec<(Vec<u8>, HostId, [SocketAddr; 2])>,
    senders: [Sender; 2],
}

impl Packets {
    pub(super) fn of(pair: &PairWorld) -> Self {
        Self {
            left: pair.left,
            right: pair.right,
            server: pair.server,
            left_nats: pair.left_nats.clone(),
            right_nats: pair.right_nats.clone(),
            passed: Vec::new(),
            names: BTreeMap::new(),
            sealed: Vec::new(),
            senders: [Sender::default(), Sender::default()],
        }
    }

    /// Takes what was captured since, and opens what those who are meant by it can open by now.
    pub(super) fn take(&mut self, pair: &PairWorld, captured: &Captured) {
        for (sender, host) in self.senders.iter_mut().zip([pair.left, pair.right]) {
            let role = |(_, event): &(_, Event)| match event {
                Event::Plan { role, .. } => Some(*role),
                _ => None,
            };
            sender.sends_bubbles =
                pair.player(host).events.iter().rev().find_map(role) == Some(Role::Sending);
        }
        for passed in captured.0.borrow_mut().drain(..) {
            if let Fate::Sent(host) = passed.fate {
                self.sealed.push((passed.payload.clone(), host, [passed.src, passed.dst]));
            }
            self.passed.push(passed);
        }
        let sealed = std::mem::take(&mut self.sealed);
        for (payload, host, way) in sealed {
            match self.name(pair, &payload, host, way) {
                Some(name) => drop(self.names.insert(payload, name)),
                None => self.sealed.push((payload, host, way)),
            }
        }
    }

    fn name(
        &mut self,
        pair: &PairWorld,
        payload: &[u8],
        host: HostId,
        [src, dst]: [SocketAddr; 2],
    ) -> Option<String> {
        let sender = match host {
            host if host == self.left => &mut self.senders[0],
            host if host == self.right => &mut self.senders[1],
            _ => {
                // The server's: one of the two can open it.
                let said = [pair.left, pair.right].iter().find_map(|host| pair.player(*host).read(payload));
                return names::handshake(payload)
                    .map(str::to_owned)
                    .or_else(|| said.map(|said| names::to_player(&said)));
            }
        };
        if let Some(name) = names::handshake(payload) {
            return Some(name.into());
        }
        if Kind::of(payload) == Some(Kind::Probe) && !lobby::ADDRESSES.contains(&dst.ip()) {
            // To itself: does its NAT turn packets round?
            return Some("hairpin test".into());
        }
        let own = pair.world.local(host, 0) == Some(src);
        if let Some(frame) = pair.world.node(pair.server).lobby().and_then(|lobby| lobby.read(payload)) {
            return Some(sender.for_server(&frame, [src, dst], own));
        }
        let other = if host == self.left { self.right } else { self.left };
        if let Some(said) = pair.player(other).read(payload) {
            return Some(match said {
                // The server passes it on as it is.
                Said::Relayed(inner) => format!("by way of the relay: {}", sender.for_peer(&inner)),
                said => sender.for_peer(&said),
            });
        }
        None
    }

    fn side(&self, host: HostId) -> Option<&'static str> {
        match host {
            host if host == self.left => Some("host"),
            host if host == self.right => Some("joiner"),
            host if host == self.server => Some("server"),
            _ => None,
        }
    }

    fn nat(&self, nat: NatId) -> &'static str {
        if self.left_nats.contains(&nat) && self.right_nats.contains(&nat) {
            "the common NAT"
        } else if self.left_nats.contains(&nat) {
            "the host's NAT"
        } else {
            "the joiner's NAT"
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.passed.iter().filter_map(|passed| self.line(passed)).map(|(at, who, text)| Line {
            at,
            who,
            text,
        })
    }

    fn line(&self, passed: &Passed) -> Option<(Duration, &'static str, String)> {
        let server = |address: SocketAddr| lobby::ADDRESSES.contains(&address.ip());
        let Passed { at, fate, src, dst, ttl, payload } = passed;
        let name = self.names.get(payload).map_or("sealed", String::as_str);
        let (who, text) = match fate {
            // What it answers is told where it arrives.
            Fate::Sent(host) if *host == self.server => return None,
            Fate::Sent(host) => {
                let ttl = if *ttl < 64 { format!(" (TTL {ttl})") } else { String::new() };
                let to = if server(*dst) { format!("server {dst}") } else { dst.to_string() };
                (self.side(*host)?, format!("--> {to} from {src}{ttl}: {name}"))
            }
            // Where it is seen matters of probes only.
            Fate::Delivered(host) if *host == self.server => {
                if !name.contains("probe") {
                    return None;
                }
                ("server", format!("sees {src}: {name}"))
            }
            Fate::Delivered(host) => {
                let from = if server(*src) { format!("server {src}") } else { src.to_string() };
                (self.side(*host)?, format!("<-- {from}: {name}"))
            }
            Fate::Dropped(nat, reason) => {
                let who = if self.left_nats.contains(nat) { "host" } else { "joiner" };
                (who, format!("x   {src} -> {dst} dropped by {}: {} ({name})", self.nat(*nat), reason.name()))
            }
            Fate::Lost => ("", format!("x   {src} -> {dst} lost on the way ({name})")),
            Fate::TooLong => ("", format!("x   {src} -> {dst} is too long for a link ({name})")),
            Fate::Expired => ("", format!("x   {src} -> {dst} died of its TTL, as meant ({name})")),
            _ => return None,
        };
        Some((*at, who, text))
    }
}
