//! Puts the laboratory together: a namespace for the lobby, one for each player, the NATs and the router between.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::link::Mtu;

use super::behind::{Behind, Inner};
use super::capture::Capture;
use super::counts::Counts;
use super::device::{Device, MTU, address_line};
use super::error::NetnsError;
use super::junk::{ATTACKER, Attacker};
use super::kernel_nat::{KernelRouter, LanSide};
use super::line::LineSettings;
use super::miniupnpd::{self, Served};
use super::namespace::Namespace;
use super::process::Program;
use super::router::{Cut, Middlebox, Order, Plans, RunningRouter, Site};
use super::side::{Addresses, Side, Stage};
use super::translate::Translator;

/// The lobby server has these two addresses, as RFC 5780 wants them.
pub const LOBBY: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 18, 0, 10), Ipv4Addr::new(198, 18, 0, 11)];

/// They are routers that forward ports on request, by their place among a player's kernel NATs.
type Services = Vec<(usize, Served)>;

/// What a laboratory is made of.
#[derive(Clone, Debug, Default)]
pub struct LabSettings {
    /// They are the NATs of the players, the left one first.
    pub sides: Vec<Side>,
    /// What the Internet does to packets.
    pub line: LineSettings,
    /// The attacker sends this many forged datagrams for each genuine one between two players.
    pub junk: u32,
    /// When what the players send to each other gets lost.
    pub cut: Option<Cut>,
    /// Decides every random choice of the emulated NATs and of the line.
    pub seed: u64,
    /// What stands before the lobby server.
    pub behind: Option<Behind>,
    /// Captures go to this directory; none: there are none.
    pub pcap: Option<PathBuf>,
}

/// It is a laboratory that runs. Everything in it is gone when it is dropped, or when this process ends.
pub struct Lab {
    /// Ends before the namespace that it stands behind.
    inner: Option<Inner>,
    lobby: Namespace,
    players: Vec<Namespace>,
    addresses: Vec<Present>,
    kernels: Vec<Vec<Namespace>>,
    /// They are, by player, the routers that forward ports on request, by their place among the player's kernel NATs.
    served: Vec<Services>,
    router: Option<RunningRouter>,
}

