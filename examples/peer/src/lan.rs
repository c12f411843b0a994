//! Rooms without a lobby server: those of the local network, and one that is hosted here.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    Forwarded, FoundRoom, FoundRooms, HostHere, JoinInvite, ListRooms, LobbyLink, PortMapping, RoomOptions,
    RoomOrigin, ServedHere, WatchLan,
};
use clap::Args;
use headless::Output;
use serde_json::{Value, json};

use crate::invites::fields;
use crate::session::{Goal, Session};

/// The lobby's rooms are asked for so often.
const LIST: Duration = Duration::from_secs(2);
/// Rooms are looked for so long at the least, whatever --wait says: hosts in the local network take a moment to answer.
const LOOK: Duration = Duration::from_secs(6);

/// These flags have the host bring the lobby server along.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Serving {
    /// Bring the lobby server along, and tell those in the same network of the room: no --lobby is needed
    #[arg(long)]
    pub(crate) lan: bool,
    /// Bring the lobby server along, on this UDP and TCP port, which the router forwards to this machine: others enter by an
    /// invite with the public address (event "serving"). No --lobby is needed
    #[arg(long, value_name = "PORT")]
    pub(crate) serve: Option<u16>,
    /// Ask the router to forward the port of --serve (UPnP, NAT-PMP, PCP): the event "serving" comes again with router: state
    /// (asking, forwarded, behind-another-nat, no), address and text, and an invite with that address
    #[arg(long, requires = "serve")]
    pub(crate) ask_router: bool,
    /// Name or address by which others on the internet reach this machine, for invites
    #[arg(long, value_name = "HOST[:PORT]", requires = "serve")]
    pub(crate) public_name: Option<String>,
}

impl Serving {
    pub(crate) fn is_wanted(&self) -> bool {
        self.lan || self.serve.is_some()
    }

    /// Returns the request to host such a room here, if it is to be here.
    pub(crate) fn of(&self, room: &RoomOptions) -> Option<HostHere> {
        self.is_wanted().then(|| HostHere {
            room: room.clone(),
            bind: SocketAddr::from(([0, 0, 0, 0], self.serve.unwrap_or_default())),
            public_name: self.public_name.clone(),
            announce: self.lan,
            ask_router: self.ask_router,
        })
    }
}

fn router(router: &Forwarded) -> Value {
    let of = |state: &str, mapping: &PortMapping, text: &str| {
        let address = mapping.external_ip.map(|ip| SocketAddr::new(ip, mapping.external_port).to_string());
        json!({"state": state, "address": address, "protocol": mapping.protocol.name(), "text": text})
    };
    match router {
        Forwarded::NotAsked => Value::Null,
        Forwarded::Asking => json!({"state": "asking"}),
        Forwarded::Port(mapping) => of("forwarded", mapping, "the router forwards the port"),
        Forwarded::BehindAnother(mapping) => of(
            "behind-another-nat",
            mapping,
            "the router forwards the port, but has no address of the internet itself: nobody comes in by it",
        ),
        Forwarded::No(why) => json!({"state": "no", "text": why.to_string()}),
    }
}

fn row(found: &FoundRoom) -> Value {
    let FoundRoom { origin, room } = found;
    json!({
        "origin": match origin {
            RoomOrigin::Lobby => "lobby",
            RoomOrigin::Lan => "lan",
        },
        "name": room.name,
        "host": room.host_name,
        "members": room.members,
        "capacity": room.capacity,
        "password": room.password,
        "invite": room.invite.to_string(),
    })
}

/// Prints how others reach a server that runs here; looks for the wanted room in all lists, and enters it.
pub(crate) fn lan(
    mut session: ResMut<Session>,
    output: Res<Output>,
    (served, found): (Res<ServedHere>, Res<FoundRooms>),
    link: Res<LobbyLink>,
    (mut watch, mut list): (MessageWriter<WatchLan>, MessageWriter<ListRooms>),
    mut join: MessageWriter<JoinInvite>,
    mut began: Local<Option<Instant>>,
    mut list_at: Local<Option<Instant>>,
    mut asked: Local<bool>,
) {
    if let Some(served) = served.0.as_ref().filter(|_| served.is_changed()) {
        let of_code = |invite: &&bevy_traversal::Invite| invite.code().is_some();
        let invites: Vec<Value> =
            served.invites.iter().filter(of_code).map(|one| fields(one, None)).collect();
        if !invites.is_empty() {
            let addresses: Vec<String> = served.addresses.iter().map(ToString::to_string).collect();
            let if_forwarded = served.if_forwarded.as_ref().map(ToString::to_string);
            output.event(
                "serving",
                json!({
                    "addresses": addresses,
                    "invites": invites,
                    "if_forwarded": if_forwarded,
                    "router": router(&served.router),
                }),
            );
        }
    }
    let now = Instant::now();
    if let Goal::Rooms(args) = &session.goal
        && args.lan
    {
        let stay = args.takes().max(LOOK);
        let since = *began.get_or_insert_with(|| {
            watch.write(WatchLan(true));
            now
        });
        // The lobby's rooms are asked for beside it, and come into the one list.
        if found.is_changed() {
            output.event("found_rooms", json!({"rooms": found.0.iter().map(row).collect::<Vec<_>>()}));
        }
        session.over |= now >= since + stay;
        return;
    }
    let Goal::Found { room, wait } = &session.goal else { return };
    let (room, wait) = (room.clone(), *wait);
    let since = *began.get_or_insert_with(|| {
        watch.write(WatchLan(true));
        now
    });
    if link.online() && list_at.is_none_or(|at| at <= now) && !*asked {
        *list_at = Some(now + LIST);
        list.write(ListRooms::default());
    }
    if found.is_changed() {
        output.event("found_rooms", json!({"rooms": found.0.iter().map(row).collect::<Vec<_>>()}));
    }
    if *asked {
        return;
    }
    if let Some(found) = found.0.iter().find(|found| found.room.name == room) {
        *asked = true;
        let invite = found.room.invite.to_string();
        output.event("request", json!({"peer": null, "player": null, "room": room, "invite": invite}));
        join.write(invite.into());
    } else if now >= since + wait.max(LOOK) {
        session.give_up(
            &output,
            "room",
            "no-such-room",
            "no such room in the local network or at the lobby server",
        );
    }
}
