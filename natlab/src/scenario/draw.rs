//! How a run of the matrix draws its world from its seed.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::AgentConfig;

use super::internet;
use super::settings::{JoinMoment, PairWorldSettings};
use crate::link::{Link, Mtu, Way};
use crate::nat::{Allocation, Fallback, NatConfig, NatSpec};
use crate::oracle::Relation;

/// Which worlds are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Worlds {
    /// The world is as measured on the internet: every range has its source beside it, in `scenario/internet.rs`.
    #[default]
    Internet,
    /// The worlds are small and even, as a first look: round trips of 20 to 300 ms, up to a tenth of the delay as
    /// jitter, up to 10 % loss, 0 to 50 foreign allocations a second, ports that are preserved or counted in steps of
    /// 1, 3 or -2.
    Tidy,
}

/// How a run of the matrix is drawn from its seed. What is given is fixed, the rest is drawn.
#[derive(Clone, Debug, Default)]
pub struct Draw {
    /// Which kind of worlds is drawn.
    pub worlds: Worlds,
    /// It is the delay one way between any two of players and server; none: it is drawn. With it there is no jitter and
    /// nothing is reordered or doubled.
    pub delay: Option<Duration>,
    /// This share of the packets is lost between any two, each for itself; none: it is drawn.
    pub loss: Option<f64>,
    /// How many ports foreign traffic takes per second.
    pub cross: Option<f64>,
    /// These are the settings of both agents.
    pub config: AgentConfig,
    /// It says what the two networks share.
    pub relation: Relation,
    /// The server has one address only.
    pub one_address: bool,
    /// What the players' links do with long packets; none: drawn on the internet, Ethernet in tidy worlds.
    pub mtu: Option<Mtu>,
    /// The players carry [freight](crate::freight) instead of greeting each other.
    pub freight: bool,
    /// When the right player joins; none: at once on the internet, in tidy worlds when both NATs are known.
    pub join: Option<JoinMoment>,
}

impl Draw {
    /// Draws tidy worlds, joined when both NATs are known.
    pub fn tidy() -> Self {
        Self { worlds: Worlds::Tidy, ..Self::default() }
    }

    /// When the right player joins.
    pub fn moment(&self) -> JoinMoment {
        self.join.unwrap_or(match self.worlds {
            Worlds::Internet => JoinMoment::AtOnce,
            Worlds::Tidy => JoinMoment::BothKnown,
        })
    }

