//! The Internet of the laboratory, in this process: reads what the machines send from their TUN devices, takes it
//! through the NATs and over the line, and gives it to the machine that it is for. Nothing else is reachable.

mod running;
mod site;

use std::io::{PipeReader, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use traversal_core::wire::Kind as Frame;

use super::counts::Counts;
use super::device::Device;
use super::ipv4::{Ipv4, Kind, Protocol, Unreadable, fragmentation_needed, time_exceeded};
use super::junk::Attacker;
use super::lab::gateway;
use super::line::Line;
use super::translate::{Passage, Translator};
pub(crate) use running::RunningRouter;
pub use site::Cut;
pub(crate) use site::{Middlebox, Order, Plans, Site};

/// There are this many routers between two access lines: more than the TTL that openers are given so that they die on
/// the way (up to 7 in the programs that are known), fewer than any system's first TTL.
pub const HOPS: u8 = 8;

/// ICMP errors come out of the Internet from this address.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The first site is the lobby server's, then come the players', and last the attacker's where there is one.
const LOBBY_SITE: usize = 0;

/// Where UPnP devices are searched.
const SSDP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);

/// The router takes this many packets from one device before the others get their turn.
const BURST: usize = 32;

/// When the run is over, what is still under way arrives, if it takes no longer than this.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// Where a packet came out of a device.
#[derive(Clone, Copy, Debug)]
enum Place {
    Host(usize),
    Lan(usize, usize),
    Wan(usize, usize),
}

struct Router {
    sites: Vec<Site>,
    /// This many sites are players': those after the lobby's.
    players: usize,
    line: Line,
    attacker: Option<Attacker>,
    cut: Option<Cut>,
    /// When the first packet went from one player to the other.
    first_direct: Option<Duration>,
    ordered: Receiver<(usize, Order)>,
    start: Instant,
    start_since_epoch: Duration,
    /// The packet in hand came at this time since the start.
    now: Duration,
}

impl Router {
    fn run(mut self, woken: &PipeReader) -> Vec<Counts> {
        let places = self.places();
        let mut buffer = vec![0; 65_536];
        let mut end = None;
        while !end.is_some_and(|end| self.line.next_due().is_none() || self.now >= end) {
            let (readable, woke) = self.wait(&places, woken, end.is_some());
            let stop = woke && Self::is_stopped(woken);
            self.obey();
            for place in readable {
                for _ in 0..BURST {
                    // A device that fails has lost its namespace: it is as silent as one without traffic.
                    let Ok(Some(length)) = self.device(place).receive(&mut buffer) else { break };
                    self.now = self.start.elapsed();
                    self.take_in(place, &mut buffer[..length]);
                    self.deliver();
                }
            }
            self.now = self.start.elapsed();
            self.deliver();
            if stop {
                end = Some(self.now + LAST_PACKETS);
            }
        }
        self.sites.into_iter().map(Site::finish).collect()
    }

    /// Whether the other end of the pipe is closed.
    fn is_stopped(mut woken: &PipeReader) -> bool {
        let mut bytes = [0; 64];
        !matches!(woken.read(&mut bytes), Ok(1..))
    }

