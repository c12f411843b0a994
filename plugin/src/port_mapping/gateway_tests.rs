//! UPnP routers as they are sold: each test is a report of somebody whose router did this.

use std::sync::Mutex;

use super::fake::{Fake, Forwards, SCHEMA, describe, describe_services, reply, soap};
use super::tests::{Asking, HOME, PORT, granted, only};
use super::*;

const UPNP: MappingProtocol = MappingProtocol::Upnp;

/// Returns a router that keeps to the standard, but for what `odd` answers instead (true: it has).
fn router(
    odd: impl Fn(&str, &str, &mut std::net::TcpStream) -> bool + Send + Sync + 'static,
) -> (Fake, Forwards) {
    let forwards = Forwards::default();
    let kept = forwards.clone();
    let fake = Fake::silent().upnp("{http}/root", move |first, body, stream| {
        if !describe(first, stream) && !odd(first, body, stream) {
            kept.serve(first, body, stream);
        }
    });
    (fake, forwards)
}

/// Returns settings with which renewals follow each other at once.
fn in_a_hurry(fake: &Fake) -> Settings {
    let soon = Duration::from_millis(50);
    Settings { renew: (soon, soon), ..only(fake, UPNP) }
}

#[test]
fn what_a_router_forwards_is_given_back() {
    let (fake, forwards) = router(|_, _, _| false);
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    assert_eq!(forwards.all(), [(PORT.to_string(), "127.0.0.1".to_owned())]);
    asking.end();
    assert_eq!(forwards.all(), []);
}

#[test]
fn a_port_that_another_machine_got_after_a_restart_of_the_router_is_its_own() {
    // miniupnpd answers 718 at the renewal; our cleaning up must not delete what is there now.
    let (fake, forwards) = router(|_, _, _| false);
    let mut asking = Asking::new(in_a_hurry(&fake));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    forwards.forget();
    forwards.take(PORT, "192.168.1.77");
    let moved = std::iter::repeat_with(|| asking.next().expect("another port is free"))
        .find(|mapping| mapping.external_port != PORT)
        .unwrap();
    asking.end();
    assert!(moved.external_port >= 20_000);
    assert_eq!(forwards.all(), [(PORT.to_string(), "192.168.1.77".to_owned())], "and ours is given back");
    assert_eq!(fake.asked.count("DeletePortMapping\" <?xml"), 1, "{:?}", fake.asked.all());
}

#[test]
fn a_port_that_another_machine_got_is_not_deleted_at_the_end_either() {
    let (fake, forwards) = router(|_, _, _| false);
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    forwards.forget();
    forwards.take(PORT, "192.168.1.77");
    asking.end();
    assert_eq!(forwards.all(), [(PORT.to_string(), "192.168.1.77".to_owned())]);
    assert_eq!(fake.asked.count("DeletePortMapping"), 0);
}

#[test]
fn a_lease_that_a_router_does_not_like_is_asked_for_without_an_end_and_renewed() {
    // 725 is the standard's code; 402 and 501 come from routers that know leases by name only.
    for code in [725, 402, 501] {
        let (fake, forwards) = router(move |first, body, stream| {
            let leased = first.contains("AddPortMapping") && !body.contains("<NewLeaseDuration>0<");
            if leased {
                soap(stream, Err(code));
            }
            leased
        });
        let mut asking = Asking::new(in_a_hurry(&fake));
        for _ in 0..3 {
            assert_eq!(asking.next(), granted(UPNP, PORT), "{code}");
        }
        asking.end();
        assert_eq!(forwards.all(), [], "{code}");
        assert_eq!(fake.asked.count("<NewLeaseDuration>3600<"), 1, "{code}: once is enough");
    }
}

#[test]
fn ports_that_are_taken_are_left_to_who_has_them() {
    let (fake, forwards) = router(|first, body, stream| {
        let leased = first.contains("AddPortMapping") && !body.contains("<NewLeaseDuration>0<");
        if leased {
            soap(stream, Err(725));
        }
        leased
    });
    forwards.take(PORT, "192.168.1.77");
    let mut asking = Asking::new(only(&fake, UPNP));
    let mapping = asking.next().expect("another port is free");
    assert!(mapping.external_port != PORT && mapping.external_port >= 20_000);
    assert_eq!(mapping.external_ip, Some(HOME.into()));
    asking.end();
    assert_eq!(forwards.all(), [(PORT.to_string(), "192.168.1.77".to_owned())]);
}

