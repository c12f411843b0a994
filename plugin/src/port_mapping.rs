//! Asks the machine's router to forward the game's port, in the background: UPnP IGD, NAT-PMP, PCP.
//!
//! A thread of its own with a small runtime, since what a router answers may take seconds or never come: neither the
//! login nor a frame waits for it, and the end of the app waits for less than a second. What comes of it goes to the
//! agent, which has the lobby server try it before it counts.

mod ask;
mod epoch;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod gateway_tests;
mod route;
#[cfg(test)]
mod tests;
mod upnp;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use traversal_core::{MappingProtocol, NoPortMapping, PortMapping, RouterName};

use ask::Lease;
use epoch::Epoch;
pub(crate) use route::Route;

/// This is what the agent is told.
pub(crate) type News = Result<PortMapping, NoPortMapping>;

/// This is how often the way to the router is looked at, beside every change of the machine's addresses.
const LOOK: Duration = Duration::from_secs(60);
/// Waits after a router said no, or nothing: one that was just switched on has a minute, one that never answers is
/// left alone.
const RETRY: [Duration; 4] =
    [Duration::from_secs(20), Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1800)];
/// A request that is on its way when the app ends gets this long: what it gets must be given back.
const GRACE: Duration = Duration::from_millis(400);
/// Giving a mapping back may take this long. Together with [`GRACE`] that is less than a second.
const RELEASE: Duration = Duration::from_millis(450);

/// This is how routers are asked.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Routers are asked by these protocols, in this order.
    pub(crate) protocols: Vec<MappingProtocol>,
    /// A mapping is asked for this many seconds. RFC 6886 recommends 7,200; half of it, since a game that crashes
    /// leaves its mapping behind for so long.
    pub(crate) lease: u32,
    /// Renewals are at half the lease (RFC 6886 section 3.3), within these bounds: a router that grants a second is not
    /// asked every half, and one that was restarted is noticed within half an hour.
    pub(crate) renew: (Duration, Duration),
    /// This is how often the way to the router is looked at, and its clock.
    pub(crate) look: Duration,
    /// This is where UPnP devices are searched: the group of SSDP.
    pub(crate) ssdp: SocketAddr,
    /// Finds the router, for an address that the socket is bound to or the system's choice.
    pub(crate) route: Arc<dyn Fn(Option<Ipv4Addr>) -> Option<Route> + Send + Sync>,
    /// Hears what the router calls itself.
    pub(crate) named: Arc<dyn Fn(RouterName) + Send + Sync>,
}

impl Settings {
    pub(crate) fn new(protocols: Vec<MappingProtocol>) -> Self {
        let ssdp = SocketAddr::from((Ipv4Addr::new(239, 255, 255, 250), 1900));
        let renew = (Duration::from_secs(5), Duration::from_secs(1800));
        let (route, named) = (Arc::new(route::find), Arc::new(|_| ()));
        Self { protocols, lease: 3600, renew, look: LOOK, ssdp, route, named }
    }
}

/// This is what is to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// This is the port of the game's socket, which is to be forwarded.
    pub(crate) port: u16,
    /// This is the address that the socket is bound to; none: all of the machine's.
    pub(crate) bind: Option<Ipv4Addr>,
    /// This counts changes: at another number the mapping is renewed and told anew.
    pub(crate) generation: u32,
}

/// This is the driver's end. Dropping it gives the mapping back and ends the thread.
pub(crate) struct PortMapper {
    wanted: watch::Sender<Option<Wanted>>,
}

impl PortMapper {
    /// Returns the handle, and what a thread is to run.
    pub(crate) fn new(
        settings: Settings,
        tell: impl Fn(News) + Send + 'static,
    ) -> (Self, impl FnOnce() + Send) {
        let (wanted, receiver) = watch::channel(None);
        let thread = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                runtime.block_on(LeaseKeeper::new(settings, receiver, tell).run());
                // Nothing that still waits for a router is waited for.
                runtime.shutdown_background();
            }
            Err(error) => bevy_log::debug!("no port mapping: {error}"),
        };
        (Self { wanted }, thread)
    }

    /// Has this port forwarded, and tells about it anew.
    pub(crate) fn want(&self, port: u16, bind: Option<Ipv4Addr>) {
        self.wanted.send_modify(|wanted| {
            let generation = wanted.map_or(0, |wanted| wanted.generation.wrapping_add(1));
            *wanted = Some(Wanted { port, bind, generation });
        });
    }

    /// Has nothing forwarded any more.
    pub(crate) fn want_nothing(&self) {
        self.wanted.send_if_modified(|wanted| wanted.take().is_some());
    }

    /// Has this port forwarded instead of the present one, if any is.
    pub(crate) fn move_to(&self, port: u16) {
        self.change(|wanted| wanted.port = port);
    }

    /// Something may have changed: the mapping is looked after and told anew.
    pub(crate) fn look_again(&self) {
        self.change(|wanted| wanted.generation = wanted.generation.wrapping_add(1));
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        self.wanted.send_if_modified(|wanted| wanted.as_mut().map(change).is_some());
    }
}

/// This is a mapping that a router has granted.
struct Held {
    lease: Lease,
    wanted: Wanted,
    route: Route,
    renew_at: Instant,
    /// This is the router's clock when it was last heard, where it has one.
    epoch: Option<Epoch>,
    look_at: Instant,
}

impl Held {
    /// Returns whether the router has begun anew since its clock was last heard, and so has forgotten the mapping.
    async fn look_at_clock(&mut self) -> bool {
        let Some(before) = self.epoch else { return false };
        // A router that is silent now is asked again.
        let Some(now) = Epoch::ask(self.route).await else { return false };
        self.epoch = Some(now);
        before.is_lost_by(now)
    }
}

