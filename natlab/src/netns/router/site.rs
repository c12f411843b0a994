//! What the router is made of, and what it can be told to do: sites, with their NATs and access lines.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::link::Mtu;
use crate::netns::capture::Capture;
use crate::netns::counts::Counts;
use crate::netns::device::Device;
use crate::netns::junk::Attacker;
use crate::netns::line::LineSettings;
use crate::netns::translate::Translator;

/// When what the players send to each other gets lost, with nobody told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// It begins this long after the first packet that went from one player to the other.
    pub after: Duration,
    /// It lasts this long; for good where not given.
    pub length: Option<Duration>,
}

/// It is something that happens to a site while packets flow.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// The access line is dead, or not any more.
    Dead(bool),
    /// All emulated NATs forget everything.
    Reboot,
    /// The Internet routes these addresses here instead of the present ones.
    Public(Vec<Ipv4Addr>),
    /// The machine has this address now.
    Host(Ipv4Addr),
    /// The line takes no longer packets than this.
    Mtu(Mtu),
}

/// What the router does beyond forwarding.
pub(crate) struct Plans {
    pub(crate) line: LineSettings,
    pub(crate) cut: Option<Cut>,
    pub(crate) attacker: Option<Attacker>,
    pub(crate) seed: u64,
}

/// This is a box of a side, at work.
pub(crate) enum Middlebox {
    Emulated(Box<Translator>),
    Kernel { lan: Device, wan: Device },
}

/// It is a side as the router knows it.
pub(crate) struct Site {
    pub(crate) host: Device,
    pub(crate) host_address: Ipv4Addr,
    pub(crate) boxes: Vec<Middlebox>,
    pub(crate) public: Vec<Ipv4Addr>,
    /// It is the longest UDP packet that its access line takes, either way: routers make TCP's segments short enough,
    /// as they do on lines that are so (by changing the MSS option).
    pub(crate) mtu: Mtu,
    /// Nothing passes its access line now.
    pub(crate) dead: bool,
    /// This is the machine's own cable, and the access line outside of its NATs.
    pub(crate) captures: Option<(Capture, Capture)>,
    pub(crate) counts: Counts,
}

impl Site {
    /// Returns the laboratory's own NATs, the innermost first.
    pub(super) fn emulated(&mut self) -> impl Iterator<Item = &mut Translator> {
        self.boxes.iter_mut().filter_map(|one| match one {
            Middlebox::Emulated(nat) => Some(&mut **nat),
            Middlebox::Kernel { .. } => None,
        })
    }

    /// Returns the site's counts, at the end.
    pub(super) fn finish(mut self) -> Counts {
        let emulated = |one: &Middlebox| match one {
            Middlebox::Emulated(nat) => Some(nat.counters().mappings),
            Middlebox::Kernel { .. } => None,
        };
        self.counts.emulated_mappings = self.boxes.iter().rev().find_map(emulated);
        self.counts
    }
}
