//! Parties on the app's side: requests, what comes of them, and the party as a resource and as entities.

use std::collections::BTreeMap;

use bevy_app::App;
use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::message::{Message, MessageReader, MessageWriter};
use bevy_ecs::name::Name;
#[cfg(feature = "reflect")]
use bevy_ecs::reflect::ReflectComponent;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Query, Res, ResMut, SystemParam};
use traversal_core::id::PlayerId;
use traversal_core::invite::PartyInvite;
use traversal_core::wire::message::{PartyEnd, PartyInfo, PartyMember, PartyRequest, PlayerInfo};
use traversal_core::{Command, Event, RequestFailure, RequestKind};

use crate::link::TraversalLink;
use crate::messages::outcomes::RequestFailed;
use crate::state::LobbyLink;

/// Resource: this is the party that this player is in. A party stays together from match to match, over lost connections and
/// over restarts of the lobby server; whoever leads it waits for quick matches with all of it.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentParty(pub Option<PartyInfo>);

impl CurrentParty {
    /// Returns whether this player leads the party.
    pub fn is_led_by(&self, player: PlayerId) -> bool {
        self.0.as_ref().and_then(PartyInfo::leader) == Some(player)
    }

    /// Returns an invite into the party, whose `Display` is the text to be sent to a friend; none: there is no party, or no lobby
    /// server was reached yet. It serves until a member is put out, who would know it: the party has another code then.
    pub fn invite(&self, link: &TraversalLink) -> Option<PartyInvite> {
        let (server, key) = link.reached.as_ref()?;
        PartyInvite::new(link.public_name().unwrap_or(server), *key, &self.0.as_ref()?.code).ok()
    }
}

/// Component: this is another member of this player's party. Its entity has Bevy's [`Name`], too, and is despawned when the member
/// is out.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(opaque, Component))]
pub struct PartyMate {
    /// This is the player.
    pub player: PlayerId,
    /// It leads the party.
    pub leads: bool,
    /// The lobby server does not hear it, and keeps its place for a minute.
    pub away: bool,
}

/// Request: open a party that this player leads. It is answered by [`PartyChanged`] or [`RequestFailed`](crate::RequestFailed).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateParty {
    /// It takes this many members, the leader among them: 2 to 16, 16 by default.
    pub most: u16,
}

impl Default for CreateParty {
    fn default() -> Self {
        Self { most: traversal_core::wire::message::MAX_PARTY }
    }
}

/// Request: enter a party. It is answered by [`PartyChanged`] or [`RequestFailed`](crate::RequestFailed).
///
/// Where an invite leads to another lobby server than the present one, the plugin goes there as for
/// [`JoinInvite`](crate::JoinInvite), and goes back to the game's own server when the player is in no party and no room there.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct JoinParty {
    /// The party has this code ([`PartyInfo::code`]), or this is the text of an invite into it ([`PartyInvite`]).
    pub code: String,
}

/// Request: invite a player, who reads [`PartyInvited`] if it is on line and would let this player's call ring. Nobody is told
/// whether it has, so there is no answer but where something is wrong ([`RequestFailed`](crate::RequestFailed)).
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviteToParty {
    /// This is the player.
    pub player: PlayerId,
}

/// Request: leave the party. It is answered by [`PartyEnded`].
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveParty;

/// Request of the leader: put a member out. The party has another code then.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct KickFromParty {
    /// This is the member.
    pub player: PlayerId,
}

/// Request of the leader: have another member lead.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadParty {
    /// This is the member.
    pub player: PlayerId,
}

/// Request of the leader: end the party for all.
#[derive(Message, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisbandParty;

/// Request: these are this player's own numbers, by the names of the [`NumberRule`](crate::NumberRule)s that the leader may ask
/// with: for the party counts the mean of its members, and teams are balanced by each one's own. For a member who has said nothing
/// the leader's number counts. They are kept for later parties.
#[derive(Message, Clone, Debug, Default, PartialEq, Eq)]
pub struct SetPartyNumbers(pub BTreeMap<String, i32>);

/// Outcome: the party is new, or is like this now. How it is stands in [`CurrentParty`], too.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PartyChanged(pub PartyInfo);

/// Outcome: this player is in its party no longer.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartyEnded {
    /// This is why; its text is fit for a player.
    pub why: PartyEnd,
}

/// Outcome: a player invites this one to its party. [`JoinParty`] with the code takes the invitation.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct PartyInvited {
    /// The party has this code.
    pub code: String,
    /// This is the player.
    pub from: PlayerInfo,
    /// It is among the contacts; else it is a stranger.
    pub contact: bool,
}

