//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bevy_traversal::{BubbleTargets, Detect, MOST_PORTS_AHEAD, MappingProtocol, Method, Secret, ServerKey};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use headless::args::{RelayArg, seconds};

use crate::backfill::{self, HostBackfill};
use crate::chat::{self, ChatArgs};
use crate::doctor::Doctor;
use crate::invites::Inviting;
use crate::known::Known;
use crate::lan::Serving;
use crate::members::{EVENTS, MembersArgs};
use crate::party::{self, PartyArgs};
use crate::people::People;
use crate::quick::RulesArgs;
use crate::rooms::{self, RoomsArgs, ShownArgs};
use crate::seats::{GuestSeats, HostSeats};

/// A player without a window: hosts or joins a room and exchanges numbered messages, or tells about the own NAT.
#[derive(Parser, Debug)]
#[command(name = "peer", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Sub,
}

const EXAMPLES: &str = "Examples:
  peer nat  --lobby 203.0.113.10:3478
  peer nat  --lobby 203.0.113.10:3478 --lifetime --json
  peer host --lobby 203.0.113.10:3478 --room r1 --players 4
  peer join --lobby 203.0.113.10:3478 --room r1 --wait 10 --json
  peer join --lobby 203.0.113.10:3478 --room r1 --nat ps --step 2 --bubble-target 40000
  peer host --lobby 203.0.113.10:3478 --room r1 --password sesame --invite once --json
  peer join --invite 'bevy-traversal:203.0.113.10/K7PX2M#BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc'
  peer host --lan --room r1
  peer join --lan --room r1
  peer host --serve 34780 --public-name ada.example.net --room r1 --json
  peer quick --lobby 203.0.113.10:3478 --mode duel --players 2
  peer host --lobby 203.0.113.10:3478 --room r1 --keep-seat 300 --spectators 10
  peer join --lobby 203.0.113.10:3478 --room r1 --identity me.key --take-seat
  peer join --lobby 203.0.113.10:3478 --room r1 --spectate
  peer contacts --lobby 203.0.113.10:3478 --identity me.key --allow 0123456789abcdef0123456789abcdef --json
  peer call --lobby 203.0.113.10:3478 --player 0123456789abcdef0123456789abcdef
  peer rooms --lobby 203.0.113.10:3478 --filter map=desert --filter 'level<5' --sort players --watch 10 --json
  peer quick --lobby 203.0.113.10:3478 --mode ranked --players 4 --near skill=1200:50,100,200/5:any --equal map=dust --match-teams 2,2
  peer host --lobby 203.0.113.10:3478 --room r1 --players 2 --capacity 4 --backfill ranked --near skill=1200:50,100,200/5:any
  peer party --lobby 203.0.113.10:3478 --create 4 --members 2 --mode ranked --players 4 --match-teams 2,2 --json
  peer party --lobby 203.0.113.10:3478 --code 7KPX2M9QRT --matches 3
  peer doctor --lobby 203.0.113.10:3478

JSON events about seats (--json):
  player_away    a member is not heard by the lobby server: peer, player, kept_s (its seat is kept for so long)
  player_back    it is back, with the same client id: peer, player, client_id
  seat_kept      this player has a seat after a login: room, code, hosting, kept_s
  spectators     who watches now: peers
  kicked, lifted the host has put somebody out, or let it come back: peer or player
  bans           who may not come back: bans (player, peer, reason, left_s; null: for good)";

