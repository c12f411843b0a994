//! What the plugin knows of the connections, in the words of the game: for badges, the picture of connecting, notices and the card
//! at the end. A game that shows nothing of its network needs none of this.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy::prelude::*;
use bevy_traversal::{
    ConnectedBy, LobbyLink, LobbyState, Loss, Method, NatKind, NatStatus, PathKind, Peers, PlayerId,
    Progress, ProgressState, RemotePlayer, Rtt, TraversalDiagnosticsPlugin, TraversalStats, TraversalSystems,
};
use serde::{Deserialize, Serialize};

/// A change of the way is told when the new way's round trip is known, or after so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Round trips and losses are looked at so often; a new path at once.
const LOOK: Duration = Duration::from_millis(200);

/// This is a way to another player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Way {
    /// Packets stay within one network.
    Lan,
    /// Packets go straight from one router to the other.
    Direct,
    /// Packets go straight over IPv6.
    DirectV6,
    /// The lobby server passes packets on.
    Relay,
}

impl Way {
    /// Returns the way in one short word, for badges.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lan => "LAN",
            Self::Direct => "direct",
            Self::DirectV6 => "IPv6",
            Self::Relay => "relay",
        }
    }

    /// Returns the way in words that go after a name.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Lan => "within the own network",
            Self::Direct => "directly",
            Self::DirectV6 => "directly over IPv6",
            Self::Relay => "over the relay",
        }
    }
}

impl From<PathKind> for Way {
    fn from(kind: PathKind) -> Self {
        match kind {
            PathKind::Lan => Self::Lan,
            PathKind::Direct => Self::Direct,
            PathKind::DirectV6 => Self::DirectV6,
            _ => Self::Relay,
        }
    }
}

/// This says how a pair of players was joined. The host tells all guests, for the card at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Packets go this way now.
    pub way: Way,
    /// This method found it; none: it took no search.
    pub method: Option<Method>,
    /// It took so many milliseconds from the request to the first way.
    pub took: u16,
}

impl Joining {
    /// Returns it as a part of a sentence: "directly, by predicted ports on both sides, in 420 ms".
    pub fn in_words(&self) -> String {
        let by = self.method.map(|method| format!(", by {}", method.in_words())).unwrap_or_default();
        format!("{}{by}, in {} ms", self.way.in_words(), self.took)
    }
}

/// This says how another player is reached, or how far the search for a way has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// This says how the two are joined; none: a way is looked for.
    pub joined: Option<Joining>,
    /// This is the latest step of the search, in words.
    pub step: String,
    /// This says why there is no direct way, and what may help; none: there is one, or it is still looked for.
    pub why: Option<String>,
    /// This is the round trip, in milliseconds.
    pub rtt: Option<u32>,
    /// So many percent of the pings were lost.
    pub loss: u8,
    /// Nothing is heard of the player at present.
    pub away: bool,
}

impl Connection {
    /// Returns what the plugin's components say of a player; none: no connection to that one is made.
    pub fn of(
        by: Option<&ConnectedBy>,
        progress: Option<&Progress>,
        (rtt, loss): (Option<&Rtt>, Option<&Loss>),
    ) -> Option<Self> {
        if by.is_none() && progress.is_none() {
            return None;
        }
        let path = by.map(|by| &by.path);
        let took = progress.and_then(Progress::connected_in).or(path.map(|path| path.since_request));
        let took = took.unwrap_or_default().as_millis().try_into().unwrap_or(u16::MAX);
        let step = progress.and_then(|progress| progress.steps().next_back());
        let report = progress.and_then(Progress::report);
        Some(Self {
            joined: path.map(|path| Joining { way: path.kind.into(), method: path.method, took }),
            step: step.map(|step| step.what.to_string()).unwrap_or_default(),
            why: report.map(|report| {
                let reason = report.reason.to_string();
                format!("{}. {}", reason.trim_end_matches('.'), report.advice())
            }),
            rtt: rtt.map(|rtt| rtt.0).or(path.and_then(|path| path.rtt)).map(|rtt| rtt.as_millis() as u32),
            loss: loss.map_or(0, |loss| (loss.0 * 100.0).round() as u8),
            away: progress.is_some_and(|progress| progress.state() == ProgressState::Away),
        })
    }

