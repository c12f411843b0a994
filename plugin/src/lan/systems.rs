//! The app's side of the local network.

use std::time::Instant;

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::MessageReader;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Local, Res, ResMut};
use traversal_core::address::{Scope, scope};
use traversal_core::invite::Invite;
use traversal_core::wire::message::{PlayerInfo, RoomInfo, RoomOptions};
use traversal_core::{Command, PortMapping, RequestFailure, RequestKind};

use super::announce::Announcer;
use super::serve::{RouterNews, Serving, Started};
use super::watch::{Wanted, Watcher};
use super::words::Announcement;
use super::{
    Forwarded, FoundRoom, FoundRooms, HostHere, LanRoom, LanRooms, RoomOrigin, Served, ServedHere, WatchLan,
};
use crate::link::TraversalLink;
use crate::messages::outcomes::{RequestFailed, RoomLeft, RoomsListed};
use crate::state::{CurrentRoom, Members};
use crate::systems::AppSide;

/// Resource: these are the threads for the local network.
#[derive(Resource, Debug, Default)]
pub(crate) struct Lan {
    watcher: Option<Watcher>,
    announcer: Option<Announcer>,
    serving: Option<Serving>,
    /// The server runs, and the room is in it or on its way there.
    started: Option<Started>,
    /// The last server was ended then: it has its port for a moment more.
    ended: Option<Instant>,
    told: Option<Announcement>,
}

/// Takes what the game asks for.
pub(crate) fn requests(
    mut host: MessageReader<HostHere>,
    mut watch: MessageReader<WatchLan>,
    mut lan: ResMut<Lan>,
    mut link: ResMut<TraversalLink>,
    (mut rooms, mut served): (ResMut<LanRooms>, ResMut<ServedHere>),
    mut app: AppSide,
) {
    let (lan, link) = (lan.bypass_change_detection(), link.bypass_change_detection());
    for WatchLan(on) in watch.read() {
        if !on {
            lan.watcher = None;
            rooms.set_if_neq(LanRooms::default());
        } else if lan.watcher.is_none() {
            let config = &link.config;
            let wanted = Wanted {
                game: config.game.clone(),
                protocol: config.game_protocol,
                interfaces: config.interfaces.clone(),
            };
            match Watcher::start(wanted) {
                Ok(watcher) => lan.watcher = Some(watcher),
                Err(error) => bevy_log::warn!("rooms in the local network are not looked for: {error}"),
            }
        }
    }
    for wish in host.read() {
        app.wants_room();
        lan.end();
        // Invites of a server before this one lead nowhere any more.
        served.set_if_neq(ServedHere(None));
        link.public_name = None;
        match Serving::start(wish.clone(), &link.config.port_mapping, lan.ended) {
            Ok(serving) => lan.serving = Some(serving),
            Err(error) => app.request_failed(RequestKind::Host, RequestFailure::Here(error.to_string())),
        }
    }
}

/// Run condition: a thread for the local network has something to say.
pub(crate) fn hears(lan: Res<Lan>) -> bool {
    lan.watcher.as_ref().is_some_and(|watcher| !watcher.rooms.is_empty())
        || lan
            .serving
            .as_ref()
            .is_some_and(|serving| !serving.started.is_empty() || !serving.router.is_empty())
}

/// Takes what the threads have to say.
pub(crate) fn hear(
    mut lan: ResMut<Lan>,
    mut link: ResMut<TraversalLink>,
    mut rooms: ResMut<LanRooms>,
    mut served: ResMut<ServedHere>,
    mut app: AppSide,
) {
    let (lan, link) = (lan.bypass_change_detection(), link.bypass_change_detection());
    if let Some(watcher) = &lan.watcher
        && let Ok(found) = watcher.rooms.try_recv()
    {
        rooms.set_if_neq(LanRooms(found));
    }
    let Some(serving) = &lan.serving else { return };
    let forwarded = if lan.started.is_some() { serving.router.try_iter().last() } else { None };
    if let Some(news) = forwarded {
        hear_router(lan, &mut served, news);
        return;
    }
    match serving.started.try_recv() {
        Err(_) => {}
        Ok(Err(error)) => {
            app.request_failed(RequestKind::Host, RequestFailure::Here(with_sources(&error)));
            lan.end();
        }
        Ok(Ok(started)) => {
            let wish = serving.wish.clone();
            match host(link, &mut app, &wish, &started) {
                Ok(told) => {
                    served.0 = Some(told);
                    lan.started = Some(started);
                    if wish.announce {
                        match Announcer::start(link.config.interfaces.clone()) {
                            Ok(announcer) => lan.announcer = Some(announcer),
                            Err(error) => {
                                bevy_log::warn!("the local network is not told of the room: {error}")
                            }
                        }
                    }
                }
                Err(error) => {
                    app.request_failed(RequestKind::Host, error);
                    lan.end();
                }
            }
        }
    }
}

