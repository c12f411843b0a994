//! What host and clients say to each other: postcard behind a size limit. A snapshot or a bundle of inputs is one
//! unreliable message; everything that must arrive is a reliable, ordered one with a number of its own.

use std::collections::BTreeMap;

use bevy::math::Vec2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::Joining;
use crate::sim::{
    BOLT_SPEED, Body, Bolt, GameEvent, Input, MAX_BOLTS, MAX_PLAYERS, Phase, Pickup, PickupKind, Player,
    PlayerSlot, Rules, Simulation, aim_of, angle_of,
};

/// This is the version of these messages. The lobby server is told it, and keeps other versions away.
pub const GAME_PROTOCOL: u32 = 6;
/// This game's rooms are kept under this name.
pub const GAME: &str = "arena";
/// A message has so many bytes at the most: renet sends them without slicing.
pub const MAX_MESSAGE: usize = 1200;
/// A bundle has so many inputs: each input travels this often, so a lost datagram costs nothing.
pub const BUNDLE: usize = 12;

/// This is a reliable message of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// This is the first message of a client.
    Hello {
        /// This is the client's [`GAME_PROTOCOL`].
        protocol: u32,
        /// This is the name that the player wants.
        name: String,
        /// The player wishes this number, and so its colour.
        wish: Option<PlayerSlot>,
    },
    /// The player is ready for a match, or wants another one; or no longer.
    Ready(bool),
}

/// This is an unreliable message of a client: its newest inputs, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs(pub Vec<Input>);

/// This is a reliable and ordered message of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostMessage {
    /// The host answers a hello with this.
    Welcome {
        /// This is the receiver's number.
        you: PlayerSlot,
        /// This is the number of the first event that you will hear.
        next_event: u32,
        /// These are all who are here, you included.
        players: Vec<(PlayerSlot, String)>,
        /// This says how the match is played: you may have to go on with it as the host.
        rules: Rules,
    },
    /// Whose player is whose, by renet's names: if another one hosts, they keep their players.
    Seats(Vec<(u64, PlayerSlot)>),
    /// How the host is joined with each of its guests.
    Joinings(Vec<(PlayerSlot, Joining)>),
    /// The host has no place, or plays another version.
    Refused {
        /// This says why, for the player to read.
        reason: String,
    },
    /// Something has happened in the match.
    Event {
        /// This is the number of the event: each has the next one.
        number: u32,
        /// This is what has happened.
        event: GameEvent,
    },
    /// The receiver only watches.
    Watch {
        /// This is the number of the first event that you will hear.
        next_event: u32,
        /// These are all who play.
        players: Vec<(PlayerSlot, String)>,
        /// This says how the match is played.
        rules: Rules,
    },
}

/// This is a player as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlayerState {
    /// This is the player's number.
    pub player: PlayerSlot,
    /// This is the centre, in 32nds of a world unit.
    pub at: (i16, i16),
    /// This says where the player aims, as in [`Input::aim`].
    pub aim: u16,
    /// This is the health; at 0 the player is down.
    pub health: u8,
    /// These bits are set in it: [`DASHING`], [`SHIELDED`], [`PROTECTED`], [`RAPID`], [`READY`].
    pub flags: u8,
    /// Points in this round.
    pub points: u16,
    /// The player has won so many rounds.
    pub wins: u16,
}

/// This flag of [`PlayerState`] says that the player is in a dash.
pub const DASHING: u8 = 1;
/// This flag of [`PlayerState`] says that the next hit costs nothing.
pub const SHIELDED: u8 = 2;
/// This flag of [`PlayerState`] says that the player has just come back and cannot be hit.
pub const PROTECTED: u8 = 4;
/// This flag of [`PlayerState`] says that the player fires faster.
pub const RAPID: u8 = 8;
/// This flag of [`PlayerState`] says that the player is ready for a match.
pub const READY: u8 = 16;

/// This is a shot on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoltState {
    id: u16,
    owner: PlayerSlot,
    input: u32,
    at: (i16, i16),
    angle: u16,
    age: u16,
    bounces: u8,
}

impl From<&Bolt> for BoltState {
    fn from(bolt: &Bolt) -> Self {
        Self {
            id: bolt.id,
            owner: bolt.owner,
            input: bolt.input,
            at: pack(bolt.at),
            angle: aim_of(bolt.velocity),
            age: bolt.age,
            bounces: bolt.bounces,
        }
    }
}