    /// Returns the way and its round trip: "direct, 38 ms".
    pub fn short(&self) -> String {
        match (&self.joined, self.rtt) {
            _ if self.away => String::from("away"),
            (Some(joined), Some(rtt)) => format!("{}, {rtt} ms", joined.way.word()),
            (Some(joined), None) => joined.way.word().to_owned(),
            (None, _) => String::from("connecting ..."),
        }
    }

    /// Returns everything that a player may want to know of it.
    pub fn long(&self) -> String {
        let Some(joined) = &self.joined else { return self.step.clone() };
        let rtt = self.rtt.map(|rtt| format!(", {rtt} ms, {} % lost", self.loss)).unwrap_or_default();
        let why = self.why.as_ref().map(|why| format!(". Why: {why}")).unwrap_or_default();
        format!("{}{rtt}{why}", joined.in_words())
    }
}

/// This says what the own NAT means for playing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// Most players are reached directly.
    Green,
    /// Some players are reached over the relay.
    Amber,
    /// UDP does not get through.
    Red,
    /// Nothing is known.
    Grey,
}

/// This is the own NAT, as the title shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNat {
    /// The light stands beside the words.
    pub light: Light,
    /// These are the words: the NAT's kind, and what it means.
    pub words: String,
}

impl OwnNat {
    /// Returns what is known; none: nobody has measured yet.
    pub fn of(nat: &NatStatus, link: &LobbyLink) -> Option<Self> {
        let LobbyState::Online { server, .. } = &link.state else { return None };
        let near = match server.ip() {
            std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            std::net::IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        };
        let kind = nat.kind();
        if near && matches!(kind, NatKind::None | NatKind::Unknown) {
            let words = "Your router is not measured: the lobby server is inside your network.";
            return Some(Self { light: Light::Grey, words: String::from(words) });
        }
        let light = match kind {
            NatKind::UdpBlocked => Light::Red,
            NatKind::Unknown => Light::Grey,
            NatKind::AddressSensitiveSymmetric | NatKind::PortSensitiveSymmetric => Light::Amber,
            _ => Light::Green,
        };
        let meaning = nat.profile.meaning().split(';').next().unwrap_or_default().trim_end_matches('.');
        Some(Self { light, words: format!("Your network: {kind}. {meaning}.") })
    }
}

/// So many datagrams went through the game's sockets: the picture of connecting shows one for each.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// So many were sent.
    pub sent: u64,
    /// So many came.
    pub received: u64,
}

/// These are the ways to the other players of the room, or how far the search for them has come.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct Ways(pub BTreeMap<PlayerId, Connection>);

/// This plugin keeps [`Ways`] and [`Packets`].
#[derive(Debug)]
pub struct NetworkPlugin;

impl Plugin for NetworkPlugin {
    fn build(&self, app: &mut App) {
        let count = |stats: Res<TraversalStats>, mut packets: ResMut<Packets>| {
            *packets = Packets { sent: stats.datagrams_sent(), received: stats.datagrams_received() };
        };
        app.add_plugins(TraversalDiagnosticsPlugin::default())
            .init_resource::<Packets>()
            .init_resource::<Ways>()
            .add_systems(PreUpdate, count.after(TraversalSystems::Receive));
    }
}

/// Looks at the plugin's entities of players: at a new path at once, and now and then for the figures.
pub fn see_ways(
    players: Query<(&RemotePlayer, Option<&ConnectedBy>, Option<&Progress>, Option<&Rtt>, Option<&Loss>)>,
    peers: Res<Peers>,
    (time, mut next): (Res<Time<Real>>, Local<Duration>),
    mut ways: ResMut<Ways>,
) {
    if !peers.is_changed() && players.iter().len() == ways.0.len() && time.elapsed() < *next {
        return;
    }
    *next = time.elapsed() + LOOK;
    let seen = players.iter().filter_map(|(player, by, story, rtt, loss)| {
        Some((player.0, Connection::of(by, story, (rtt, loss))?))
    });
    ways.set_if_neq(Ways(seen.collect()));
}

