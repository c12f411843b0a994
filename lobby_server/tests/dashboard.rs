//! The status page in a browser, beside players: it shows the numbers, updates itself, asks nobody else, fits a phone, and
//! says so when the server is gone.
//!
//! `DASHBOARD_SHOTS=folder cargo test -p lobby_server --test dashboard` leaves pictures there, to be looked at.
#![allow(clippy::unwrap_used)] // helpers of tests are tests
#![cfg(target_os = "linux")] // all of 127/8 is this machine

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use test_support::server::{Player, Running, get};
use test_support::until;
use traversal_core::NatFacts;
use traversal_core::failure::FailureReason;
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::Kind;
use traversal_core::wire::message::{
    MatchOutcome, PunchPlan, Request, RoomOptions, RoomTarget, ToPlayer, ToServer,
};

const FLAGS: [&str; 4] = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// Finds a Chromium.
fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// Stands between browser and server, and notes what is asked. With a width, the page is in a frame that is so wide, since
/// no window of a Chromium is narrower than 500 pixels; the document then says how wide the page is in it.
struct Between {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    gone: Arc<AtomicBool>,
}

impl Between {
    fn new(server: SocketAddr, width: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, gone) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, ended) = (Arc::clone(&asked), Arc::clone(&gone));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !ended.load(Ordering::Relaxed) {
                    pass_on(stream, server, width, &noted);
                }
            }
        });
        Self { address, asked, gone }
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

fn pass_on(mut stream: TcpStream, server: SocketAddr, width: Option<u32>, asked: &Mutex<Vec<String>>) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => head.extend_from_slice(&buffer[..length]),
            _ => return, // browsers open connections ahead
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_string();
    let html = |html: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{html}");
    let answer = match (path.as_str(), width) {
        ("/", Some(width)) => html(&format!(
            "<!doctype html><body style='margin:0'><iframe src=/framed width={width} height=4000 style='border:0'>"
        )),
        ("/framed", _) => {
            let page = get(server, "/");
            html(&format!("{}<script>{WIDTHS}</script>", page.split_once("\r\n\r\n").unwrap().1))
        }
        _ => get(server, &path),
    };
    asked.lock().unwrap().push(path);
    let _ = stream.write_all(answer.as_bytes());
}

/// This is how the browser shows the page.
struct Look<'a> {
    size: (u32, u32),
    dark: bool,
    /// So much of the page's own time passes.
    for_ms: u32,
    shot: Option<&'a PathBuf>,
}

/// Opens the page, and returns the document as it is then, and what the browser's console says.
fn open(browser: &str, address: SocketAddr, look: &Look<'_>) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("--window-size={},{}", look.size.0, look.size.1))
        .arg(format!("--virtual-time-budget={}", look.for_ms))
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!look.dark)))
        .stdin(Stdio::null());
    match look.shot {
        Some(file) => command.arg(format!("--screenshot={}", file.display())),
        None => command.arg("--dump-dom"),
    };
    let output = command.arg(format!("http://{address}/")).output().unwrap();
    let [document, log] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{log}");
    let console = log.lines().filter(|line| line.contains("CONSOLE")).collect::<Vec<_>>().join("\n");
    (document, console)
}

fn nat(kind: usize) -> NatProfile {
    use FilteringBehavior as F;
    use MappingBehavior as M;
    let (mapping, filtering, allocation) = [
        (M::EndpointIndependent, F::EndpointIndependent, PortAllocation::Preserving),
        (M::EndpointIndependent, F::AddressDependent, PortAllocation::Preserving),
        (M::EndpointIndependent, F::AddressAndPortDependent, PortAllocation::Preserving),
        (M::AddressDependent, F::AddressAndPortDependent, PortAllocation::Sequential { step: 1 }),
        (M::AddressAndPortDependent, F::AddressAndPortDependent, PortAllocation::Random),
    ][kind % 5];
    let confidence = Confidence::Full;
    NatProfile { mapping, filtering, allocation, confidence, translated: Some(true), ..NatProfile::default() }
}

/// These two are matched, and have said how it went.
struct Pair {
    players: [Player; 2],
    plan: PunchPlan,
}

/// Two players meet, behind the kinds of NAT that the number says.
fn meet(server: SocketAddr, number: u8) -> Pair {
    let log_in = |seed: u8| {
        let ip = Ipv4Addr::new(127, 0, 1 + seed % 8, 1);
        Player::log_in_from(ip.into(), server, seed, b"").unwrap()
    };
    let kinds = [usize::from(number % 5), usize::from(number / 5 % 5)];
    let mut players = [log_in(2 * number + 1), log_in(2 * number + 2)];
    for (player, kind) in players.iter_mut().zip(kinds) {
        let profile = ToServer::Profile { profile: nat(kind), check: false, manual: NatFacts::NONE };
        player.session.send(Instant::now(), profile).unwrap();
    }
    let name = format!("room {number}");
    let options = RoomOptions { name: name.clone(), auto_allow: true, ..RoomOptions::default() };
    players[0].ask(1, Request::CreateRoom { options }).unwrap();
    let target = RoomTarget::Name(name);
    let joiner = &mut players[1];
    joiner
        .session
        .send(
            Instant::now(),
            ToServer::Request {
                id: traversal_core::id::RequestId(1),
                request: Request::JoinRoom { target, password: None },
            },
        )
        .unwrap();
    let plan = joiner
        .told_until(|message| match message {
            ToPlayer::Plan(plan) => Some((**plan).clone()),
            _ => None,
        })
        .expect("a plan");
    let (outcome, cause) = match kinds {
        [3, 4] | [4, 3] => (MatchOutcome::Failed, Some(FailureReason::RandomPortsAgainstSymmetric)),
        [4, _] | [_, 4] => (MatchOutcome::Relayed, Some(FailureReason::RandomPortsNotFound)),
        _ => (MatchOutcome::Direct, None),
    };
    let report = ToServer::MatchReport { match_id: plan.match_id, outcome, cause };
    joiner.session.send(Instant::now(), report).unwrap();
    // Answered when the report before it has come.
    let _ = joiner.ask(2, Request::LeaveQueue);
    Pair { players, plan }
}

