//! Seats: flags for hosts and guests, what is printed of them, and whom the host puts out.

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use bevy_traversal::{
    BanLifted, BansListed, CurrentRoom, KickPeer, LiftBan, ListBans, LobbyLink, Members, PlayerAway,
    PlayerBack, PlayerId, Rejoin, RoomOptions, RoomSeats, SeatKept, SpectatorsChanged, TakeSeat,
};
use clap::Args;
use headless::Output;
use headless::args::seconds;
use serde_json::json;

use crate::args::Sub;
use crate::session::Session;

/// News of a seat comes with the login: without any for so long, the room is asked for.
const NO_SEAT: Duration = Duration::from_secs(3);

#[derive(Args, Clone, Debug)]
pub(crate) struct HostSeats {
    /// Keep the seat of a member of whom nothing is heard for so long, 0 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=600))]
    keep_seat: u64,
    /// Players who may watch
    #[arg(long, value_name = "N", default_value_t = 0)]
    spectators: u16,
    /// Host without a seat: --players and --capacity count the guests alone, and the room ends with its host
    #[arg(long)]
    dedicated: bool,
    /// Put the member of this name out as soon as it has been in the game for --kick-after
    #[arg(long, value_name = "NAME")]
    kick: Option<String>,
    /// How long to wait before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    kick_after: Duration,
    /// When it may come back: now, never, or after so many seconds (after=30)
    #[arg(long, value_name = "now|after=SECONDS|never", default_value = "never", value_parser = rejoin)]
    rejoin: Rejoin,
    /// Why it is put out
    #[arg(long, value_name = "REASON", default_value = "kicked")]
    kick_reason: String,
    /// Let it come back so long after that, and list who may not before and after
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    lift_after: Option<Duration>,
    /// Host the room on that this player hosted before its program ended, if the lobby server keeps the seat
    #[arg(long)]
    take_seat: bool,
}

