//! Routers on loopback, as good or bad as a test wants them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Route, Settings};

/// UDP ports of NAT-PMP and PCP, and of SSDP.
const PORT_CONTROL: u16 = 5351;
const SSDP: u16 = 1900;
pub(super) const SCHEMA: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// What a router was asked, in the order of arrival.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn count(&self, what: &str) -> usize {
        self.all().iter().filter(|asked| asked.contains(what)).count()
    }
}

/// A router with an address of its own on loopback. Its threads end with the test.
pub(super) struct Fake {
    pub(super) ip: Ipv4Addr,
    pub(super) asked: Asked,
    port_control: UdpSocket,
    ssdp: UdpSocket,
}

impl Fake {
    /// One that says nothing.
    pub(super) fn silent() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            // Another run of these tests may be under way on this machine.
            let [a, b] = (std::process::id() as u16).to_be_bytes();
            let ip = Ipv4Addr::new(127, 64 | (a & 63), b, 1 + (next % 250) as u8);
            let bound = (UdpSocket::bind((ip, PORT_CONTROL)), UdpSocket::bind((ip, SSDP)));
            if let (Ok(port_control), Ok(ssdp)) = bound {
                return Self { ip, asked: Asked::default(), port_control, ssdp };
            }
        }
    }

    /// Settings that know no other router.
    pub(super) fn settings(&self) -> Settings {
        let route = Route { local: Ipv4Addr::LOCALHOST, gateway: self.ip };
        Settings {
            ssdp: SocketAddr::from((self.ip, SSDP)),
            trusted: vec![self.ip.into()],
            route: Arc::new(move |_| Some(route)),
            ..Settings::new(vec![
                traversal_core::MappingProtocol::Pcp,
                traversal_core::MappingProtocol::NatPmp,
                traversal_core::MappingProtocol::Upnp,
            ])
        }
    }

    /// Answers NAT-PMP and PCP.
    pub(super) fn port_control(self, answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let (socket, asked) = (self.port_control.try_clone().unwrap(), self.asked.clone());
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let request = Request::parse(&buffer[..length]);
                asked.note(format!("{request:?}"));
                if let Some(answer) = answer(&request) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        self
    }

    /// Answers searches with this location (`{http}`: the address of the web server), and requests there by their
    /// first line and body.
    pub(super) fn upnp(
        self,
        location: &str,
        answer: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let web = TcpListener::bind((self.ip, 0)).unwrap();
        let http = format!("http://{}", web.local_addr().unwrap());
        let location = location.replace("{http}", &http);
        let (socket, asked) = (self.ssdp.try_clone().unwrap(), self.asked.clone());
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                asked.note("search".into());
                let answer = format!("HTTP/1.1 200 OK\r\nST: {SCHEMA}\r\nLOCATION: {location}\r\n\r\n");
                socket.send_to(answer.as_bytes(), from).unwrap();
            }
        });
        let (asked, answer) = (self.asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in web.incoming() {
                let (asked, answer, Ok(mut stream)) = (asked.clone(), answer.clone(), stream) else {
                    continue;
                };
                thread::spawn(move || {
                    let Some((first, body)) = read_request(&mut stream) else { return };
                    asked.note(format!("{first} {body}"));
                    answer(&first, &body, &mut stream);
                });
            }
        });
        self
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let wanted: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if body.len() >= wanted {
            let action = header("soapaction").unwrap_or_default();
            return Some((format!("{} {action}", head.lines().next()?), body.to_owned()));
        }
    }
}

