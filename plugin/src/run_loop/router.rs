//! The machine's router: asked for a port while this player is logged in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use mio::Waker;
use traversal_core::address::{Scope, scope};
use traversal_core::{Command, Event, LobbyState, NoPortMapping, RouterName, SocketId};

use super::RunLoop;
use crate::config::TraversalConfig;
use crate::port_mapping::{News, PortMapper, Settings};
use crate::protocol::CHANNEL;

/// This is the driver's side of the thread that asks.
pub(crate) struct Router {
    mapper: PortMapper,
    news: Receiver<News>,
    /// The names that the router has for itself come here, as they become known.
    names: Receiver<RouterName>,
    /// This is the address that the game's socket is bound to; none: all.
    bind: Option<Ipv4Addr>,
    /// These are the machine's own addresses.
    local: Vec<IpAddr>,
    /// This is what is known without asking the router; the agent is told in the next round.
    known: Option<News>,
}

impl Router {
    /// This end, and what a thread is to run. `local`: the machine's own addresses, as far as they are known.
    pub(crate) fn start(
        config: &TraversalConfig,
        local: Vec<IpAddr>,
        waker: Arc<Waker>,
    ) -> (Self, impl FnOnce() + Send + 'static) {
        let (news_sender, news) = bounded(CHANNEL);
        let (name_sender, names) = bounded(1);
        let wake = waker.clone();
        let named = Arc::new(move |name| {
            // A name that waits to be taken is as good as this one.
            let _ = name_sender.try_send(name);
            let _ = wake.wake();
        });
        let tell = move |news| {
            // A network thread that takes none of so many has ended.
            let _ = news_sender.try_send(news);
            let _ = waker.wake();
        };
        let settings = Settings { named, ..Settings::new(config.port_mapping.clone()) };
        let (mapper, thread) = PortMapper::new(settings, tell);
        let bind = config.bind.and_then(|bind| match bind.ip() {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        });
        (Self { mapper, news, names, bind, local, known: None }, thread)
    }
}

impl RunLoop {
    /// Has the router asked. For use before [`run`](Self::run).
    pub(crate) fn set_router(&mut self, router: Router) {
        self.router = Some(router);
    }

    /// Hears of a login or logout, before the app does.
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

    /// Has a port forwarded where that is of use; `public`: this player's address as the lobby server sees it.
    fn want_port(&mut self, public: SocketAddr) {
        let (Some(router), Some(main)) = (&mut self.router, self.sockets.get(&SocketId::MAIN)) else {
            return;
        };
        let open = scope(public.ip()) == Scope::Loopback || router.local.contains(&public.ip());
        if open || public.is_ipv6() {
            router.mapper.want_nothing();
            router.known = Some(Err(NoPortMapping::NotNeeded));
            // The agent is told in the next round: it is in the middle of something.
            let _ = self.shared.waker.wake();
        } else {
            router.mapper.want(main.local().port(), router.bind);
        }
    }

    /// Hears that the machine has these addresses now.
    pub(super) fn router_local(&mut self, addresses: &[IpAddr]) {
        if let Some(router) = &mut self.router {
            addresses.clone_into(&mut router.local);
            router.mapper.look_again();
        }
    }

    /// Hears that the game's socket is another one now.
    pub(super) fn router_moves(&self) {
        if let (Some(router), Some(main)) = (&self.router, self.sockets.get(&SocketId::MAIN)) {
            router.mapper.move_to(main.local().port());
        }
    }

    /// Tells the agent what the router said.
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
