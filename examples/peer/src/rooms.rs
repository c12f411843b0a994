//! `peer rooms`: the public rooms that pass conditions, once or as they change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use bevy_traversal::{
    FilterTest, ListRooms, LobbyLink, NatStatus, RequestFailed, RequestKind, RoomFilter, RoomList,
    RoomListChanged, RoomQuery, RoomSort, RoomSummary, RoomsListed, WatchRooms,
};
use clap::{Args, ValueEnum};
use headless::Output;
use headless::args::seconds;
use serde_json::{Value, json};

use crate::session::{Goal, Session};

/// A server may not know this player's NAT at once: the way to each room is asked for when it does, or after so long.
const KNOWN: Duration = Duration::from_secs(4);

/// These events are printed with --json.
pub(crate) const EVENTS: &str = "Conditions of --filter on the metadata of rooms, and on their properties that begin with list.:
  map=desert      the value is this text        map!=desert     it is not, or there is none
  level<5         it is a number less than 5    level>5         it is one greater than 5
  map=desert|ice  it is one of these texts      map             there is a value

Events of --json:
  listed        rooms: an array, in the order of --sort; more: there are more than --limit
  room_changed  with --watch, for each room that is new or has changed: the fields of a room
  room_gone     with --watch: code
  watching      with --watch, when all rooms that are wanted are known: rooms: their codes in the order of --sort
A room has: name, code, host, members, capacity, password, metadata, region, protocol, age_s, way (how its host is expected
to be reached: direct, search, relay, unreachable or unknown) and rtt_ms (to its host by way of the server, at the most; null:
not known).";

#[derive(Args, Clone, Debug)]
pub(crate) struct RoomsArgs {
    /// Condition on the rooms' metadata, see below; may be given several times
    #[arg(long, value_name = "CONDITION", value_parser = filter)]
    filter: Vec<RoomFilter>,
    /// This has to stand in the name of the room or of its host
    #[arg(long, default_value = "")]
    text: String,
    /// Only rooms with a place left
    #[arg(long)]
    not_full: bool,
    /// Only rooms without a password
    #[arg(long)]
    no_password: bool,
    /// Only rooms of this version of the game
    #[arg(long)]
    same_protocol: bool,
    /// Only rooms whose host is not out of reach
    #[arg(long)]
    reachable: bool,
    /// Only rooms whose host is expected to be reached directly
    #[arg(long)]
    direct: bool,
    /// Only rooms of servers in this region
    #[arg(long, value_name = "NAME", default_value = "")]
    region: String,
    /// Show the value of this key, of the metadata or of a room's property that begins with list.; may be given several times
    /// (default: the first ones of the metadata)
    #[arg(long, value_name = "KEY")]
    show: Vec<String>,
    /// Order of the rooms
    #[arg(long, value_enum, default_value_t = SortArg::Name)]
    sort: SortArg,
    /// The other way round
    #[arg(long)]
    descending: bool,
    /// Rooms at the most: up to 500, with --watch up to 100
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
    /// Look in the local network, too, for six seconds or as long as --watch says: no --lobby is needed. What is found is printed
    /// with the lobby's rooms, those of the local network first (event "found_rooms"); conditions count for the lobby's alone
    #[arg(long)]
    pub(crate) lan: bool,
    /// Go on for so long, and tell each change
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    watch: Option<Duration>,
    /// Shortest pause between news with --watch: 0.5 to 65
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds, requires = "watch")]
    pause: Duration,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum SortArg {
    Name,
    Players,
    Age,
    RoundTrip,
}

/// What `peer host` says of its room.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ShownArgs {
    /// Say this of the room in listings; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

impl ShownArgs {
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        self.metadata.iter().cloned().collect()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn filter(text: &str) -> Result<RoomFilter, String> {
    let operators = ["!=", "=", "<", ">"];
    let found = operators.iter().filter_map(|operator| Some((text.find(operator)?, *operator))).min();
    let (key, test) = match found {
        None => (text, FilterTest::Exists),
        Some((at, operator)) => {
            let value = text[at + operator.len()..].to_owned();
            let test = match operator {
                "!=" => FilterTest::NotEqual(value),
                "<" => FilterTest::Less(value),
                ">" => FilterTest::Greater(value),
                _ if value.contains('|') => FilterTest::OneOf(value.split('|').map(String::from).collect()),
                _ => FilterTest::Equal(value),
            };
            (&text[..at], test)
        }
    };
    if key.is_empty() { Err("a key is expected first".into()) } else { Ok(RoomFilter::new(key, test)) }
}

impl RoomsArgs {
    fn query(&self) -> RoomQuery {
        RoomQuery {
            filters: self.filter.clone(),
            text: self.text.clone(),
            not_full: self.not_full,
            no_password: self.no_password,
            same_protocol: self.same_protocol,
            reachable: self.reachable,
            direct: self.direct,
            region: self.region.clone(),
            sort: match self.sort {
                SortArg::Name => RoomSort::Name,
                SortArg::Players => RoomSort::Players,
                SortArg::Age => RoomSort::Age,
                SortArg::RoundTrip => RoomSort::RoundTrip,
            },
            descending: self.descending,
            after: None,
            limit: self.limit,
            show: self.show.clone(),
        }
    }