    /// Returns the settings of this seed. A NAT that is spelled out is taken as it is; what a name leaves open is
    /// drawn.
    pub fn settings(&self, seed: u64, left: &NatSpec, right: &NatSpec) -> PairWorldSettings {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d61_7472_6978);
        let mut settings = match self.worlds {
            Worlds::Internet => {
                // Drawn apart, so that worlds are as they were before there was an MTU.
                let mut sizes = ChaCha8Rng::seed_from_u64(seed ^ 0x006d_7475);
                self.internet((&mut rng, &mut sizes), left, right)
            }
            Worlds::Tidy => self.tidy_world(&mut rng, left, right),
        };
        if let Some(mtu) = self.mtu {
            for link in [&mut settings.left_link, &mut settings.right_link] {
                (link.up.mtu, link.down.mtu) = (mtu, mtu);
            }
        }
        settings.seed = seed;
        settings.relation = self.relation;
        settings.two_addresses = !self.one_address;
        settings.join = self.moment();
        settings.config = self.config.clone();
        settings
    }

    fn internet(
        &self,
        (rng, sizes): (&mut ChaCha8Rng, &mut ChaCha8Rng),
        left: &NatSpec,
        right: &NatSpec,
    ) -> PairWorldSettings {
        let [left_access, right_access] = [(); 2].map(|()| internet::Access::any(rng));
        let [mut left_link, mut right_link] = [left_access, right_access].map(|access| access.link(rng));
        let mut server_link = internet::server_link(rng);
        let core_hops = internet::core_hops(rng);
        let left_nats = self.named(rng, left, left_access);
        let right_nats = self.named(rng, right, right_access);
        for link in [&mut left_link, &mut right_link, &mut server_link] {
            for way in [&mut link.up, &mut link.down] {
                if let Some(delay) = self.delay {
                    *way = Way { delay: delay / 2, ..Way::default() };
                }
                if let Some(loss) = self.loss {
                    *way = Way { loss: of_two(loss), burst: None, ..way.clone() };
                }
            }
        }
        for (link, access) in [(&mut left_link, left_access), (&mut right_link, right_access)] {
            let mtu = access.mtu(sizes);
            (link.up.mtu, link.down.mtu) = (mtu, mtu);
        }
        let equal = PairWorldSettings::equal(0, &left_nats, &right_nats, Duration::ZERO);
        PairWorldSettings { left_link, right_link, server_link, core_hops, ..equal }
    }

    fn named(&self, rng: &mut ChaCha8Rng, spec: &NatSpec, access: internet::Access) -> Vec<NatConfig> {
        // What is not used is drawn all the same, so that the rest of the world is the same for every pair.
        let drawn = [(); 2].map(|()| access.nat(rng));
        let mut chain = spec.chain.clone();
        if !spec.is_named() {
            return chain;
        }
        let alone = chain.len() == 1;
        for (nat, drawn) in chain.iter_mut().zip(drawn).filter(|(nat, _)| nat.translates()) {
            nat.cross = self.cross.unwrap_or(drawn.cross);
            // Who has so many subscribers that the ports would run out has more addresses, or forgets sooner.
            let longest = Duration::from_secs_f64(BEARABLE / nat.cross.max(1.0));
            if alone && OPEN.contains(&spec.name.as_str()) {
                nat.allocation = drawn.allocation;
                nat.timeout = drawn.timeout;
                nat.stream_timeout = drawn.timeout.max(nat.stream_timeout);
            }
            nat.timeout = nat.timeout.min(longest);
            nat.stream_timeout = nat.stream_timeout.min(longest);
        }
        chain
    }

    fn tidy_world(&self, rng: &mut ChaCha8Rng, left: &NatSpec, right: &NatSpec) -> PairWorldSettings {
        let loss = self.loss.unwrap_or_else(|| rng.random_range(0.0..=0.1));
        let [left_link, right_link, server_link] = [(); 3].map(|()| self.tidy_link(rng, loss));
        let left_nats = self.tidy_nats(rng, left);
        let right_nats = self.tidy_nats(rng, right);
        let equal = PairWorldSettings::equal(0, &left_nats, &right_nats, Duration::ZERO);
        PairWorldSettings { left_link, right_link, server_link, ..equal }
    }

    fn tidy_link(&self, rng: &mut ChaCha8Rng, loss: f64) -> Link {
        let loss = of_two(loss);
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

    fn tidy_nats(&self, rng: &mut ChaCha8Rng, spec: &NatSpec) -> Vec<NatConfig> {
        let mut chain = spec.chain.clone();
        let step = [1, 3, -2][rng.random_range(0..3)];
        let preserving: bool = rng.random();
        let cross = self.cross.unwrap_or_else(|| rng.random_range(0.0..=50.0));
        if let [nat] = chain.as_mut_slice()
            && OPEN.contains(&spec.name.as_str())
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

/// These names say how a NAT maps and filters, but not how it chooses its ports.
const OPEN: [&str; 5] = ["fullcone", "restricted", "portrestricted", "as", "ps"];

/// At most this many ports of one address are taken at a time: 0.7 of the 64,512 that there are.
const BEARABLE: f64 = 45_000.0;

/// Returns the loss of each of two links that make a leg: `1 - (1 - p)^2 = loss`.
fn of_two(loss: f64) -> f64 {
    1.0 - (1.0 - loss).sqrt()
}
