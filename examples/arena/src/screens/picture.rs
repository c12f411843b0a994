//! The picture of connecting: this player, its router, the lobby server, the other's router, the other; and a dot for each datagram
//! that really goes out or comes in.

use bevy::prelude::*;
use bevy::text::FontSize;

use crate::network::{Packets, Way};
use crate::session::{Goal, Link, Session};
use crate::theme;

/// The picture has this size, in design pixels.
const SIZE: Vec2 = Vec2::new(820.0, 176.0);
/// A dot takes so many seconds for its whole way.
const TRAVEL: f32 = 0.7;
/// So many dots are under way at the most.
const DOTS: usize = 24;
/// Two dots start at least so many seconds apart: the eye cannot tell more.
const APART: f32 = 0.05;

/// This says how far the way to another player has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leg {
    /// The lobby server is asked.
    #[default]
    Asking,
    /// The two routers are knocked at.
    Searching,
    /// The way stands.
    Joined(Way),
}

/// This is what the picture shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// This says how far the way has come.
    pub leg: Leg,
    /// The lobby server answers.
    pub online: bool,
    /// This is the other player's name, once it is known.
    pub other: Option<String>,
}

impl Picture {
    /// Returns the picture of what is known.
    pub(super) fn of(session: &Session, goal: &Goal) -> Option<Self> {
        if *goal == Goal::Browse {
            return None;
        }
        let online = matches!(session.link, Link::Online { .. });
        let other =
            session.members.iter().find(|member| !member.me && (member.host || member.connection.is_some()));
        let leg = match other.and_then(|other| other.connection.as_ref()) {
            Some(connection) => connection.joined.map_or(Leg::Searching, |joined| Leg::Joined(joined.way)),
            None => Leg::Asking,
        };
        Some(Self { leg, online, other: other.map(|other| crate::scene::label(&other.name, 10)) })
    }
}

/// These are the places, in design pixels.
const ME: Vec2 = Vec2::new(70.0, 118.0);
const ROUTER: Vec2 = Vec2::new(240.0, 118.0);
const SERVER: Vec2 = Vec2::new(410.0, 34.0);
const OTHER_ROUTER: Vec2 = Vec2::new(580.0, 118.0);
const OTHER: Vec2 = Vec2::new(750.0, 118.0);

impl Leg {
    /// Returns the places that a datagram to the other player, or to the server, passes.
    fn route(self) -> &'static [Vec2] {
        match self {
            Self::Asking => &[ME, ROUTER, SERVER],
            // Nobody knows yet whether the other's router lets it in.
            Self::Searching => &[ME, ROUTER, OTHER_ROUTER],
            Self::Joined(Way::Relay) => &[ME, ROUTER, SERVER, OTHER_ROUTER, OTHER],
            Self::Joined(_) => &[ME, ROUTER, OTHER_ROUTER, OTHER],
        }
    }

    fn colour(self) -> Color {
        match self {
            Self::Asking | Self::Searching => theme::ACCENT,
            Self::Joined(Way::Relay) => theme::DETOUR,
            Self::Joined(_) => theme::GOOD,
        }
    }
}

/// Returns the place after a part of a route, 0..=1.
fn along(route: &[Vec2], part: f32) -> Vec2 {
    let length: f32 = route.windows(2).map(|pair| pair[0].distance(pair[1])).sum();
    let mut left = part.clamp(0.0, 1.0) * length;
    for pair in route.windows(2) {
        let piece = pair[0].distance(pair[1]);
        if left <= piece {
            return pair[0].lerp(pair[1], left / piece.max(1.0));
        }
        left -= piece;
    }
    route.last().copied().unwrap_or_default()
}

/// This is one of the dots of the picture.
#[derive(Component)]
pub(super) struct Dot(usize);

/// This is a dot under way: it left then, on this leg, outwards or homewards.
#[derive(Clone, Copy, Debug)]
struct Flight {
    begun: f32,
    leg: Leg,
    outwards: bool,
}

