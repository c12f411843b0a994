//! Between driver and app, once a frame each way.

mod app_side;
mod invites;
mod requests;
mod room;

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::MessageReader;
use bevy_ecs::schedule::SystemSet;
use bevy_ecs::system::{Res, ResMut};
use traversal_core::{Event, RequestKind};

use crate::config::Transport;
use crate::datagrams::Datagrams;
use crate::error::TraversalError;
use crate::link::TraversalLink;
use crate::messages::requests::ConnectLobby;
use crate::protocol::Report;
use crate::state::{Peers, TraversalStats};
use crate::visit;
pub(crate) use app_side::{AppSide, News};
pub(crate) use invites::{follow_visit, go_home, has_invites, invites, wants_home};
pub(crate) use requests::hand_over_requests;

/// These are the sets in which the plugin works, to order the game's systems by.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraversalSystems {
    /// These systems run in `PreUpdate`, before `RenetReceive`. They take events and game datagrams from the driver,
    /// update the resources and write the outcome messages.
    Receive,
    /// These systems run in `PostUpdate`, after `RenetSend`. They hand request messages and game datagrams to the
    /// driver.
    Send,
}

/// First the datagrams are taken, then the events: each connection is known before its first datagram is looked at.
///
/// This and what else runs in each frame asks for the link itself: a run condition would be one more system (a tenth of what
/// an idle frame costs).
pub(crate) fn take_datagrams(link: Option<Res<TraversalLink>>, mut datagrams: ResMut<Datagrams>) {
    let Some(link) = link else { return };
    if let Some(driver) = &link.driver {
        link.tick();
        datagrams.bypass_change_detection().take(driver);
    }
}

/// Run condition: the network thread has something to say, or has ended. Most frames end here, and cost no look at all the
/// resources and messages that its words may change.
pub(crate) fn has_news(link: Option<Res<TraversalLink>>) -> bool {
    link.is_some_and(|link| {
        let driver = link.driver.as_ref();
        link.failure.is_some()
            || link.held.is_some()
            || driver.is_some_and(|driver| !driver.reports.is_empty() || !driver.running())
    })
}

pub(crate) fn receive(mut link: ResMut<TraversalLink>, mut app: AppSide) {
    if let Some(error) = link.bypass_change_detection().failure.take() {
        app.lobby_failed(error, None);
    }
    let link = link.bypass_change_detection();
    let Some(driver) = &link.driver else { return };
    if let Some(report) = link.held.take() {
        app.report(report);
    }
    let before = app.standing();
    while link.held.is_none()
        && let Ok(report) = driver.reports.try_recv()
    {
        app.end_what_is_replaced(&report);
        if let Report::Reached(name, key) = report {
            link.reached = visit::reached(link.reached.take(), &link.config.lobby, name, key);
        } else if let Report::Agent(Event::InviteMade { code, token }) = report {
            match app.invite(link, Some((code, token))) {
                Ok(invite) => app.invite_made(invite),
                Err(error) => app.request_failed(RequestKind::MakeInvite, error.into()),
            }
        } else if app.comes_too_early(&report, before) {
            link.held = Some(report);
        } else {
            app.report(report);
        }
    }
    if link.config.transport == Transport::Manual {
        app.forget_renet();
    }
    if !driver.running() && driver.reports.is_empty() && link.held.is_none() {
        app.driver_gone();
        link.driver = None;
        let reason = String::from("it ended");
        app.lobby_failed(TraversalError::Driver { reason }, None);
    }
}

/// Sorts what was taken, now that all connections are known.
pub(crate) fn sort_datagrams(
    link: Option<Res<TraversalLink>>,
    mut datagrams: ResMut<Datagrams>,
    peers: Res<Peers>,
    stats: Res<TraversalStats>,
) {
    if let Some(link) = link
        && link.driver.is_some()
    {
        datagrams.bypass_change_detection().sort(&peers, link.held.is_some(), &stats);
    }
}

pub(crate) fn connect(
    mut requests: MessageReader<ConnectLobby>,
    mut link: ResMut<TraversalLink>,
    mut app: AppSide,
) {
    for request in requests.read() {
        let replaced = link.connect(request.clone());
        app.servers(&link.config.lobby);
        if replaced {
            app.driver_gone();
        }
    }
}

pub(crate) fn hand_over_datagrams(
    link: Res<TraversalLink>,
    mut datagrams: ResMut<Datagrams>,
    peers: Res<Peers>,
    stats: Res<TraversalStats>,
) {
    if let Some(driver) = &link.driver {
        datagrams.bypass_change_detection().hand_over(driver, &peers, &stats);
    }
}