#[test]
fn of_several_lines_the_one_that_is_connected_is_asked() {
    const PPP: &str = "urn:schemas-upnp-org:service:WANPPPConnection:1";
    for (connected, paths) in [("/ppp", ["/ip"]), ("/ip", ["/ppp"])] {
        let forwards = Forwards::default();
        let kept = forwards.clone();
        let fake = Fake::silent().upnp("{http}/root", move |first, body, stream| {
            if describe_services(first, stream, &[(SCHEMA, "/ip"), (PPP, "/ppp")]) {
                return;
            }
            let up = first.starts_with(&format!("POST {connected} "));
            if first.contains("GetStatusInfo") {
                let status = if up { "Connected" } else { "Disconnected" };
                let answer = format!("<u:GetStatusInfoResponse><NewConnectionStatus>{status}</NewConnectionStatus></u:GetStatusInfoResponse>");
                return soap(stream, Ok(&answer));
            }
            if up { kept.serve(first, body, stream) } else { soap(stream, Err(501)) }
        });
        let mut asking = Asking::new(only(&fake, UPNP));
        assert_eq!(asking.next(), granted(UPNP, PORT));
        asking.end();
        assert_eq!(forwards.all(), []);
        for path in paths {
            assert!(!fake.asked.all().iter().any(|asked| asked.contains(path) && asked.contains("AddPort")));
        }
    }
}

#[test]
fn a_line_that_refuses_is_followed_by_the_next_one() {
    // Neither says how it stands, and the first one forwards nothing.
    let forwards = Forwards::default();
    let kept = forwards.clone();
    let fake = Fake::silent().upnp("{http}/root", move |first, body, stream| {
        let two = "urn:schemas-upnp-org:service:WANIPConnection:2";
        if describe_services(first, stream, &[(SCHEMA, "/one"), (two, "two")]) {
            return;
        }
        if first.starts_with("POST /two ") && first.contains("WANIPConnection:2#") {
            kept.serve(first, body, stream);
        } else {
            soap(stream, Err(501));
        }
    });
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    asking.end();
    assert_eq!(forwards.all(), []);
}

#[test]
fn a_device_that_names_itself_in_latin_or_by_a_host_name_is_a_router_all_the_same() {
    for location in ["{http}/root\r\nSERVER: Bo\u{ee}te/1.0", "http://router.home.invalid:{port}/root"] {
        let forwards = Forwards::default();
        let kept = forwards.clone();
        let fake = Fake::silent().upnp(location, move |first, body, stream| {
            if !describe(first, stream) {
                kept.serve(first, body, stream);
            }
        });
        let mut asking = Asking::new(only(&fake, UPNP));
        assert_eq!(asking.next(), granted(UPNP, PORT), "{location}");
        asking.end();
        assert_eq!(forwards.all(), []);
    }
}

#[test]
fn xml_with_mistakes_is_understood_and_errors_without_a_text_too() {
    let (fake, _forwards) = router(|first, _, stream| {
        if first.contains("GetExternalIPAddress") {
            // No prefix is declared, an ampersand stands alone, and nothing is closed.
            reply(
                stream,
                "200 OK",
                "<s:Envelope><s:Body><u:R><N>A&B<NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>",
            );
            return true;
        }
        if first.contains("AddPortMapping") && !first.contains("again") {
            return false;
        }
        first.contains("GetSpecificPortMappingEntry") && {
            reply(stream, "500 no", "<UPnPError><errorCode>714</errorCode></UPnPError>");
            true
        }
    });
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    asking.end();
    assert_eq!(fake.asked.count("DeletePortMapping"), 0, "the router says that nothing is there");
}

#[test]
fn a_router_that_forgets_everything_forwards_again_with_the_next_renewal() {
    let (fake, forwards) = router(|_, _, _| false);
    let mut asking = Asking::new(in_a_hurry(&fake));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    forwards.forget();
    // One may have been on its way.
    for _ in 0..2 {
        assert_eq!(asking.next(), granted(UPNP, PORT));
    }
    assert_eq!(forwards.all().len(), 1);
    asking.end();
}

#[test]
fn a_wrong_address_of_the_router_is_told_as_it_is_or_not_at_all() {
    // Behind another router it has a private one; unplugged it has 0.0.0.0. The lobby server tries the port before it counts.
    for (said, told) in
        [("192.168.100.2", Some("192.168.100.2")), ("0.0.0.0", None), ("", None), ("no", None)]
    {
        let (fake, _forwards) = router(move |first, _, stream| {
            let asked = first.contains("GetExternalIPAddress");
            if asked {
                soap(stream, Ok(&format!("<u:R><NewExternalIPAddress>{said}</NewExternalIPAddress></u:R>")));
            }
            asked
        });
        let mut asking = Asking::new(only(&fake, UPNP));
        let mapping = asking.next().expect("a port");
        assert_eq!(mapping.external_ip, told.map(|ip| ip.parse().unwrap()));
        asking.end();
    }
}

#[test]
fn a_router_that_hangs_after_it_was_found_is_silent_and_holds_nobody_up() {
    let hung = Arc::new(Mutex::new(Vec::new()));
    let streams = hung.clone();
    let (fake, _forwards) = router(move |_, _, stream| {
        streams.lock().unwrap().extend(stream.try_clone());
        true
    });
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), Err(NoPortMapping::Silent));
    asking.end();
    assert!(!hung.lock().unwrap().is_empty());
}

