//! What every part of the agent needs while it handles one input, and who owns it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Identity;
use crate::api::{Event, Output};
use crate::config::AgentConfig;
use crate::env::{Env, Main};
use crate::login::ServerLink;
use crate::punch::Budget;
use crate::sockets::Sockets;
use crate::wire::message::ToServer;

/// The parts of the agent share this. It is one field of the [`Agent`](crate::Agent), so that a part (a match, the
/// lobby) and this can be borrowed side by side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: AgentConfig,
    pub(crate) identity: Identity,
    pub(crate) main: Main,
    /// These addresses are on the machine's own interfaces, without ports; there are none until the game or the driver
    /// has named some.
    pub(crate) local: Vec<IpAddr>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) link: ServerLink,
    pub(crate) sockets: Sockets,
    pub(crate) budget: Budget,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
}

impl Shared {
    pub(crate) fn new(config: AgentConfig, identity: Identity, seed: [u8; 32], main: Main) -> Self {
        Self {
            link: ServerLink::new(&config),
            budget: Budget::new(config.caps),
            config,
            identity,
            main,
            local: Vec::new(),
            rng: ChaCha20Rng::from_seed(seed),
            sockets: Sockets::default(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Lends everything to a part that handles an input at `now`.
    pub(crate) fn cx(&mut self, now: Instant) -> Cx<'_> {
        Cx {
            env: Env {
                now,
                config: &self.config,
                identity: &self.identity,
                main: self.main,
                local: &self.local,
                rng: &mut self.rng,
                outputs: &mut self.outputs,
                events: &mut self.events,
            },
            link: &mut self.link,
            sockets: &mut self.sockets,
            budget: &mut self.budget,
        }
    }
}

/// This is the context of one input: [`Shared`], lent for as long as the input is handled. Its fields can be borrowed
/// apart from each other, as `cx.link.tell(&mut cx.env, ..)` does; what is in [`Env`] is also reached without naming
/// it.
pub(crate) struct Cx<'a> {
    pub(crate) env: Env<'a>,
    pub(crate) link: &'a mut ServerLink,
    pub(crate) sockets: &'a mut Sockets,
    /// This is what this player may still send and open, over all its matches.
    pub(crate) budget: &'a mut Budget,
}

impl Cx<'_> {
    /// Tells the lobby server, if there is a session.
    pub(crate) fn tell(&mut self, message: ToServer) {
        self.link.tell(&mut self.env, message);
    }
}

impl<'a> Deref for Cx<'a> {
    type Target = Env<'a>;

    fn deref(&self) -> &Env<'a> {
        &self.env
    }
}

impl<'a> DerefMut for Cx<'a> {
    fn deref_mut(&mut self) -> &mut Env<'a> {
        &mut self.env
    }
}
