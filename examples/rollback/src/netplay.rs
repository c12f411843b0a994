//! The session of ggrs, and when all have confirmed enough.

use std::collections::BTreeMap;

use bevy_traversal::{Datagrams, GgrsSocket, PlayerId};
use ggrs::{
    DesyncDetection, GgrsError, GgrsEvent, GgrsRequest, P2PSession, PlayerType, PredictRepeatLast,
    SessionBuilder, SessionState,
};

use crate::sim::{Input, Simulation, input};

/// So many frames are simulated in a second.
pub(crate) const FPS: usize = 60;
/// A player simulates so many frames ahead of what it has heard from the others.
const PREDICTION: usize = 8;
/// So many frames lie between pressing a key and its effect: this makes rollbacks fewer.
const DELAY: usize = 2;
/// Checksums are compared every so many frames.
const COMPARE: u32 = 10;
/// A confirmed frame's state is right once the next one was simulated.
const SETTLE: i32 = COMPARE as i32;

#[derive(Debug)]
pub(crate) struct Rules;

impl ggrs::Config for Rules {
    type Input = Input;
    type InputPredictor = PredictRepeatLast;
    type State = Simulation;
    type Address = PlayerId;
}

/// Something went wrong beyond repair.
#[derive(Debug)]
pub(crate) enum Trouble {
    Ggrs(GgrsError),
    Desync { frame: i32 },
    Disconnected(PlayerId),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ggrs(error) => write!(f, "ggrs: {error}"),
            Self::Desync { frame } => write!(f, "the players' worlds differ in frame {frame}"),
            Self::Disconnected(player) => write!(f, "player {player} stopped answering"),
        }
    }
}

/// This is a game from its start until all have confirmed enough.
pub(crate) struct Netplay {
    session: P2PSession<Rules>,
    socket: GgrsSocket,
    world: Simulation,
    own: usize,
    /// These are the checksums of the latest frames, as each was saved last.
    checksums: BTreeMap<i32, u64>,
    /// So many frames are to be confirmed.
    goal: i32,
    /// This is the checksum of the last of them, once it is known.
    pub(crate) result: Option<u64>,
    pub(crate) rollbacks: u64,
    /// So many frames were simulated again.
    pub(crate) resimulated: u64,
    pub(crate) running: bool,
}

impl Netplay {
    /// Starts a game; `players` are all, with the own one, in the order that all agree on.
    pub(crate) fn start(
        datagrams: &mut Datagrams,
        own: PlayerId,
        players: &[PlayerId],
        goal: i32,
    ) -> Result<Self, Trouble> {
        let socket = GgrsSocket::open(datagrams);
        let mut builder = SessionBuilder::<Rules>::new()
            .with_num_players(players.len())
            .and_then(|builder| builder.with_fps(FPS))
            .map_err(Trouble::Ggrs)?
            .with_max_prediction_window(PREDICTION)
            .with_input_delay(DELAY)
            .with_desync_detection_mode(DesyncDetection::On { interval: COMPARE });
        for (number, player) in players.iter().enumerate() {
            let kind = if *player == own { PlayerType::Local } else { PlayerType::Remote(*player) };
            builder = builder.add_player(kind, number).map_err(Trouble::Ggrs)?;
        }
        Ok(Self {
            session: builder.start_p2p_session(socket.clone()).map_err(Trouble::Ggrs)?,
            socket,
            world: Simulation::new(players.len()),
            own: players.iter().position(|player| *player == own).unwrap_or(0),
            checksums: BTreeMap::new(),
            goal,
            result: None,
            rollbacks: 0,
            resimulated: 0,
            running: false,
        })
    }

    /// Takes what came and sends what is due; every turn of the app.
    pub(crate) fn poll(&mut self) -> Result<(), Trouble> {
        self.session.poll_remote_clients();
        for event in self.session.events() {
            match event {
                GgrsEvent::DesyncDetected { frame, .. } => return Err(Trouble::Desync { frame }),
                // Who has confirmed all may go.
                GgrsEvent::Disconnected { addr } if self.result.is_none() => {
                    return Err(Trouble::Disconnected(addr));
                }
                _ => {}
            }
        }
        self.running |= self.session.current_state() == SessionState::Running;
        Ok(())
    }

    /// Returns whether this player is ahead of the others: then it goes a little slower.
    pub(crate) fn is_ahead(&self) -> bool {
        self.session.frames_ahead() > 0
    }

    /// Plays one frame; does nothing where the others are too far behind.
    pub(crate) fn advance(&mut self) -> Result<(), Trouble> {
        if self.session.current_state() != SessionState::Running {
            return Ok(());
        }
        let input = input(self.own, self.session.current_frame());
        self.session.add_local_input(self.own, input).map_err(Trouble::Ggrs)?;
        match self.session.advance_frame() {
            Ok(requests) => self.handle(requests),
            Err(GgrsError::PredictionThreshold) => {}
            Err(error) => return Err(Trouble::Ggrs(error)),
        }
        if self.result.is_none() && self.confirmed() >= self.goal + SETTLE {
            self.result = self.checksums.get(&self.goal).copied();
        }
        Ok(())
    }

    fn handle(&mut self, requests: Vec<GgrsRequest<Rules>>) {
        let mut again = false;
        for request in requests {
            match request {
                GgrsRequest::SaveGameState { cell, frame } => {
                    let checksum = self.world.checksum();
                    cell.save(frame, Some(self.world.clone()), Some(u128::from(checksum)));
                    self.checksums.insert(frame, checksum);
                    if self.checksums.len() > 512 {
                        self.checksums.pop_first();
                    }
                }
                GgrsRequest::LoadGameState { cell, .. } => {
                    if let Some(world) = cell.load() {
                        self.world = world;
                    }
                    self.rollbacks += 1;
                    again = true;
                }
                GgrsRequest::AdvanceFrame { inputs } => {
                    self.world.step(inputs.into_iter().map(|(input, _)| input));
                    self.resimulated += u64::from(again);
                }
            }
        }
        // The last step of each turn is a new one.
        self.resimulated -= u64::from(again);
    }

    /// Returns the newest frame for which all inputs are known.
    pub(crate) fn confirmed(&self) -> i32 {
        self.session.confirmed_frame()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.socket.dropped()
    }
}