    /// Returns how much longer than any other goal this takes.
    pub(crate) fn takes(&self) -> Duration {
        self.watch.unwrap_or_default()
    }
}

fn fields(room: &RoomSummary) -> Value {
    json!({
        "name": room.name, "code": room.code, "host": room.host_name, "members": room.members,
        "capacity": room.capacity, "password": room.password, "metadata": room.metadata, "region": room.region,
        "protocol": room.protocol, "age_s": room.age_s, "way": room.way.name(), "rtt_ms": room.rtt_ms,
    })
}

/// These outcomes are read.
#[derive(SystemParam)]
pub(crate) struct Readers<'w, 's> {
    listed: MessageReader<'w, 's, RoomsListed>,
    changed: MessageReader<'w, 's, RoomListChanged>,
    failed: MessageReader<'w, 's, RequestFailed>,
}

/// This says how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    online: Option<Instant>,
    asked: Option<Instant>,
    complete: bool,
}

/// Asks for rooms, and prints what comes.
pub(crate) fn rooms(
    mut session: ResMut<Session>,
    output: Res<Output>,
    (link, nat, list): (Res<LobbyLink>, Res<NatStatus>, Res<RoomList>),
    mut read: Readers,
    (mut ask, mut watch): (MessageWriter<ListRooms>, MessageWriter<WatchRooms>),
    mut progress: Local<Progress>,
) {
    let Goal::Rooms(args) = session.goal.clone() else { return };
    if link.online() && progress.asked.is_none() {
        let online = *progress.online.get_or_insert_with(Instant::now);
        let known = nat.profile.confidence != bevy_traversal::Confidence::Unknown;
        if known || online.elapsed() >= KNOWN {
            progress.asked = Some(Instant::now());
            match args.watch {
                // One list of both is made of what is listed.
                None => _ = ask.write(ListRooms(args.query())),
                Some(_) if args.lan => _ = ask.write(ListRooms(args.query())),
                Some(_) => _ = watch.write(WatchRooms { query: args.query(), pause: args.pause }),
            }
        }
    }
    for RoomsListed { rooms, next } in read.listed.read() {
        let rooms: Vec<Value> = rooms.iter().map(fields).collect();
        output.event("listed", json!({"rooms": rooms, "more": next.is_some()}));
        session.over |= !args.lan;
    }
    for RoomListChanged { changed, gone } in read.changed.read() {
        for code in gone {
            output.event("room_gone", json!({"code": code}));
        }
        for room in changed {
            output.event("room_changed", fields(room));
        }
        progress.complete = false;
    }
    if list.complete && !progress.complete {
        progress.complete = true;
        let codes: Vec<&String> = list.rooms.iter().map(|room| &room.code).collect();
        output.event("watching", json!({"rooms": codes}));
    }
    for RequestFailed { request, error } in read.failed.read() {
        if matches!(request, RequestKind::List | RequestKind::Watch) {
            let text = error.to_string();
            session.give_up(&output, "rooms", "rejected", &text);
        }
    }
    if let (Some(asked), Some(length)) = (progress.asked, args.watch) {
        session.over |= asked.elapsed() >= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_written() {
        let test = |text: &str| filter(text).map(|filter| (filter.key, filter.test));
        let with = |key: &str, test| Ok((String::from(key), test));
        assert_eq!(test("map=desert"), with("map", FilterTest::Equal("desert".into())));
        assert_eq!(test("map!=a=b"), with("map", FilterTest::NotEqual("a=b".into())));
        assert_eq!(test("level<5"), with("level", FilterTest::Less("5".into())));
        assert_eq!(test("level>-2.5"), with("level", FilterTest::Greater("-2.5".into())));
        assert_eq!(test("map=a|b"), with("map", FilterTest::OneOf(vec!["a".into(), "b".into()])));
        assert_eq!(test("map"), with("map", FilterTest::Exists));
        assert!(test("=x").is_err() && test("").is_err());
    }
}
