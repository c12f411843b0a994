//! The router's thread, and the orders that it takes.

use std::io::{PipeWriter, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::{Order, Plans, Router, Site};
use crate::netns::counts::Counts;
use crate::netns::error::NetnsError;
use crate::netns::line::Line;

/// It is a router that runs on a thread of its own.
pub(crate) struct RunningRouter {
    /// A byte wakes the router for an order; closing it ends the router.
    wake: PipeWriter,
    orders: Sender<(usize, Order)>,
    thread: JoinHandle<Vec<Counts>>,
}

impl RunningRouter {
    pub(crate) fn start(sites: Vec<Site>, players: usize, plans: Plans) -> Result<Self, NetnsError> {
        let (woken, wake) = std::io::pipe().map_err(NetnsError::system("making a pipe"))?;
        let (orders, ordered) = channel();
        let router = Router {
            sites,
            players,
            line: Line::new(plans.line, plans.seed),
            attacker: plans.attacker,
            cut: plans.cut,
            first_direct: None,
            ordered,
            start: Instant::now(),
            start_since_epoch: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
            now: Duration::ZERO,
        };
        let thread = thread::Builder::new()
            .name("router".into())
            .spawn(move || router.run(&woken))
            .map_err(NetnsError::system("starting the router"))?;
        Ok(Self { wake, orders, thread })
    }

    /// Ends it; the devices are gone then.
    pub(crate) fn stop(self) -> Vec<Counts> {
        drop(self.wake);
        self.thread.join().unwrap_or_default()
    }

    /// Has something happen to a site, at once.
    pub(crate) fn order(&mut self, site: usize, order: Order) {
        // A router that has ended carries nothing any more, whatever happens.
        if self.orders.send((site, order)).is_ok() {
            let _ = self.wake.write_all(&[0]);
        }
    }
}
