//! Names of lobby servers, resolved on threads of their own: a resolver may take as long as it likes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use traversal_core::HostPort;
use traversal_core::address::canonical;
use traversal_core::classify::RttEstimate;

/// Turns a name into addresses. May block.
pub trait Resolve: Send + Sync {
    /// Returns all A and AAAA records of `host`, with `port`.
    ///
    /// # Errors
    /// It returns the resolver's own errors.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// This is the operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// At most this many threads may wait for a resolver at a time; one that hangs keeps its thread until it answers.
const MAX_THREADS: usize = 16;
/// The first wait before a name is tried again is this long; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(2);
/// No wait before another try is longer; see [`RETRY_MIN`]. The agent's backoff for logins ends there too.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// A name is not resolved anew more often than so while its server does not answer.
const REFRESH: Duration = Duration::from_secs(10);
/// A slow resolver is waited for as long as this many of its former answers took.
const ANSWERS: u32 = 2;
/// At most this many addresses are tried at a time; those of names with more get their turn when these do not answer.
const MAX_ADDRESSES: usize = 16;

/// This is what became of the names of the lobby servers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The servers are reached at these addresses: connect to them.
    Addresses(Vec<SocketAddr>),
    /// The servers that were connected to are reached at these by now.
    Moved(Vec<SocketAddr>),
    /// There is nothing to connect to; another try follows after this wait.
    Failed { reason: String, retry_in: Duration },
}

struct Pending {
    answers: Receiver<(usize, io::Result<Vec<SocketAddr>>)>,
    open: usize,
    found: Vec<Vec<SocketAddr>>,
    errors: Vec<String>,
    since: Instant,
    deadline: Instant,
    reported: bool,
}

/// These are the names of one lobby and what they resolved to.
pub(crate) struct Names {
    resolver: Arc<dyn Resolve>,
    timeout: Duration,
    /// This is how long the resolver takes: one behind a far or lossy link is given its time from its first answer
    /// on.
    timing: RttEstimate,
    waker: Arc<Waker>,
    threads: Arc<AtomicUsize>,
    v6: bool,
    targets: Vec<HostPort>,
    /// This says which target each address was found for.
    owners: BTreeMap<SocketAddr, usize>,
    given: Vec<SocketAddr>,
    /// These are the addresses that were given before and did not answer.
    tried: BTreeSet<SocketAddr>,
    pending: Option<Pending>,
    retry_at: Option<Instant>,
    backoff: Duration,
    resolved_at: Option<Instant>,
}

