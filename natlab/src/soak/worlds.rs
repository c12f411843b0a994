//! Worlds drawn by chance: any combination of settings, likely or not, and those of the internet.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::RelayPolicy;

use crate::link::{Link, Way};
use crate::matrix::ALWAYS;
use crate::nat::{Allocation, Fallback, Filtering, Hairpin, Kind, Mapping, NatConfig, NatSpec, Pooling};
use crate::oracle::Relation;
use crate::scenario::{Draw, JoinMoment, PairWorldSettings};

/// Returns one of these.
///
/// # Panics
/// If there is none.
pub fn any<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

/// Returns a NAT with any settings, each drawn for itself.
pub fn any_nat(rng: &mut ChaCha8Rng) -> NatConfig {
    NatConfig {
        kind: any(rng, &[Kind::Nat, Kind::Nat, Kind::Nat, Kind::Nat, Kind::Firewall, Kind::Router]),
        mapping: any(
            rng,
            &[Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent],
        ),
        filtering: any(
            rng,
            &[
                Filtering::EndpointIndependent,
                Filtering::AddressDependent,
                Filtering::AddressAndPortDependent,
            ],
        ),
        allocation: any(
            rng,
            &[
                Allocation::Preserving(Fallback::Random),
                Allocation::Preserving(Fallback::Sequential),
                Allocation::Sequential(1),
                Allocation::Sequential(-2),
                Allocation::Sequential(5),
                Allocation::Random,
                Allocation::RandomInBlock(1024),
            ],
        ),
        parity: rng.random_bool(0.1),
        cross: rng.random_range(0.0..50.0),
        timeout: Duration::from_secs(any(rng, &[20, 30, 120])),
        stream_timeout: Duration::from_secs(any(rng, &[20, 120])),
        inbound_refresh: rng.random(),
        pool: any(rng, &[1, 1, 1, 4]),
        pooling: any(rng, &[Pooling::Paired, Pooling::Paired, Pooling::Arbitrary]),
        quota: any(rng, &[None, None, None, Some(40), Some(300)]),
        hairpin: any(rng, &[Hairpin::No, Hairpin::ExternalSource, Hairpin::InternalSource]),
        clash: rng.random_bool(0.2),
        udp_blocked: rng.random_bool(0.03),
        ..NatConfig::default()
    }
}

/// Returns a link with some of everything, and up to this share of losses on each way.
pub fn any_link(rng: &mut ChaCha8Rng, most_loss: f64) -> Link {
    let mut way = || Way {
        delay: Duration::from_secs_f64(rng.random_range(0.001..0.07)),
        jitter: Duration::from_secs_f64(rng.random_range(0.0..0.02)),
        loss: rng.random_range(0.0..most_loss),
        reorder: rng.random_range(0.0..0.1),
        duplicate: rng.random_range(0.0..0.1),
        ..Way::default()
    };
    Link { up: way(), down: way() }
}

fn any_chain(rng: &mut ChaCha8Rng) -> Vec<NatConfig> {
    let depth = any(rng, &[0, 1, 1, 1, 1, 2]);
    (0..depth).map(|_| any_nat(rng)).collect()
}

/// Returns a world of any NATs and links.
pub fn any_world(seed: u64) -> PairWorldSettings {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (left, right) = (any_chain(&mut rng), any_chain(&mut rng));
    let mut settings = PairWorldSettings::equal(seed, &left, &right, Duration::ZERO);
    settings.left_link = any_link(&mut rng, 0.15);
    settings.right_link = any_link(&mut rng, 0.15);
    settings.server_link = any_link(&mut rng, 0.15);
    settings.relation = any(
        &mut rng,
        &[Relation::Apart, Relation::Apart, Relation::Apart, Relation::SameLan, Relation::SameOuterNat],
    );
    settings.two_addresses = rng.random_bool(0.8);
    settings.join = if rng.random_bool(0.8) { JoinMoment::BothKnown } else { JoinMoment::AtOnce };
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never]);
    settings
}

/// Draws a world in which addresses may change: with a NAT in common, whose they are would be hard to tell afterwards.
pub fn any_world_apart(seed: u64) -> PairWorldSettings {
    let mut settings = any_world(seed);
    if settings.relation == Relation::SameOuterNat {
        settings.relation = Relation::Apart;
    }
    settings
}

/// Returns a world of the internet, between two of the kinds of NATs of `natlab matrix --set always`.
pub fn internet_world(seed: u64) -> PairWorldSettings {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x696e_7465_726e);
    let mut nat =
        || any(&mut rng, &ALWAYS).parse::<NatSpec>().unwrap_or(NatSpec::single("", NatConfig::default()));
    let (left, right) = (nat(), nat());
    let mut settings = Draw::default().settings(seed, &left, &right);
    settings.two_addresses = rng.random_bool(0.8);
    settings.join = any(&mut rng, &[JoinMoment::AtOnce, JoinMoment::AtOnce, JoinMoment::Together]);
    settings.config.relay = any(&mut rng, &[RelayPolicy::Allow, RelayPolicy::Never]);
    for nat in settings.left.iter_mut().chain(&mut settings.right) {
        nat.clash |= rng.random_bool(0.1);
    }
    settings
}