/// Obtains a mapping, renews it and gives it back, until the handle is dropped.
struct LeaseKeeper<T> {
    settings: Settings,
    wanted: watch::Receiver<Option<Wanted>>,
    tell: T,
    held: Option<Held>,
    /// This is the latest news that was told.
    told: Option<News>,
    /// This is how often in a row the router has said no, or nothing.
    failures: usize,
    retry_at: Instant,
}

impl<T: Fn(News)> LeaseKeeper<T> {
    fn new(settings: Settings, wanted: watch::Receiver<Option<Wanted>>, tell: T) -> Self {
        let retry_at = Instant::now();
        Self { settings, wanted, tell, held: None, told: None, failures: 0, retry_at }
    }

    async fn run(mut self) {
        loop {
            let want = *self.wanted.borrow_and_update();
            let over = self.wanted.has_changed().is_err();
            let want = want.filter(|_| !over);
            let route = want.and_then(|want| (self.settings.route)(want.bind));
            self.give_back_unless(want, route).await;
            if over {
                return;
            }
            let pause = match (want, route) {
                (None, _) => None,
                (Some(_), None) => {
                    self.say(Err(NoPortMapping::NoRouter));
                    Some(self.settings.look)
                }
                (Some(want), Some(route)) => Some(self.look_after(want, route).await),
            };
            let changed = async {
                // The error means that the handle is gone, which the next round sees.
                let _ = self.wanted.changed().await;
            };
            match pause {
                None => changed.await,
                Some(pause) => tokio::select! {
                    () = changed => {}
                    () = sleep(pause) => {}
                },
            }
        }
    }

    /// Tells a mapping again with each renewal, a lack of one once.
    fn say(&mut self, news: News) {
        if news.is_ok() || self.told != Some(news) {
            (self.tell)(news);
        }
        self.told = Some(news);
    }

    /// Gives a mapping back that is not the one wanted now, or not of the router that leads out now.
    async fn give_back_unless(&mut self, want: Option<Wanted>, route: Option<Route>) {
        let same = |held: &mut Held| {
            want.is_some_and(|want| want.port == held.wanted.port) && route == Some(held.route)
        };
        let Some(old) = self.held.take_if(|held| !same(held)) else { return };
        if timeout(RELEASE, old.lease.release()).await.is_err() {
            bevy_log::debug!("the router did not take its port mapping back in time");
        }
        (self.failures, self.retry_at) = (0, Instant::now());
        self.say(Err(NoPortMapping::NotAsked));
    }

    /// Looks whether the router has begun anew, asks it for a mapping or a renewal when that is due, and says how long nothing
    /// is to be done after it.
    async fn look_after(&mut self, want: Wanted, route: Route) -> Duration {
        let now = Instant::now();
        if let Some(held) = self.held.as_mut().filter(|held| held.look_at <= now) {
            held.look_at = now + self.settings.look;
            // A change of mind is looked at first; the clock has time.
            let began_anew = tokio::select! {
                began_anew = held.look_at_clock() => began_anew,
                _ = self.wanted.changed() => return Duration::ZERO,
            };
            if began_anew {
                bevy_log::debug!("the router began anew: its port mapping is renewed");
                held.renew_at = now;
            }
        }
        let due = self.held.as_ref().map_or(self.retry_at <= now, |held| {
            held.renew_at <= now || held.wanted.generation != want.generation
        });
        if due {
            self.obtain(want, route).await;
        }
        let next = self.held.as_ref().map_or(self.retry_at, |held| held.renew_at);
        next.saturating_duration_since(Instant::now()).min(self.settings.look)
    }

    async fn obtain(&mut self, want: Wanted, route: Route) {
        let old = self.held.take().map(|held| held.lease);
        match obtain(&self.settings, route, want, old, &mut self.wanted).await {
            Ok(lease) => {
                self.failures = 0;
                let renew_at = Instant::now() + lease.renew_after(&self.settings);
                // A dropped handle is found out in the next round, which gives this back.
                self.say(Ok(lease.mapping()));
                let (epoch, look_at) = (lease.epoch(), Instant::now() + self.settings.look);
                self.held = Some(Held { lease, wanted: want, route, renew_at, epoch, look_at });
            }
            // The game changed its mind; the next round knows how.
            Err(NoPortMapping::NotAsked) => {}
            Err(why) => {
                let wait = RETRY[usize::min(self.failures, RETRY.len() - 1)];
                self.failures += 1;
                self.retry_at = Instant::now() + wait;
                self.say(Err(why));
            }
        }
    }
}

/// Gets a new mapping, or the old one renewed. While the search goes on a change of mind ends it; a request that is on its
/// way is waited for a little, for what it gets must be given back.
async fn obtain(
    settings: &Settings,
    route: Route,
    want: Wanted,
    old: Option<Lease>,
    wanted: &mut watch::Receiver<Option<Wanted>>,
) -> Result<Lease, NoPortMapping> {
    let (settings, mut mind) = (settings.clone(), wanted.clone());
    let work = async move {
        if let Some(lease) = old
            && let Some(lease) = lease.renew(&settings, route).await
        {
            return Ok(lease);
        }
        let found = tokio::select! {
            found = ask::search(&settings, route) => found,
            _ = mind.changed() => return Err(NoPortMapping::NotAsked),
        };
        ask::ask(&settings, route, want.port, found).await
    };
    tokio::pin!(work);
    let mut mind = wanted.clone();
    tokio::select! {
        done = &mut work => return done,
        // Whatever came: the caller looks at it.
        _ = mind.changed() => {}
    }
    timeout(GRACE, work).await.unwrap_or(Err(NoPortMapping::NotAsked))
}