/// These are the dots under way.
#[derive(Resource, Debug, Default)]
pub(super) struct Flights {
    flights: [Option<Flight>; DOTS],
    next: usize,
    last: [f32; 2],
    seen: Packets,
    leg: Leg,
}

impl Flights {
    /// Starts a dot for what was sent, and one for what came, since the last look.
    fn take(&mut self, packets: Packets, now: f32) {
        let went = [packets.sent > self.seen.sent, packets.received > self.seen.received];
        for (direction, went) in went.into_iter().enumerate() {
            if went && now - self.last[direction] >= APART {
                self.last[direction] = now;
                self.flights[self.next] =
                    Some(Flight { begun: now, leg: self.leg, outwards: direction == 0 });
                self.next = (self.next + 1) % DOTS;
            }
        }
        self.seen = packets;
    }
}

/// Moves the dots.
pub(super) fn animate(
    time: Res<Time<Real>>,
    packets: Res<Packets>,
    mut flights: ResMut<Flights>,
    mut dots: Query<(&Dot, &mut Node, &mut BackgroundColor, &mut Visibility)>,
) {
    let now = time.elapsed_secs();
    flights.take(*packets, now);
    for (Dot(number), mut node, mut colour, mut visibility) in &mut dots {
        let flight = flights.flights[*number].filter(|flight| now - flight.begun < TRAVEL);
        let Some(flight) = flight else {
            visibility.set_if_neq(Visibility::Hidden);
            continue;
        };
        visibility.set_if_neq(Visibility::Inherited);
        let part = (now - flight.begun) / TRAVEL;
        let at = along(flight.leg.route(), if flight.outwards { part } else { 1.0 - part });
        (node.left, node.top) = (px(at.x - 5.0), px(at.y - 5.0));
        let tint = if flight.outwards { theme::WORDS } else { flight.leg.colour() };
        colour.set_if_neq(BackgroundColor(tint));
    }
}

/// Puts the picture on a page.
pub(super) fn place(parent: &mut ChildSpawnerCommands, picture: &Picture) {
    let leg = picture.leg;
    let frame = Node { width: px(SIZE.x), height: px(SIZE.y), align_self: AlignSelf::Center, ..default() };
    parent.spawn(frame).with_children(|frame| {
        let used: Vec<_> = leg.route().windows(2).map(|pair| (pair[0], pair[1])).collect();
        for (from, to) in [
            (ME, ROUTER),
            (ROUTER, SERVER),
            (SERVER, OTHER_ROUTER),
            (ROUTER, OTHER_ROUTER),
            (OTHER_ROUTER, OTHER),
        ] {
            let in_use = used.contains(&(from, to));
            let colour = if in_use { leg.colour().with_alpha(0.8) } else { theme::LINE.with_alpha(0.25) };
            line(frame, from, to, colour);
        }
        for number in 0..DOTS {
            let node = Node {
                width: px(10),
                height: px(10),
                border_radius: BorderRadius::MAX,
                ..absolute(Vec2::ZERO)
            };
            frame.spawn((Dot(number), node, BackgroundColor(theme::WORDS), Visibility::Hidden, ZIndex(2)));
        }
        let known = picture.other.is_some();
        let other = picture.other.clone().unwrap_or_else(|| String::from("other"));
        let joined = matches!(leg, Leg::Joined(_));
        station(frame, ME, "you", true, 19.0);
        station(frame, ROUTER, "router", picture.online, 10.0);
        station(frame, SERVER, "lobby server", picture.online, 10.0);
        station(frame, OTHER_ROUTER, "router", known, 10.0);
        station(frame, OTHER, &other, joined, 19.0);
    });
}

fn absolute(at: Vec2) -> Node {
    Node { position_type: PositionType::Absolute, left: px(at.x), top: px(at.y), ..default() }
}

/// Draws a line as a thin box that is turned.
fn line(frame: &mut ChildSpawnerCommands, from: Vec2, to: Vec2, colour: Color) {
    let (way, thickness) = (to - from, 3.0);
    let corner = (from + to) / 2.0 - Vec2::new(way.length(), thickness) / 2.0;
    let node = Node { width: px(way.length()), height: px(thickness), ..absolute(corner) };
    let turn = UiTransform::from_rotation(Rot2::radians(way.to_angle()));
    frame.spawn((node, turn, BackgroundColor(colour)));
}

