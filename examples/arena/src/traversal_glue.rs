//! Everything that touches the traversal plugin: requests go out, outcomes come back as [`Session`].

use std::time::Duration;

use bevy::prelude::*;
use bevy_renet::{RenetClient, RenetServer};
use bevy_traversal::prelude::*;
use bevy_traversal::{
    KnownServers, ListRooms, NatStatus, PathChanged, PathKind, PeerPlanned, RequestError, RequestFailure,
    RequestKind, RoomsListed, TraversalPlugin,
};

use crate::protocol::{GAME, GAME_PROTOCOL};
use crate::session::{Ask, Goal, HostChange, Link, Listed, Member, Profile, Room, Session, Target, sentence};

/// Adds the traversal plugin and what ties it to the game.
#[derive(Debug)]
pub struct GluePlugin {
    /// The keys of lobby servers are kept there.
    pub known_servers: KnownServers,
}

impl Plugin for GluePlugin {
    fn build(&self, app: &mut App) {
        let config = TraversalConfig {
            game: GAME.into(),
            game_protocol: GAME_PROTOCOL,
            known_servers: self.known_servers.clone(),
            ..Default::default()
        };
        app.add_plugins(TraversalPlugin { config })
            .add_systems(
                PreUpdate,
                (hear_lobby, hear_room, hear_peers, look).chain().after(TraversalSystems::Receive),
            )
            .add_systems(PostUpdate, carry_out.before(TraversalSystems::Send));
    }
}

/// Gives the place where the player's system keeps the data of programs: for the keys of lobby servers.
pub fn known_servers() -> KnownServers {
    let folders = directories::ProjectDirs::from("", "", "arena");
    folders.map_or(KnownServers::Off, |folders| KnownServers::File(folders.data_dir().join("known_servers")))
}

fn carry_out(
    mut asks: MessageReader<Ask>,
    profile: Res<Profile>,
    mut connect: MessageWriter<ConnectLobby>,
    mut host: MessageWriter<HostRoom>,
    mut join: MessageWriter<JoinRoom>,
    mut list: MessageWriter<ListRooms>,
    mut leave: MessageWriter<LeaveRoom>,
    mut kick: MessageWriter<KickPeer>,
    members: Res<Members>,
) {
    for ask in asks.read() {
        match ask {
            Ask::Connect => {
                let name = Some(profile.name.clone());
                connect.write(ConnectLobby { name, ..ConnectLobby::to(profile.server.clone()) });
            }
            Ask::Host(plan) => {
                host.write(HostRoom(RoomOptions {
                    name: plan.room.clone(),
                    capacity: plan.capacity,
                    password: plan.password.clone(),
                    public: plan.listed,
                    ..Default::default()
                }));
            }
            Ask::Join { target, password, wait } => {
                let target = match target {
                    Target::Name(name) => RoomTarget::Name(name.clone()),
                    Target::Code(code) => RoomTarget::Code(code.clone()),
                };
                join.write(JoinRoom { target, password: password.clone(), wait: *wait });
            }
            Ask::List => {
                list.write(ListRooms);
            }
            Ask::Leave => {
                leave.write(LeaveRoom);
            }
            Ask::Kick(client) => {
                if let Some(member) = members.0.iter().find(|member| member.id.client_id() == *client) {
                    let reason = String::from("the host removed you");
                    kick.write(KickPeer { player: member.id, reason, rejoin: false });
                }
            }
        }
    }
}

fn hear_lobby(
    link: Res<LobbyLink>,
    mut failed: MessageReader<LobbyFailed>,
    mut listed: MessageReader<RoomsListed>,
    mut session: ResMut<Session>,
) {
    for LobbyFailed { error, retry_in, .. } in failed.read() {
        let reason = sentence(&error.to_string());
        session.tell(&reason);
        session.link = match retry_in {
            Some(wait) => {
                session.tell(format!("Trying again in {:.0} s.", wait.as_secs_f32().ceil()));
                Link::Retrying { reason }
            }
            None => {
                // A match goes on without the server.
                if session.room.is_none() {
                    session.trouble = Some(reason.clone());
                }
                Link::Refused { reason }
            }
        };
    }
    if let LobbyState::Online { public, .. } = &link.state {
        let online = Link::Online { seen_as: public.to_string() };
        if session.me.is_none() {
            session.me = link.player().map(|player| player.client_id());
        }
        if session.link != online && link.is_changed() {
            session.tell(format!("Logged in; the lobby server sees this game as {public}."));
            session.link = online;
        }
    }
    for RoomsListed(rooms) in listed.read() {
        let rooms = rooms.iter().map(|room| Listed {
            name: room.name.clone(),
            code: room.code.clone(),
            host: room.host_name.clone(),
            members: room.members,
            capacity: room.capacity,
            locked: room.password,
        });
        session.rooms = Some(rooms.collect());
    }
}