    fn obey(&mut self) {
        while let Ok((site, order)) = self.ordered.try_recv() {
            let Some(site) = self.sites.get_mut(site) else { continue };
            match order {
                Order::Dead(dead) => site.dead = dead,
                Order::Mtu(mtu) => site.mtu = mtu,
                Order::Reboot => site.emulated().for_each(Translator::reboot),
                Order::Public(public) => {
                    site.emulated().last().into_iter().for_each(|nat| nat.change_address(&public));
                    site.public = public;
                }
                Order::Host(address) => site.host_address = address,
            }
        }
    }

    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (site, known) in self.sites.iter().enumerate() {
            places.push(Place::Host(site));
            for (index, one) in known.boxes.iter().enumerate() {
                if matches!(one, Middlebox::Kernel { .. }) {
                    places.extend([Place::Lan(site, index), Place::Wan(site, index)]);
                }
            }
        }
        places
    }

    fn device(&self, place: Place) -> &Device {
        let (site, index) = match place {
            Place::Host(site) => (site, usize::MAX),
            Place::Lan(site, index) | Place::Wan(site, index) => (site, index),
        };
        match (place, self.sites[site].boxes.get(index)) {
            (Place::Lan(..), Some(Middlebox::Kernel { lan, .. })) => lan,
            (Place::Wan(..), Some(Middlebox::Kernel { wan, .. })) => wan,
            _ => &self.sites[site].host,
        }
    }

    /// Waits for packets or for the next arrival; tells the devices that have some, and whether somebody woke it.
    fn wait(&self, places: &[Place], woken: &PipeReader, ending: bool) -> (Vec<Place>, bool) {
        let mut waiting: Vec<PollFd<'_>> =
            places.iter().map(|place| PollFd::new(self.device(*place).as_fd(), PollFlags::POLLIN)).collect();
        if !ending {
            waiting.push(PollFd::new(woken.as_fd(), PollFlags::POLLIN));
        }
        let timeout =
            self.line.next_due().map(|due| TimeSpec::from(due.saturating_sub(self.start.elapsed())));
        if ppoll(&mut waiting, timeout, None).is_err() {
            return (Vec::new(), false);
        }
        let ready = |poll: &PollFd<'_>| poll.revents().is_some_and(|events| !events.is_empty());
        let readable = places.iter().zip(&waiting).filter(|(_, poll)| ready(poll)).map(|(place, _)| *place);
        (readable.collect(), !ending && waiting.last().is_some_and(ready))
    }

    fn deliver(&mut self) {
        while let Some((site, mut bytes)) = self.line.arrived(self.now) {
            let length = bytes.len();
            if let Ok(packet) = Ipv4::parse(&mut bytes) {
                self.sites[site].counts.received(self.now, &packet, length);
            }
            self.capture(site, true, &bytes);
            let outermost = self.sites[site].boxes.len();
            self.inward(site, outermost, &mut bytes);
            self.line.recycle(bytes);
        }
    }

    fn take_in(&mut self, place: Place, bytes: &mut [u8]) {
        if bytes.len() < 20 || bytes[0] >> 4 != 4 {
            return;
        }
        match place {
            Place::Host(site) => {
                self.capture(site, false, bytes);
                if self.stays_on_the_lan(site, bytes) {
                    self.sites[site].counts.dropped("local");
                    return;
                }
                if self.to_another_player(site, bytes) {
                    self.sites[site].counts.to_players += 1;
                }
                self.outward(site, 0, bytes);
            }
            Place::Lan(site, index) => self.inward(site, index, bytes),
            Place::Wan(site, index) => self.outward(site, index + 1, bytes),
        }
    }

    /// Multicast, and what is for the local network: there is nobody else, and a NAT never sees it. But a router of the
    /// kernel's is there itself, and hears the search for UPnP devices.
    fn stays_on_the_lan(&self, site: usize, bytes: &[u8]) -> bool {
        let &[a, b, c, d] = &bytes[16..20] else { return true };
        let to = Ipv4Addr::new(a, b, c, d);
        let host = self.sites[site].host_address;
        let router = matches!(self.sites[site].boxes.first(), Some(Middlebox::Kernel { .. }));
        if router && (to == gateway(host) || to == SSDP) {
            return false;
        }
        to.is_multicast()
            || to.is_broadcast()
            || (host.is_private() && to.octets()[..3] == host.octets()[..3])
    }

    fn is_player(&self, site: usize) -> bool {
        site != LOBBY_SITE && site <= self.players
    }

    /// Tells whether a packet goes to another player, by the address that the program wrote on it, whatever its NATs
    /// make of it.
    fn to_another_player(&self, site: usize, bytes: &[u8]) -> bool {
        let &[a, b, c, d] = &bytes[16..20] else { return false };
        let to = Ipv4Addr::new(a, b, c, d);
        let other = |index: usize, known: &Site| {
            index != site && self.is_player(index) && (known.host_address == to || known.public.contains(&to))
        };
        self.is_player(site) && self.sites.iter().enumerate().any(|(index, known)| other(index, known))
    }

    /// Whether what the players send to each other gets lost now.
    fn is_cut(&mut self) -> bool {
        let first = *self.first_direct.get_or_insert(self.now);
        self.cut.is_some_and(|cut| {
            let begins = first + cut.after;
            self.now >= begins && cut.length.is_none_or(|length| self.now < begins + length)
        })
    }

    /// Passes a packet from the inside of box `index` towards the Internet.
    fn outward(&mut self, site: usize, index: usize, bytes: &mut [u8]) {
        let start = self.now;
        let side = &mut self.sites[site];
        let mut packet = match Ipv4::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return side.counts.dropped(unreadable(error)),
        };
        for index in index..side.boxes.len() {
            match &mut side.boxes[index] {
                Middlebox::Kernel { lan, .. } => return drop(lan.send(bytes)),
                Middlebox::Emulated(nat) => match nat.outward(start, &mut packet) {
                    Passage::Onward => {}
                    Passage::Turned => return self.inward(site, index, bytes),
                    Passage::Dropped(reason) => {
                        side.counts.dropped(reason);
                        let from = nat.address();
                        if reason == "ttl-expired"
                            && let Some(mut error) = time_exceeded(bytes, from)
                        {
                            self.inward(site, index, &mut error);
                        }
                        return;
                    }
                },
            }
        }
        self.cross(site, bytes);
    }

    /// Sends a packet over the Internet.
    fn cross(&mut self, from: usize, bytes: &mut [u8]) {
        self.capture(from, true, bytes);
        let length = bytes.len();
        let counts = &mut self.sites[from].counts;
        let Ok(mut packet) = Ipv4::parse(bytes) else { return };
        counts.sent(self.now, &packet, length);
        let to = *packet.destination().ip();
        let is_udp = packet.kind() == Some(Kind::Flow(Protocol::Udp));
        for _ in 0..HOPS {
            if !packet.take_hop() {
                counts.expired += 1;
                if let Some(error) = time_exceeded(bytes, ROUTER) {
                    self.line.send(self.now, from, &error);
                }
                return;
            }
        }
        if self.sites[from].dead {
            self.sites[from].counts.cut += 1;
            return;
        }
        let too_long = |site: &Site| is_udp && length > usize::from(site.mtu.bytes);
        if too_long(&self.sites[from]) {
            return self.refuse(from, from, bytes);
        }
        let relayed = is_udp && packet.payload().first() == Some(&(Frame::Relay as u8));
        let Some(site) = self.sites.iter().position(|site| site.public.contains(&to)) else {
            self.sites[from].counts.unroutable += 1;
            return;
        };
        if self.sites[site].dead {
            self.sites[site].counts.cut += 1;
            return;
        }
        if too_long(&self.sites[site]) {
            return self.refuse(from, site, bytes);
        }
        if relayed && (from == LOBBY_SITE || site == LOBBY_SITE) {
            self.sites[from].counts.relayed += 1;
        }
        if !self.is_player(from) && from != LOBBY_SITE {
            self.sites[site].counts.forged += 1;
        } else if self.is_player(from) && self.is_player(site) {
            if self.is_cut() {
                self.sites[from].counts.cut += 1;
                return;
            }
            if let Some(attacker) = self.attacker.as_mut().filter(|_| is_udp) {
                attacker.saw(bytes);
            }
        }
        if !self.line.send(self.now, site, bytes) {
            self.sites[from].counts.lost += 1;
        }
    }

    /// The line at `site` does not take this packet of `from`'s: its router says so, or does not.
    fn refuse(&mut self, from: usize, site: usize, bytes: &[u8]) {
        let mtu = self.sites[site].mtu;
        self.sites[from].counts.dropped("too-long");
        if let Some(error) = fragmentation_needed(bytes, ROUTER, mtu.bytes).filter(|_| mtu.icmp) {
            self.line.send(self.now, from, &error);
        }
    }

    /// Passes a packet from the outside of box `index - 1` towards the machine.
    fn inward(&mut self, site: usize, index: usize, bytes: &mut [u8]) {
        let side = &mut self.sites[site];
        let mut packet = match Ipv4::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => return side.counts.dropped(unreadable(error)),
        };
        for index in (0..index).rev() {
            match &mut side.boxes[index] {
                Middlebox::Kernel { wan, .. } => return drop(wan.send(bytes)),
                Middlebox::Emulated(nat) => match nat.inward(self.now, &mut packet) {
                    Passage::Onward | Passage::Turned => {}
                    Passage::Dropped(reason) => return side.counts.dropped(reason),
                },
            }
        }
        self.capture(site, false, bytes);
        // A full receive queue drops it, as a network card would.
        let _ = self.sites[site].host.send(bytes);
    }

    fn capture(&mut self, site: usize, outside: bool, bytes: &[u8]) {
        if let Some((lan, wan)) = &mut self.sites[site].captures {
            let file = if outside { wan } else { lan };
            file.packet(self.start_since_epoch + self.now, bytes);
        }
    }
}

fn unreadable(error: Unreadable) -> &'static str {
    match error {
        Unreadable::Malformed => "malformed",
        Unreadable::Fragment => "fragment",
        Unreadable::Protocol => "protocol",
    }
}