/// Answers with a document.
pub(super) fn reply(stream: &mut TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// A UPnP device's description of itself and of its service; true if it was asked for that.
pub(super) fn describe(first: &str, stream: &mut TcpStream) -> bool {
    if first.starts_with("GET /root") {
        let service = format!(
            "<service><serviceType>{SCHEMA}</serviceType><controlURL>/ctl</controlURL><SCPDURL>/scpd</SCPDURL></service>"
        );
        let device = |kind: &str, inner: &str| {
            format!("<device><deviceType>urn:schemas-upnp-org:device:{kind}:1</deviceType>{inner}</device>")
        };
        let connection = device("WANConnectionDevice", &format!("<serviceList>{service}</serviceList>"));
        let wan = device("WANDevice", &format!("<deviceList>{connection}</deviceList>"));
        let name = "<manufacturer>OpenWRT</manufacturer><modelName>OpenWRT router</modelName>";
        let root = device("InternetGatewayDevice", &format!("{name}<deviceList>{wan}</deviceList>"));
        reply(stream, "200 OK", &format!("<?xml version=\"1.0\"?><root>{root}</root>"));
        return true;
    }
    if first.starts_with("GET /scpd") {
        let arguments: String = [
            "NewRemoteHost",
            "NewExternalPort",
            "NewProtocol",
            "NewInternalPort",
            "NewInternalClient",
            "NewEnabled",
            "NewPortMappingDescription",
            "NewLeaseDuration",
        ]
        .map(|name| format!("<argument><name>{name}</name><direction>in</direction></argument>"))
        .concat();
        let action = |name: &str| {
            format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
        };
        let actions = action("AddPortMapping") + &action("DeletePortMapping");
        reply(
            stream,
            "200 OK",
            &format!("<?xml version=\"1.0\"?><scpd><actionList>{actions}</actionList></scpd>"),
        );
        return true;
    }
    false
}

/// The answer to a SOAP action.
pub(super) fn soap(stream: &mut TcpStream, result: Result<&str, u16>) {
    let envelope = |inner: &str| {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:u=\"{SCHEMA}\"><s:Body>{inner}\
             </s:Body></s:Envelope>"
        )
    };
    match result {
        Ok(inner) => reply(stream, "200 OK", &envelope(inner)),
        Err(code) => {
            let fault = format!(
                "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError \
                 xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode><errorDescription>no\
                 </errorDescription></UPnPError></detail></s:Fault>"
            );
            reply(stream, "500 Internal Server Error", &envelope(&fault));
        }
    }
}

/// A request by NAT-PMP or PCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    PublicAddress,
    NatPmp { internal: u16, external: u16, lifetime: u32 },
    Pcp { nonce: [u8; 12], internal: u16, external: u16, lifetime: u32 },
    Other,
}

impl Request {
    fn parse(bytes: &[u8]) -> Self {
        let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let four = |at: usize| (u32::from(two(at)) << 16) | u32::from(two(at + 2));
        match bytes {
            [0, 0] => Self::PublicAddress,
            [0, 1, ..] if bytes.len() == 12 => {
                Self::NatPmp { internal: two(4), external: two(6), lifetime: four(8) }
            }
            [2, 1, ..] if bytes.len() == 60 => Self::Pcp {
                nonce: bytes[24..36].try_into().unwrap(),
                internal: two(40),
                external: two(42),
                lifetime: four(4),
            },
            _ => Self::Other,
        }
    }

    /// As an honest router answers, with these changes.
    pub(super) fn answer(&self, ip: [u8; 4], result: u8, port: u16, seconds: u32) -> Option<Vec<u8>> {
        Some(match self {
            Self::PublicAddress => {
                let mut answer = vec![0, 128, 0, result, 0, 0, 0, 9];
                answer.extend(ip);
                answer
            }
            Self::NatPmp { internal, lifetime, .. } => {
                let mut answer = vec![0, 129, 0, result, 0, 0, 0, 9];
                answer.extend(internal.to_be_bytes());
                answer.extend(if *lifetime == 0 { 0 } else { port }.to_be_bytes());
                answer.extend((*lifetime).min(seconds).to_be_bytes());
                answer
            }
            Self::Pcp { nonce, internal, lifetime, .. } => {
                let mut answer = vec![2, 129, 0, result];
                answer.extend((*lifetime).min(seconds).to_be_bytes());
                answer.extend([0, 0, 0, 9]);
                answer.extend([0; 12]);
                answer.extend(nonce);
                answer.extend([17, 0, 0, 0]);
                answer.extend(internal.to_be_bytes());
                answer.extend(port.to_be_bytes());
                answer.extend([0; 10]);
                answer.extend([255, 255]);
                answer.extend(ip);
                answer
            }
            Self::Other => return None,
        })
    }
}
