//! What the HUD says of the network: a badge for each player, more of it under the pointer or behind Tab, a line when a way
//! changes, and the card at the end of a round.

use std::collections::VecDeque;
use std::time::Duration;

use bevy::prelude::*;

use super::actor_at;
use super::build::{Card, CardText, Chip, ChipWay, NetworkText};
use crate::net::systems::NetSystems;
use crate::network::{Connection, Way, WayWatch};
use crate::scene::{Actor, Scene};
use crate::screens::Screen;
use crate::session::Session;
use crate::sim::Phase;
use crate::theme;

/// A line about a change of the way stays for so long.
const TOLD: Duration = Duration::from_secs(6);
/// So many of them wait at the most.
const WAITING: usize = 4;

pub(super) struct WaysPlugin;

impl Plugin for WaysPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, (badges, card, line).after(NetSystems::Scene));
    }
}

/// Returns how this player reaches that one itself; none: over the host.
fn own_connection<'a>(session: &'a Session, actor: &Actor) -> Option<&'a Connection> {
    let member = session.members.iter().find(|member| !member.me && Some(member.client) == actor.client)?;
    member.connection.as_ref()
}

/// Returns the badge of a player, and the way that it is about.
fn badge(session: &Session, scene: &Scene, actor: &Actor) -> (String, Option<Way>) {
    if scene.local == Some(actor.player) {
        return (String::new(), None);
    }
    match own_connection(session, actor) {
        Some(connection) if connection.away => (String::from("away"), None),
        Some(Connection { joined: Some(joined), rtt, .. }) => {
            let rtt = rtt.map(|rtt| format!(" {rtt} ms")).unwrap_or_default();
            (format!("{}{rtt}", joined.way.word()), Some(joined.way))
        }
        Some(_) => (String::from("..."), None),
        // Guests reach each other through the host: this is the way between the two of them.
        None => actor
            .joined
            .map_or((String::new(), None), |joined| (joined.way.word().to_owned(), Some(joined.way))),
    }
}

fn badges(scene: Res<Scene>, session: Res<Session>, mut texts: Query<(&ChipWay, &mut Text, &mut TextColor)>) {
    for (ChipWay(place), mut text, mut colour) in &mut texts {
        let shown = actor_at(&scene, *place).map(|actor| badge(&session, &scene, actor)).unwrap_or_default();
        let tint = match shown.1 {
            Some(Way::Relay) => theme::DETOUR,
            Some(_) => theme::GOOD,
            None => theme::FAINT,
        };
        text.set_if_neq(Text::new(shown.0));
        colour.set_if_neq(TextColor(tint));
    }
}

/// Returns what the card says of a player, in one line or, with all details, in more.
fn card_line(session: &Session, scene: &Scene, actor: &Actor, whole: bool) -> Option<String> {
    if scene.local == Some(actor.player) && !whole && actor.joined.is_none() {
        return None;
    }
    let name = actor.label(14);
    if let Some(connection) = own_connection(session, actor) {
        let short = || connection.joined.map(|joined| joined.in_words());
        return Some(format!("{name}: {}", if whole { connection.long() } else { short()? }));
    }
    // The pair is that player and the host.
    let joined = actor.joined?;
    Some(format!("{name}: {}", joined.in_words()))
}

/// Shows the card: at the end of a round how each pair was joined, under the pointer all of one player, behind Tab all of all.
fn card(
    scene: Res<Scene>,
    session: Res<Session>,
    screen: Res<State<Screen>>,
    keys: Option<Res<ButtonInput<KeyCode>>>,
    chips: Query<(&Chip, &Interaction)>,
    mut cards: Query<&mut Visibility, With<Card>>,
    mut texts: Query<&mut Text, With<CardText>>,
) {
    let pointed = chips.iter().find(|(_, interaction)| **interaction != Interaction::None);
    let asked = keys.is_some_and(|keys| keys.pressed(KeyCode::Tab));
    let over = matches!(scene.phase, Some(Phase::RoundOver { .. }));
    let playing = *screen.get() == Screen::Game;
    let lines: Vec<String> = match pointed.and_then(|(Chip(place), _)| actor_at(&scene, *place)) {
        _ if !playing => Vec::new(),
        _ if asked => {
            scene.actors.iter().filter_map(|actor| card_line(&session, &scene, actor, true)).collect()
        }
        Some(actor) => card_line(&session, &scene, actor, true).into_iter().collect(),
        None if over => {
            let lines = scene.actors.iter().filter_map(|actor| card_line(&session, &scene, actor, false));
            let lines: Vec<_> = lines.collect();
            let heading = (!lines.is_empty()).then(|| String::from("How you were joined"));
            heading.into_iter().chain(lines).collect()
        }
        None => Vec::new(),
    };
    for mut visibility in &mut cards {
        visibility.set_if_neq(if lines.is_empty() { Visibility::Hidden } else { Visibility::Inherited });
    }
    for mut text in &mut texts {
        text.set_if_neq(Text::new(lines.join("\n")));
    }
}

