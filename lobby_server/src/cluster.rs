//! The registry that several nodes share, in Redis or Valkey.
//!
//! The core wants something of it; a thread ([`driver`]) has Redis do it, by scripts ([`scripts`]) that each mean what an
//! operation of the registry in memory means. What Redis knows of a room is its name, its code, what listings say of it, and
//! which node has it; of a player, at which node it is.

mod driver;
mod entries;
mod jobs;
mod link;
mod numbers;
mod outbox;
mod scripts;
#[cfg(test)]
mod tests;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::{Duration, Instant};

use mio::Waker;
use redis::ConnectionInfo;
use sha2::{Digest, Sha256};

use crate::key;
use crate::registry::{MemoryRegistry, RegistryCommand, RegistryDown, RegistryOperation, RegistryReply};
use crate::server::Server;
use crate::udp::Bound;
use driver::{Driver, State};
pub use entries::Stranger;
use jobs::{Event, Identifying, Job, Order};
pub use link::Unfit;
pub(crate) use link::shown;
use link::{About, Link, LinkError};
pub use numbers::RegistryNumbers;
use numbers::Shared;
use outbox::{NoRoom, Outbox};
use words::Words;

/// So many orders of the core wait for the driver.
const WAITING: usize = 65_536;
/// The others are told so often how many players are here.
const SITE: Duration = Duration::from_millis(500);
/// The end waits so long for this node's leave of the others.
const LEAVE: Duration = Duration::from_millis(1500);

/// This is where rooms are known.
#[derive(Debug)]
pub(crate) enum NodeRegistry {
    /// Only in this process.
    Memory(MemoryRegistry),
    /// In Redis, to all nodes.
    Shared(Cluster),
}

impl NodeRegistry {
    /// Has the registry do what the core wants, and tells the core what is new.
    pub(crate) fn turn(&mut self, now: Instant, server: &mut Server) {
        match self {
            Self::Memory(registry) => server.turn_registry(now, registry),
            Self::Shared(cluster) => cluster.turn(now, server),
        }
    }

    /// Returns how it is doing.
    pub(crate) fn numbers(&self) -> RegistryNumbers {
        match self {
            Self::Memory(_) => RegistryNumbers::of_memory(),
            Self::Shared(cluster) => cluster.shared.numbers(),
        }
    }
}

/// This is the core's end of a shared registry. Dropping it takes this node's leave of the others.
pub(crate) struct Cluster {
    outbox: Outbox,
    events: Receiver<Event>,
    shared: Shared,
    site_at: Option<Instant>,
    ended: Receiver<()>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("up", &self.shared.is_up()).finish_non_exhaustive()
    }
}

/// This is the registry that is in this process.
pub(crate) const MEMORY: &str = "memory";

/// Reads the setting: where Redis is; none: the registry is in this process.
///
/// # Errors
/// It is neither.
pub(crate) fn address(setting: &str) -> Result<Option<ConnectionInfo>, RegistryError> {
    if setting == MEMORY {
        return Ok(None);
    }
    link::address(setting).map(Some).map_err(RegistryError::Address)
}

/// Draws a node's number.
///
/// # Errors
/// There is no randomness.
pub(crate) fn draw_node() -> Result<u64, RegistryError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key::entropy()?[..8]);
    // 0 is the node of a registry in memory.
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// Returns where players log in to these sockets, as the other nodes tell them: one address of each family.
pub(crate) fn told(sockets: &[Bound]) -> Vec<SocketAddr> {
    let first = sockets
        .iter()
        .map(|bound| &bound.about)
        .filter(|about| !about.second_address && !about.second_port && !about.stream);
    let known =
        first.map(|about| SocketAddr::new(about.public.unwrap_or(about.local.ip()), about.local.port()));
    let known: Vec<SocketAddr> = known.filter(|at| !at.ip().is_unspecified()).collect();
    let of = |v4| known.iter().find(|at| at.is_ipv4() == v4).copied();
    [of(true), of(false)].into_iter().flatten().collect()
}

/// This is what a node brings along to a registry.
pub(crate) struct Member {
    /// The node has this number.
    pub(crate) node: u64,
    /// Players log in to it at these addresses.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Players know it by this key.
    pub(crate) public_key: [u8; 32],
}

impl Member {
    /// What stands for a key in Redis need not tell it.
    fn identifying(&self) -> Result<Identifying, key::KeyError> {
        let digest = Sha256::new().chain_update(b"bevy_traversal registry").chain_update(self.public_key);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let fingerprint = hex(&digest.finalize()[..16]);
        Ok(Identifying { node: self.node, key: fingerprint, era: hex(&key::entropy()?[..16]) })
    }
}

