//! How names are resolved, with resolvers that answer, are silent, or are slow.

use super::*;

struct Silent;
impl Resolve for Silent {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        loop {
            std::thread::park();
        }
    }
}

struct Fixed(Vec<SocketAddr>);
impl Resolve for Fixed {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

fn names(resolver: Arc<dyn Resolve>) -> (Names, mio::Poll) {
    let poll = mio::Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
    (Names::new(resolver, Duration::from_secs(3), waker, false), poll)
}

/// Answers once it is told to.
struct OnSignal(std::sync::Mutex<Receiver<()>>, Vec<SocketAddr>);
impl Resolve for OnSignal {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.lock().unwrap().recv().map_err(io::Error::other)?;
        Ok(self.1.clone())
    }
}

fn woken(poll: &mut mio::Poll) {
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
    assert!(!events.is_empty(), "the resolver thread wakes the driver");
}

/// Returns what comes of the names, `first` if it is there already. A wake may be of an answer that was taken before.
fn resolved(names: &mut Names, poll: &mut mio::Poll, now: Instant, first: Option<Resolved>) -> Resolved {
    let mut outcome = first;
    loop {
        if let Some(outcome) = outcome {
            return outcome;
        }
        woken(poll);
        outcome = names.poll(now);
    }
}

#[test]
fn literals_need_no_resolver() {
    let (mut names, _poll) = names(Arc::new(Silent));
    let servers = ["127.0.0.1:9".to_owned(), "10.0.0.1".to_owned()];
    let expected = vec!["127.0.0.1:9".parse().unwrap(), "10.0.0.1:3478".parse().unwrap()];
    assert_eq!(names.connect(Instant::now(), &servers), Some(Resolved::Addresses(expected)));
}

#[test]
fn ipv4_addresses_that_are_mapped_into_ipv6_are_ipv4_however_they_come() {
    let v4: Vec<SocketAddr> = vec!["192.0.2.1:7".parse().unwrap()];
    for literal in ["[::ffff:192.0.2.1]:7", "192.0.2.1:7"] {
        let (mut names, _poll) = names(Arc::new(Silent));
        let resolved = names.connect(Instant::now(), &[literal.to_owned()]);
        assert_eq!(resolved, Some(Resolved::Addresses(v4.clone())), "{literal}");
    }
    let (mut names, mut poll) = names(Arc::new(Fixed(vec!["[::ffff:192.0.2.1]:7".parse().unwrap(), v4[0]])));
    let start = Instant::now();
    let first = names.connect(start, &["lobby.test:7".to_owned()]);
    let outcome = resolved(&mut names, &mut poll, start, first);
    assert_eq!(outcome, Resolved::Addresses(v4), "one address, and no IPv6 is needed for it");
}

#[test]
fn a_silent_resolver_is_reported_at_the_deadline() {
    let (mut names, _poll) = names(Arc::new(Silent));
    let start = Instant::now();
    assert_eq!(names.connect(start, &["lobby.test:1".to_owned()]), None);
    assert_eq!(names.timeout(), Some(start + Duration::from_secs(3)));
    assert_eq!(names.poll(start + Duration::from_secs(2)), None);
    let late = names.poll(start + Duration::from_secs(3));
    assert!(matches!(&late, Some(Resolved::Failed { reason, .. }) if reason.contains("did not answer")));
    assert_eq!(names.poll(start + Duration::from_secs(4)), None, "said once");
}

#[test]
fn a_resolver_that_was_slow_is_given_its_time_the_next_time() {
    let all: Vec<SocketAddr> = vec!["192.0.2.1:7".parse().unwrap()];
    let (answer, signal) = bounded(1);
    let (mut names, mut poll) = names(Arc::new(OnSignal(std::sync::Mutex::new(signal), all.clone())));
    let start = Instant::now();
    let server = ["lobby.test:7".to_owned()];
    assert_eq!(names.connect(start, &server), None);
    answer.send(()).unwrap();
    // The answer is looked at five seconds later.
    let slow = start + Duration::from_secs(5);
    woken(&mut poll);
    assert_eq!(names.poll(slow), Some(Resolved::Addresses(all)), "a late answer counts");
    names.resolver = Arc::new(Silent);
    assert_eq!(names.connect(slow, &server), None);
    let deadline = names.timeout().unwrap();
    assert!(deadline >= slow + Duration::from_secs(10), "{:?}", deadline - slow);
}

#[test]
fn all_addresses_are_tried_and_the_last_good_ones_kept() {
    let all: Vec<SocketAddr> = vec!["192.0.2.1:7".parse().unwrap(), "192.0.2.2:7".parse().unwrap()];
    let (mut names, mut poll) = names(Arc::new(Fixed(all.clone())));
    let start = Instant::now();
    let first = names.connect(start, &["lobby.test:7".to_owned()]);
    assert_eq!(resolved(&mut names, &mut poll, start, first), Resolved::Addresses(all));
    let elsewhere: Vec<SocketAddr> = vec!["192.0.2.3:7".parse().unwrap()];
    names.resolver = Arc::new(Fixed(elsewhere.clone()));
    let later = start + REFRESH;
    names.refresh(later);
    let outcome = resolved(&mut names, &mut poll, later, None);
    assert_eq!(outcome, Resolved::Moved(elsewhere), "the name leads elsewhere by now");
    names.resolver = Arc::new(Silent);
    let later = later + REFRESH;
    names.refresh(later);
    assert_eq!(names.poll(later + Duration::from_secs(3)), None, "the last good addresses stay in use");
}

#[test]
fn of_many_addresses_each_gets_its_turn_while_none_answers() {
    // As many A records as a DNS answer over UDP without EDNS holds: 512 bytes (RFC 1035, 4.2.1), 16 bytes each.
    let all: Vec<SocketAddr> = (1..=29).map(|n| SocketAddr::from(([192, 0, 2, n], 7))).collect();
    let (mut names, mut poll) = names(Arc::new(Fixed(all.clone())));
    let mut now = Instant::now();
    let mut first = names.connect(now, &["lobby.test:7".to_owned()]);
    let mut given = Vec::new();
    for _ in 0..3 {
        let outcome = resolved(&mut names, &mut poll, now, first.take());
        let (Resolved::Addresses(addresses) | Resolved::Moved(addresses)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        given.push(addresses);
        now += REFRESH;
        names.refresh(now);
    }
    assert_eq!(given[0], all[..16]);
    assert_eq!(given[1][..13], all[16..], "the others have their turn");
    assert_eq!(given[2], all[..16], "and then all of them again");
}

#[test]
fn nonsense_is_refused_at_once() {
    let (mut names, _poll) = names(Arc::new(Silent));
    for server in ["", "a b:1", "host:notaport", "host:0", "http://host"] {
        let outcome = names.connect(Instant::now(), &[server.to_owned()]);
        let Some(Resolved::Failed { reason, .. }) = outcome else { panic!("{server}: {outcome:?}") };
        assert!(reason.contains("HOST:PORT"), "{reason}");
    }
}
