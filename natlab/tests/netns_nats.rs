//! The NATs in network namespaces, seen from inside by plain sockets: what they are called they are.
//!
//! The process leaves the machine's network first, so these tests have a `main` of their own. Where namespaces are
//! not permitted they are skipped, loudly.

#[cfg(target_os = "linux")]
mod netns_common;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: network namespaces are Linux's");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use libtest_mimic::{Arguments, Failed, Trial};
    use natlab::netns::{HOPS, LOBBY, Lab, LabSettings, LineSettings, leave_the_network};
    use socket2::{Domain, Protocol, Socket, Type};

    use test_support::receive_from;

    use super::netns_common::{any_port, classify, lab, lab_on, seen, serve, server, udp};

    type Outcome = Result<(), Failed>;

    pub(super) fn main() {
        let mut arguments = Arguments::from_args();
        // Two cores at most, and time limits on answers: one at a time.
        arguments.test_threads = Some(1);
        let ready = leave_the_network().and_then(|()| {
            let sides = vec!["portrestricted".parse()?];
            Lab::new(&LabSettings { sides, ..LabSettings::default() }).map(drop)
        });
        let kernel = || {
            let sides = vec!["kernel".parse()?];
            Lab::new(&LabSettings { sides, ..LabSettings::default() }).map(drop)
        };
        let (skip, skip_kernel) = match ready {
            Ok(()) => (None, kernel().err().map(|error| error.to_string())),
            Err(error) if error.is_environment() => {
                (Some(error.to_string()), Some(String::from("no namespaces")))
            }
            Err(error) => panic!("no laboratory: {error}"),
        };
        for reason in skip.iter().chain(&skip_kernel) {
            test_support::skipped(reason);
        }
        let mut trials = Vec::new();
        for (name, expected) in [
            ("none", Some(("eim", "eif"))),
            ("firewall", Some(("eim", "apdf"))),
            ("fullcone", Some(("eim", "eif"))),
            ("restricted", Some(("eim", "adf"))),
            ("portrestricted", Some(("eim", "apdf"))),
            ("as", Some(("adm", "adf"))),
            ("ps", Some(("apdm", "apdf"))),
            ("psrandom", Some(("apdm", "apdf"))),
            ("cgn", Some(("eim", "eif"))),
            ("linux", Some(("eim", "apdf"))),
            ("udpblocked", None),
            ("mapping=adm,filtering=eif,ports=random", Some(("adm", "eif"))),
            ("mapping=apdm,filtering=adf,ports=block:64", Some(("apdm", "adf"))),
            ("portrestricted+cgn", Some(("eim", "apdf"))),
            ("ps+fullcone", Some(("apdm", "apdf"))),
            ("fullcone+restricted", Some(("eim", "adf"))),
            ("none+ps", Some(("apdm", "apdf"))),
            // The kernel's: not of our making.
            ("kernel", Some(("eim", "apdf"))),
            ("kernel:accept", Some(("eim", "apdf"))),
            ("kernel:random", Some(("apdm", "apdf"))),
            ("kernel:fully-random", Some(("apdm", "apdf"))),
            ("kernel+cgn", Some(("eim", "apdf"))),
            ("fullcone+kernel", Some(("eim", "apdf"))),
            ("kernel+kernel", Some(("eim", "apdf"))),
        ] {
            let skipped = if name.contains("kernel") { skip_kernel.is_some() } else { skip.is_some() };
            trials.push(
                Trial::test(format!("classified: {name}"), move || is(name, expected))
                    .with_ignored_flag(skipped),
            );
            if name != "none" {
                trials
                    .push(Trial::test(format!("tcp: {name}"), move || tcp(name)).with_ignored_flag(skipped));
            }
        }
        for (name, test) in [
            ("delay, loss and jitter are as asked", delay_and_loss as fn() -> Outcome),
            ("ping passes", ping),
            ("hops are counted", hops),
            ("an idle mapping dies in time", timeout),
            ("a closed port is told to the sender", closed_port),
            ("nothing else is reachable", nothing_else),
            ("two laboratories do not see each other", two_labs),
        ] {
            trials.push(Trial::test(name, test).with_ignored_flag(skip.is_some()));
        }
        for (name, test) in [
            ("kernel: the idle timeout can be set", kernel_timeout as fn() -> Outcome),
            ("kernel: a packet that comes first takes the port on an accepting router", kernel_clash),
            ("kernel: a filtering router keeps the port", kernel_no_clash),
        ] {
            trials.push(Trial::test(name, test).with_ignored_flag(skip_kernel.is_some()));
        }
        libtest_mimic::run(&arguments, trials).exit();
    }

    fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
        if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}").into()) }
    }

    fn is(name: &str, expected: Option<(&str, &str)>) -> Outcome {
        let lab = lab(&[name]);
        serve(&lab);
        equal(classify(&lab), expected)?;
        let socket = udp(lab.player(0), any_port());
        let public = seen(&socket, server(0, 0)).map(|seen| seen.ip());
        let inside = matches!(public, Some(std::net::IpAddr::V4(ip)) if ip.octets()[..3] == [198, 18, 1]);
        equal(inside, expected.is_some())
    }

    /// Sends a megabyte there and back: sums, sizes and order are right, or it would not arrive.
    fn tcp(name: &str) -> Outcome {
        let lab = lab(&[name]);
        let address = SocketAddr::from((LOBBY[0], 80));
        let listener = lab.lobby().enter(|| Ok(TcpListener::bind(address)))??;
        let echo = thread::spawn(move || -> std::io::Result<SocketAddr> {
            let (mut stream, from) = listener.accept()?;
            let mut writer = stream.try_clone()?;
            std::io::copy(&mut stream, &mut writer)?;
            writer.shutdown(std::net::Shutdown::Write)?;
            Ok(from)
        });
        let mut stream =
            lab.player(0).enter(|| Ok(TcpStream::connect_timeout(&address, Duration::from_secs(5))))??;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut writer = stream.try_clone()?;
        let copy = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&copy).and_then(|()| writer.shutdown(std::net::Shutdown::Write))
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        equal(received == sent, true)?;
        writing.join().map_err(|_| "the writer panicked")??;
        let from = echo.join().map_err(|_| "the server panicked")??;
        equal(matches!(from.ip(), std::net::IpAddr::V4(ip) if ip.octets()[..3] == [198, 18, 1]), true)
    }

    fn delay_and_loss() -> Outcome {
        let ms = Duration::from_millis;
        let lab = lab_on(&["ps", "as"], LineSettings { delay: ms(30), jitter: ms(10), loss: 0.2 });
        serve(&lab);
        let socket = udp(lab.player(0), any_port());
        let (mut answers, mut shortest) = (0, ms(1000));
        for _ in 0..40 {
            let began = Instant::now();
            if seen(&socket, server(0, 0)).is_some() {
                answers += 1;
                shortest = shortest.min(began.elapsed());
            }
        }
        // There and back must both survive: 64 % of 40, +- 5 deviations.
        if !(10..=39).contains(&answers) {
            return Err(format!("{answers} answers").into());
        }
        if shortest < ms(60) || shortest > ms(90) {
            return Err(format!("round trip {shortest:?}").into());
        }
        let counts = lab.stop();
        equal(counts[1].sent.udp, 40)?;
        equal(counts[1].received.udp + counts[0].lost + counts[1].lost, 40)
    }

    fn ping() -> Outcome {
        for name in ["portrestricted", "ps+cgn", "firewall", "none"] {
            let lab = lab(&[name]);
            let socket = lab
                .player(0)
                .enter(|| Ok(Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))))??;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            // Type 8, identifier 0x1234, sequence 1; the sum of it.
            let request = [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1];
            socket.send_to(&request, &SocketAddr::from((LOBBY[1], 0)).into())?;
            let mut buffer = [0; 128];
            let length = (&socket).read(&mut buffer)?;
            equal(&buffer[20..length], &[0, 0, 0xed, 0xca, 0x12, 0x34, 0, 1])?;
        }
        Ok(())
    }

    fn hops() -> Outcome {
        for (nats, boxes) in [("none", 1), ("portrestricted", 1), ("ps+cgn", 2)] {
            let lab = lab(&[nats]);
            serve(&lab);
            let socket = udp(lab.player(0), any_port());
            socket.set_ttl(u32::from(HOPS) + boxes)?;
            equal(seen(&socket, server(0, 0)), None)?;
            socket.set_ttl(u32::from(HOPS) + boxes + 1)?;
            equal(seen(&socket, server(0, 0)).is_some(), true)?;
            equal(lab.stop()[1].expired, 1)?;
        }
        Ok(())
    }

    /// What the server sends after the pause arrives or not, per NAT.
    fn dies(name: &str, pause: Duration) -> Result<bool, Failed> {
        let lab = lab(&[name]);
        let service = udp(lab.lobby(), server(0, 0));
        let socket = udp(lab.player(0), any_port());
        let mut buffer = [0; 8];
        socket.send_to(b"hello", server(0, 0))?;
        let (_, from) = receive_from(&service, &mut buffer)?;
        thread::sleep(pause);
        service.send_to(b"late", from)?;
        Ok(receive_from(&socket, &mut buffer).is_err())
    }

    fn timeout() -> Outcome {
        equal(dies("portrestricted,timeout=1", Duration::from_millis(1300))?, true)?;
        equal(dies("portrestricted,timeout=3", Duration::from_millis(1300))?, false)
    }

    fn kernel_timeout() -> Outcome {
        // The kernel's timers have a granularity of a second.
        equal(dies("kernel:timeout=1", Duration::from_millis(2500))?, true)?;
        equal(dies("kernel", Duration::from_millis(2500))?, false)
    }

    /// The ICMP error finds its way back through both NATs, to a connected socket.
    fn closed_port() -> Outcome {
        for nats in [["fullcone", "fullcone"], ["ps+cgn", "none"]] {
            let lab = lab(&nats);
            let host = lab.player(0);
            let socket = udp(host, any_port());
            let target = SocketAddr::from((LOBBY[0], 9));
            socket.connect(target)?;
            socket.send(b"anybody?")?;
            let error = receive_from(&socket, &mut [0; 8]).err().map(|error| error.kind());
            equal(error, Some(std::io::ErrorKind::ConnectionRefused))?;
        }
        Ok(())
    }

    fn nothing_else() -> Outcome {
        let lab = lab(&["none"]);
        let socket = udp(lab.player(0), any_port());
        for address in [[127, 0, 0, 1], [192, 0, 2, 1], [10, 0, 2, 2], [198, 18, 0, 12], [8, 8, 8, 8]] {
            socket.send_to(b"x", SocketAddr::from((Ipv4Addr::from(address), 53)))?;
            // ... and a connected TCP socket neither.
        }
        equal(receive_from(&socket, &mut [0; 8]).is_err(), true)?;
        let counts = lab.stop();
        equal((counts[1].unroutable, counts[0].received.udp), (4, 0))
    }

    fn two_labs() -> Outcome {
        let (one, other) = (lab(&["portrestricted"]), lab(&["portrestricted"]));
        serve(&one);
        let (mine, foreign) = (udp(one.player(0), any_port()), udp(other.player(0), any_port()));
        equal(seen(&mine, server(0, 0)).is_some(), true)?;
        equal(seen(&foreign, server(0, 0)), None)?;
        equal(one.stop()[1].sent.udp, 1)?;
        equal(other.stop()[1].sent.udp, 1)
    }

    /// Returns the port that the peer sees when its own packet came before ours.
    fn port_after_the_peers_packet(name: &str) -> Result<(u16, u16), Failed> {
        let lab = lab(&[name]);
        let own = 40_001;
        let service = udp(lab.lobby(), server(0, 0));
        service.send_to(b"first", SocketAddr::from((Ipv4Addr::new(198, 18, 1, 1), own)))?;
        // The router has answered or dropped it when a later packet is through.
        let mut buffer = [0; 8];
        let other = udp(lab.player(0), any_port());
        other.send_to(b"x", server(0, 0))?;
        while let Ok((length, _)) = receive_from(&service, &mut buffer) {
            if &buffer[..length] == b"x" {
                break;
            }
        }
        let socket = udp(lab.player(0), SocketAddr::from((Ipv4Addr::UNSPECIFIED, own)));
        socket.send_to(b"hello", server(0, 0))?;
        let port = loop {
            let (length, from) = receive_from(&service, &mut buffer)?;
            if &buffer[..length] == b"hello" {
                break from.port();
            }
        };
        Ok((own, port))
    }

    fn kernel_clash() -> Outcome {
        for name in ["kernel:accept", "linux"] {
            let (own, seen) = port_after_the_peers_packet(name)?;
            if own == seen {
                return Err(format!("{name}: the port was kept").into());
            }
        }
        Ok(())
    }

    fn kernel_no_clash() -> Outcome {
        for name in ["kernel", "portrestricted"] {
            let (own, seen) = port_after_the_peers_packet(name)?;
            equal(seen, own)?;
        }
        Ok(())
    }
}