impl Lab {
    /// Builds it. The process must have [left the network](super::leave_the_network) before.
    pub fn new(settings: &LabSettings) -> Result<Self, NetnsError> {
        let pcap = settings.pcap.as_deref();
        let lobby = Namespace::new()?;
        let mut sites = vec![lobby_site(&lobby, pcap)?];
        let (mut players, mut kernels, mut all_served) = (Vec::new(), Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        for (index, side) in settings.sides.iter().enumerate() {
            let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
            let name =
                ["left", "right"].get(index).map_or_else(|| format!("player{number}"), |name| (*name).into());
            let namespace = Namespace::new()?;
            // Both sides must not draw alike.
            let seed = settings.seed.wrapping_add(u64::from(number) << 32);
            let (site, routers, served) = player_site(side, number, &name, &namespace, seed, pcap)?;
            addresses.push(Present { host: site.host_address, public: site.public.clone(), changes: 0 });
            sites.push(site);
            players.push(namespace);
            kernels.push(routers);
            all_served.push(served);
        }
        let attacker = if settings.junk > 0 {
            let (attacker, host) = Attacker::new(settings.junk, settings.seed)?;
            sites.push(Site {
                host,
                host_address: ATTACKER,
                boxes: Vec::new(),
                public: vec![ATTACKER],
                mtu: Mtu::default(),
                dead: false,
                captures: captures(pcap, "attacker", "attacker-line")?,
                counts: Counts::default(),
            });
            Some(attacker)
        } else {
            None
        };
        let inner = settings.behind.map(|behind| behind.build(&lobby)).transpose()?;
        let plans = Plans { line: settings.line, cut: settings.cut, attacker, seed: settings.seed };
        let router = RunningRouter::start(sites, players.len(), plans)?;
        Ok(Self { inner, lobby, players, addresses, kernels, served: all_served, router: Some(router) })
    }

    /// Returns the lobby server's namespace.
    pub fn lobby(&self) -> &Namespace {
        &self.lobby
    }

    /// Returns where the lobby server's program runs: in its namespace, or behind it.
    pub(crate) fn lobby_program(&self) -> &Namespace {
        self.inner.as_ref().map_or(&self.lobby, |inner| &inner.namespace)
    }

    /// Returns a player's namespace.
    pub fn player(&self, index: usize) -> &Namespace {
        &self.players[index]
    }

    /// Starts what forwards ports on request in the routers of all players; their logs go to this directory.
    pub(crate) fn start_services(&self, directory: &Path) -> Result<Vec<Program>, NetnsError> {
        let mut programs = Vec::new();
        for (player, (routers, served)) in self.kernels.iter().zip(&self.served).enumerate() {
            for (index, served) in served {
                let name = format!("miniupnpd-{player}-{index}");
                programs.push(miniupnpd::start(&routers[*index], *served, directory, &name)?);
            }
        }
        Ok(programs)
    }

    /// Has something happen to the lobby's (0) or a player's (1, 2) access line and NATs.
    pub(crate) fn order(&mut self, site: usize, order: Order) {
        if let Some(router) = &mut self.router {
            router.order(site, order);
        }
    }

    /// The provider gives a player's line other public addresses; with `network`, the player's machine gets another one of its
    /// own, too, as on another network. A machine without a NAT has the public one itself.
    pub(crate) fn change_address(&mut self, player: usize, network: bool) -> Result<(), NetnsError> {
        let known = &mut self.addresses[player];
        known.changes = known.changes.wrapping_add(1) % (u8::MAX / 2 - 1);
        // No two players ever share a network: the left one has odd numbers, the right one even ones.
        let third = (player as u8 + 1) + 2 * known.changes;
        let renumbered = |ip: Ipv4Addr| Ipv4Addr::new(ip.octets()[0], ip.octets()[1], third, ip.octets()[3]);
        let public: Vec<Ipv4Addr> = known.public.iter().map(|ip| renumbered(*ip)).collect();
        let natted = known.host.is_private();
        let host = if network || !natted { renumbered(known.host) } else { known.host };
        let moved = host != known.host;
        (known.host, known.public) = (host, public.clone());
        self.order(player + 1, Order::Public(public));
        if moved {
            self.order(player + 1, Order::Host(host));
            self.players[player].ip(&format!("address flush dev eth0\n{}", host_lines(host)))?;
        }
        Ok(())
    }

    /// Ends the traffic. The counts are those of the lobby, then of each player, then of the attacker.
    pub fn stop(mut self) -> Vec<Counts> {
        self.router.take().map(RunningRouter::stop).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(router) = self.router.take() {
            router.stop();
        }
    }
}

fn captures(
    directory: Option<&Path>,
    lan: &str,
    wan: &str,
) -> Result<Option<(Capture, Capture)>, NetnsError> {
    directory
        .map(|directory| Ok((Capture::create(directory, lan)?, Capture::create(directory, wan)?)))
        .transpose()
}

fn lobby_site(namespace: &Namespace, pcap: Option<&Path>) -> Result<Site, NetnsError> {
    let host = Device::new(namespace, "wan0")?;
    let addresses: String = LOBBY.iter().map(|address| address_line("wan0", *address, 32)).collect();
    namespace.ip(&format!("{addresses}route add default dev wan0\n"))?;
    Ok(Site {
        host,
        host_address: LOBBY[0],
        boxes: Vec::new(),
        public: LOBBY.to_vec(),
        mtu: Mtu::default(),
        dead: false,
        captures: captures(pcap, "lobby", "lobby-line")?,
        counts: Counts::default(),
    })
}

fn player_site(
    side: &Side,
    number: u8,
    name: &str,
    namespace: &Namespace,
    seed: u64,
    pcap: Option<&Path>,
) -> Result<(Site, Vec<Namespace>, Services), NetnsError> {
    let Addresses { host, external, public } = side.addresses(number);
    let own = side.narrow.filter(|narrow| narrow.own).map_or(MTU, |narrow| narrow.mtu.bytes);
    let device = Device::with_mtu(namespace, "eth0", own)?;
    namespace.ip(&host_lines(host))?;
    let (mut routers, mut served) = (Vec::new(), Vec::new());
    let mut boxes = Vec::new();
    // What lies behind the next box.
    let mut inside = vec![host];
    for (index, stage) in side.stages.iter().enumerate() {
        boxes.push(match stage {
            Stage::Emulated(config) => {
                let outer = if config.translates() { &external[index] } else { &inside };
                Middlebox::Emulated(Box::new(Translator::new(config, outer, seed.wrapping_add(index as u64))))
            }
            Stage::Kernel(nat) => {
                let lan = LanSide { router: gateway(inside[0]), hosts: inside.clone() };
                let KernelRouter { namespace, lan, wan } = nat.build(&lan, external[index][0])?;
                if nat.service.any() {
                    let served_here =
                        Served { service: nat.service, router: gateway(inside[0]), public: public[0] };
                    served.push((routers.len(), served_here));
                }
                routers.push(namespace);
                Middlebox::Kernel { lan, wan }
            }
        });
        if !external[index].is_empty() {
            inside.clone_from(&external[index]);
        }
    }
    let captures = captures(pcap, &format!("{name}-lan"), &format!("{name}-wan"))?;
    let mtu = side.narrow.filter(|narrow| !narrow.own).map(|narrow| narrow.mtu).unwrap_or_default();
    let site = Site {
        host: device,
        host_address: host,
        boxes,
        public,
        mtu,
        dead: false,
        captures,
        counts: Counts::default(),
    };
    Ok((site, routers, served))
}

/// Returns the `ip` lines that give a player's machine its address and its way out.
fn host_lines(host: Ipv4Addr) -> String {
    if host.is_private() {
        let gateway = gateway(host);
        format!("{}route add default via {gateway} dev eth0\n", address_line("eth0", host, 24))
    } else {
        format!("{}route add default dev eth0\n", address_line("eth0", host, 32))
    }
}

/// This is a player's present addresses.
#[derive(Clone, Debug)]
struct Present {
    host: Ipv4Addr,
    public: Vec<Ipv4Addr>,
    /// How often they have changed.
    changes: u8,
}

/// Returns the router's address in a machine's network.
pub(crate) fn gateway(host: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = host.octets();
    if host.is_private() { Ipv4Addr::new(a, b, c, 1) } else { Ipv4Addr::new(a, b, c, 254) }
}
