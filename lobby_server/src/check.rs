//! `lobby_server check`: what can be said from this machine about whether the server will serve.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use redis::ConnectionInfo;

use crate::cluster::{self, Member, Outlook, RegistryError};
use crate::config::Settings;
use crate::key::{self, KeyError};
use crate::run::{LobbyServer, StartError};
use crate::server::NeighbourState;
use crate::special_use::special_use;
use crate::surroundings::Surroundings;
use traversal_core::Identity;

/// A report has text for a person, and says whether the server could start.
#[derive(Debug)]
pub struct Report {
    /// These lines are to be printed.
    pub text: String,
    /// All sockets could be opened.
    pub ok: bool,
}

/// Writes an error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, " ({cause})");
        next = cause.source();
    }
    text
}

/// Does what a start does, but for making the key: opens and closes the sockets, and says what would be served.
///
/// # Errors
/// When something other than a socket or the key is in the way.
pub fn check(mut settings: Settings, key_file: &Path) -> Result<Report, StartError> {
    settings.validate()?;
    // The sockets alone are opened: this is no node.
    let registry = cluster::address(&std::mem::replace(&mut settings.registry, cluster::MEMORY.into()))?;
    let mut text = String::new();
    let key = key::check(key_file);
    let key_ok = key.is_ok();
    let identity = key.as_ref().ok().cloned().flatten();
    let neighbour = settings.neighbour.clone();
    let public_key = identity.as_ref().map(Identity::public_key);
    text.push_str(&about_key(key, key_file));
    let public: Vec<IpAddr> =
        settings.public_address.iter().chain(&settings.second_public_address).copied().collect();
    let second_configured = !settings.second_address.is_empty();
    let mut server = LobbyServer::new(settings);
    if let Some(identity) = &identity {
        server = server.identity(identity.clone());
    }
    let mut tried = match server.bind() {
        Ok(bound) => bound,
        Err(error @ StartError::Tls(_)) => {
            let _ = writeln!(text, "tls: FAILED: {}", chain(&error));
            return Ok(Report { text, ok: false });
        }
        Err(error @ (StartError::Bind(_) | StartError::Http(_))) => {
            let _ = writeln!(text, "sockets: FAILED: {}", chain(&error));
            return Ok(Report { text, ok: false });
        }
        Err(other) => return Err(other),
    };
    let (addresses, told) = (tried.addresses().clone(), tried.told());
    let list =
        |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "sockets: ok, UDP {}", list(&addresses.all));
    if addresses.tcp.is_empty() {
        let _ = writeln!(text, "tcp: off; players whose networks block UDP cannot log in");
    } else {
        let _ = writeln!(text, "tcp: ok, {} (for players whose networks block UDP)", list(&addresses.tcp));
    }
    let _ = match tried.certificate() {
        Some(about) => writeln!(text, "tls: ok, {} ({about})", list(&addresses.tls)),
        None => writeln!(
            text,
            "tls: off; players whose networks let out nothing but port 443 cannot log in (--tls-cert)"
        ),
    };
    if let Some(http) = addresses.http {
        let _ = writeln!(text, "http: ok, {http}");
    }
    let registry_ok = match registry {
        Some(registry) => {
            let (lines, ok) = about_registry(&registry, told, public_key)?;
            text.push_str(&lines);
            ok
        }
        None => true,
    };
    let around = Surroundings::read();
    let own = &around.own;
    let listed = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "addresses of this machine: {}", listed(own));
    if !around.gateways.is_empty() {
        let _ = writeln!(text, "gateways: {}", listed(&around.gateways));
    }
    let bound: Vec<IpAddr> = addresses.all.iter().map(SocketAddr::ip).collect();
    let everywhere = bound.iter().any(IpAddr::is_unspecified);
    let candidates = if everywhere { own.iter() } else { bound.iter() }.chain(&public).copied();
    text.push_str(&reach(candidates));
    text.push_str(&place(&around));
    if let Some(name) = &neighbour {
        let linked = identity.is_some().then(|| tried.try_link()).flatten();
        text.push_str(&about_neighbour(name, linked));
        for link in tried.link_addresses() {
            let port = link.port();
            let _ = writeln!(
                text,
                "firewall: let UDP in to port {port} from {name} (for example: ufw allow from ITS_ADDRESS to any port {port} \
                 proto udp)"
            );
        }
        let _ = writeln!(text, "classification: full (two addresses, two ports) while the neighbour answers");
    } else if second_configured {
        let _ = writeln!(text, "classification: full (two addresses, two ports)");
    } else {
        let _ = writeln!(
            text,
            "classification: reduced (one address): whether a NAT is address-dependent stays unknown. With a \
             second public address: --bind FIRST:3478 --second-address SECOND; with a second machine: --neighbour ITS_NAME"
        );
    }
    let mut ports: Vec<u16> = addresses.all.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let _ = writeln!(
        text,
        "firewall: let UDP in to port {} from anywhere (for example: ufw allow {}/udp), and UDP out",
        ports.join(" and "),
        ports.join(",")
    );
    let mut ports: Vec<u16> = addresses.tcp.iter().chain(&addresses.tls).map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let _ = writeln!(text, "firewall: let TCP in to port {port} too (for example: ufw allow {port}/tcp)");
    }
    let port = addresses.first.first().map_or(3478, SocketAddr::port);
    let _ = writeln!(
        text,
        "test from outside: peer nat --lobby YOUR_ADDRESS:{port}, or a STUN client: turnutils_natdiscovery -m -f -p {port} YOUR_ADDRESS"
    );
    Ok(Report { text, ok: key_ok && registry_ok })
}

