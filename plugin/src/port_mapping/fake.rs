//! Routers on loopback, as good or bad as a test wants them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Route, Settings};

/// NAT-PMP and PCP have this UDP port, and SSDP has [`SSDP`].
const PORT_CONTROL: u16 = 5351;
const SSDP: u16 = 1900;
pub(super) const SCHEMA: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// This is what a router was asked, in the order of arrival.
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

/// This is a router with an address of its own on loopback. Its threads end with the test.
pub(super) struct Fake {
    pub(super) ip: Ipv4Addr,
    pub(super) asked: Asked,
    port_control: UdpSocket,
    ssdp: UdpSocket,
}

impl Fake {
    /// Returns a router that says nothing.
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

    /// Returns settings that know no other router.
    pub(super) fn settings(&self) -> Settings {
        let route = Route { local: Ipv4Addr::LOCALHOST, gateway: self.ip };
        Settings {
            ssdp: SocketAddr::from((self.ip, SSDP)),
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

    /// Answers searches with this location (`{http}`: the address of the web server, `{port}`: its port), sent as Latin-1 as
    /// old routers do, and requests there by their first line and body.
    pub(super) fn upnp(
        self,
        location: &str,
        answer: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let web = TcpListener::bind((self.ip, 0)).unwrap();
        let http = format!("http://{}", web.local_addr().unwrap());
        let port = web.local_addr().unwrap().port().to_string();
        let location = location.replace("{http}", &http).replace("{port}", &port);
        let (socket, asked) = (self.ssdp.try_clone().unwrap(), self.asked.clone());
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                asked.note("search".into());
                let answer = format!("HTTP/1.1 200 OK\r\nST: {SCHEMA}\r\nLOCATION: {location}\r\n\r\n");
                let latin: Vec<u8> = answer.chars().map(|character| u32::from(character) as u8).collect();
                socket.send_to(&latin, from).unwrap();
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

/// Sends a UPnP device's description of itself and of its service; returns true if it was asked for that.
pub(super) fn describe(first: &str, stream: &mut TcpStream) -> bool {
    describe_services(first, stream, &[(SCHEMA, "/ctl")])
}

/// Does the same with these services: their types, and the paths where they are controlled.
pub(super) fn describe_services(first: &str, stream: &mut TcpStream, services: &[(&str, &str)]) -> bool {
    if !first.starts_with("GET /root") {
        return false;
    }
    let services: String = services
        .iter()
        .map(|(kind, path)| {
            format!("<service><serviceType>{kind}</serviceType><controlURL>{path}</controlURL></service>")
        })
        .collect();
    let device = |kind: &str, inner: &str| {
        format!("<device><deviceType>urn:schemas-upnp-org:device:{kind}:1</deviceType>{inner}</device>")
    };
    let connection = device("WANConnectionDevice", &format!("<serviceList>{services}</serviceList>"));
    let wan = device("WANDevice", &format!("<deviceList>{connection}</deviceList>"));
    let name = "<manufacturer>OpenWRT</manufacturer><modelName>OpenWRT router</modelName>";
    let root = device("InternetGatewayDevice", &format!("{name}<deviceList>{wan}</deviceList>"));
    reply(stream, "200 OK", &format!("<?xml version=\"1.0\"?><root>{root}</root>"));
    true
}

/// These are the ports that a UPnP router forwards: the external one, the machine, its own one.
#[derive(Clone, Default)]
pub(super) struct Forwards(Arc<Mutex<BTreeMap<String, (String, String)>>>);

impl Forwards {
    /// A router that was restarted has forgotten them.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    /// Another machine asks for a port.
    pub(super) fn take(&self, external: u16, machine: &str) {
        self.lead(external, machine, &external.to_string());
    }

    /// A port leads to this one of a machine's.
    pub(super) fn lead(&self, external: u16, machine: &str, internal: &str) {
        self.0.lock().unwrap().insert(external.to_string(), (machine.into(), internal.into()));
    }

    pub(super) fn all(&self) -> Vec<(String, String)> {
        let forwards = self.0.lock().unwrap();
        forwards.iter().map(|(external, (machine, _))| (external.clone(), machine.clone())).collect()
    }

    /// Answers an action as the standard says.
    pub(super) fn serve(&self, first: &str, body: &str, stream: &mut TcpStream) {
        let said = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>")).unwrap_or_default();
            rest.split_once('<').unwrap_or_default().0.to_owned()
        };
        let mut forwards = self.0.lock().unwrap();
        let (external, machine) = (said("NewExternalPort"), said("NewInternalClient"));
        let taken = forwards.get(&external).filter(|(other, _)| *other != machine);
        let action = first.rsplit(['#', '"']).nth(1).unwrap_or_default();
        match action {
            "AddPortMapping" if taken.is_some() => soap(stream, Err(718)),
            "AddPortMapping" => {
                forwards.insert(external, (machine, said("NewInternalPort")));
                soap(stream, Ok("<u:AddPortMappingResponse/>"));
            }
            "GetSpecificPortMappingEntry" => match forwards.get(&external) {
                Some((machine, port)) => soap(
                    stream,
                    Ok(&format!(
                        "<u:GetSpecificPortMappingEntryResponse><NewInternalPort>{port}</NewInternalPort>\
                         <NewInternalClient>{machine}</NewInternalClient></u:GetSpecificPortMappingEntryResponse>"
                    )),
                ),
                None => soap(stream, Err(714)),
            },
            "DeletePortMapping" if forwards.remove(&external).is_some() => {
                soap(stream, Ok("<u:DeletePortMappingResponse/>"));
            }
            "DeletePortMapping" => soap(stream, Err(714)),
            "GetExternalIPAddress" => soap(
                stream,
                Ok(
                    "<u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>\
                    </u:GetExternalIPAddressResponse>",
                ),
            ),
            _ => soap(stream, Err(401)),
        }
    }
}

/// Sends the answer to a SOAP action.
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

/// This is a request by NAT-PMP or PCP.
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

    /// Answers as an honest router does, with these changes.
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