fn hear_room(
    mut joined: MessageReader<RoomJoined>,
    mut migrated: MessageReader<HostMigrated>,
    mut left: MessageReader<RoomLeft>,
    mut failed: MessageReader<RequestFailed>,
    mut change: MessageWriter<HostChange>,
    goal: Res<Goal>,
    mut session: ResMut<Session>,
) {
    for RoomJoined { room, hosting } in joined.read() {
        session.tell(match hosting {
            true => format!("The room \"{}\" is open, its code is {}.", room.name, room.code),
            false => format!("In the room \"{}\".", room.name),
        });
        session.room = Some(Room {
            name: room.name.clone(),
            code: room.code.clone(),
            hosting: *hosting,
            capacity: room.capacity,
        });
    }
    for HostMigrated { room, hosting, previous, members } in migrated.read() {
        let name = members.iter().find(|member| member.id == room.host).map(|member| member.name.clone());
        let name = name.unwrap_or_else(|| String::from("another player"));
        session.tell(match hosting {
            true => String::from("The host is gone: this game hosts now."),
            false => format!("The host is gone: {name} hosts now."),
        });
        session.doubt = None;
        if let Some(known) = &mut session.room {
            known.hosting = *hosting;
        }
        change.write(HostChange { hosting: *hosting, previous: previous.client_id(), name });
    }
    for RoomLeft { reason, .. } in left.read() {
        session.room = None;
        session.members.clear();
        let doubt = session.doubt.take();
        if let Some(reason) = reason {
            session.trouble = Some(doubt.unwrap_or_else(|| sentence(&reason.to_string())));
        }
    }
    for RequestFailed { request, error } in failed.read() {
        let wanted = match &*goal {
            Goal::Host(_) => *request == RequestKind::Host,
            Goal::Join { .. } => *request == RequestKind::Join,
            Goal::Browse => *request == RequestKind::List,
            Goal::Idle => false,
        };
        if wanted {
            session.wrong_password = matches!(error, RequestFailure::Server(RequestError::WrongPassword));
            session.trouble = Some(sentence(&error.to_string()));
        }
    }
}

fn hear_peers(
    mut planned: MessageReader<PeerPlanned>,
    mut connected: MessageReader<PeerConnected>,
    mut moved: MessageReader<PathChanged>,
    (mut away, mut back): (MessageReader<PeerAway>, MessageReader<PeerBack>),
    mut gone: MessageReader<PeerDisconnected>,
    mut failed: MessageReader<TraversalFailed>,
    mut session: ResMut<Session>,
) {
    let hosting = session.room.as_ref().is_some_and(|room| room.hosting);
    for plan in planned.read() {
        let methods: Vec<_> = plan.methods.iter().map(|method| method.name()).collect();
        let how =
            if methods.is_empty() { String::from("the local network") } else { methods.join(", then ") };
        session.tell(format!("Punching through to {}: {how}.", plan.peer.name));
    }
    for peer in connected.read() {
        session.doubt = None;
        session.tell(format!("Reached {} {}.", peer.peer.name, way(peer.path.kind)));
    }
    for change in moved.read() {
        session.tell(format!("Moved to a better path: {}.", change.path.kind.name()));
    }
    // Its ship stays where it is, and renet's connection goes on where it stopped.
    for PeerAway { peer, .. } in away.read() {
        session.tell(format!("Nothing is heard of {}: waiting.", peer.name));
    }
    for PeerBack { peer, away, .. } in back.read() {
        session.tell(format!("{} is back after {:.0} s.", peer.name, away.as_secs_f32()));
    }
    for peer in gone.read() {
        let reason = sentence(&peer.reason.to_string());
        session.tell(format!("{} is gone. {reason}", peer.peer.name));
        if !hosting {
            doubt(&mut session, reason);
        }
    }
    for TraversalFailed { peer, report } in failed.read() {
        let text = format!("No way to {} was found. {report}", peer.name);
        session.tell(&text);
        if !hosting {
            doubt(&mut session, text);
        }
    }
}

/// Without its host this player waits for another one, while it is in the room.
fn doubt(session: &mut Session, why: String) {
    if session.room.is_some() {
        session.doubt = Some(why);
    } else {
        session.trouble.get_or_insert(why);
    }
}

fn way(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Lan => "inside the local network",
        PathKind::Direct => "directly, through the routers",
        PathKind::DirectV6 => "directly over IPv6",
        _ => "through the lobby server's relay",
    }
}

/// Looks at what is not heard of: members, paths, round trips.
fn look(
    members: Res<Members>,
    peers: Res<Peers>,
    room: Res<CurrentRoom>,
    link: Res<LobbyLink>,
    nat: Res<NatStatus>,
    server: Option<Res<RenetServer>>,
    client: Option<Res<RenetClient>>,
    time: Res<Time<Real>>,
    mut next: Local<Duration>,
    mut session: ResMut<Session>,
) {
    if time.elapsed() < *next && !members.is_changed() && !peers.is_changed() && !room.is_changed() {
        return;
    }
    // Often enough to be read, seldom enough to be legible.
    *next = time.elapsed() + Duration::from_millis(500);
    let host = room.info.as_ref().map(|room| room.host);
    let seconds = |rtt: f64| (rtt > 0.0).then_some((rtt * 1000.0).round() as u32);
    let listed: Vec<_> = members
        .0
        .iter()
        .map(|info| {
            let peer = peers.peer(info.id);
            let id = info.id.client_id();
            let renet = match (&server, &client) {
                (Some(server), _) => seconds(server.rtt(id)),
                (None, Some(client)) => seconds(client.rtt()),
                (None, None) => None,
            };
            let measured = peer.and_then(|peer| peer.path.rtt).map(|rtt| rtt.as_millis() as u32);
            Member {
                client: id,
                name: info.name.clone(),
                me: Some(info.id) == link.player(),
                host: Some(info.id) == host,
                path: peer.map(|peer| peer.path.kind.name().to_owned()),
                ping: peer.and(renet.or(measured)),
            }
        })
        .collect();
    if session.members != listed {
        session.members = listed;
    }
    let kind = nat.kind();
    let known = (kind != bevy_traversal::NatKind::Unknown).then(|| kind.to_string());
    if session.nat != known {
        if let Some(nat) = &known {
            session.tell(format!("This network: {nat}."));
        }
        session.nat = known;
    }
}
