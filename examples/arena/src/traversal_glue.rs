//! All that ties the game to the traversal plugin: requests go out, and what comes of them is put into [`Session`].

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_traversal::prelude::*;
use bevy_traversal::{
    CountdownRule, CountdownStarted, InviteMade, JoinInvite, KnownServers, Loss, MakeInvite, NatStatus,
    PlayerInfo, Progress, RoomList, RoomListChanged, RoomSeats, RoomShared, Rtt, StartCountdown,
    StopWatchingRooms, TraversalDiagnosticsPlugin, WatchRooms,
};

use crate::network::{Connection, OwnNat, PacketsPlugin};
use crate::protocol::{GAME, GAME_PROTOCOL};
use crate::session::{
    Ask, Counted, Goal, HostChange, Listed, Member, Profile, Room as SessionRoom, Session, sentence,
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
            Ask::Join { target, password, wait, watch } => {
                commands.request(JoinRoom { target, password, wait, spectate: watch })
            }
            Ask::Invited(text) => commands.request(JoinInvite::from(text)),
            Ask::Watch(query) => commands.request(WatchRooms { query, ..default() }),
            Ask::Unwatch => commands.request(StopWatchingRooms),
            Ask::Invite { hosting: true } => commands.request(MakeInvite::for_minutes(24 * 60)),
            Ask::Invite { hosting: false } => commands.request(MakeInvite::default()),
            Ask::Ready(ready) => commands.request(SetReady(ready)),
            Ask::Count => {
                let rule = CountdownRule { unready: false, leave: false, join: false };
                commands.request(StartCountdown { after: Duration::from_secs(3), rule });
            }
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
    (mut listed, list): (MessageReader<RoomListChanged>, Res<RoomList>),
    (mut invites, mut counts): (MessageReader<InviteMade>, MessageReader<CountdownStarted>),
    mut counted: MessageWriter<Counted>,
    mut migrated: MessageReader<HostMigrated>,
    mut change: MessageWriter<HostChange>,
    mut session: ResMut<Session>,
) {
    if listed.read().count() > 0 {
        session.rooms = Some(list.rooms.iter().map(Listed::from).collect());
    }
    if let Some(InviteMade { invite }) = invites.read().last() {
        session.invite = Some(invite.to_string());
    }
    for CountdownStarted(count) in counts.read() {
        counted.write(Counted(count.at.saturating_duration_since(Instant::now())));
    }
    for HostMigrated { room, hosting, previous, members } in migrated.read() {
        let name = members.iter().find(|member| member.id == room.host).map(|member| member.name.clone());
        change.write(session.migrated(*hosting, previous.client_id(), name));
    }
}

/// Looks at how everything stands: at news, and now and then for the figures.
fn look(
    (link, room, nat, peers): (Res<LobbyLink>, Res<CurrentRoom>, Res<NatStatus>, Res<Peers>),
    (members, shared, seats): (Res<Members>, Res<RoomShared>, Res<RoomSeats>),
    players: Query<(&RemotePlayer, Option<&ConnectedBy>, Option<&Progress>, Option<&Rtt>, Option<&Loss>)>,
    (time, mut next): (Res<Time<Real>>, Local<Duration>),
    mut session: ResMut<Session>,
) {
    let changed = [link.is_changed(), room.is_changed(), nat.is_changed(), peers.is_changed()];
    let said = members.is_changed() || shared.is_changed() || seats.is_changed();
    if !changed.contains(&true) && !said && time.elapsed() < *next {
        return;
    }
    *next = time.elapsed() + Duration::from_millis(200);
    let member = |info: &PlayerInfo| {
        let entity = players.iter().find(|(player, ..)| player.0 == info.id);
        let connection = entity.and_then(|(_, by, story, rtt, loss)| Connection::of(by, story, (rtt, loss)));
        let ready = shared.member(info.id).is_some_and(|said| said.ready);
        Member::of(info, link.player(), room.info.as_ref(), ready, connection)
    };
    session.see_lobby(&link.state, OwnNat::of(&nat, &link));
    session.see_room(room.info.as_ref().map(|info| SessionRoom::of(info, room.hosting)));
    session.watching = room.spectating;
    session.audience = seats.spectators.len();
    session.watchers =
        peers.iter().filter(|peer| peer.hosting && peer.spectator).map(|p| p.client_id).collect();
    session.count = shared.left().map(|left| left.as_secs_f32().ceil() as u64);
    session.see_members(members.0.iter().map(member).collect());
}
