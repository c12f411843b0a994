//! What the network does: a login as a game makes it, the NAT, the router's port, and a room of two players of this machine who
//! meet over the relay.

use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin};
use bevy_ecs::prelude::Resource;
use bevy_time::TimePlugin;
use bevy_traversal::{
    AgentConfig, Confidence, CurrentRoom, HostRoom, JoinRoom, LobbyLink, LobbyState, NatFacts, NatKind,
    NatStatus, NoPortMapping, PathKind, Peers, PortMappingState, Progress, ProgressState, RelayPolicy,
    RoomOptions, TraversalConfig, TraversalPlugin,
};
use serde_json::json;

use super::{Check, Doctor, Limit, Status};
use crate::output;
use crate::paths::{NAT_SETTLES, ROUTER_ANSWERS, ROUTER_CHECKED};

/// So much time passes between two frames.
const FRAME: Duration = Duration::from_millis(5);
/// A room and the relay are waited for so long.
const ROOM: Duration = Duration::from_secs(8);
/// The search for the longest datagram is given so long, once two are connected.
const SIZES: Duration = Duration::from_secs(3);

/// This is a player without a window; the doctor turns it by hand.
struct Player(App);

impl Player {
    fn new(config: TraversalConfig) -> Self {
        let mut app = App::new();
        app.add_plugins((TaskPoolPlugin::default(), TimePlugin, TraversalPlugin { config }));
        app.finish();
        app.cleanup();
        Self(app)
    }

    fn get<R: Resource>(&self) -> &R {
        self.0.world().resource::<R>()
    }

    /// Returns the story of the one other player.
    fn story(&mut self) -> Option<Progress> {
        let world = self.0.world_mut();
        world.query::<&Progress>().iter(world).next().cloned()
    }
}

/// Turns the players until it is so; false: it was not in time.
fn until<const N: usize>(
    limit: &Limit,
    time: Duration,
    mut players: [&mut Player; N],
    mut so: impl FnMut(&mut [&mut Player; N]) -> bool,
) -> bool {
    let end = Instant::now() + time;
    while limit.left().is_some() && Instant::now() < end {
        players.iter_mut().for_each(|player| player.0.update());
        if so(&mut players) {
            return true;
        }
        std::thread::sleep(FRAME);
    }
    false
}

/// Tries all of it, and tells each check as soon as it is known.
pub(super) fn look(doctor: &Doctor, limit: &Limit, tell: &mut impl FnMut(Check)) {
    let mut player = Player::new(doctor.config("doctor"));
    let began = Instant::now();
    until(limit, doctor.deadline, [&mut player], |[player]| {
        !matches!(player.get::<LobbyLink>().state, LobbyState::Offline | LobbyState::Connecting)
    });
    let login = login(player.get(), began.elapsed());
    let online = login.status != Status::Bad;
    tell(login);
    if !online {
        return;
    }
    until(limit, doctor.deadline, [&mut player], {
        let mut known = None;
        move |[player]| nat_is_known(player.get(), &mut known)
    });
    let status = player.get::<NatStatus>();
    tell(nat(status));
    tell(hairpin(status));
    tell(router(status));
    tell(relay(doctor, limit, &mut player));
}

fn login(link: &LobbyLink, took: Duration) -> Check {
    let took_ms = headless::ms(took);
    if let LobbyState::Online { public, server, .. } = &link.state {
        let text = format!("logged in to {server} in {took_ms} ms; it sees this machine at {public}");
        let facts = json!({"server": server.to_string(), "public": public.to_string(), "took_ms": took_ms});
        return Check::new("lobby", Status::Fine, text, facts);
    }
    let error = link.error.as_ref().map(ToString::to_string);
    let why = error.unwrap_or_else(|| "the lobby server has not answered in time".into());
    let text = format!("no login to {}: {why}", link.servers.join(", "));
    Check::new("lobby", Status::Bad, text, json!({"servers": link.servers, "error": why}))
}

/// Returns whether all is known that is waited for. `known` says when the NAT was first known, and what was known of
/// it last.
fn nat_is_known(status: &NatStatus, known: &mut Option<(Instant, NatStatus, Instant)>) -> bool {
    if matches!(status.profile.confidence, Confidence::Unknown | Confidence::Stale) {
        return false;
    }
    let now = Instant::now();
    let (since, last, changed) = known.get_or_insert((now, *status, now));
    if last != status {
        (*last, *changed) = (*status, now);
    }
    let router = match status.port_mapping {
        PortMappingState::None(NoPortMapping::NotAsked) => ROUTER_ANSWERS,
        PortMappingState::Checking(_) => ROUTER_CHECKED,
        _ => Duration::ZERO,
    };
    changed.elapsed() >= NAT_SETTLES && since.elapsed() >= router
}

