//! All that ties the game to the traversal plugin: requests go out, and what comes of them is put into [`Session`].

use std::time::Duration;

use bevy::prelude::*;
use bevy_traversal::prelude::*;
use bevy_traversal::{
    KnownServers, ListRooms, Loss, NatStatus, PlayerInfo, Progress, RoomsListed, Rtt,
    TraversalDiagnosticsPlugin,
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

fn carry_out(mut asks: MessageReader<Ask>, profile: Res<Profile>, mut commands: Commands) {
    for ask in asks.read().cloned() {
        match ask {
            Ask::Connect => commands.request(profile.login()),
            Ask::Host(plan) => commands.host_room_with(plan.options()),
            Ask::Join { target, password, wait } => {
                commands.request(JoinRoom { target, password, wait, spectate: false })
            }
            Ask::List => commands.request(ListRooms::default()),
            Ask::Leave => commands.leave_room(),
            Ask::Kick(player) => commands.kick_player(player, "the host removed you"),
        }
    }
}

fn hear_trouble(trouble: On<Trouble>, goal: Res<Goal>, mut session: ResMut<Session>) {
    session.trouble_from(trouble.event(), &goal, sentence(&trouble.event().to_string()));
}

fn hear_goodbye(gone: On<PlayerDisconnected>, names: Query<&Name>, mut session: ResMut<Session>) {
    let name = names.get(gone.entity).map_or("somebody", Name::as_str);
    session.lost(name, &sentence(&gone.reason.to_string()));
}

fn hear(
    mut listed: MessageReader<RoomsListed>,
    mut migrated: MessageReader<HostMigrated>,
    mut change: MessageWriter<HostChange>,
    mut session: ResMut<Session>,
) {
    for RoomsListed { rooms, .. } in listed.read() {
        session.rooms = Some(rooms.iter().map(Listed::from).collect());
    }
    for HostMigrated { room, hosting, previous, members } in migrated.read() {
        let name = members.iter().find(|member| member.id == room.host).map(|member| member.name.clone());
        change.write(session.migrated(*hosting, previous.client_id(), name));
    }
}

/// Looks at how everything stands: at news, and now and then for the figures.
fn look(
    (link, room, nat, peers): (Res<LobbyLink>, Res<CurrentRoom>, Res<NatStatus>, Res<Peers>),
    members: Res<Members>,
    players: Query<(&RemotePlayer, Option<&ConnectedBy>, Option<&Progress>, Option<&Rtt>, Option<&Loss>)>,
    (time, mut next): (Res<Time<Real>>, Local<Duration>),
    mut session: ResMut<Session>,
) {
    let changed = [link.is_changed(), room.is_changed(), nat.is_changed(), peers.is_changed()];
    if !changed.contains(&true) && !members.is_changed() && time.elapsed() < *next {
        return;
    }
    *next = time.elapsed() + Duration::from_millis(200);
    let member = |info: &PlayerInfo| {
        let entity = players.iter().find(|(player, ..)| player.0 == info.id);
        let connection = entity.and_then(|(_, by, story, rtt, loss)| Connection::of(by, story, (rtt, loss)));
        Member::of(info, link.player(), room.info.as_ref(), connection)
    };
    session.see_lobby(&link.state, OwnNat::of(&nat, &link));
    session.see_room(room.info.as_ref().map(|info| SessionRoom::of(info, room.hosting)));
    session.see_members(members.0.iter().map(member).collect());
}