/// The router forwards the server's port, or does not: the invites follow.
fn hear_router(lan: &Lan, served: &mut ResMut<ServedHere>, news: RouterNews) {
    let (Some(started), Some(serving)) = (&lan.started, &lan.serving) else { return };
    let Some(told) = &mut served.bypass_change_detection().0 else { return };
    let at = |router: &Forwarded| match router {
        Forwarded::Port(PortMapping { external_ip: Some(ip), external_port, .. }) => {
            let at = std::net::SocketAddr::new(*ip, *external_port);
            let invite = Invite::new(&at.to_string(), started.key).ok()?;
            match &lan.told {
                Some(told) => invite.with_code(&told.code).ok(),
                None => Some(invite),
            }
        }
        _ => None,
    };
    let router = match news {
        // One without an address of its own is not known to be one of the internet.
        Ok(mapping) if mapping.external_ip.is_some_and(|ip| scope(ip) == Scope::Global) => {
            Forwarded::Port(mapping)
        }
        Ok(mapping) => Forwarded::BehindAnother(mapping),
        Err(why) => Forwarded::No(why),
    };
    if router == told.router {
        return;
    }
    if let Some(old) = at(&told.router) {
        told.invites.retain(|invite| *invite != old);
    }
    if let Some(new) = at(&router) {
        // A name that the player has given is what it wants to be known by.
        let first = usize::from(serving.wish.public_name.is_some());
        told.invites.retain(|invite| *invite != new);
        told.invites.insert(first.min(told.invites.len()), new);
    }
    told.router = router;
    served.set_changed();
}

/// Logs in to the own server and opens the room there.
fn host(
    link: &mut TraversalLink,
    app: &mut AppSide,
    wish: &HostHere,
    started: &Started,
) -> Result<Served, RequestFailure> {
    let of = |server: &str| Invite::new(server, started.key);
    let named = wish.public_name.as_deref().map(|name| {
        let bare = of(name)?;
        // A name without a port means the port of the server.
        let with_port = format!("{name}:{}", started.port);
        if bare.is_of(&format!("{name}:3478")) { of(&with_port) } else { Ok(bare) }
    });
    let named = named.transpose()?;
    let public = app.public_ip().filter(|ip| scope(*ip) == Scope::Global);
    let bound = wish.bind.ip();
    let all = |ip: std::net::IpAddr| ip.is_ipv4() == bound.is_ipv4();
    let addresses: Vec<_> = if bound.is_unspecified() {
        let own = crate::interfaces::addresses(&link.config.interfaces, bound.is_ipv6());
        own.into_iter().filter(|ip| all(*ip)).map(|ip| (ip, started.port).into()).collect()
    } else {
        vec![started.here]
    };
    let by_address = addresses.iter().filter_map(|at: &std::net::SocketAddr| of(&at.to_string()).ok());
    let invites: Vec<Invite> = named.into_iter().chain(by_address).collect();
    let if_forwarded =
        public.and_then(|ip| of(&std::net::SocketAddr::new(ip, started.port).to_string()).ok());
    let here = of(&started.here.to_string())?;
    if link.visit((here.host_port(), here.key()), false, RequestKind::Join) {
        app.driver_gone();
    }
    app.servers(&link.config.lobby);
    link.public_name = invites.first().map(Invite::server);
    // Its server ends with it.
    let room = RoomOptions { migrate: false, ..wish.room.clone() };
    if !link.command(Command::HostRoom(room)) {
        return Err(RequestFailure::NotLoggedIn);
    }
    let router = if wish.ask_router { Forwarded::Asking } else { Forwarded::NotAsked };
    Ok(Served { addresses, invites, router, if_forwarded })
}

