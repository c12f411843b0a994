//! The machine's router: asked for a port while this player is logged in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use crossbeam_channel::Receiver;
use traversal_core::address::{Scope, scope};
use traversal_core::{Command, Event, LobbyState, NoPortMapping, RouterName, SocketId};

use super::Turn;
use crate::port_mapping::{News, PortMapper};

/// The driver's side of the thread that asks.
pub(crate) struct Router {
    pub(crate) mapper: PortMapper,
    pub(crate) news: Receiver<News>,
    /// What the router calls itself.
    pub(crate) names: Receiver<RouterName>,
    /// The address that the game's socket is bound to; none: all.
    pub(crate) bind: Option<Ipv4Addr>,
    /// The machine's own addresses.
    pub(crate) local: Vec<IpAddr>,
    /// What is known without asking.
    pub(crate) known: Option<News>,
}

impl Turn {
    /// Before the thread runs.
    pub(crate) fn set_router(&mut self, router: Router) {
        self.router = Some(router);
    }

    /// A login or logout, seen before the app sees it.
    pub(super) fn router_watches(&mut self, event: &Event) {
        match event {
            Event::Lobby(LobbyState::Online { public, .. }) => self.want_port(*public),
            Event::Lobby(LobbyState::Offline | LobbyState::Refused { .. }) => {
                if let Some(router) = &self.router {
                    router.mapper.want_nothing();
                }
            }
            _ => {}
        }
    }

    /// Logged in, as seen from there.
    fn want_port(&mut self, public: SocketAddr) {
        let (Some(router), Some(main)) = (&mut self.router, self.sockets.get(&SocketId::MAIN)) else {
            return;
        };
        let open = scope(public.ip()) == Scope::Loopback || router.local.contains(&public.ip());
        if open || public.is_ipv6() {
            router.mapper.want_nothing();
            router.known = Some(Err(NoPortMapping::NotNeeded));
            // The agent is told with the next turn: it is in the middle of something.
            let _ = self.shared.waker.wake();
        } else {
            router.mapper.want(main.local().port(), router.bind);
        }
    }

    /// The machine has these addresses now.
    pub(super) fn router_local(&mut self, addresses: &[IpAddr]) {
        if let Some(router) = &mut self.router {
            addresses.clone_into(&mut router.local);
            router.mapper.look_again();
        }
    }

    /// The game's socket is another one now.
    pub(super) fn router_moves(&self) {
        if let (Some(router), Some(main)) = (&self.router, self.sockets.get(&SocketId::MAIN)) {
            router.mapper.move_to(main.local().port());
        }
    }

    /// What the router said.
    pub(super) fn router_news(&mut self, now: Instant) {
        if let Some(news) = self.router.as_mut().and_then(|router| router.known.take()) {
            self.command(now, Command::PortMapping(news));
        }
        while let Some(name) = self.router.as_ref().and_then(|router| router.names.try_recv().ok()) {
            self.command(now, Command::Router(Some(name)));
        }
        while let Some(news) = self.router.as_ref().and_then(|router| router.news.try_recv().ok()) {
            self.command(now, Command::PortMapping(news));
        }
    }
}
