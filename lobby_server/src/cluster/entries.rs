//! What stands in Redis: how keys are named, and in which form values are.
//!
//! Numbers of 64 bits are written in hexadecimal: Lua's own end at 2^53.

use std::fmt::Display;
use std::net::SocketAddr;

use redis::{Value, from_redis_value_ref};
use serde::{Deserialize, Serialize};
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::text::{fold, look};
use traversal_core::wire::message::RoomTarget;

use crate::registry::{
    ChangeMark, Changes, MAX_POSTED, NodeSite, RegistryReply, RoomLocation, RoomRecord, RoomSite, Shown,
    code_key,
};

/// A node has so many addresses at the most, whatever Redis says.
const MAX_ADDRESSES: usize = 4;

/// These are the keys of one room, in the order of the scripts: its own, its look, code, list and id.
pub(super) fn keys_of(record: &RoomRecord) -> [String; 5] {
    let game = &record.game;
    [
        room_key(game, &fold(&record.shown.summary.name)),
        target_key(game, &RoomTarget::Name(record.shown.summary.name.clone())),
        target_key(game, &RoomTarget::Code(record.shown.summary.code.clone())),
        list_key(game),
        format!("bt:i:{}", hex(record.location.room.0)),
    ]
}

/// These are the values of one room, in the order of the scripts.
pub(super) fn values_of(record: &RoomRecord) -> [String; 5] {
    [
        hex(record.location.room.0),
        record.epoch.to_string(),
        String::from(if record.public { "1" } else { "0" }),
        // A struct with texts and numbers: nothing of it can fail.
        serde_json::to_string(&record.shown).unwrap_or_default(),
        fold(&record.shown.summary.name),
    ]
}

/// Returns what comes after a kind of key for this game: with its length before it, no two games have one key together.
fn of_game(kind: char, game: &str, rest: impl Display) -> String {
    format!("bt:{kind}:{}:{game}:{rest}", game.len())
}

/// Returns the key of the room with this folded name.
pub(super) fn room_key(game: &str, folded: &str) -> String {
    of_game('r', game, folded)
}

/// Returns the key that leads to the room that is meant.
pub(super) fn target_key(game: &str, target: &RoomTarget) -> String {
    match target {
        RoomTarget::Name(name) => of_game('k', game, look(name)),
        RoomTarget::Code(code) => of_game('c', game, code_key(code)),
    }
}

/// Returns the key of a game's list.
pub(super) fn list_key(game: &str) -> String {
    of_game('l', game, "")
}

/// Returns the key of the rooms of a game that went lately.
pub(super) fn gone_key(game: &str) -> String {
    of_game('d', game, "")
}

/// Returns the key of a player's place.
pub(super) fn player_key(player: PlayerId) -> String {
    format!("bt:p:{player}")
}

/// Writes a number.
pub(super) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn read_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// A node's site, as the others read it.
#[derive(Serialize, Deserialize)]
struct Site {
    addresses: Vec<SocketAddr>,
    players: u32,
    draining: bool,
}

/// Writes where a node is and how it is there.
pub(super) fn write_site(site: &NodeSite) -> String {
    let NodeSite { addresses, players, draining, .. } = site;
    let site = Site { addresses: addresses.clone(), players: *players, draining: *draining };
    serde_json::to_string(&site).unwrap_or_default()
}

/// Reads it. Addresses that no player can log in at are left out.
fn read_site(node: u64, text: &str) -> Option<NodeSite> {
    let Site { mut addresses, players, draining } = serde_json::from_str(text).ok()?;
    addresses.retain(|at| at.port() != 0 && !at.ip().is_unspecified() && !at.ip().is_multicast());
    addresses.truncate(MAX_ADDRESSES);
    Some(NodeSite { node, addresses, players, draining })
}

/// Reads a reply that is an array of texts; none: it is not one.
fn texts(value: &Value) -> Option<Vec<String>> {
    from_redis_value_ref(value).ok()
}

/// Reads where a room is: its node, its id and the node's site.
fn room_site(node: &str, room: &str, site: &str) -> Option<RoomSite> {
    let node = read_hex(node)?;
    let addresses = read_site(node, site).map(|site| site.addresses).unwrap_or_default();
    Some(RoomSite { location: RoomLocation { node, room: RoomId(read_hex(room)?) }, addresses })
}