impl Names {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, timeout: Duration, waker: Arc<Waker>, v6: bool) -> Self {
        Self {
            resolver,
            timeout,
            timing: RttEstimate::default(),
            waker,
            threads: Arc::default(),
            v6,
            targets: Vec::new(),
            owners: BTreeMap::new(),
            given: Vec::new(),
            tried: BTreeSet::new(),
            pending: None,
            retry_at: None,
            backoff: RETRY_MIN,
            resolved_at: None,
        }
    }

    /// Begins with these servers, instead of the earlier ones.
    pub(crate) fn connect(&mut self, now: Instant, servers: &[String]) -> Option<Resolved> {
        self.stop();
        self.given.clear();
        self.tried.clear();
        self.owners.clear();
        let mut targets = Vec::new();
        for server in servers {
            match server.parse() {
                Ok(target) => targets.push(target),
                // Nothing would change: no retry is scheduled.
                Err(why) => {
                    let reason = format!("{server:?} names no server: {why}");
                    return Some(Resolved::Failed { reason, retry_in: Duration::ZERO });
                }
            }
        }
        self.targets = targets;
        self.begin(now);
        self.poll(now)
    }

    /// Forgets the servers.
    pub(crate) fn stop(&mut self) {
        self.targets.clear();
        self.pending = None;
        self.retry_at = None;
        self.backoff = RETRY_MIN;
    }

    /// The servers do not answer: their names may lead elsewhere by now.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let names = self.targets.iter().any(|target| target.name().is_some());
        let due = self.resolved_at.is_none_or(|at| now.duration_since(at) >= REFRESH);
        if names && due && self.pending.is_none() && self.retry_at.is_none() {
            self.tried.extend(&self.given);
            self.begin(now);
        }
    }

    /// Returns the server at this address, as the game names it.
    pub(crate) fn server_at(&self, address: SocketAddr) -> Option<String> {
        self.targets.get(*self.owners.get(&address)?).map(ToString::to_string)
    }

    /// Returns the name of the machine that this address is one of, where the game names one.
    pub(crate) fn host_at(&self, address: SocketAddr) -> Option<String> {
        self.targets.get(*self.owners.get(&address)?)?.name().map(str::to_owned)
    }

    /// Returns the servers that these addresses belong to, as the game names them.
    pub(crate) fn servers(&self, addresses: &[SocketAddr]) -> BTreeMap<String, Vec<SocketAddr>> {
        let mut servers: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for address in addresses {
            if let Some(server) = self.server_at(*address) {
                servers.entry(server).or_default().push(*address);
            }
        }
        servers
    }

    /// No addresses yet, and an answer may still come.
    pub(crate) fn resolving(&self) -> bool {
        self.given.is_empty() && self.pending.as_ref().is_some_and(|pending| !pending.reported)
    }

    /// Returns when [`poll`](Self::poll) is due.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        match &self.pending {
            Some(pending) if !pending.reported => Some(pending.deadline),
            _ => self.retry_at,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.retry_at = None;
        self.resolved_at = Some(now);
        let (answer, answers) = bounded(self.targets.len().max(1));
        let mut pending = Pending {
            answers,
            open: 0,
            found: vec![Vec::new(); self.targets.len()],
            errors: Vec::new(),
            since: now,
            deadline: now + self.timing.at_least(self.timeout, ANSWERS),
            reported: false,
        };
        for (index, target) in self.targets.iter().enumerate() {
            if let Some(address) = target.address() {
                pending.found.get_mut(index).into_iter().for_each(|found| found.push(address));
                continue;
            }
            match self.spawn(index, target.host(), target.port(), answer.clone()) {
                Ok(()) => pending.open += 1,
                Err(reason) => pending.errors.push(reason),
            }
        }
        self.pending = Some(pending);
    }

    fn spawn(
        &self,
        index: usize,
        host: String,
        port: u16,
        answer: Sender<(usize, io::Result<Vec<SocketAddr>>)>,
    ) -> Result<(), String> {
        if self.threads.fetch_add(1, Ordering::Relaxed) >= MAX_THREADS {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            return Err("the resolver does not answer".into());
        }
        let (resolver, waker, threads) = (self.resolver.clone(), self.waker.clone(), self.threads.clone());
        // Not joined: a resolver that never comes back must not hold up the end of the app.
        let spawned = std::thread::Builder::new().name("traversal-resolve".into()).spawn(move || {
            let result = resolver.resolve(&host, port);
            threads.fetch_sub(1, Ordering::Relaxed);
            if answer.send((index, result)).is_ok() {
                // Fails only when the driver is gone.
                let _ = waker.wake();
            }
        });
        spawned.map(|_| ()).map_err(|error| {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            error.to_string()
        })
    }

    /// Takes what the resolver threads brought, and looks at the clock.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Resolved> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.begin(now);
        }
        let pending = self.pending.as_mut()?;
        while let Ok((index, result)) = pending.answers.try_recv() {
            pending.open -= 1;
            self.timing.sample(now.saturating_duration_since(pending.since));
            match (result, pending.found.get_mut(index)) {
                (Ok(addresses), Some(found)) if !addresses.is_empty() => *found = addresses,
                (Ok(_), _) => pending.errors.push("it has no address".into()),
                (Err(error), _) => pending.errors.push(error.to_string()),
            }
        }
        let late = pending.deadline <= now;
        if pending.open > 0 && (!late || pending.reported) {
            return None;
        }
        for (index, found) in pending.found.iter().enumerate() {
            for address in found {
                self.owners.entry(canonical(*address)).or_insert(index);
            }
        }
        let mut seen = BTreeSet::new();
        let addresses: Vec<SocketAddr> = pending
            .found
            .iter()
            .flatten()
            .map(|address| canonical(*address))
            .filter(|address| (self.v6 || address.is_ipv4()) && seen.insert(*address))
            .collect();
        let reason = if !seen.is_empty() || !pending.errors.is_empty() {
            pending.errors.join("; ")
        } else if pending.open > 0 {
            let waited = pending.deadline.saturating_duration_since(pending.since);
            format!("the resolver did not answer within {:.1} s", waited.as_secs_f32())
        } else {
            "it has only addresses that this machine cannot reach".into()
        };
        if pending.open > 0 {
            pending.reported = true;
        } else {
            self.pending = None;
        }
        let addresses = self.choose(addresses);
        self.conclude(now, addresses, reason)
    }

    /// Chooses among more addresses than are tried at a time: those come first that were not tried yet.
    fn choose(&mut self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if addresses.len() <= MAX_ADDRESSES {
            return addresses;
        }
        if addresses.iter().all(|address| self.tried.contains(address)) {
            self.tried.clear();
        }
        addresses.sort_by_key(|address| self.tried.contains(address));
        addresses.truncate(MAX_ADDRESSES);
        addresses
    }

    fn conclude(&mut self, now: Instant, addresses: Vec<SocketAddr>, reason: String) -> Option<Resolved> {
        if !addresses.is_empty() {
            self.backoff = RETRY_MIN;
            // A server that answers is not disturbed by the same news.
            let given = std::mem::replace(&mut self.given, addresses.clone());
            return match given {
                given if given == addresses => None,
                given if given.is_empty() => Some(Resolved::Addresses(addresses)),
                _ => Some(Resolved::Moved(addresses)),
            };
        }
        let retry_in = self.backoff;
        self.backoff = (self.backoff * 2).min(RETRY_MAX);
        if self.pending.is_none() {
            self.retry_at = Some(now + retry_in);
        }
        // The last good addresses are in use: the agent goes on with them.
        self.given.is_empty().then_some(Resolved::Failed { reason, retry_in })
    }
}