/// Looks out for changes of the way, and tells them once: "Ada: direct now, 38 ms instead of 74".
#[derive(Clone, Debug, Default)]
pub struct WayWatch {
    known: BTreeMap<u64, (Way, Option<u32>)>,
    /// These moved, then, and have no round trip on the new way yet: (from, round trip there, since).
    moved: BTreeMap<u64, (Option<u32>, Duration)>,
}

impl WayWatch {
    /// Looks at a player's connection at this time. Returns what is to be told.
    pub fn look(
        &mut self,
        player: u64,
        name: &str,
        connection: Option<&Connection>,
        now: Duration,
    ) -> Option<String> {
        let Some((connection, joined)) = connection.and_then(|c| Some((c, c.joined?))) else {
            self.known.remove(&player);
            self.moved.remove(&player);
            return None;
        };
        let before = self.known.insert(player, (joined.way, connection.rtt));
        if let Some((way, rtt)) = before.filter(|(way, _)| *way != joined.way) {
            // There and back again within the patience is no news of two ways.
            let first = self.moved.get(&player).map_or(rtt, |(rtt, _)| *rtt);
            debug_assert_ne!(way, joined.way);
            self.moved.insert(player, (first, now));
        }
        let (old, since) = *self.moved.get(&player)?;
        let fresh = connection.rtt.filter(|rtt| now > since && Some(*rtt) != old);
        if fresh.is_none() && now < since + PATIENCE {
            return None;
        }
        self.moved.remove(&player);
        let figures = match (fresh.or(connection.rtt), old) {
            (Some(new), Some(old)) if new != old => format!(", {new} ms instead of {old}"),
            (Some(new), _) => format!(", {new} ms"),
            (None, _) => String::new(),
        };
        Some(format!("{name}: {} now{figures}", joined.way.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(way: Way, rtt: Option<u32>) -> Connection {
        let joined = Some(Joining { way, method: None, took: 420 });
        Connection { joined, rtt, ..Connection::default() }
    }

    #[test]
    fn a_change_of_the_way_is_told_once_with_both_round_trips() {
        let mut watch = WayWatch::default();
        let s = Duration::from_secs_f32;
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Relay, Some(74))), s(1.0)), None);
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Direct, Some(74))), s(2.0)), None, "an old figure");
        let told = watch.look(1, "Ada", Some(&over(Way::Direct, Some(38))), s(2.5));
        assert_eq!(told.as_deref(), Some("Ada: direct now, 38 ms instead of 74"));
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Direct, Some(39))), s(3.0)), None);
        // Without a figure it is told after a while.
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Relay, None)), s(4.0)), None);
        assert_eq!(
            watch.look(1, "Ada", Some(&over(Way::Relay, None)), s(7.5)).as_deref(),
            Some("Ada: relay now")
        );
        // Who went and came anew has not moved.
        assert_eq!(watch.look(1, "Ada", None, s(8.0)), None);
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Direct, Some(40))), s(9.0)), None);
        assert_eq!(watch.look(1, "Ada", Some(&over(Way::Direct, Some(41))), s(13.0)), None);
    }

    #[test]
    fn a_connection_is_told_in_words() {
        let mut connection = over(Way::Relay, Some(74));
        connection.why = Some(String::from("both routers choose random ports. Switch UPnP on"));
        assert_eq!(connection.short(), "relay, 74 ms");
        let long = "over the relay, in 420 ms, 74 ms, 0 % lost. Why: both routers choose random ports. Switch UPnP on";
        assert_eq!(connection.long(), long);
        assert_eq!(Connection::default().short(), "connecting ...");
        let by = Joining { way: Way::Direct, method: Some(Method::Prediction), took: 210 };
        assert_eq!(by.in_words(), "directly, by predicted ports on both sides, in 210 ms");
    }
}
