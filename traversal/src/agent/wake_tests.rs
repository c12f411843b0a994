//! The run-loop contract of an agent that hears all kinds of things, most of them at the wrong time.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::wire::message::{QuickMatch, RoomOptions, RoomTarget};
use crate::{Agent, AgentConfig, Command, Identity, Output, SocketId, StreamState};

/// This is what happens to the agent next.
#[derive(Clone, Debug)]
enum Input {
    Connect(u8),
    Disconnect,
    Host,
    Join(u64),
    Leave,
    Quick,
    Cancel,
    Addresses(u8),
    Stream(bool),
    Junk(Vec<u8>),
    Sleep(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0..4u8).prop_map(Input::Connect),
        Just(Input::Disconnect),
        Just(Input::Host),
        (0..4_000u64).prop_map(Input::Join),
        Just(Input::Leave),
        Just(Input::Quick),
        Just(Input::Cancel),
        any::<u8>().prop_map(Input::Addresses),
        any::<bool>().prop_map(Input::Stream),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(Input::Junk),
        (0..20_000u64).prop_map(Input::Sleep),
    ]
}

struct Turned {
    agent: Agent,
    now: Instant,
    sockets: u16,
}

impl Turned {
    fn new(config: AgentConfig) -> Self {
        let identity = Identity::from_secret([7; 32]);
        let main = "192.168.1.2:40000".parse().unwrap();
        let agent = Agent::new(config, identity, [9; 32], (main, None));
        Self { agent, now: Instant::now(), sockets: 0 }
    }

    /// Takes what the agent has to say; every second socket cannot be opened. True if there was anything.
    fn drain(&mut self) -> bool {
        let mut any = false;
        loop {
            while self.agent.poll_event().is_some() {
                any = true;
            }
            let Some(output) = self.agent.poll_output() else { return any };
            any = true;
            if let Output::OpenSocket { socket, .. } = output {
                self.sockets += 1;
                let local = SocketAddr::from(([192, 168, 1, 2], 50_000 + self.sockets % 1_000));
                let even = self.sockets.is_multiple_of(2);
                let opened = even.then_some(local).ok_or(std::io::ErrorKind::AddrInUse.into());
                self.agent.handle_socket(self.now, socket, opened);
            }
        }
    }

    fn sleep_until(&mut self, end: Instant) {
        while let Some(due) = self.agent.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.agent.handle_timeout(self.now);
            let progress = self.drain() || self.agent.poll_timeout().is_none_or(|next| next > self.now);
            assert!(progress, "woken, nothing put out, and the same instant again: {:#?}", self.agent);
        }
        self.now = end;
    }

    fn give(&mut self, input: Input) {
        let now = self.now;
        let server = |n: u8| SocketAddr::from(([198, 51, 100, n], 3478));
        let command = match input {
            Input::Connect(n) => Command::Connect((0..n).map(server).collect()),
            Input::Disconnect => Command::Disconnect,
            Input::Host => Command::HostRoom(RoomOptions { name: "room".into(), ..RoomOptions::default() }),
            Input::Join(wait) => Command::JoinRoom {
                target: RoomTarget::Name("room".into()),
                password: None,
                wait: Duration::from_millis(wait),
            },
            Input::Leave => Command::LeaveRoom,
            Input::Quick => Command::QuickMatch(QuickMatch::default()),
            Input::Cancel => Command::CancelQuickMatch,
            Input::Addresses(n) => Command::LocalAddresses(vec![IpAddr::from([10, 0, 0, n])]),
            Input::Stream(open) => {
                let state = if open { StreamState::Open } else { StreamState::Closed };
                return self.agent.handle_stream(now, state);
            }
            Input::Junk(datagram) => {
                return self.agent.handle_datagram(now, SocketId::MAIN, server(0), &datagram);
            }
            Input::Sleep(ms) => return self.sleep_until(now + Duration::from_millis(ms)),
        };
        self.agent.handle_command(now, command);
    }
}

proptest! {
    #[test]
    fn whoever_is_woken_says_something_or_asks_for_later(inputs in proptest::collection::vec(input(), 1..40)) {
        let mut turned = Turned::new(AgentConfig::default());
        for input in inputs {
            turned.give(input);
            turned.drain();
        }
        turned.sleep_until(turned.now + Duration::from_secs(60));
    }

    /// A game's settings may be odd; no wait of length zero makes the agent run in a circle.
    #[test]
    fn no_setting_makes_the_agent_run_in_a_circle(mask in any::<u8>()) {
        let zero = |bit: u8, usual: Duration| if mask & (1 << bit) == 0 { usual } else { Duration::ZERO };
        let usual = AgentConfig::default();
        let config = AgentConfig {
            login_timeout: zero(0, usual.login_timeout),
            request_timeout: zero(1, usual.request_timeout),
            relogin_min: zero(2, usual.relogin_min),
            relogin_max: zero(3, usual.relogin_max),
            keepalive: zero(4, usual.keepalive),
            path_ping: zero(5, usual.path_ping),
            allow_timeout: zero(6, usual.allow_timeout),
            ..usual
        };
        let mut turned = Turned::new(config);
        for input in [Input::Connect(1), Input::Host, Input::Join(0)] {
            turned.give(input);
            turned.drain();
        }
        let end = turned.now + Duration::from_secs(5);
        let mut wakes = 0;
        while let Some(due) = turned.agent.poll_timeout().filter(|due| *due <= end) {
            turned.sleep_until(due);
            wakes += 1;
            prop_assert!(wakes < 1_000, "more than 200 a second: {:#?}", turned.agent);
        }
    }
}