#[derive(Subcommand, Debug)]
pub(crate) enum Sub {
    /// Log in and say what kind of NAT there is
    Nat {
        /// Wait until it is known how long an idle mapping lives, too: up to three minutes
        #[arg(long)]
        lifetime: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Try what a game needs of this machine and its network, for a bug report
    ///
    /// Addresses are masked. Succeeds when nothing keeps games from working.
    Doctor(Doctor),
    #[command(flatten)]
    People(People),
    /// Open a room and play with who comes
    #[command(after_help = format!("{EVENTS}\n\n{}\n\n{}", chat::EVENTS, backfill::EVENTS))]
    Host {
        /// Name of the room
        #[arg(long)]
        room: String,
        /// Players to expect, with the host
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=64))]
        players: u16,
        /// Players that the room takes, with the host [default: --players]
        #[arg(long, value_parser = clap::value_parser!(u16).range(2..=64))]
        capacity: Option<u16>,
        /// Let nobody in, and give this reason
        #[arg(long, value_name = "REASON")]
        refuse: Option<String>,
        #[command(flatten)]
        shown: ShownArgs,
        /// Password of the room
        #[arg(long)]
        password: Option<Secret<String>>,
        #[command(flatten)]
        inviting: Inviting,
        #[command(flatten)]
        serving: Serving,
        #[command(flatten)]
        seats: HostSeats,
        #[command(flatten)]
        backfill: Box<HostBackfill>,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        game: Game,
    },
    /// Play with anybody who wants the same mode and as many players
    #[command(after_help = backfill::EVENTS)]
    Quick {
        /// What to play: only players who name the same meet
        #[arg(long, value_name = "NAME")]
        mode: String,
        /// Players, with this one: only players who want as many meet
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=64))]
        players: u16,
        #[command(flatten)]
        rules: RulesArgs,
        /// If this player hosts the room of the match, or comes to host it: look for another player whenever one has left (event
        /// "backfill")
        #[arg(long)]
        backfill: bool,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        game: Game,
    },
    /// Be in a party, and wait for quick matches with all of it
    ///
    /// Succeeds after --matches, or when what was to be done with the party is done.
    #[command(after_help = format!("{}\n\n{}", party::EVENTS, chat::EVENTS))]
    Party {
        #[command(flatten)]
        party: PartyArgs,
        #[command(flatten)]
        common: Common,
    },
    /// List the public rooms of the game, or watch them
    #[command(after_help = rooms::EVENTS)]
    Rooms {
        #[command(flatten)]
        rooms: RoomsArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Enter a room and play with its host
    #[command(after_help = format!("{EVENTS}\n\n{}", chat::EVENTS))]
    Join {
        /// Name of the room, or its code
        #[arg(long, required_unless_present = "invite")]
        room: Option<String>,
        /// Look for the room in the local network, too: no --lobby is needed. What is found is printed (event
        /// "found_rooms"), with the lobby's rooms where there is a --lobby
        #[arg(long, conflicts_with_all = ["invite", "idle"])]
        lan: bool,
        /// Enter the room that this invite leads to: its text or a link. No --lobby is needed
        #[arg(long, value_name = "TEXT", conflicts_with_all = ["room", "password"])]
        invite: Option<String>,
        /// Keep asking for so long while there is no such room
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        wait: Duration,
        /// Sit in the lobby for so long before asking for the room
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        idle: Duration,
        /// Password of the room
        #[arg(long)]
        password: Option<Secret<String>>,
        #[command(flatten)]
        seats: GuestSeats,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        game: Game,
    },
}

impl Sub {
    /// Returns whether the command finds a lobby server by itself where none is named.
    fn needs_no_lobby(&self) -> bool {
        match self {
            Self::Doctor(_) => true,
            Self::Host { serving, .. } => serving.is_wanted(),
            Self::Join { invite, lan, .. } => invite.is_some() || *lan,
            Self::Rooms { rooms, .. } => rooms.lan,
            Self::Party { party, .. } => party.is_invited(),
            Self::Nat { .. } | Self::Quick { .. } | Self::People(_) => false,
        }
    }
}