/// Registers messages and resource.
pub(crate) fn add(app: &mut App) {
    app.init_resource::<CurrentParty>()
        .add_message::<CreateParty>()
        .add_message::<JoinParty>()
        .add_message::<InviteToParty>()
        .add_message::<LeaveParty>()
        .add_message::<KickFromParty>()
        .add_message::<LeadParty>()
        .add_message::<DisbandParty>()
        .add_message::<SetPartyNumbers>()
        .add_message::<PartyChanged>()
        .add_message::<PartyEnded>()
        .add_message::<PartyInvited>();
}

/// Returns whether what a player has pasted is an invite, and no bare code.
pub(crate) fn is_invite(text: &str) -> bool {
    text.contains([':', '/', '#'])
}

/// This reads what the game wants of its party.
#[derive(SystemParam)]
pub(crate) struct PartyRequests<'w, 's> {
    create: MessageReader<'w, 's, CreateParty>,
    join: MessageReader<'w, 's, JoinParty>,
    invite: MessageReader<'w, 's, InviteToParty>,
    leave: MessageReader<'w, 's, LeaveParty>,
    kick: MessageReader<'w, 's, KickFromParty>,
    lead: MessageReader<'w, 's, LeadParty>,
    disband: MessageReader<'w, 's, DisbandParty>,
    numbers: MessageReader<'w, 's, SetPartyNumbers>,
}

impl PartyRequests<'_, '_> {
    /// Hands over what is new: first what the player leaves, then what it enters.
    pub(crate) fn hand_over(&mut self, link: &mut TraversalLink, failed: &mut MessageWriter<RequestFailed>) {
        let leave = self.leave.read().map(|_| PartyRequest::Leave);
        let disband = self.disband.read().map(|_| PartyRequest::Disband);
        let numbers = self.numbers.read().map(|numbers| PartyRequest::Numbers(numbers.0.clone()));
        let create = self.create.read().map(|create| PartyRequest::Create { most: create.most });
        // Invites may lead elsewhere: `systems::invites` follows them.
        let join = self.join.read().filter(|join| !is_invite(&join.code));
        let join = join.map(|join| PartyRequest::Join { code: join.code.clone() });
        let invite = self.invite.read().map(|invite| PartyRequest::Invite { player: invite.player });
        let kick = self.kick.read().map(|kick| PartyRequest::Kick { player: kick.player });
        let lead = self.lead.read().map(|lead| PartyRequest::Lead { player: lead.player });
        let entering = leave.chain(disband).chain(numbers).chain(create).chain(join);
        for request in entering.chain(invite).chain(kick).chain(lead) {
            if !link.command(Command::Party(request)) {
                let error = RequestFailure::NotLoggedIn;
                failed.write(RequestFailed { request: RequestKind::Party, error });
            }
        }
    }
}

/// This writes what is heard of parties.
#[derive(SystemParam)]
pub(crate) struct PartySide<'w> {
    party: ResMut<'w, CurrentParty>,
    changed: MessageWriter<'w, PartyChanged>,
    ended: MessageWriter<'w, PartyEnded>,
    invited: MessageWriter<'w, PartyInvited>,
}

impl PartySide<'_> {
    /// Takes an event, or gives back one that is of something else.
    pub(crate) fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Party(info) => {
                self.party.0 = Some(info.clone());
                self.changed.write(PartyChanged(info));
            }
            Event::PartyEnded(why) => self.end(why),
            Event::PartyInvited { code, from, contact } => {
                self.invited.write(PartyInvited { code, from, contact });
            }
            event => return Some(event),
        }
        None
    }

    fn end(&mut self, why: PartyEnd) {
        self.party.0 = None;
        self.ended.write(PartyEnded { why });
    }

    /// The driver is gone, and with it the party.
    pub(crate) fn driver_gone(&mut self) {
        if self.party.0.is_some() {
            self.end(PartyEnd::Left);
        }
    }
}

/// Makes the entities of the other members as they are now.
pub(crate) fn follow(
    party: Res<CurrentParty>,
    lobby: Res<LobbyLink>,
    mates: Query<(Entity, &PartyMate)>,
    mut commands: Commands,
) {
    let own = lobby.player();
    let members: &[PartyMember] = party.0.as_ref().map_or(&[], |party| &party.members);
    let others: Vec<&PartyMember> = members.iter().filter(|member| Some(member.info.id) != own).collect();
    for (entity, mate) in &mates {
        if !others.iter().any(|member| member.info.id == mate.player) {
            commands.entity(entity).despawn();
        }
    }
    for member in others {
        let player = member.info.id;
        let new = PartyMate { player, leads: party.is_led_by(player), away: member.away };
        match mates.iter().find(|(_, mate)| mate.player == player) {
            Some((_, mate)) if *mate == new => {}
            Some((entity, _)) => {
                _ = commands.entity(entity).insert((new, Name::new(member.info.name.clone())))
            }
            None => _ = commands.spawn((new, Name::new(member.info.name.clone()))),
        }
    }
}