impl Cluster {
    /// Begins to speak to Redis, which need not be there.
    pub(crate) fn start(
        address: ConnectionInfo,
        member: &Member,
        waker: Arc<Waker>,
    ) -> Result<Self, RegistryError> {
        let (cluster, work) = Self::prepare(address, member, waker, WAITING)?;
        std::thread::Builder::new().name("lobby_registry".into()).spawn(work)?;
        Ok(cluster)
    }

    /// Makes the core's end, and the work of the thread that speaks to Redis, for which so many orders may wait.
    fn prepare(
        address: ConnectionInfo,
        member: &Member,
        waker: Arc<Waker>,
        waiting: usize,
    ) -> Result<(Self, impl FnOnce() + Send + use<>), RegistryError> {
        let (orders, taken) = sync_channel(waiting);
        let (told, events) = channel();
        let (end, ended) = channel();
        let shared = Shared::new(waker, member.node, member.addresses.clone());
        let driver = Driver {
            address,
            own: member.identifying()?,
            orders: taken,
            events: told,
            shared: shared.clone(),
            state: State::default(),
            words: Words::default(),
        };
        let work = move || {
            driver.run();
            // Nobody may be waiting.
            let _ = end.send(());
        };
        let outbox = Outbox::new(orders);
        Ok((Self { outbox, events, shared, site_at: None, ended }, work))
    }

    fn turn(&mut self, now: Instant, server: &mut Server) {
        if self.site_at.is_none_or(|at| at <= now) {
            self.site_at = Some(now + SITE);
            self.shared.set_site(server.gauges().sessions, !server.takes_players());
        }
        self.outbox.go_on();
        loop {
            while let Some(command) = server.poll_registry() {
                self.order(now, server, command);
            }
            match self.events.try_recv() {
                Ok(Event::Reply(id, reply)) => server.handle_registry_reply(now, id, reply),
                Ok(Event::Note(note)) => server.handle_registry_note(now, note),
                Err(_) => break,
            }
        }
    }

    /// Has a command carried out. What only tells something is answered at once: the driver sees to it that Redis hears of it.
    fn order(&mut self, now: Instant, server: &mut Server, command: RegistryCommand) {
        let id = command.id;
        let asks = matches!(
            command.operation,
            RegistryOperation::Claim(_)
                | RegistryOperation::Find { .. }
                | RegistryOperation::Changes { .. }
                | RegistryOperation::Locate(_)
                | RegistryOperation::Post { .. }
        );
        if asks && !self.shared.is_up() {
            self.shared.count_failure(1);
            return server.handle_registry_reply(now, id, Err(RegistryDown));
        }
        if let Err(NoRoom) = self.outbox.send(Order::of(command)) {
            self.shared.count_failure(1);
            return server.handle_registry_reply(now, id, Err(RegistryDown));
        }
        if !asks {
            server.handle_registry_reply(now, id, Ok(RegistryReply::Done));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.outbox.end() {
            // Later than that, the others find out themselves.
            let _ = self.ended.recv_timeout(LEAVE);
        }
    }
}

/// The registry cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The setting is wrong.
    #[error("registry: {0}")]
    Address(String),
    /// There is no randomness.
    #[error(transparent)]
    Key(#[from] key::KeyError),
    /// There is no thread.
    #[error("the system gives no thread")]
    Io(#[from] std::io::Error),
    /// This Redis cannot keep rooms.
    #[error("the registry at {registry} cannot be used: {cause}")]
    Unfit {
        /// It is there.
        registry: String,
        /// This is wrong with it.
        cause: Unfit,
    },
    /// The other nodes do not take this one in.
    #[error("this node does not fit to the others of its registry: {0}")]
    Stranger(Stranger),
}

/// This is what is found out about a registry before it is used.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// It is there and fits.
    Fine(About),
    /// It is not there.
    Away(String),
}

/// Looks whether Redis is there, and whether this node could take part. It says nothing there of this node.
///
/// # Errors
/// Redis is there, and cannot be used, or not by this node.
pub(crate) fn look(address: &ConnectionInfo, member: &Member) -> Result<Outlook, RegistryError> {
    let about = (|| {
        let mut link = Link::open(address)?;
        let about = link.about()?;
        about.judge()?;
        let call = Job::fits(&member.identifying().map_err(|_| LinkError::Nonsense)?);
        let reply = link::fine(link.run(&[call])?.pop().ok_or(LinkError::Nonsense)?)?;
        Ok((about, entries::read_pulse(&reply)))
    })();
    match about {
        Ok((_, Some(Err(stranger)))) => Err(RegistryError::Stranger(stranger)),
        Ok((about, _)) => Ok(Outlook::Fine(about)),
        Err(LinkError::Unfit(cause)) => Err(RegistryError::Unfit { registry: shown(address), cause }),
        Err(error) => Ok(Outlook::Away(crate::check::chain(&error))),
    }
}