/// Draws a place, players round and all else square, with its name below, or beside for the server.
fn station(frame: &mut ChildSpawnerCommands, at: Vec2, name: &str, lit: bool, rounding: f32) {
    let (size, width) = (38.0, 170.0);
    let (fill, rim, words) = match lit {
        true => (theme::CONTROL, theme::ACCENT, theme::WORDS),
        false => (theme::DISABLED, theme::LINE, theme::FAINT),
    };
    let node = Node {
        width: px(size),
        height: px(size),
        border: UiRect::all(px(3)),
        border_radius: BorderRadius::all(px(rounding)),
        ..absolute(at - size / 2.0)
    };
    frame.spawn((node, BackgroundColor(fill), BorderColor::all(rim), ZIndex(1)));
    let label = if at == SERVER {
        Node { width: px(width), ..absolute(at + Vec2::new(28.0, -15.0)) }
    } else {
        let corner = at + Vec2::new(-width / 2.0, 22.0);
        Node { width: px(width), justify_content: JustifyContent::Center, ..absolute(corner) }
    };
    let font = TextFont { font_size: FontSize::Px(theme::SMALL), ..default() };
    frame.spawn(label).with_child((Text::new(name), font, TextColor(words), TextLayout::no_wrap()));
}

/// Notes which leg the dots take from now on.
pub(super) fn follow(session: Res<Session>, goal: Res<Goal>, mut flights: ResMut<Flights>) {
    if let Some(picture) = Picture::of(&session, &goal) {
        flights.leg = picture.leg;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bevy_traversal::PlayerId;

    use crate::network::{Connection, Joining};
    use crate::session::{Member, Target};

    #[test]
    fn the_picture_follows_the_way_from_the_server_to_the_other_player() {
        let target = Target::Name(String::from("den"));
        let goal = Goal::Join { target, password: None, wait: std::time::Duration::ZERO, watch: false };
        let mut session = Session::default();
        let leg = |session: &Session| Picture::of(session, &goal).unwrap().leg;
        assert_eq!(leg(&session), Leg::Asking);
        let host = |connection| Member {
            client: 1,
            id: PlayerId([1; 16]),
            name: String::from("Ada"),
            me: false,
            host: true,
            ready: false,
            connection,
        };
        session.members = vec![host(Some(Connection::default()))];
        assert_eq!(leg(&session), Leg::Searching);
        for way in [Way::Relay, Way::Direct] {
            let joined = Some(Joining { way, method: None, took: 90 });
            session.members = vec![host(Some(Connection { joined, ..Connection::default() }))];
            assert_eq!(leg(&session), Leg::Joined(way));
            let passes_server = leg(&session).route().contains(&SERVER);
            assert_eq!(passes_server, way == Way::Relay);
        }
    }

    #[test]
    fn a_dot_flies_for_what_goes_out_and_for_what_comes_in_and_no_more_than_can_be_seen() {
        let mut flights = Flights::default();
        let under_way = |flights: &Flights| flights.flights.iter().flatten().count();
        flights.take(Packets::default(), 1.0);
        assert_eq!(under_way(&flights), 0);
        flights.take(Packets { sent: 1, received: 0 }, 1.1);
        flights.take(Packets { sent: 1, received: 1 }, 1.2);
        let directions: Vec<_> = flights.flights.iter().flatten().map(|flight| flight.outwards).collect();
        assert_eq!(directions, [true, false]);
        for i in 0..1000 {
            flights.take(Packets { sent: 2 + i, received: 1 }, 2.0 + i as f32 * 0.001);
        }
        assert!((15..=22).contains(&under_way(&flights)), "{}", under_way(&flights));
        assert_eq!(along(Leg::Asking.route(), 0.0), ME);
        assert!(along(Leg::Asking.route(), 1.0).distance(SERVER) < 0.1);
    }
}
