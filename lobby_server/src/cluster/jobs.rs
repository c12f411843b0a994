//! What the driver does for the core, and how that is said to Redis.

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text::fold;
use traversal_core::wire::message::RoomTarget;

use super::entries::{
    gone_key, hex, keys_of, list_key, player_key, room_key, target_key, values_of, write_site,
};
use super::link::Call;
use super::scripts::Script;
use crate::registry::{
    CHANGES, ChangeMark, NodeSite, RegistryCommand, RegistryDown, RegistryId, RegistryNote,
    RegistryOperation, RegistryReply, RoomRecord,
};

/// So many posts are read at once.
pub(super) const MOST_POSTS: usize = 256;

/// This is what the core tells the driver.
pub(super) enum Order {
    /// Somebody waits for the answer.
    Ask(Job),
    /// There is something new of a room.
    Update(Box<RoomRecord>),
    /// A room is gone.
    Release { room: RoomId, key: String },
    /// A player has come.
    Arrive(PlayerId),
    /// A player has gone.
    Depart(PlayerId),
    /// This node ends.
    End,
}

impl Order {
    /// Makes an order of a command of the core.
    pub(super) fn of(command: RegistryCommand) -> Self {
        let id = command.id;
        match command.operation {
            RegistryOperation::Claim(record) => Self::Ask(Job::Claim { id, record: Box::new(record) }),
            RegistryOperation::Find { game, target } => Self::Ask(Job::Find { id, game, target }),
            RegistryOperation::Changes { game, since } => Self::Ask(Job::Changes { id, game, since }),
            RegistryOperation::Locate(player) => Self::Ask(Job::Locate { id, player }),
            RegistryOperation::Post { to, body } => Self::Ask(Job::Post { id, to, body }),
            RegistryOperation::Update(record) => Self::Update(Box::new(record)),
            RegistryOperation::Release { game, location, name } => {
                Self::Release { room: location.room, key: room_key(&game, &fold(&name)) }
            }
            RegistryOperation::Arrive(player) => Self::Arrive(player),
            RegistryOperation::Depart(player) => Self::Depart(player),
        }
    }
}

/// This is what the driver tells the core.
pub(super) enum Event {
    Reply(RegistryId, Result<RegistryReply, RegistryDown>),
    Note(RegistryNote),
}

/// This is how a node is known in the registry.
#[derive(Clone, Debug)]
pub(super) struct Identifying {
    pub(super) node: u64,
    /// It stands for the key that all nodes have.
    pub(super) key: String,
    /// Where Redis has lost everything, what comes after begins with this one.
    pub(super) era: String,
}

/// This is one script to run, and what for.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Beat { site: NodeSite, last: Option<String> },
    Claim { id: RegistryId, record: Box<RoomRecord> },
    Renew(Vec<RoomRecord>),
    Release { room: RoomId, key: String },
    Find { id: RegistryId, game: String, target: RoomTarget },
    Changes { id: RegistryId, game: String, since: ChangeMark },
    Locate { id: RegistryId, player: PlayerId },
    Arrive(PlayerId),
    Stay(Vec<PlayerId>),
    Depart(PlayerId),
    Post { id: RegistryId, to: Vec<PlayerId>, body: String },
    Collect { last: Option<String> },
}

impl Job {
    /// Returns what Redis is to run.
    pub(super) fn call(&self, own: &Identifying) -> Call {
        let node = hex(own.node);
        match self {
            Self::Beat { site, last } => {
                let wire = traversal_core::wire::VERSION.to_string();
                let last = last.clone().unwrap_or_else(|| String::from("0"));
                let values = vec![node, write_site(site), own.key.clone(), wire, own.era.clone(), last];
                Call { script: Script::Beat, keys: Vec::new(), values }
            }
            Self::Claim { record, .. } => room_call(Script::Claim, node, std::slice::from_ref(&**record)),
            Self::Renew(records) => room_call(Script::Renew, node, records),
            Self::Release { room, key } => {
                let values = vec![node, hex(room.0)];
                Call { script: Script::Release, keys: vec![key.clone()], values }
            }
            Self::Find { game, target, .. } => {
                Call { script: Script::Find, keys: vec![target_key(game, target)], values: vec![node] }
            }
            Self::Changes { game, since, .. } => {
                let ChangeMark { changed, gone, begun } = since;
                let begun = u8::from(*begun).to_string();
                let limit = CHANGES.to_string();
                let values =
                    vec![node, changed.to_string(), gone.to_string(), begun, limit, room_key(game, "")];
                Call { script: Script::Changes, keys: vec![list_key(game), gone_key(game)], values }
            }
            Self::Locate { player, .. } => of_player(Script::Locate, node, *player),
            Self::Post { to, body, .. } => {
                let keys = to.iter().map(|player| player_key(*player)).collect();
                let players = to.iter().map(PlayerId::to_string);
                let values = [node, body.clone()].into_iter().chain(players).collect();
                Call { script: Script::Post, keys, values }
            }
            Self::Collect { last } => {
                let last = last.clone().unwrap_or_else(|| String::from("0"));
                let values = vec![node, last, MOST_POSTS.to_string()];
                Call { script: Script::Collect, keys: Vec::new(), values }
            }
            Self::Arrive(player) => of_player(Script::Arrive, node, *player),
            Self::Depart(player) => of_player(Script::Depart, node, *player),
            Self::Stay(players) => {
                let keys = players.iter().map(|player| player_key(*player)).collect();
                Call { script: Script::Stay, keys, values: vec![node] }
            }
        }
    }

    /// Returns how it is asked whether a node fits to the others.
    pub(super) fn fits(own: &Identifying) -> Call {
        let values = vec![hex(own.node), own.key.clone(), traversal_core::wire::VERSION.to_string()];
        Call { script: Script::Fits, keys: Vec::new(), values }
    }

    /// Returns how a node takes its leave.
    pub(super) fn leave(own: &Identifying) -> Call {
        Call { script: Script::Leave, keys: Vec::new(), values: vec![hex(own.node)] }
    }
}

fn room_call(script: Script, node: String, records: &[RoomRecord]) -> Call {
    let keys = records.iter().flat_map(keys_of).collect();
    let values = [node].into_iter().chain(records.iter().flat_map(values_of)).collect();
    Call { script, keys, values }
}

fn of_player(script: Script, node: String, player: PlayerId) -> Call {
    Call { script, keys: vec![player_key(player)], values: vec![node, player.to_string()] }
}
