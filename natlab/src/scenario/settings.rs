//! What a run with two players can be told, and how a run of the matrix draws it.

use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use traversal_core::{AgentConfig, RelayPolicy};

use crate::link::{Link, Way};
use crate::nat::{Allocation, Fallback, NatConfig, NatSpec};
use crate::oracle::Relation;

/// When the right player logs in and asks to join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinMoment {
    /// Once both NATs are known: the time from the request on is that of punching alone.
    #[default]
    BothKnown,
    /// As soon as it is logged in, which it does when the host's NAT is known and the room is open: most real players.
    HostKnown,
    /// As soon as it is logged in, which it does when the room is open; the host has opened it at once, too.
    AtOnce,
}

/// What a network has of IPv6. There is no translation; a filter stands at the outermost NAT, if there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ipv6 {
    /// Nothing.
    #[default]
    None,
    /// Beside IPv4, by this filter.
    Beside(NatConfig),
    /// In its place.
    Only(NatConfig),
}

/// Everything about a run with two players.
#[derive(Clone, Debug)]
pub struct PairSettings {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The NATs of the player that hosts, the inner one first.
    pub left: Vec<NatConfig>,
    /// The NATs of the player that joins.
    pub right: Vec<NatConfig>,
    /// What the left player has of IPv6.
    pub left_v6: Ipv6,
    /// What the right player has of IPv6.
    pub right_v6: Ipv6,
    /// What the two networks share; with anything shared the left side's outer NAT counts.
    pub relation: Relation,
    /// Between the left player's outermost NAT and the middle of the internet.
    pub left_link: Link,
    /// The same on the right.
    pub right_link: Link,
    /// The same for the server.
    pub server_link: Link,
    /// Hops in the middle of the internet.
    pub core_hops: u8,
    /// The server has two addresses.
    pub two_addresses: bool,
    /// How much is known of the two NATs when the right player asks to join.
    pub join: JoinMoment,
    /// The server lets players in without asking the host.
    pub auto_allow: bool,
    /// The agents' settings.
    pub config: AgentConfig,
    /// The relay policy of each side, where they differ.
    pub relays: Option<[RelayPolicy; 2]>,
}

impl PairSettings {
    /// Two players behind these NATs, with the same one-way delay between any two of players and server, no loss,
    /// no jitter.
    pub fn equal(seed: u64, left: &[NatConfig], right: &[NatConfig], delay: Duration) -> Self {
        let link = Link::delay(delay / 2);
        Self {
            seed,
            left: left.to_vec(),
            right: right.to_vec(),
            left_v6: Ipv6::None,
            right_v6: Ipv6::None,
            relation: Relation::Apart,
            left_link: link.clone(),
            right_link: link.clone(),
            server_link: link,
            core_hops: 8,
            two_addresses: true,
            join: JoinMoment::BothKnown,
            auto_allow: true,
            config: AgentConfig::default(),
            relays: None,
        }
    }

    /// Round trip between the two players without jitter.
    pub fn peer_rtt(&self) -> Duration {
        round_trip(&self.left_link, &self.right_link)
    }

    /// Mean of the three round trips between players and server: the yardstick for times.
    pub fn mean_rtt(&self) -> Duration {
        (self.peer_rtt()
            + round_trip(&self.left_link, &self.server_link)
            + round_trip(&self.right_link, &self.server_link))
            / 3
    }
}

fn round_trip(a: &Link, b: &Link) -> Duration {
    a.up.delay + a.down.delay + b.up.delay + b.down.delay
}

/// How a run of the matrix is drawn from its seed. What is given is fixed, the rest is drawn.
#[derive(Clone, Debug, Default)]
pub struct Draw {
    /// One-way delay between any two of players and server, without jitter. Drawn: round trips of 20 to 300 ms,
    /// unequal legs, up to a tenth of the delay as jitter.
    pub delay: Option<Duration>,
    /// Share of packets lost between any two. Drawn: 0 to 10 %.
    pub loss: Option<f64>,
    /// Foreign allocations per second. Drawn: 0 to 50.
    pub cross: Option<f64>,
    /// The agents' settings.
    pub config: AgentConfig,
    /// What the two networks share.
    pub relation: Relation,
    /// The server has one address only.
    pub one_address: bool,
    /// When the right player joins.
    pub join: JoinMoment,
}

impl Draw {
    /// The settings of this seed. A NAT that is one of the six named types gets a port step of 1, 3 or -2, and
    /// foreign traffic; one that is spelled out is taken as it is.
    pub fn settings(&self, seed: u64, left: &NatSpec, right: &NatSpec) -> PairSettings {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d61_7472_6978);
        let loss = self.loss.unwrap_or_else(|| rng.random_range(0.0..=0.1));
        let mut links = [(); 3].map(|()| self.link(&mut rng, loss));
        let left_nats = self.nats(&mut rng, left);
        let right_nats = self.nats(&mut rng, right);
        let [left_link, right_link, server_link] = &mut links;
        let mut settings = PairSettings::equal(seed, &left_nats, &right_nats, Duration::ZERO);
        settings.left_link = left_link.clone();
        settings.right_link = right_link.clone();
        settings.server_link = server_link.clone();
        settings.relation = self.relation;
        settings.two_addresses = !self.one_address;
        settings.join = self.join;
        settings.config = self.config.clone();
        settings
    }

    fn link(&self, rng: &mut ChaCha8Rng, loss: f64) -> Link {
        // Two links make a leg: 1 - (1 - p)^2 = loss.
        let loss = 1.0 - (1.0 - loss).sqrt();
        let half = match self.delay {
            Some(delay) => return Link::both(Way { delay: delay / 2, loss, ..Way::default() }),
            // A leg's round trip is four of these: 20 to 300 ms.
            None => Duration::from_secs_f64(rng.random_range(0.005..=0.075)),
        };
        let jitter = half.mul_f64(rng.random_range(0.0..=0.1));
        let asymmetry = rng.random_range(0.8..=1.2);
        Link {
            up: Way { delay: half.mul_f64(asymmetry), jitter, loss, ..Way::default() },
            down: Way { delay: half.mul_f64(2.0 - asymmetry), jitter, loss, ..Way::default() },
        }
    }

    fn nats(&self, rng: &mut ChaCha8Rng, spec: &NatSpec) -> Vec<NatConfig> {
        let mut chain = spec.chain.clone();
        let step = [1, 3, -2][rng.random_range(0..3)];
        let preserving: bool = rng.random();
        let cross = self.cross.unwrap_or_else(|| rng.random_range(0.0..=50.0));
        if let [nat] = chain.as_mut_slice()
            && let "fullcone" | "restricted" | "portrestricted" | "as" | "ps" = spec.name.as_str()
        {
            nat.cross = cross;
            nat.allocation = match nat.allocation {
                Allocation::Preserving(_) if preserving => Allocation::Preserving(Fallback::Random),
                _ => Allocation::Sequential(step),
            };
        }
        chain
    }
}