fn about_neighbour(name: &str, state: Option<NeighbourState>) -> String {
    match state {
        Some(NeighbourState::Linked) => format!("neighbour: ok, {name} answers and has the same key\n"),
        Some(NeighbourState::Apart(trouble)) => {
            format!("neighbour: FAILED: {name}: {}\n", trouble.with_cure())
        }
        None => format!("neighbour: not tried, for want of a key: copy the key file of {name}\n"),
    }
}

fn about_key(key: Result<Option<Identity>, KeyError>, file: &Path) -> String {
    match key {
        Ok(Some(identity)) => {
            format!("key: ok, {} in {}\n", key::printed(&identity.public_key()), file.display())
        }
        Ok(None) => format!("key: none yet; the first start makes it in {}\n", file.display()),
        Err(error) => format!("key: FAILED: {}\n", chain(&error)),
    }
}

/// Returns what is to be said of a registry that nodes share, and whether the server could start with it.
fn about_registry(
    registry: &ConnectionInfo,
    addresses: Vec<SocketAddr>,
    public_key: Option<[u8; 32]>,
) -> Result<(String, bool), RegistryError> {
    let list =
        |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let told = format!("other nodes send players to: {}\n", list(&addresses));
    // Without a key the first start makes one, which is not that of the others.
    let public_key = public_key.map_or_else(key::entropy, Ok)?;
    let member = Member { node: cluster::draw_node()?, addresses, public_key };
    let place = cluster::shown(registry);
    let (line, ok) = match cluster::look(registry, &member) {
        Ok(Outlook::Fine(about)) => {
            let kind = about.valkey.as_ref().map_or("Redis", |_| "Valkey");
            let version = about.valkey.as_ref().unwrap_or(&about.version);
            let kept = if about.keeps {
                ""
            } else {
                "\nregistry: it keeps nothing over a restart (appendonly no): the nodes tell it of their rooms again, and \
                 for four seconds none is opened. Set it: appendonly yes"
            };
            (format!("registry: ok, {kind} {version} at {place}{kept}\n"), true)
        }
        Ok(Outlook::Away(cause)) => {
            let text = "the server starts without it, and rooms can be opened and found when it is there";
            (format!("registry: NOT THERE: {place}: {cause}; {text}\n"), true)
        }
        Err(error) => (format!("registry: FAILED: {}\n", chain(&error)), false),
    };
    Ok((line + &told, ok))
}

/// Says who reaches a server at these addresses.
fn reach(addresses: impl Iterator<Item = IpAddr>) -> String {
    /// These block names say no more than "of this network", as nearly every machine has such addresses.
    const USUAL: [&str; 4] = ["loopback", "private", "link-local", "unique local"];
    let mut odd = String::new();
    for ip in addresses {
        let Some(what) = special_use(ip) else { return "reach: the internet\n".into() };
        if !USUAL.iter().any(|usual| what.starts_with(usual)) {
            let _ = writeln!(odd, "reach: nobody on the internet reaches {ip}, which is {what}");
        }
    }
    odd + "reach: this machine and its network only. If it has a public address that is not on an interface \
           (cloud, port forwarding), give it with --public-address\n"
}

/// Returns what is to be said about this place in the network before any player has come.
fn place(around: &Surroundings) -> String {
    let (findings, text) = (around.findings(), String::new());
    let text = findings.iter().fold(text, |text, finding| text + &format!("surroundings: {finding}\n"));
    text + "while it runs, it watches where players come from: whether something in front of it hides that stands at the top \
            of the status page, in the log and in the metric lobby_surroundings\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_set_aside_are_not_called_the_internet() {
        let said = |ips: &[&str]| reach(ips.iter().map(|ip| ip.parse().unwrap()));
        let documentation = said(&["127.0.0.1", "192.0.2.2"]);
        assert!(documentation.contains("192.0.2.2, which is for documentation"), "{documentation}");
        assert!(
            !documentation.contains("the internet\n") && !documentation.contains("127.0.0.1"),
            "{documentation}"
        );
        assert_eq!(said(&["192.0.2.2", "8.8.8.8"]), "reach: the internet\n");
        assert!(said(&["10.0.0.1"]).starts_with("reach: this machine and its network only"));
    }

    #[test]
    fn a_container_is_told_with_its_cure() {
        let own = ["127.0.0.1", "172.17.0.2"].map(|ip| ip.parse().unwrap()).to_vec();
        let around = Surroundings { own, gateways: Vec::new(), container: true };
        let text = place(&around);
        assert!(text.contains("surroundings: The server is in a container"), "{text}");
        assert!(text.contains("172.17.0.2") && text.contains("--network host"), "{text}");
        let outside = Surroundings { container: false, ..around };
        assert!(!place(&outside).contains("surroundings:"));
    }
}