impl Pair {
    /// The one who joined sends this many bytes over the relay.
    fn relay(&self, bytes: usize) {
        let Some(grant) = self.plan.relay else { return };
        let mut datagram = vec![Kind::Relay as u8];
        datagram.extend_from_slice(&grant.token);
        datagram.push(Kind::Pair as u8);
        datagram.extend_from_slice(&self.plan.match_id.0.to_le_bytes());
        datagram.resize(datagram.len() + bytes, 7);
        let _ = self.players[1].socket.send(&datagram);
    }
}

/// Returns whether there is a picture of the last hour: the first sample comes after ten seconds.
fn has_history(server: &Running) -> bool {
    get(server.http(), "/history.json").contains("\"at_s\":")
}

/// Tells how wide the page is, and how wide its window, once it has been filled.
const WIDTHS: &str = "setTimeout(() => { parent.document.documentElement.setAttribute('data-widths', \
    document.documentElement.scrollWidth + ' of ' + window.innerWidth); }, 1500);";

#[test]
fn the_page_shows_a_server_with_players_and_follows_it_without_a_reload() {
    let Some(browser) = browser() else {
        println!("SKIPPED: there is no chromium");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let pairs: Vec<Pair> = (0..25).map(|number| meet(server.address(), number)).collect();
    let _traffic = Traffic::of(pairs);
    until("the page has its first charts", 60.0, || has_history(&server));
    shoot(browser, &server);
    look_at(browser, &server);
}

/// These pairs play over the relay until this is dropped.
struct Traffic {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn of(pairs: Vec<Pair>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                pairs.iter().for_each(|pair| pair.relay(1000));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn look_at(browser: &str, server: &Running) {
    let between = Between::new(server.http(), None);
    let look = Look { size: (1280, 900), dark: false, for_ms: 8000, shot: None };
    // One more player comes when the page has shown the others.
    let (document, console) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            while between.asked("/status.json") == 0 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            assert!(Player::log_in(server.address(), 99, b"").unwrap().ping());
        });
        open(browser, between.address, &look)
    });
    assert!(console.is_empty(), "{console}");
    for part in [
        "<span>players</span><b>51</b>",
        "<span>rooms</span><b>25</b>",
        ">direct 64 % (16)<",
        ">relayed 28 % (7)<",
        ">failed 8 % (2)<",
        "port-restricted cone and port-sensitive symmetric: 0 % direct",
        "full cone and full cone: 100 % direct",
        "class=\"column-direct\"",
        "<td class=\"\">game</td><td class=\"number\">51</td>",
        "class=\"trend\"",
        "51 of 20.0 k",
    ] {
        assert!(document.contains(part), "{part}:\n{document}");
    }
    assert!(between.asked("/status.json") >= 2, "{:?}", between.asked.lock());
    let mut asked = between.asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["/", "/history.json", "/status.json"], "nothing else, and nobody else");

    for dark in [false, true] {
        let narrow = Between::new(server.http(), Some(390));
        let look = Look { size: (500, 844), dark, for_ms: 3000, shot: None };
        let (document, _) = open(browser, narrow.address, &look);
        let widths = document.split("data-widths=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let (page, window) = widths.split_once(" of ").unwrap();
        assert_eq!(window, "390");
        assert_eq!(page, window, "it is no wider than its window");
    }
}

/// Leaves pictures where somebody wants them.
fn shoot(browser: &str, server: &Running) {
    let Some(folder) = std::env::var_os("DASHBOARD_SHOTS").map(PathBuf::from) else { return };
    let narrow = Between::new(server.http(), Some(390));
    for (name, address, size) in [("1280", server.http(), (1280, 1500)), ("390", narrow.address, (500, 3300))]
    {
        for dark in [false, true] {
            let file = folder.join(format!("{name}-{}.png", if dark { "dark" } else { "light" }));
            open(browser, address, &Look { size, dark, for_ms: 3000, shot: Some(&file) });
            assert!(file.exists(), "{file:?}");
        }
    }
}

#[test]
fn the_page_says_when_the_server_is_gone() {
    let Some(browser) = browser() else {
        println!("SKIPPED: there is no chromium");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Running::start(directory.path(), &FLAGS);
    let between = Between::new(server.http(), None);
    let look = Look { size: (1280, 900), dark: true, for_ms: 6000, shot: None };
    let (document, _) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            while between.asked("/status.json") == 0 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            between.gone.store(true, Ordering::Relaxed);
        });
        open(browser, between.address, &look)
    });
    assert!(document.contains("the server does not answer") && document.contains("light bad"), "{document}");
}