impl HostSeats {
    /// Returns the default options with these.
    pub(crate) fn options(&self) -> RoomOptions {
        RoomOptions {
            keep_seat: Duration::from_secs(self.keep_seat),
            spectators: self.spectators,
            seat: !self.dedicated,
            ..RoomOptions::default()
        }
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GuestSeats {
    /// Watch: take no seat, and only receive
    #[arg(long)]
    pub(crate) spectate: bool,
    /// Send messages all the same, to see that they do not arrive
    #[arg(long, requires = "spectate")]
    speak: bool,
    /// Take the seat that the lobby server keeps for this player (--identity), if it does
    #[arg(long)]
    take_seat: bool,
}

/// Reads when somebody may come back.
fn rejoin(text: &str) -> Result<Rejoin, String> {
    match text.strip_prefix("after=") {
        None if text == "now" => Ok(Rejoin::Now),
        None if text == "never" => Ok(Rejoin::Never),
        None => Err("now, never or after=SECONDS".into()),
        Some(number) => number
            .parse()
            .map(|seconds| Rejoin::After { seconds })
            .map_err(|_| "after= wants a whole number of seconds".into()),
    }
}

/// This resource has the flags about seats, and what has come of them.
#[derive(Resource, Debug, Default)]
pub(crate) struct SeatFlags {
    take_seat: bool,
    speak: bool,
    host: Option<HostSeats>,
    /// A seat was offered, and taken.
    taken: bool,
    /// The member to be put out has been there since then.
    seen_at: Option<Instant>,
    out: Option<(PlayerId, Instant)>,
}

impl SeatFlags {
    pub(crate) fn of(command: &Sub) -> Self {
        match command {
            Sub::Host { seats, .. } => {
                Self { take_seat: seats.take_seat, host: Some(seats.clone()), ..Self::default() }
            }
            Sub::Join { seats, .. } => {
                Self { take_seat: seats.take_seat, speak: seats.speak, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// A player who only watches sends all the same.
    pub(crate) fn speaks(&self) -> bool {
        self.speak
    }

    /// No room is to be asked for (yet): perhaps there is a seat to take.
    pub(crate) fn waits_for_seat(&self, session: &Session) -> bool {
        self.taken || self.take_seat && session.online_at.is_none_or(|at| at.elapsed() < NO_SEAT)
    }
}

/// Prints who is away, back, or watches, and who may not come back.
pub(crate) fn tell(
    output: Res<Output>,
    mut away: MessageReader<PlayerAway>,
    mut back: MessageReader<PlayerBack>,
    mut spectators: MessageReader<SpectatorsChanged>,
    mut bans: MessageReader<BansListed>,
    mut lifted: MessageReader<BanLifted>,
) {
    for PlayerAway { player, kept, .. } in away.read() {
        let id = player.id.to_string();
        output.event("player_away", json!({"peer": player.name, "player": id, "kept_s": kept.as_secs()}));
    }
    for PlayerBack { player, client_id } in back.read() {
        let id = player.id.to_string();
        output.event("player_back", json!({"peer": player.name, "player": id, "client_id": client_id}));
    }
    for SpectatorsChanged(players) in spectators.read() {
        let names: Vec<&str> = players.iter().map(|player| player.name.as_str()).collect();
        output.event("spectators", json!({"peers": names}));
    }
    for BansListed(bans) in bans.read() {
        let ban = |ban: &bevy_traversal::RoomBan| {
            json!({"player": ban.player.to_string(), "peer": ban.name, "reason": ban.reason,
                   "left_s": ban.left_s})
        };
        output.event("bans", json!({"bans": bans.iter().map(ban).collect::<Vec<_>>()}));
    }
    for BanLifted(player) in lifted.read() {
        output.event("lifted", json!({"player": player.to_string()}));
    }
}

/// Prints that a seat is kept, and takes it where that is asked for.
pub(crate) fn take(
    mut flags: ResMut<SeatFlags>,
    mut session: ResMut<Session>,
    output: Res<Output>,
    link: Res<LobbyLink>,
    mut kept: MessageReader<SeatKept>,
    mut take: MessageWriter<TakeSeat>,
) {
    if link.online() {
        session.online_at.get_or_insert_with(Instant::now);
    }
    for SeatKept { name, code, hosting, kept } in kept.read() {
        output.event(
            "seat_kept",
            json!({"room": name, "code": code, "hosting": hosting, "kept_s": kept.as_secs()}),
        );
        if flags.take_seat && !flags.taken {
            flags.taken = true;
            take.write(TakeSeat);
        }
    }
}

/// Puts the member out that `--kick` names, and lets it come back.
pub(crate) fn put_out(
    mut flags: ResMut<SeatFlags>,
    output: Res<Output>,
    (room, members, seats): (Res<CurrentRoom>, Res<Members>, Res<RoomSeats>),
    mut kick: MessageWriter<KickPeer>,
    mut lift: MessageWriter<LiftBan>,
    mut list: MessageWriter<ListBans>,
) {
    let Some(host) = flags.host.clone().filter(|_| room.hosting) else { return };
    let Some(name) = host.kick else { return };
    if let Some((player, at)) = flags.out {
        if host.lift_after.is_some_and(|after| at.elapsed() >= after) {
            flags.host = None;
            lift.write(LiftBan { player });
            list.write(ListBans);
        }
        return;
    }
    let target = members.0.iter().chain(&seats.spectators).find(|member| member.name == name);
    let Some(target) = target else { return };
    let since = *flags.seen_at.get_or_insert_with(Instant::now);
    if since.elapsed() >= host.kick_after {
        flags.out = Some((target.id, Instant::now()));
        output.event("kicked", json!({"peer": name, "player": target.id.to_string()}));
        kick.write(KickPeer { player: target.id, reason: host.kick_reason, rejoin: host.rejoin });
        list.write(ListBans);
    }
}