impl From<&BoltState> for Bolt {
    fn from(state: &BoltState) -> Self {
        Self {
            id: state.id,
            owner: state.owner,
            input: state.input,
            at: unpack(state.at),
            velocity: Vec2::from_angle(angle_of(state.angle)) * BOLT_SPEED,
            age: state.age,
            bounces: state.bounces,
        }
    }
}

/// This is something on the floor, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PickupState {
    id: u8,
    kind: PickupKind,
    at: (i16, i16),
}

impl From<&Pickup> for PickupState {
    fn from(pickup: &Pickup) -> Self {
        Self { id: pickup.id, kind: pickup.kind, at: pack(pickup.at) }
    }
}

impl From<&PickupState> for Pickup {
    fn from(state: &PickupState) -> Self {
        Self { id: state.id, kind: state.kind, at: unpack(state.at) }
    }
}

/// This is everything that moves, 30 times a second, made for one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// This is the step of the host's world.
    pub tick: u32,
    /// This says where the match stands.
    pub phase: Phase,
    /// So many rounds have begun.
    pub round: u16,
    /// This is the number of the receiver's last input that was applied, and its own body after it.
    pub own: (u32, Body),
    /// These are all players.
    pub players: Vec<PlayerState>,
    /// These are the shots in flight.
    pub bolts: Vec<BoltState>,
    /// These are the things on the floor.
    pub pickups: Vec<PickupState>,
}

impl Snapshot {
    /// Returns whether a receiver may build on it: it has bounded lists and finite numbers.
    fn sound(&self) -> bool {
        let body = &self.own.1;
        self.players.len() <= MAX_PLAYERS
            && self.bolts.len() <= MAX_BOLTS
            && self.pickups.len() <= MAX_PLAYERS
            && self.players.iter().all(|p| usize::from(p.player) < MAX_PLAYERS)
            && body.at.is_finite()
            && body.velocity.is_finite()
            && body.at.abs().max_element() < 2000.0
            && body.velocity.abs().max_element() < 5000.0
    }
}

impl Snapshot {
    /// The match as it stands here, to go on with as its host. `me` is whose snapshot it is. What snapshots do not say
    /// (speeds and pauses of others) begins anew.
    pub fn world(
        &self,
        me: PlayerSlot,
        rules: Rules,
        seed: u64,
        names: &BTreeMap<PlayerSlot, String>,
    ) -> Simulation {
        let players = self.players.iter().map(|state| {
            let has = |flag| state.flags & flag != 0;
            let body = if state.player == me {
                self.own.1
            } else {
                Body { at: unpack(state.at), aim: state.aim, ..Body::default() }
            };
            let player = Player {
                name: names.get(&state.player).cloned().unwrap_or_else(|| String::from("player")),
                body,
                health: state.health,
                shield: has(SHIELDED),
                respawn: 0,
                protection: 0,
                points: state.points,
                hits: 0,
                wins: state.wins,
                last_input: 0,
            };
            (state.player, player)
        });
        let mut world = Simulation::new(rules, seed);
        world.players = players.collect();
        world.bolts = self.bolts.iter().map(Bolt::from).collect();
        world.pickups = self.pickups.iter().map(Pickup::from).collect();
        world.resume(self.tick, self.phase, self.round);
        world
    }
}

/// Returns a place as it travels.
pub fn pack(at: Vec2) -> (i16, i16) {
    ((at.x * 32.0) as i16, (at.y * 32.0) as i16)
}

/// Returns a place that has travelled, as [`pack`] made it.
pub fn unpack(at: (i16, i16)) -> Vec2 {
    Vec2::new(f32::from(at.0), f32::from(at.1)) / 32.0
}

/// Returns the bytes of a message.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_stdvec(message).expect("plain data always has an encoding")
}

/// Returns a message, if the bytes are exactly one.
fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    if bytes.len() > MAX_MESSAGE {
        return None;
    }
    let (message, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(message)
}

/// Reads a client's reliable message; none: it is not sound.
pub fn read_client_message(bytes: &[u8]) -> Option<ClientMessage> {
    decode(bytes)
}

/// Reads a client's inputs; none: they are not sound.
pub fn read_inputs(bytes: &[u8]) -> Option<Vec<Input>> {
    let Inputs(inputs) = decode(bytes)?;
    (inputs.len() <= BUNDLE).then_some(inputs)
}

