//! Against routers that are silent, broken, greedy or liars.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};

use super::fake::{Fake, Request, describe, reply, soap};
use super::*;

/// This is much more than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const PORT: u16 = 40_123;
pub(super) const HOME: [u8; 4] = [203, 0, 113, 9];

pub(super) struct Asking {
    pub(super) mapper: Option<PortMapper>,
    news: Receiver<News>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    pub(super) fn new(settings: Settings) -> Self {
        let (tell, news) = unbounded();
        let (mapper, thread) = PortMapper::new(settings, move |what| {
            let _ = tell.send(what);
        });
        mapper.want(PORT, None);
        Self { mapper: Some(mapper), news, thread: Some(thread::spawn(thread)) }
    }

    pub(super) fn next(&self) -> News {
        self.news.recv_timeout(PATIENCE).expect("an outcome")
    }

    /// Ends the thread as the driver does. It must not wait for a router that says nothing.
    pub(super) fn end(&mut self) {
        let began = Instant::now();
        drop(self.mapper.take());
        self.thread.take().unwrap().join().expect("no panic");
        // 0.85 s by its own bounds; a router that is waited for takes ten.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

pub(super) fn only(fake: &Fake, protocol: MappingProtocol) -> Settings {
    Settings { protocols: vec![protocol], ..fake.settings() }
}

pub(super) fn granted(protocol: MappingProtocol, external_port: u16) -> News {
    Ok(PortMapping { protocol, external_ip: Some(HOME.into()), external_port })
}

/// Nobody may ask for port 0: a router would give any, or every one.
fn asks_for_no_zero(fake: &Fake) {
    for asked in fake.asked.all() {
        let zero = asked.contains("external: 0") && !asked.contains("lifetime: 0");
        assert!(!zero && !asked.contains("<NewExternalPort>0<"), "{asked}");
    }
}

#[test]
fn a_silent_router_is_asked_a_few_times_and_left_alone() {
    let fake = Fake::silent().port_control(|_| None);
    let mut asking = Asking::new(fake.settings());
    assert_eq!(asking.next(), Err(NoPortMapping::Silent));
    assert!(fake.asked.all().len() <= 3, "{:?}", fake.asked.all());
    asking.end();
}

#[test]
fn without_a_router_nothing_is_asked() {
    let fake = Fake::silent().port_control(|_| None);
    let mut asking = Asking::new(Settings { route: Arc::new(|_| None), ..fake.settings() });
    assert_eq!(asking.next(), Err(NoPortMapping::NoRouter));
    asking.end();
    assert!(fake.asked.all().is_empty());
}

#[test]
fn garbage_is_no_mapping_and_no_panic() {
    // Of every length, and what looks like an answer with every byte in turn gone wrong.
    for case in 0..100usize {
        let fake = Fake::silent().port_control(move |request| {
            let mut answer = request.answer(HOME, 0, PORT, 3600).unwrap_or_default();
            match case {
                0..20 => answer = vec![case as u8 * 13; case * 4],
                20..60 => answer.truncate(case - 20),
                _ => {
                    let at = (case - 60) % answer.len().max(1);
                    if let Some(byte) = answer.get_mut(at) {
                        *byte ^= 0xff;
                    }
                }
            }
            Some(answer)
        });
        let settings =
            Settings { protocols: vec![MappingProtocol::Pcp, MappingProtocol::NatPmp], ..fake.settings() };
        let mut asking = Asking::new(settings);
        if let Ok(mapping) = asking.next() {
            assert_ne!(mapping.external_port, 0, "case {case}");
        }
        asking.end();
        assert!(fake.asked.all().len() <= 16, "case {case}: {:?}", fake.asked.all());
    }
}

#[test]
fn garbage_by_upnp_is_no_mapping_and_no_panic() {
    let deep = "<a>".repeat(100_000);
    let bodies = ["", "<root>", "\u{0}\u{1}", "<?xml version=\"1.0\"?><root/>", deep.as_str()];
    let fakes: Vec<Fake> = bodies
        .iter()
        .map(|body| {
            let body = (*body).to_owned();
            Fake::silent().upnp("{http}/root", move |_, _, stream| reply(stream, "200 OK", &body))
        })
        .chain(
            ["not a url", "http:///", "ftp://127.0.0.1/", "https://example.com/root"]
                .map(|location| Fake::silent().upnp(location, |_, _, _| {})),
        )
        .collect();
    let mut all: Vec<_> = fakes.iter().map(|fake| Asking::new(only(fake, MappingProtocol::Upnp))).collect();
    for asking in &mut all {
        assert_eq!(asking.next(), Err(NoPortMapping::Silent));
        asking.end();
    }
}

#[test]
fn a_web_server_that_never_answers_or_never_ends_holds_nobody_up() {
    let never = Fake::silent().upnp("{http}/root", |_, _, _| thread::sleep(PATIENCE));
    let endless = Fake::silent().upnp("{http}/root", |_, _, stream| {
        use std::io::Write;
        let chunk = [b'x'; 65_536];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<root>");
        while stream.write_all(&chunk).is_ok() {}
    });
    for fake in [never, endless] {
        let mut asking = Asking::new(only(&fake, MappingProtocol::Upnp));
        assert_eq!(asking.next(), Err(NoPortMapping::Silent));
        asking.end();
    }
}

#[test]
fn nobody_else_is_visited_however_a_device_describes_itself() {
    let victim = TcpListener::bind("127.0.0.1:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let there = victim.local_addr().unwrap();
    let elsewhere = Fake::silent().upnp(&format!("http://{there}/root"), |_, _, _| {});
    let base = Fake::silent().upnp("{http}/root", move |_, _, stream| {
        let body = format!("<?xml version=\"1.0\"?><root><URLBase>http://{there}/</URLBase></root>");
        reply(stream, "200 OK", &body);
    });
    for fake in [elsewhere, base] {
        let mut asking = Asking::new(only(&fake, MappingProtocol::Upnp));
        assert_eq!(asking.next(), Err(NoPortMapping::Silent));
        asking.end();
    }
    assert_eq!(victim.accept().err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_no_is_a_no() {
    let fake = Fake::silent()
        .port_control(|request| {
            let code = if matches!(request, Request::PublicAddress) { 0 } else { 2 };
            request.answer(HOME, code, PORT, 3600)
        })
        .upnp("{http}/root", |first, _, stream| {
            if !describe(first, stream) {
                soap(stream, Err(606));
            }
        });
    let mut asking = Asking::new(fake.settings());
    assert_eq!(asking.next(), Err(NoPortMapping::Refused));
    asking.end();
    asks_for_no_zero(&fake);
    assert_eq!(fake.asked.count("lifetime: 3600"), 2, "once by PCP, once by NAT-PMP: {:?}", fake.asked.all());
    assert_eq!(fake.asked.count("AddPortMapping "), 1, "{:?}", fake.asked.all());
}

#[test]
fn another_port_and_another_address_are_told_as_the_router_has_them() {
    for (protocol, name) in [(MappingProtocol::Pcp, "Pcp"), (MappingProtocol::NatPmp, "NatPmp")] {
        let fake = Fake::silent().port_control(|request| request.answer(HOME, 0, 51_515, 3600));
        let mut asking = Asking::new(only(&fake, protocol));
        assert_eq!(asking.next(), granted(protocol, 51_515));
        assert_eq!(fake.asked.count(name), 1);
        asking.end();
        asks_for_no_zero(&fake);
        // Given back.
        assert_eq!(fake.asked.count("lifetime: 0"), 1, "{:?}", fake.asked.all());
    }
}

#[test]
fn a_short_lease_is_renewed_before_it_ends_but_not_all_the_time() {
    for protocol in [MappingProtocol::Pcp, MappingProtocol::NatPmp] {
        let fake = Fake::silent().port_control(|request| request.answer(HOME, 0, PORT, 1));
        let renew = (Duration::from_millis(400), Duration::from_secs(1800));
        let mut asking = Asking::new(Settings { renew, ..only(&fake, protocol) });
        let began = Instant::now();
        for _ in 0..4 {
            assert_eq!(asking.next(), granted(protocol, PORT));
        }
        // Three halves of a second: sooner would be a flood.
        assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
        asking.end();
        let least = Settings::new(Vec::new()).renew.0;
        assert!(least >= Duration::from_secs(5), "and no oftener than this, whatever a router grants");
    }
}

#[test]
fn no_time_at_all_is_a_no() {
    let fake = Fake::silent().port_control(|request| request.answer(HOME, 0, PORT, 0));
    let settings =
        Settings { protocols: vec![MappingProtocol::Pcp, MappingProtocol::NatPmp], ..fake.settings() };
    let mut asking = Asking::new(settings);
    assert_eq!(asking.next(), Err(NoPortMapping::Refused));
    asking.end();
}

#[test]
fn a_router_that_has_no_free_port_is_not_tried_for_ever() {
    let fake = Fake::silent().upnp("{http}/root", |first, _, stream| {
        if !describe(first, stream) {
            soap(stream, Err(718));
        }
    });
    let mut asking = Asking::new(only(&fake, MappingProtocol::Upnp));
    assert_eq!(asking.next(), Err(NoPortMapping::Refused));
    asking.end();
    assert!(fake.asked.count("AddPortMapping") <= 4);
}

#[test]
fn a_new_router_or_port_gets_a_new_mapping_and_the_old_one_is_given_back() {
    let make = || Fake::silent().port_control(|request| request.answer(HOME, 0, PORT, 3600));
    let (first, second) = (make(), make());
    let at = Arc::new(Mutex::new(first.ip));
    let now = at.clone();
    let route = move |_| Some(Route { local: Ipv4Addr::LOCALHOST, gateway: *now.lock().unwrap() });
    let mut asking =
        Asking::new(Settings { route: Arc::new(route), ..only(&first, MappingProtocol::NatPmp) });
    assert_eq!(asking.next(), granted(MappingProtocol::NatPmp, PORT));
    *at.lock().unwrap() = second.ip;
    asking.mapper.as_ref().unwrap().look_again();
    assert_eq!(asking.next(), Err(NoPortMapping::NotAsked));
    assert_eq!(asking.next(), granted(MappingProtocol::NatPmp, PORT));
    assert_eq!((first.asked.count("lifetime: 0"), second.asked.count("lifetime: 3600")), (1, 1));
    // The game's socket is another one.
    asking.mapper.as_ref().unwrap().move_to(PORT + 1);
    assert_eq!(asking.next(), Err(NoPortMapping::NotAsked));
    assert!(asking.next().is_ok());
    assert_eq!(second.asked.count(&format!("internal: {}", PORT + 1)), 1);
    // Logged out.
    asking.mapper.as_ref().unwrap().want_nothing();
    assert_eq!(asking.next(), Err(NoPortMapping::NotAsked));
    assert_eq!(second.asked.count("lifetime: 0"), 2);
    asking.end();
}

#[test]
fn a_router_that_dies_is_noticed_and_its_end_is_not_waited_for() {
    let answers = Arc::new(Mutex::new(true));
    let alive = answers.clone();
    let fake = Fake::silent().port_control(move |request| {
        if *alive.lock().unwrap() { request.answer(HOME, 0, PORT, 1) } else { None }
    });
    let renew = (Duration::from_millis(300), Duration::from_secs(1800));
    let mut asking = Asking::new(Settings { renew, ..only(&fake, MappingProtocol::NatPmp) });
    assert!(asking.next().is_ok());
    *answers.lock().unwrap() = false;
    let lost = std::iter::repeat_with(|| asking.next()).find_map(Result::err);
    assert_eq!(lost, Some(NoPortMapping::Silent));
    asking.end();
    // And one that is silent when the mapping is to be given back.
    let alive = Arc::new(Mutex::new(true));
    let answers = alive.clone();
    let fake = Fake::silent().port_control(move |request| {
        if *answers.lock().unwrap() { request.answer(HOME, 0, PORT, 3600) } else { None }
    });
    let mut asking = Asking::new(only(&fake, MappingProtocol::Pcp));
    assert!(asking.next().is_ok());
    *alive.lock().unwrap() = false;
    asking.end();
}

#[test]
fn what_is_granted_while_the_app_ends_is_given_back() {
    let (started, wait) = unbounded();
    let fake = Fake::silent().port_control(move |request| {
        if matches!(request, Request::NatPmp { lifetime: 3600, .. }) {
            let _ = started.send(());
            thread::sleep(Duration::from_millis(100));
        }
        request.answer(HOME, 0, PORT, 3600)
    });
    let mut asking = Asking::new(only(&fake, MappingProtocol::NatPmp));
    wait.recv_timeout(PATIENCE).unwrap();
    asking.end();
    assert_eq!(fake.asked.count("lifetime: 0"), 1, "{:?}", fake.asked.all());
}

#[test]
fn the_way_to_the_router_is_found_or_there_is_none() {
    // Whatever this machine has: a loopback address has no router.
    assert_eq!(route::find(Some(Ipv4Addr::LOCALHOST)), None);
    if let Some(found) = route::find(None) {
        assert!(UdpSocket::bind((found.local, 0)).is_ok(), "{found:?}");
        assert!(!found.gateway.is_unspecified());
    }
}

#[test]
fn m38_the_router_tells_its_name_beside_the_mapping() {
    let fake = Fake::silent().upnp("{http}/root", |first, _, stream| {
        if !describe(first, stream) {
            soap(stream, Err(606));
        }
    });
    let (tell, names) = unbounded();
    let named = Arc::new(move |name| {
        let _ = tell.send(name);
    });
    let mut asking = Asking::new(Settings { named, ..only(&fake, MappingProtocol::Upnp) });
    let name = names.recv_timeout(PATIENCE).expect("a name");
    assert_eq!(name.manufacturer, "OpenWRT");
    assert!(traversal_core::known_routers::hint(&name).is_some());
    assert_eq!(asking.next(), Err(NoPortMapping::Refused));
    asking.end();
}

#[test]
fn a_router_whose_clock_begins_anew_is_asked_for_the_mapping_again_at_once() {
    for protocol in [MappingProtocol::Pcp, MappingProtocol::NatPmp] {
        let started = Arc::new(Mutex::new(Instant::now() - Duration::from_secs(1000)));
        let clock = started.clone();
        let fake = Fake::silent().port_control(move |request| {
            let seconds = u32::try_from(clock.lock().unwrap().elapsed().as_secs()).unwrap();
            let mut answer = request.answer(HOME, 0, PORT, 3600)?;
            let at = if answer[0] == 0 { 4 } else { 8 };
            answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
            Some(answer)
        });
        let look = Duration::from_millis(20);
        let mut asking = Asking::new(Settings { look, ..only(&fake, protocol) });
        assert_eq!(asking.next(), granted(protocol, PORT));
        let asked = |what: &str| fake.asked.count(what);
        let before = asked("PublicAddress");
        let deadline = Instant::now() + PATIENCE;
        while asked("PublicAddress") < before + 5 {
            assert!(Instant::now() < deadline, "its clock is looked at");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(asked("lifetime: 3600"), 1, "a clock that goes on is no news");
        *started.lock().unwrap() = Instant::now();
        assert_eq!(asking.next(), granted(protocol, PORT));
        assert_eq!(asked("lifetime: 3600"), 2);
        asking.end();
    }
}

#[test]
fn a_nat_pmp_router_behind_another_one_tells_its_private_address_which_the_agent_knows_is_of_no_use() {
    let fake = Fake::silent().port_control(|request| request.answer([192, 168, 100, 2], 0, PORT, 3600));
    let mut asking = Asking::new(only(&fake, MappingProtocol::NatPmp));
    let mapping = asking.next().expect("a port");
    assert_eq!(mapping.external_ip, Some(Ipv4Addr::new(192, 168, 100, 2).into()));
    let told = traversal_core::PortMappingState::Unreachable(mapping).to_string();
    assert!(told.contains("192.168.100.2") && told.contains("another router"), "{told}");
    asking.end();
}