/// Writes the line below the floor: what does not work, else a change of a way, else where more is to be seen.
fn line(
    time: Res<Time<Real>>,
    session: Res<Session>,
    mut watch: Local<WayWatch>,
    mut news: Local<VecDeque<(Duration, String)>>,
    mut text: Query<(&mut Text, &mut TextColor), With<NetworkText>>,
) {
    let now = time.elapsed();
    for member in session.members.iter().filter(|member| !member.me) {
        let name = crate::scene::label(&member.name, 14);
        let told = watch.look(member.client, &name, member.connection.as_ref(), now);
        news.extend(told.map(|told| (now, told)));
    }
    news.retain(|(at, _)| now < *at + TOLD);
    let surplus = news.len().saturating_sub(WAITING);
    news.drain(..surplus);
    let Ok((mut text, mut colour)) = text.single_mut() else { return };
    let (words, tint) = match (session.lobby_lost(), news.back()) {
        (Some(lost), _) => (lost.to_owned(), theme::BAD),
        (None, Some((at, told))) => {
            // It fades: it is of interest, and no more than that.
            let left = 1.0 - (now - *at).as_secs_f32() / TOLD.as_secs_f32();
            (told.clone(), theme::ACCENT.with_alpha((left * 2.5).min(1.0)))
        }
        (None, None) => {
            // Who watches does not write.
            let first = if session.watching { "You watch" } else { "T: write" };
            let keys = "Tab: players   F3: network   M: sound   Esc: menu";
            (format!("{first}   {keys}"), theme::FAINT.with_alpha(0.6))
        }
    };
    text.set_if_neq(Text::new(words));
    colour.set_if_neq(TextColor(tint));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Joining;
    use crate::screens::sample;

    #[test]
    fn each_player_has_a_badge_and_the_relay_says_why() {
        let (session, scene) = sample();
        let badges: Vec<_> = scene.actors.iter().map(|actor| badge(&session, &scene, actor)).collect();
        assert_eq!(badges[0], (String::new(), None), "this player itself");
        assert_eq!(badges[1], (String::from("direct 13 ms"), Some(Way::Direct)));
        assert_eq!(badges[3], (String::from("relay 39 ms"), Some(Way::Relay)));
        assert_eq!(badges[7], (String::from("..."), None));
        let line = |player: usize, whole| card_line(&session, &scene, &scene.actors[player], whole).unwrap();
        assert_eq!(line(1, false), "Bo: directly, by predicted ports on both sides, in 220 ms");
        assert!(line(3, true).contains("Why: "), "{}", line(3, true));
    }

    #[test]
    fn a_guest_sees_how_the_others_are_joined_with_the_host() {
        let (mut session, mut scene) = sample();
        scene.local = Some(1);
        for member in &mut session.members {
            (member.me, member.host) = (member.client == 1, member.client == 0);
            if member.client != 0 {
                member.connection = None;
            }
        }
        let joined = Joining { way: Way::Relay, method: None, took: 300 };
        session.members[0].connection = Some(Connection { joined: Some(joined), ..Connection::default() });
        scene.actors[2].joined = Some(joined);
        assert_eq!(badge(&session, &scene, &scene.actors[0]).0, "relay");
        assert_eq!(badge(&session, &scene, &scene.actors[2]), (String::from("relay"), Some(Way::Relay)));
        let own = card_line(&session, &scene, &scene.actors[2], false).unwrap();
        assert!(own.ends_with("over the relay, in 300 ms"), "{own}");
    }
}