impl Cli {
    /// Reads the command line; ends the program with what is wrong with it.
    pub(crate) fn read() -> Self {
        let cli = Self::parse();
        if let Err(error) = cli.check() {
            error.exit();
        }
        cli
    }

    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let named = match &self.command {
            Sub::Doctor(_) => true,
            Sub::Nat { common, .. }
            | Sub::Host { common, .. }
            | Sub::Join { common, .. }
            | Sub::Rooms { common, .. }
            | Sub::Party { common, .. }
            | Sub::Quick { common, .. } => !common.lobby.is_empty(),
            Sub::People(people) => !people.common().lobby.is_empty(),
        };
        if named || self.command.needs_no_lobby() {
            return Ok(());
        }
        let kind = clap::error::ErrorKind::MissingRequiredArgument;
        Err(Self::command()
            .error(kind, "the following required arguments were not provided:\n  --lobby <LOBBY>"))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Lobby server, HOST:PORT; may be given several times
    #[arg(long)]
    pub(crate) lobby: Vec<String>,
    /// JSON lines instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Display name
    #[arg(long, default_value = "peer")]
    pub(crate) name: String,
    /// Only players of the same game meet
    #[arg(long, default_value = "peer")]
    pub(crate) game: String,
    /// Public key that the lobby server must have, as `lobby_server key` prints it; may be given several times
    #[arg(long, value_name = "BASE64")]
    pub(crate) server_key: Vec<ServerKey>,
    /// Local address of the game's socket
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) bind: Option<SocketAddr>,
    /// File with the player's identity, made if missing; the lobby server's key is remembered beside it, in
    /// FILE.known_servers [default: a new identity each start, and no key is remembered]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// File with what was measured in which network, a hint for the next start [default: FILE.nat.json beside --identity
    /// FILE, else none]
    #[arg(long, value_name = "FILE")]
    pub(crate) nat_file: Option<PathBuf>,
    /// Keep nothing of what was measured
    #[arg(long, conflicts_with = "nat_file")]
    pub(crate) no_nat_file: bool,
    /// Who works out the kind of NAT
    #[arg(long, value_enum, default_value_t = DetectArg::Server)]
    pub(crate) detect: DetectArg,
    /// No IPv6
    #[arg(long)]
    pub(crate) no_ipv6: bool,
    /// No TCP to the lobby server where UDP is blocked, and no TLS
    #[arg(long)]
    pub(crate) no_tcp: bool,
    /// The lobby server's port of TLS, which is tried where neither UDP nor TCP gets out to its own port
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub(crate) tls_port: u16,
    /// Ask no router to forward a port
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    /// How to ask the router, in this order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "PROTOCOL,...",
        conflicts_with = "no_port_mapping"
    )]
    pub(crate) port_mapping: Vec<MappingArg>,
    /// How long to try
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) known: Known,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Game {
    /// How long to play, from the first connection on
    #[arg(long = "for", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) play: Duration,
    /// Whether the lobby server may relay
    #[arg(long, value_enum, default_value_t = RelayArg::Allow)]
    pub(crate) relay: RelayArg,
    /// Force one method of punching
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    pub(crate) method: MethodArg,
    /// Ports of the other player's NAT to aim at beside the one that the lobby server sees, up to 8: those that its router
    /// forwards to it, for example
    #[arg(long, value_name = "PORT[-PORT]")]
    pub(crate) bubble_target: Option<BubbleTargets>,
    /// How many ports further than it was last seen the own NAT is expected to be when two such NATs meet by predicted
    /// ports (M24's n) [default: from the measured rate and the round trips]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_PORTS_AHEAD)))]
    pub(crate) ports_ahead: Option<u16>,
    /// How long a player of whom nothing is heard is waited for; below 4 it is lost after 4 s
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) away: Duration,
    /// What carries renet
    #[arg(long, value_enum, default_value_t = TransportArg::Sealed)]
    pub(crate) transport: TransportArg,
    /// Do not try addresses of the own network
    #[arg(long)]
    pub(crate) no_lan: bool,
    /// Messages per second on each of the two channels
    #[arg(long, value_name = "MESSAGES_PER_S", default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// The same for the reliable channel alone [default: as --rate]
    #[arg(long, value_name = "MESSAGES_PER_S")]
    pub(crate) reliable_rate: Option<f64>,
    /// Succeed only when all reliable messages have arrived on both sides: they are waited for after --for, 10 s at the
    /// most
    #[arg(long)]
    pub(crate) complete: bool,
    /// Bytes per message, at least 8
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65536))]
    pub(crate) size: u32,
    /// The room outlives its host: another player hosts it (the first host says so), and this one stays
    #[arg(long)]
    pub(crate) migrate: bool,
    /// Succeed only over the relay
    #[arg(long)]
    pub(crate) expect_relay: bool,
    /// Stop ticking so long after the first connection, as a game does that loads a level
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "freeze_for")]
    pub(crate) freeze_after: Option<Duration>,
    /// How long not to tick
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "freeze_after")]
    pub(crate) freeze_for: Option<Duration>,
    /// How long the game may not tick before its players are let go
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) stall_timeout: Duration,
    #[command(flatten)]
    pub(crate) members: MembersArgs,
    #[command(flatten)]
    pub(crate) chat: ChatArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MappingArg {
    Pcp,
    NatPmp,
    Upnp,
}

impl From<MappingArg> for MappingProtocol {
    fn from(arg: MappingArg) -> Self {
        match arg {
            MappingArg::Pcp => Self::Pcp,
            MappingArg::NatPmp => Self::NatPmp,
            MappingArg::Upnp => Self::Upnp,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectArg {
    Server,
    Peer,
}

impl From<DetectArg> for Detect {
    fn from(arg: DetectArg) -> Self {
        match arg {
            DetectArg::Server => Self::Server,
            DetectArg::Peer => Self::Peer,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodArg {
    Auto,
    Cone,
    Bubble,
    MultiBubble,
    Prediction,
    GiantStep,
    Birthday,
}

impl From<MethodArg> for Option<Method> {
    fn from(arg: MethodArg) -> Self {
        Some(match arg {
            MethodArg::Auto => return None,
            MethodArg::Cone => Method::Cone,
            MethodArg::Bubble => Method::Bubble,
            MethodArg::MultiBubble => Method::MultiBubble,
            MethodArg::Prediction => Method::Prediction,
            MethodArg::GiantStep => Method::GiantStep,
            MethodArg::Birthday => Method::Birthday,
        })
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportArg {
    Sealed,
    StockNetcode,
}