fn nat(status: &NatStatus) -> Check {
    let profile = &status.profile;
    let kind = profile.kind();
    let facts = output::nat(profile, &NatFacts::NONE, &status.port_mapping);
    let level = match kind {
        NatKind::None | NatKind::FullCone | NatKind::RestrictedCone => Status::Fine,
        NatKind::PortRestrictedCone | NatKind::Firewall => Status::Fine,
        _ => Status::Note,
    };
    let sure = match profile.confidence {
        Confidence::Reduced => "; the lobby server has one address, so it cannot tell all",
        Confidence::Unknown | Confidence::Stale => "; there was no time to measure it",
        _ => "",
    };
    Check::new("nat", level, format!("{kind}{sure}. {}", profile.meaning()), facts)
}

fn hairpin(status: &NatStatus) -> Check {
    let (level, text) = match status.profile.hairpin {
        _ if status.profile.translated == Some(false) => {
            (Status::Fine, "not needed: there is no translation")
        }
        Some(true) => (Status::Fine, "the router connects players behind it by its outer address"),
        Some(false) => (
            Status::Fine,
            "the router does not connect players behind it by its outer address; in one network they meet by their own",
        ),
        None => (Status::Skipped, "not known"),
    };
    Check::new("hairpin", level, text, json!({"hairpin": status.profile.hairpin}))
}

fn router(status: &NatStatus) -> Check {
    let state = &status.port_mapping;
    let level = match state {
        PortMappingState::Verified { .. } | PortMappingState::None(NoPortMapping::NotNeeded) => Status::Fine,
        _ => Status::Note,
    };
    let text = match state {
        PortMappingState::None(NoPortMapping::NotAsked) => {
            "no router has answered by UPnP, NAT-PMP or PCP so far".to_owned()
        }
        state => state.to_string(),
    };
    Check::new("port mapping", level, text, output::port_mapping(state))
}

/// Lets two players of this machine meet over the relay alone.
fn relay(doctor: &Doctor, limit: &Limit, host: &mut Player) -> Check {
    let bad = |text: String| Check::new("relay", Status::Note, text, json!({"works": false}));
    let name = format!("doctor-{}-{}", std::process::id(), rand_suffix());
    let options = RoomOptions { name: name.clone(), public: false, ..RoomOptions::default() };
    host.0.world_mut().write_message(HostRoom(options));
    if !until(limit, ROOM, [host], |[host]| host.get::<CurrentRoom>().hosting) {
        return bad("no room could be opened on the lobby server in time".into());
    }
    let agent = AgentConfig { relay: RelayPolicy::Only, ..AgentConfig::default() };
    let config = TraversalConfig { agent, port_mapping: Vec::new(), ..doctor.config("doctor's guest") };
    let mut guest = Player::new(config);
    guest.0.world_mut().write_message(JoinRoom { wait: ROOM, ..JoinRoom::name(name) });
    let mut story = None;
    until(limit, ROOM, [host, &mut guest], |[_, guest]| {
        story = guest.story().or(story.take());
        let over = |story: &Progress| story.state() != ProgressState::Searching;
        story.as_ref().is_some_and(over)
    });
    let Some(story) = story else { return bad("the second player did not get into the room in time".into()) };
    if story.state() != ProgressState::Connected {
        let why = story.report().map_or_else(|| story.state().to_string(), ToString::to_string);
        return bad(format!("two players could not meet over the relay: {why}"));
    }
    let size = |guest: &Player| guest.get::<Peers>().iter().next().map_or(0, |peer| peer.path.size);
    let mut changed = (0, Instant::now());
    until(limit, SIZES, [host, &mut guest], |[_, guest]| {
        let now = size(guest);
        if now != changed.0 {
            changed = (now, Instant::now());
        }
        changed.1.elapsed() > SIZES / 3
    });
    let path = guest.get::<Peers>().iter().next().map(|peer| peer.path.clone());
    let Some(path) = path.filter(|path| path.kind == PathKind::Relay) else {
        return bad("the connection over the relay did not last".into());
    };
    let took_ms = story.connected_in().map(headless::ms);
    let (rtt_ms, size) = (path.rtt.map(headless::ms), path.size);
    let rtt = rtt_ms.map_or_else(String::new, |rtt| format!(", round trip {rtt} ms"));
    let text = format!(
        "two players of this machine met over the relay in {} ms{rtt}; game data of {size} bytes goes in one piece",
        took_ms.unwrap_or_default()
    );
    let facts = json!({"works": true, "took_ms": took_ms, "rtt_ms": rtt_ms, "size": size});
    Check::new("relay", Status::Fine, text, facts)
}

/// Returns what tells this run's room from others'.
fn rand_suffix() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos())
}