/// Reads the host's reliable message; none: it is not sound.
pub fn read_host_message(bytes: &[u8]) -> Option<HostMessage> {
    let message = decode(bytes)?;
    let bounded = match &message {
        HostMessage::Welcome { you, players, .. } => {
            usize::from(*you) < MAX_PLAYERS && players.len() <= MAX_PLAYERS
        }
        HostMessage::Watch { players, .. } => players.len() <= MAX_PLAYERS,
        HostMessage::Seats(seats) => {
            seats.len() <= MAX_PLAYERS && seats.iter().all(|(_, slot)| usize::from(*slot) < MAX_PLAYERS)
        }
        HostMessage::Joinings(joinings) => {
            joinings.len() <= MAX_PLAYERS && joinings.iter().all(|(slot, _)| usize::from(*slot) < MAX_PLAYERS)
        }
        HostMessage::Event { event: GameEvent::RoundWon { points, .. }, .. } => points.len() <= MAX_PLAYERS,
        HostMessage::Event { .. } | HostMessage::Refused { .. } => true,
    };
    bounded.then_some(message)
}

/// Reads the host's snapshot; none: it is not sound.
pub fn read_snapshot(bytes: &[u8]) -> Option<Snapshot> {
    decode::<Snapshot>(bytes).filter(Snapshot::sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_snapshot() -> Snapshot {
        let bolt = Bolt::fired(65_000, 7, u32::MAX, Vec2::new(-799.0, 449.0), 5.9);
        let player = PlayerState {
            player: 7,
            at: pack(Vec2::new(-799.0, -449.0)),
            aim: 65_000,
            health: 4,
            flags: 31,
            points: 999,
            wins: 999,
        };
        let pickup = Pickup { id: 255, kind: PickupKind::Shield, at: Vec2::new(700.0, 400.0) };
        Snapshot {
            tick: u32::MAX,
            phase: Phase::Playing { ends: u32::MAX, overtime: true },
            round: 999,
            own: (u32::MAX, Body { rapid: 360, ..Body::standing(Vec2::splat(400.0)) }),
            players: vec![player; MAX_PLAYERS],
            bolts: vec![BoltState::from(&bolt); MAX_BOLTS],
            pickups: vec![PickupState::from(&pickup); 3],
        }
    }

    #[test]
    fn the_fullest_snapshot_and_bundle_fit_into_a_datagram() {
        let snapshot = full_snapshot();
        let bytes = encode(&snapshot);
        assert!(bytes.len() <= MAX_MESSAGE, "{} bytes", bytes.len());
        assert_eq!(read_snapshot(&bytes), Some(snapshot));
        let input = Input { seq: u32::MAX, walk: (-127, 127), aim: 65_535, fire: true, dash: true };
        let bytes = encode(&Inputs(vec![input; BUNDLE]));
        assert!(bytes.len() <= 200, "{} bytes", bytes.len());
        assert_eq!(read_inputs(&bytes), Some(vec![input; BUNDLE]));
    }

    #[test]
    fn too_long_lists_are_refused() {
        let mut snapshot = full_snapshot();
        snapshot.bolts.clear();
        snapshot.players = vec![snapshot.players[0]; MAX_PLAYERS + 1];
        assert_eq!(read_snapshot(&encode(&snapshot)), None);
        assert_eq!(read_inputs(&encode(&Inputs(vec![Input::default(); BUNDLE + 1]))), None);
        let endless = [0xfb; 9];
        assert_eq!(read_inputs(&endless), None);
    }

    #[test]
    fn bodies_that_are_nowhere_are_refused() {
        let mut snapshot = full_snapshot();
        snapshot.own.1.at.x = f32::NAN;
        assert_eq!(read_snapshot(&encode(&snapshot)), None);
        snapshot.own.1.at.x = 1e9;
        assert_eq!(read_snapshot(&encode(&snapshot)), None);
    }

    #[test]
    fn no_bytes_make_a_reader_panic() {
        let mut random = fastrand::Rng::with_seed(11);
        let valid = [
            encode(&full_snapshot()),
            encode(&HostMessage::Event { number: 3, event: GameEvent::Fight }),
            encode(&ClientMessage::Hello { protocol: 1, name: String::from("Ann"), wish: None }),
            encode(&Inputs(vec![Input::default(); 3])),
        ];
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut bytes = valid[random.usize(..valid.len())].clone();
            for _ in 0..random.usize(1..6) {
                let i = random.usize(..bytes.len());
                bytes[i] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            refused += u32::from(read_snapshot(&bytes).is_none());
            read_host_message(&bytes);
            read_client_message(&bytes);
            read_inputs(&bytes);
        }
        assert!(refused > 10_000);
    }
}
