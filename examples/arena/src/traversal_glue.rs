//! All that ties the game to the traversal plugin: requests go out, and what comes of them is put into [`Session`].

use std::time::Duration;

use bevy::prelude::*;
use bevy_traversal::prelude::*;
use bevy_traversal::{
    KnownServers, ListRooms, Loss, NatStatus, Progress, RoomsListed, Rtt, TraversalDiagnosticsPlugin,
};

use crate::network::{Connection, OwnNat, PacketsPlugin};
use crate::protocol::{GAME, GAME_PROTOCOL};
use crate::session::{
    Ask, Goal, HostChange, Listed, Member, Profile, Room as SessionRoom, Session, sentence,
};

/// Adds the traversal plugin and what ties it to the game. The keys of lobby servers are kept in its field.
#[derive(Debug)]
pub struct GluePlugin(pub KnownServers);

impl Plugin for GluePlugin {
    fn build(&self, app: &mut App) {
        let (game, known_servers) = (GAME.into(), self.0.clone());
        let config = TraversalConfig { game, game_protocol: GAME_PROTOCOL, known_servers, ..default() };
        app.add_plugins((TraversalPlugin { config }, TraversalDiagnosticsPlugin::default(), PacketsPlugin))
            .add_observer(hear_trouble)
            .add_observer(hear_goodbye)
            .add_systems(PreUpdate, (hear, look).chain().after(TraversalSystems::Receive))
            .add_systems(PostUpdate, carry_out.before(TraversalSystems::Send));
    }
}

fn carry_out(
    mut asks: MessageReader<Ask>,
    profile: Res<Profile>,
    all: Query<&RemotePlayer>,
    mut commands: Commands,
) {
    for ask in asks.read().cloned() {
        match ask {
            Ask::Connect => {
                let name = Some(profile.name.clone());
                commands.request(ConnectLobby { name, ..ConnectLobby::to(profile.server.clone()) });
            }
            Ask::Host(plan) => commands.host_room_with(RoomOptions {
                name: plan.room,
                capacity: plan.capacity,
                password: plan.password,
                public: plan.listed,
                ..default()
            }),
            Ask::Join { target, password, wait } => commands.request(JoinRoom { target, password, wait }),
            Ask::List => commands.request(ListRooms),
            Ask::Leave => commands.leave_room(),
            Ask::Kick(client) => {
                if let Some(player) = all.iter().find(|player| player.0.client_id() == client) {
                    commands.kick_player(player.0, "the host removed you");
                }
            }
        }
    }
}

fn hear_trouble(trouble: On<Trouble>, goal: Res<Goal>, mut session: ResMut<Session>) {
    session.trouble_from(trouble.event(), &goal, sentence(&trouble.event().to_string()));
}

fn hear_goodbye(gone: On<PlayerDisconnected>, names: Query<&Name>, mut session: ResMut<Session>) {
    session
        .lost(names.get(gone.entity).map_or("somebody", Name::as_str), &sentence(&gone.reason.to_string()));
}

fn hear(
    mut listed: MessageReader<RoomsListed>,
    mut migrated: MessageReader<HostMigrated>,
    mut change: MessageWriter<HostChange>,
    mut session: ResMut<Session>,
) {
    for RoomsListed(rooms) in listed.read() {
        session.rooms = Some(rooms.iter().map(Listed::from).collect());
    }
    for HostMigrated { room, hosting, previous, members } in migrated.read() {
        let name = members.iter().find(|member| member.id == room.host).map(|member| member.name.clone());
        change.write(session.migrated(*hosting, previous.client_id(), name));
    }
}

/// Looks at how everything stands: at news, and twice a second for the figures.
fn look(
    (link, room, nat, peers): (Res<LobbyLink>, Res<CurrentRoom>, Res<NatStatus>, Res<Peers>),
    members: Res<Members>,
    players: Query<(&RemotePlayer, Option<&ConnectedBy>, Option<&Progress>, Option<&Rtt>, Option<&Loss>)>,
    (time, mut next): (Res<Time<Real>>, Local<Duration>),
    mut session: ResMut<Session>,
) {
    let news = link.is_changed()
        || room.is_changed()
        || nat.is_changed()
        || peers.is_changed()
        || members.is_changed();
    if !news && time.elapsed() < *next {
        return;
    }
    *next = time.elapsed()
        + Duration::from_millis(if room.info.is_some() && peers.is_empty() { 50 } else { 500 });
    let host = room.info.as_ref().map(|room| room.host);
    let member = |info: &bevy_traversal::PlayerInfo| Member {
        client: info.id.client_id(),
        name: info.name.clone(),
        me: Some(info.id) == link.player(),
        host: Some(info.id) == host,
        connection: (players.iter().find(|(player, ..)| player.0 == info.id))
            .and_then(|(_, by, progress, rtt, loss)| Connection::of(by, progress, (rtt, loss))),
    };
    session.see_lobby(&link.state, OwnNat::of(&nat, &link));
    session.see_room(room.info.as_ref().map(|info| SessionRoom::of(info, room.hosting)));
    session.see_members(members.0.iter().map(member).collect());
}
