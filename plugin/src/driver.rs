//! The driver: starts and ends the network thread of an app, and those that work for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::{Poll, Waker};

use crate::binding::{fixed_addresses, open_main};
use crate::config::TraversalConfig;
use crate::error::TraversalError;
use crate::identity::{self, Loaded};
use crate::interfaces::{self, Local};
use crate::kept_profiles::{self, Keeper};
use crate::known_servers::{self, Known};
use crate::people;
use crate::protocol::{CHANNEL, Report, Request, Shared};
#[cfg(feature = "port_mapping")]
use crate::run_loop::Router;
use crate::run_loop::{Ends, Player, RunLoop};
use crate::sockets::WAKE;
use crate::state::Counters;

/// This is the app's end of a running driver. Dropping it says goodbye to everybody and joins the thread.
pub(crate) struct Driver {
    pub(crate) requests: Sender<Request>,
    pub(crate) reports: Receiver<Report>,
    pub(crate) shared: Shared,
    /// These are all threads; the network thread is the last one.
    threads: Vec<JoinHandle<()>>,
    /// This is dropped to end the thread that watches the interfaces.
    stop_watching: Option<Sender<()>>,
    /// These contacts are kept, and this is the way to keep others.
    pub(crate) contacts: Option<people::Store>,
    /// Keeps other instances from this one's identity.
    _identity_in_use: Option<std::fs::File>,
}

impl Driver {
    /// Opens the sockets and starts the threads.
    pub(crate) fn start(config: &TraversalConfig, counters: Arc<Counters>) -> Result<Self, TraversalError> {
        let failed = |error: std::io::Error| TraversalError::Driver { reason: error.to_string() };
        config.agent.manual.check()?;
        let Loaded { identity, beside, in_use } = identity::load(&config.identity)?;
        let seed = identity::entropy()?;
        let kept_file = config.kept_profiles.path(beside.as_deref(), kept_profiles::ENDING);
        let kept = kept_file.as_deref().map(kept_profiles::load).unwrap_or_default();
        let (main, main_v6) = open_main(config)?;
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(failed)?);
        let shared = Shared::new(config, waker, counters);
        let (requests, request_receiver) = bounded(CHANNEL);
        let (report_sender, reports) = bounded(CHANNEL);
        let (local_sender, local) = bounded(1);
        let (stop_watching, stopped) = bounded(0);
        let fixed = fixed_addresses(main.local(), config.bind);
        let has_v6 = main_v6.is_some();
        let mut run_loop = RunLoop::new(
            config,
            Player { identity, seed, kept },
            (main, main_v6),
            poll,
            shared.clone(),
            Ends { requests: request_receiver, reports: report_sender, local },
        )
        .map_err(failed)?;
        let mut driver = Self {
            requests,
            reports,
            shared,
            threads: Vec::new(),
            stop_watching: Some(stop_watching),
            contacts: None,
            _identity_in_use: in_use,
        };
        #[cfg(feature = "port_mapping")]
        let router_local = fixed.clone().unwrap_or_default();
        match fixed {
            // By an interface that the game has chosen everything leaves.
            Some(addresses) => run_loop.set_local(Local { addresses, networks: Vec::new() }),
            None => {
                let (waker, period) = (driver.shared.waker.clone(), config.local_address_period);
                let allowed = config.interfaces.clone();
                driver.spawn("traversal-interfaces", move || {
                    interfaces::watch(&allowed, has_v6, period, &local_sender, &stopped, &waker);
                })?;
            }
        }
        #[cfg(feature = "port_mapping")]
        if config.asks_router() {
            let (router, thread) = Router::start(config, router_local, driver.shared.waker.clone());
            run_loop.set_router(router);
            driver.spawn("traversal-router", thread)?;
        }
        let known_file = config.known_servers.path(beside.as_deref(), known_servers::ENDING);
        let (known, thread) = Known::new(known_file);
        run_loop.set_known(known);
        if let Some(thread) = thread {
            driver.spawn("traversal-known", thread)?;
        }
        if let Some(path) = config.contacts.path(beside.as_deref(), people::ENDING) {
            let (store, thread) = people::Store::open(path);
            driver.contacts = Some(store);
            driver.spawn("traversal-contacts", thread)?;
        }
        if let Some(path) = kept_file {
            let (keeper, thread) = Keeper::new(path);
            run_loop.set_keeper(keeper);
            driver.spawn("traversal-kept", thread)?;
        }
        driver.spawn("traversal", move || run_loop.run())?;
        Ok(driver)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), TraversalError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|error| TraversalError::Driver { reason: error.to_string() })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Returns whether the network thread still runs.
    pub(crate) fn running(&self) -> bool {
        self.threads.last().is_some_and(|thread| !thread.is_finished())
    }

    /// Makes the driver look at its queues.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.shared.waker.wake() {
            bevy_log::debug!("cannot wake the network thread: {error}");
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(self.stop_watching.take());
        // The thread that writes contacts ends when nobody can hand it any more.
        drop(self.contacts.take());
        self.wake();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                bevy_log::error!("the network thread panicked");
            }
        }
    }
}