/// Reads the answer to a claim or a search; none: it makes no sense.
pub(super) fn read_reply(value: &Value) -> Option<RegistryReply> {
    let words = texts(value)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["claimed"] => RegistryReply::Claimed,
        ["name", node, room] => RegistryReply::NameTaken(room_site(node, room, "")?.location),
        ["code"] => RegistryReply::CodeTaken,
        ["held", node, room, site] => RegistryReply::Held(room_site(node, room, site)?),
        ["stale", epoch] => RegistryReply::Stale { epoch: epoch.parse().ok()? },
        ["moving"] => RegistryReply::Moving,
        ["done"] => RegistryReply::Done,
        ["found", node, room, site] => RegistryReply::Found(Some(room_site(node, room, site)?)),
        ["none"] => RegistryReply::Found(None),
        ["at", node] => RegistryReply::At(Some(read_hex(node)?)),
        ["nowhere"] => RegistryReply::At(None),
        _ => return None,
    })
}

/// Reads what is new of a game's rooms. What is no room in it is left out.
pub(super) fn read_changes(value: &Value) -> Option<RegistryReply> {
    type Rows = Vec<(String, String, String)>;
    let (anew, more, begun, changed, gone_mark, rooms, gone): (
        u8,
        u8,
        u8,
        String,
        String,
        Rows,
        Vec<String>,
    ) = from_redis_value_ref(value).ok()?;
    let read = |(_, node, shown): &(String, String, String)| {
        Some((read_hex(node)?, serde_json::from_str::<Shown>(shown).ok()?))
    };
    // Redis writes great numbers with an exponent.
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|n| n as u64);
    let mark = ChangeMark { changed: number(&changed)?, gone: number(&gone_mark)?, begun: begun == 1 };
    let (anew, more) = (anew == 1, more == 1);
    Some(RegistryReply::Changes(Changes {
        anew,
        rooms: rooms.iter().filter_map(read).collect(),
        gone,
        more,
        mark,
    }))
}

/// Reads which rooms the node has lost, and where they are.
pub(super) fn read_lost(value: &Value) -> Option<Vec<(RoomId, Option<RoomSite>)>> {
    let lost: Vec<(String, String, String)> = from_redis_value_ref(value).ok()?;
    let read = |(room, node, site): &(String, String, String)| {
        Some((RoomId(read_hex(room)?), room_site(node, room, site)))
    };
    Some(lost.iter().filter_map(read).collect())
}

/// This is what a beat brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pulse {
    /// The data began with this one: another one means that all of it was lost.
    pub(super) era: String,
    /// The others had reason to think that this node was gone.
    pub(super) lapsed: bool,
    pub(super) others: Vec<NodeSite>,
    /// These players went elsewhere.
    pub(super) gone: Vec<PlayerId>,
    /// This is the number of the last note.
    pub(super) last: Option<String>,
}

/// This is why a node may not join the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stranger {
    /// The node has another key.
    #[error(
        "node {node} of this registry has another key: players pin one for all, so copy the key file of one node to all \
         others"
    )]
    Key {
        /// The node has this number.
        node: String,
    },
    /// The node is of another version.
    #[error(
        "node {node} of this registry speaks version {theirs} of the protocol and this one {ours}: run the same version on \
         all, or give this one a registry of its own"
    )]
    Wire {
        /// The node has this number.
        node: String,
        /// It speaks this version.
        theirs: String,
        /// This program speaks this one.
        ours: u16,
    },
}

/// Reads what a beat brings; none: it makes no sense.
pub(super) fn read_pulse(value: &Value) -> Option<Result<Pulse, Stranger>> {
    let Value::Array(parts) = value else { return None };
    let word: String = from_redis_value_ref(parts.first()?).ok()?;
    if word != "there" {
        let words = texts(value)?;
        let [kind, node, theirs] = words.as_slice() else { return None };
        let (node, theirs) = (node.clone(), theirs.clone());
        return Some(Err(match kind.as_str() {
            "key" => Stranger::Key { node },
            "wire" => Stranger::Wire { node, theirs, ours: traversal_core::wire::VERSION },
            _ => return None,
        }));
    }
    type Pairs = Vec<(String, String)>;
    let (_, era, lapsed, others, notes): (String, String, u8, Pairs, Pairs) =
        from_redis_value_ref(value).ok()?;
    let others = others.iter().filter_map(|(node, site)| read_site(read_hex(node)?, site)).collect();
    let gone = notes.iter().filter_map(|(_, player)| read_player(player)).collect();
    let last = notes.last().map(|(id, _)| id.clone());
    Some(Ok(Pulse { era, lapsed: lapsed == 1, others, gone, last }))
}

