//! All that ties the game to the traversal plugin: requests go out, and what comes of them is put into [`Session`]. A game that shows
//! nothing of its network needs no [`network`](crate::network), one without chat no [`chat`](crate::chat).

use std::time::Instant;

use bevy::prelude::*;
use bevy_traversal::prelude::*;
use bevy_traversal::{
    CountdownStarted, InviteMade, JoinInvite, KeptFile, NatStatus, QuickMatchQueue, RoomList,
    RoomListChanged, StopWatchingRooms, WatchRooms,
};

use crate::chat::ChatPlugin;
use crate::network::{NetworkPlugin, OwnNat, Ways, see_ways};
use crate::protocol::{GAME, GAME_PROTOCOL};
use crate::session::{self, Ask, Counted, Goal, HostChange, Listed, Member, Profile, Session, sentence};

/// Adds the traversal plugin and what ties it to the game. The keys of lobby servers are kept in its field.
#[derive(Debug)]
pub struct GluePlugin(pub KeptFile);

impl Plugin for GluePlugin {
    fn build(&self, app: &mut App) {
        let (game, known_servers) = (GAME.into(), self.0.clone());
        let config = TraversalConfig { game, game_protocol: GAME_PROTOCOL, known_servers, ..default() };
        app.add_plugins((TraversalPlugin { config }, NetworkPlugin, ChatPlugin))
            .add_observer(hear_trouble)
            .add_observer(hear_goodbye)
            .add_systems(PreUpdate, (hear, see_ways, look).chain().after(TraversalSystems::Receive))
            .add_systems(PostUpdate, carry_out.before(TraversalSystems::Send));
    }
}

fn carry_out(mut asks: MessageReader<Ask>, profile: Res<Profile>, mut commands: Commands) {
    for ask in asks.read().cloned() {
        match ask {
            Ask::Connect => commands.request(profile.login()),
            Ask::Host(plan) => commands.host_room_with(plan.options()),
            Ask::Join(join) => commands.request(join),
            Ask::Invited(text) => commands.request(JoinInvite::from(text)),
            Ask::Quick(plan) => commands.request(QuickMatch::from(plan)),
            Ask::Unqueue => commands.cancel_quick_match(),
            Ask::Watch(query) => commands.request(WatchRooms { query, ..default() }),
            Ask::Unwatch => commands.request(StopWatchingRooms),
            Ask::Invite { hosting } => commands.request(session::invite(hosting)),
            Ask::Ready(ready) => commands.request(SetReady(ready)),
            Ask::Count => commands.request(session::count_for_all()),
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

/// Takes the news.
fn hear(
    (mut listed, list): (MessageReader<RoomListChanged>, Res<RoomList>),
    (mut invites, mut counts): (MessageReader<InviteMade>, MessageReader<CountdownStarted>),
    mut migrated: MessageReader<HostMigrated>,
    (mut counted, mut change): (MessageWriter<Counted>, MessageWriter<HostChange>),
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
    change.write_batch(migrated.read().map(|news| session.migrated(news)));
}

/// Looks at how everything stands.
fn look(
    (link, room, nat, peers): (Res<LobbyLink>, Res<CurrentRoom>, Res<NatStatus>, Res<Peers>),
    (members, shared, seats): (Res<Members>, Res<RoomShared>, Res<RoomSeats>),
    (queue, ways): (Res<QuickMatchQueue>, Res<Ways>),
    mut session: ResMut<Session>,
) {
    session.see_lobby(&link.state, OwnNat::of(&nat, &link));
    session.see_room(&room);
    session.see_seats(&seats, &peers);
    (session.queue, session.count) = (queue.0, shared.left().map(|left| left.as_secs_f32().ceil() as u64));
    let seen = |info| Member::of(info, link.player(), room.info.as_ref(), &shared, &ways);
    session.see_members(members.0.iter().map(seen).collect());
}
