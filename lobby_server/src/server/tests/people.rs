//! Contacts and calls, at one node and at two that share a registry.

use super::*;
use crate::registry::{NodeSite, RegistryNote};
use traversal_core::id::CallId;
use traversal_core::wire::message::{
    CallAnswer, CallEnd, CallNews, CallPlace, CallRequest, ContactNews, ContactsRequest, Presence, Status,
};

mod calls;
mod limits;
mod logins;
mod parties;
mod presence;
mod privacy;
mod storm;
mod texts;

/// These are servers that share a registry, each with its players.
struct Nodes {
    worlds: Vec<World>,
}

impl Nodes {
    fn new(count: u64) -> Self {
        let (registry, now) = (MemoryRegistry::new(), Instant::now());
        let world = |node: u64| {
            let config = ServerConfig { node: if count > 1 { node } else { 0 }, ..ServerConfig::default() };
            let mut world = World::with(config, vec![ServerSocket::first(at("198.18.0.10:3478"))]);
            (world.registry, world.now) = (Some(registry.clone()), now);
            world
        };
        let mut nodes = Self { worlds: (1..=count).map(world).collect() };
        // The first one hears of the others with its second word.
        nodes.beat();
        nodes.beat();
        nodes
    }

    /// All nodes tell the registry that they are there.
    fn beat(&mut self) {
        for index in 0..self.worlds.len() {
            self.beat_of(index);
        }
        self.turn();
    }

    fn beat_of(&mut self, index: usize) {
        let world = &mut self.worlds[index];
        let node = world.server.config().node;
        let addresses = vec![SocketAddr::from(([198, 18, 0, 10 + node as u8], 3478))];
        let site = NodeSite { node, addresses, players: 0, draining: false };
        if let Some(registry) = world.registry.as_mut().filter(|_| node != 0) {
            registry.beat(world.now, site);
        }
    }

    /// Lets all hear what the others said.
    fn turn(&mut self) {
        for _ in 0..6 {
            self.worlds.iter_mut().for_each(World::turn);
        }
    }

    fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(500);
        let mut left = time;
        while !left.is_zero() {
            let part = left.min(step);
            for world in &mut self.worlds {
                world.pass(part);
                // Players give signs of life.
                let now = world.now;
                for session in world.fakes.iter_mut().filter_map(|fake| fake.session.as_mut()) {
                    session.send_once(now, &Frame::Ping { id: 1 });
                }
            }
            self.beat();
            left -= part;
        }
    }

    /// Adds players that are logged in, at these nodes in turn.
    fn players(&mut self, count: u8) -> Vec<Player> {
        (1..=count).map(|n| self.player(n, usize::from(n - 1) % self.worlds.len())).collect()
    }

    fn player(&mut self, n: u8, node: usize) -> Player {
        let index = self.worlds[node].player(n, &format!("203.0.113.{n}:4000"));
        self.turn();
        Player { node, index }
    }

    fn fake(&self, player: Player) -> &Fake {
        &self.worlds[player.node].fakes[player.index]
    }

    fn id(&self, player: Player) -> PlayerId {
        self.fake(player).id()
    }

    fn try_ask(&mut self, player: Player, request: Request) -> Result<Response, RequestError> {
        let answer = self.worlds[player.node].answer(player.index, request);
        self.turn();
        answer
    }

    fn ask(&mut self, player: Player, request: Request) {
        assert_eq!(self.try_ask(player, request), Ok(Response::Done));
    }

    /// A player allows these, and nobody else.
    fn list(&mut self, player: Player, allow: &[Player]) {
        let allow = allow.iter().map(|other| self.id(*other)).collect();
        self.ask(player, Request::Contacts(ContactsRequest::Part { first: true, last: true, allow }));
    }

    fn allow(&mut self, player: Player, other: Player, allow: bool) {
        let other = self.id(other);
        self.ask(player, Request::Contacts(ContactsRequest::Allow { player: other, allow }));
    }

    fn status(&mut self, player: Player, status: Status) {
        self.ask(player, Request::Contacts(ContactsRequest::Status(status)));
    }

    fn log_out(&mut self, player: Player) {
        let world = &mut self.worlds[player.node];
        let now = world.now;
        let why = message::Farewell::Leaving;
        if let Some(session) = &mut world.fakes[player.index].session {
            session.send_once(now, &Frame::Goodbye { reason: String::new(), why });
        }
        world.turn();
        world.kill(player.index);
        self.turn();
    }

    /// All news of contacts that a player was told, in their order.
    fn news(&self, player: Player) -> Vec<ContactNews> {
        news_of(self.fake(player))
    }

    /// How a player sees its contacts now.
    fn seen(&self, player: Player) -> BTreeMap<PlayerId, Presence> {
        let mut seen = BTreeMap::new();
        for ContactNews { player, presence } in self.news(player) {
            match presence {
                Some(presence) => _ = seen.insert(player, presence),
                None => _ = seen.remove(&player),
            }
        }
        seen
    }

    /// How one player sees another one now.
    fn sees(&self, player: Player, other: Player) -> Option<Presence> {
        self.seen(player).remove(&self.id(other))
    }

    fn calls(&self, player: Player) -> Vec<CallNews> {
        let told = self.fake(player).told.iter();
        let calls = told.filter_map(|message| match message {
            ToPlayer::Call(news) => Some(news.clone()),
            _ => None,
        });
        calls.collect()
    }
}

fn news_of(fake: &Fake) -> Vec<ContactNews> {
    let told = fake.told.iter().filter_map(|message| match message {
        ToPlayer::Contacts(news) => Some(news.clone()),
        _ => None,
    });
    told.flatten().collect()
}

/// A player at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Player {
    node: usize,
    index: usize,
}