/// Returns an error with all that caused it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Lan {
    /// Ends the server and what is told of it.
    fn end(&mut self) {
        (self.announcer, self.started, self.told) = (None, None, None);
        if let Some(serving) = self.serving.take() {
            self.ended = Some(Instant::now());
            serving.end_soon();
        }
    }
}

/// Ends the server when its room is over, or did not come about.
pub(crate) fn end(
    mut left: MessageReader<RoomLeft>,
    mut failed: MessageReader<RequestFailed>,
    room: Res<CurrentRoom>,
    mut lan: ResMut<Lan>,
    mut link: ResMut<TraversalLink>,
    mut served: ResMut<ServedHere>,
) {
    let left = left.read().count() > 0;
    let failed = failed.read().any(|failed| failed.request == RequestKind::Host);
    let lan = lan.bypass_change_detection();
    // A room that was left on the way to the own server is another one.
    let entered = lan.told.is_some() || served.0.is_none();
    if lan.started.is_some() && room.info.is_none() && (failed || left && entered) {
        lan.end();
        served.set_if_neq(ServedHere(None));
        link.bypass_change_detection().public_name = None;
    }
}

/// Tells the local network what has changed of the room.
pub(crate) fn tell(
    mut lan: ResMut<Lan>,
    link: Res<TraversalLink>,
    (room, members): (Res<CurrentRoom>, Res<Members>),
    mut served: ResMut<ServedHere>,
) {
    let lan = lan.bypass_change_detection();
    let (Some(started), Some(info)) = (&lan.started, &room.info) else { return };
    if !room.hosting {
        return;
    }
    let password = lan.serving.as_ref().is_some_and(|serving| serving.wish.room.password.is_some());
    let news = announcement(&link, started, (info, password), &members.0);
    if lan.told.as_ref() == Some(&news) {
        return;
    }
    if let Some(told) = &mut served.bypass_change_detection().0
        && lan.told.is_none()
    {
        let with_code = |invite: &Invite| invite.clone().with_code(&info.code).ok();
        told.invites = told.invites.iter().filter_map(with_code).collect();
        told.if_forwarded = told.if_forwarded.as_ref().and_then(with_code);
        served.set_changed();
    }
    if let Some(announcer) = lan.announcer.as_ref().filter(|_| info.public) {
        announcer.say(news.clone());
    }
    lan.told = Some(news);
}

fn announcement(
    link: &TraversalLink,
    started: &Started,
    (info, password): (&RoomInfo, bool),
    members: &[PlayerInfo],
) -> Announcement {
    Announcement {
        game: link.config.game.clone(),
        protocol: link.config.game_protocol,
        name: info.name.clone(),
        code: info.code.clone(),
        host_name: members.first().map(|host| host.name.clone()).unwrap_or_default(),
        members: u16::try_from(members.len()).unwrap_or(u16::MAX),
        capacity: info.capacity,
        password,
        port: started.port,
        key: started.key,
    }
}

/// Puts the rooms of the lobby server and those of the local network into one list.
pub(crate) fn list(
    mut listed: MessageReader<RoomsListed>,
    lan: Res<LanRooms>,
    link: Res<TraversalLink>,
    mut found: ResMut<FoundRooms>,
    mut of_lobby: Local<Vec<FoundRoom>>,
) {
    if let Some(RoomsListed { rooms, .. }) = listed.read().last()
        && let Some((server, key)) = &link.reached
    {
        let room = |room: &traversal_core::wire::message::RoomSummary| {
            let invite = Invite::new(server, *key).ok()?.with_code(&room.code).ok()?;
            let room = LanRoom {
                name: room.name.clone(),
                host_name: room.host_name.clone(),
                members: room.members,
                capacity: room.capacity,
                password: room.password,
                invite,
            };
            Some(FoundRoom { origin: RoomOrigin::Lobby, room })
        };
        *of_lobby = rooms.iter().filter_map(room).collect();
    }
    let local = lan.0.iter().map(|room| FoundRoom { origin: RoomOrigin::Lan, room: room.clone() });
    let all: Vec<FoundRoom> = local.chain(of_lobby.iter().cloned()).collect();
    found.set_if_neq(FoundRooms(all));
}