/// This is something that another node had to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) from: u64,
    pub(super) to: Vec<PlayerId>,
    pub(super) body: String,
}

/// Reads what others had to say, each with its number in the stream; none: it makes no sense. What is no post in it keeps its
/// number, so that it is passed.
pub(super) fn read_posts(value: &Value) -> Option<Vec<(String, Option<Posted>)>> {
    let Value::Array(entries) = value else { return None };
    let numbered = |entry: &Value| {
        let Value::Array(values) = entry else { return None };
        let (id, post) = values.split_first()?;
        Some((from_redis_value_ref(id).ok()?, read_post(post)))
    };
    Some(entries.iter().filter_map(numbered).collect())
}

fn read_post(values: &[Value]) -> Option<Posted> {
    let [from, to, body] = values else { return None };
    let text = |value: &Value| from_redis_value_ref::<String>(value).ok();
    let to = text(to)?;
    let players = to.as_bytes().chunks(32).filter_map(|text| read_player(str::from_utf8(text).ok()?));
    let to = players.take(MAX_POSTED).collect();
    Some(Posted { from: read_hex(&text(from)?).unwrap_or_default(), to, body: text(body)? })
}

fn read_player(text: &str) -> Option<PlayerId> {
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(PlayerId(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_games_have_a_key_together() {
        assert_ne!(room_key("a", "b:c"), room_key("a:b", "c"));
        assert_ne!(list_key("a"), room_key("a", ""));
        assert_eq!(target_key("g", &RoomTarget::Code("ab-co".into())), "bt:c:1:g:ABC0");
    }

    #[test]
    fn what_is_no_reply_is_none() {
        let text = |text: &str| Value::BulkString(text.into());
        for value in [
            Value::Nil,
            Value::Int(7),
            Value::Array(Vec::new()),
            Value::Array(vec![text("found"), text("xyz"), text("1"), text("{}")]),
            Value::Array(vec![text("there"), text("e")]),
            Value::Array(vec![text("held"), Value::Nil]),
        ] {
            assert_eq!(read_reply(&value), None, "{value:?}");
            assert_eq!(read_pulse(&value), None, "{value:?}");
            assert_eq!(read_changes(&value), None, "{value:?}");
            assert!(read_posts(&value).is_none_or(|posts| posts.is_empty()), "{value:?}");
        }
    }

    #[test]
    fn what_is_no_post_is_passed_and_posts_behind_it_are_read() {
        let entry = |texts: &[&str]| {
            Value::Array(texts.iter().map(|text| Value::BulkString(text.as_bytes().into())).collect())
        };
        let player = PlayerId([7; 16]);
        let nonsense = Value::Array(vec![Value::BulkString(b"1-3".into()), Value::Nil, Value::Int(7)]);
        let stream = [
            entry(&["1-1", "1"]),
            entry(&["1-2", "00000000000000a1", &player.to_string(), "hello"]),
            nonsense,
            Value::Nil,
            entry(&["1-4"]),
        ];
        let read = read_posts(&Value::Array(stream.into())).unwrap();
        let hello = Posted { from: 0xa1, to: vec![player], body: "hello".into() };
        let numbered = |(id, post)| (String::from(id), post);
        let expected = [("1-1", None), ("1-2", Some(hello)), ("1-3", None), ("1-4", None)];
        assert_eq!(read, expected.map(numbered));
    }

    #[test]
    fn a_site_comes_back_without_addresses_that_are_nobodys() {
        let addresses =
            ["198.51.100.7:3478", "0.0.0.0:1", "224.0.0.1:9", "198.51.100.8:0", "[2001:db8::1]:3478"];
        let addresses: Vec<SocketAddr> = addresses.iter().map(|at| at.parse().unwrap()).collect();
        let site = NodeSite { node: 7, addresses: addresses.clone(), players: 3, draining: true };
        let read = read_site(7, &write_site(&site)).unwrap();
        assert_eq!(read, NodeSite { addresses: vec![addresses[0], addresses[4]], ..site });
        let player = PlayerId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
        assert_eq!(read_player(&player.to_string()), Some(player));
    }
}