const SECOND: &str = "urn:schemas-upnp-org:service:WANIPConnection:2";
/// The longest lease of the second version is a week (WANIPConnection:2, section 2.3.14).
const WEEK: u32 = 604_800;

/// Returns a router of the second version that takes its standard at its word (WANIPConnection:2, section 2.5.16):
/// for who asks alone, no well-known port, no lease without an end or of more than a week. `taken` is what it says of
/// `PORT`.
fn strict(taken: Option<u16>) -> (Fake, Forwards) {
    let forwards = Forwards::default();
    let kept = forwards.clone();
    let fake = Fake::silent().upnp("{http}/root", move |first, body, stream| {
        if describe_services(first, stream, &[(SECOND, "/ctl")]) {
            return;
        }
        let said = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>")).unwrap_or_default();
            rest.split_once('<').unwrap_or_default().0.to_owned()
        };
        let number = |name: &str| said(name).parse::<u32>().unwrap_or(0);
        let asks = stream.peer_addr().unwrap().ip().to_string();
        let adds = first.contains("AddPortMapping") || first.contains("AddAnyPortMapping");
        let refusal = match () {
            () if !first.contains(SECOND) => Some(401),
            () if !adds => None,
            () if said("NewInternalClient") != asks => Some(606),
            () if number("NewExternalPort") < 1024 || number("NewInternalPort") < 1024 => Some(606),
            () if !(1..=WEEK).contains(&number("NewLeaseDuration")) => Some(402),
            () if first.contains("AddPortMapping") && said("NewExternalPort") == PORT.to_string() => taken,
            () => None,
        };
        match refusal {
            Some(code) => soap(stream, Err(code)),
            None if first.contains("AddAnyPortMapping") => {
                kept.lead(40_777, &asks, &said("NewInternalPort"));
                soap(stream, Ok("<u:AddAnyPortMappingResponse><NewReservedPort>40777</NewReservedPort></u:AddAnyPortMappingResponse>"));
            }
            None => kept.serve(first, body, stream),
        }
    });
    (fake, forwards)
}

#[test]
fn a_strict_router_of_the_second_version_forwards_and_takes_back() {
    let (fake, forwards) = strict(None);
    let mut asking = Asking::new(in_a_hurry(&fake));
    for _ in 0..3 {
        assert_eq!(asking.next(), granted(UPNP, PORT));
    }
    asking.end();
    assert_eq!(forwards.all(), []);
    assert_eq!(fake.asked.count("<NewLeaseDuration>0<"), 0);
}

#[test]
fn where_a_port_is_taken_a_router_of_the_second_version_chooses_another_one() {
    // 729: by PCP in the same router.
    for code in [718, 729] {
        let (fake, forwards) = strict(Some(code));
        let mut asking = Asking::new(only(&fake, UPNP));
        assert_eq!(asking.next(), granted(UPNP, 40_777), "{code}");
        assert_eq!(fake.asked.count("AddAnyPortMapping"), 1, "{code}");
        asking.end();
        assert_eq!(fake.asked.count("#AddPortMapping"), 1, "{code}");
        assert_eq!(forwards.all(), [], "{code}");
    }
}

#[test]
fn a_router_of_the_second_version_by_name_only_has_another_port_asked_for() {
    let (_, forwards) = strict(None);
    let kept = forwards.clone();
    let fake = Fake::silent().upnp("{http}/root", move |first, body, stream| {
        if !describe_services(first, stream, &[(SECOND, "/ctl")]) {
            kept.serve(first, body, stream);
        }
    });
    forwards.take(PORT, "192.168.1.77");
    let mut asking = Asking::new(only(&fake, UPNP));
    let mapping = asking.next().expect("another port is free");
    assert!(mapping.external_port != PORT && mapping.external_port >= 20_000);
    asking.end();
    assert_eq!(forwards.all(), [(PORT.to_string(), "192.168.1.77".to_owned())]);
}

#[test]
fn a_machine_with_two_addresses_asks_from_the_one_that_the_port_is_for() {
    let (fake, forwards) = strict(None);
    let other = std::net::Ipv4Addr::new(127, 0, 0, 2);
    let route = Route { local: other, gateway: fake.ip };
    let mut asking = Asking::new(Settings { route: Arc::new(move |_| Some(route)), ..only(&fake, UPNP) });
    assert_eq!(asking.next(), granted(UPNP, PORT));
    assert_eq!(forwards.all(), [(PORT.to_string(), other.to_string())]);
    asking.end();
    assert_eq!(forwards.all(), []);
}

#[test]
fn a_slow_router_is_waited_for() {
    // Old boxes take seconds for a page; each action has four.
    let (fake, forwards) = router(|first, _, _| {
        if first.contains("AddPortMapping") {
            std::thread::sleep(Duration::from_millis(2500));
        }
        false
    });
    let mut asking = Asking::new(only(&fake, UPNP));
    assert_eq!(asking.next(), granted(UPNP, PORT));
    assert_eq!(fake.asked.count("AddPortMapping"), 1);
    asking.end();
    assert_eq!(forwards.all(), []);
}
