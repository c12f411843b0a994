//! miniupnpd in a kernel router: a UPnP, NAT-PMP and PCP service that we did not write, as home routers have it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::error::NetnsError;
use super::kernel_nat::PortService;
use super::namespace::Namespace;
use super::process::{Program, Start};

/// It opens its sockets within milliseconds.
const READY: Duration = Duration::from_secs(5);
/// They are the UDP ports of SSDP, and of NAT-PMP and PCP, as `/proc/net/udp` writes them.
const PORTS: [&str; 2] = [":076C", ":14E7"];

/// What goes into the router beside its masquerade: the chains that miniupnpd fills.
pub(crate) const CHAINS: &str = "
    table inet filter {
        chain miniupnpd { }
        chain prerouting_miniupnpd { }
        chain postrouting_miniupnpd { }
        chain forward { type filter hook forward priority filter; policy accept; jump miniupnpd; }
        chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump prerouting_miniupnpd; }
        chain postrouting { type nat hook postrouting priority srcnat; policy accept; jump postrouting_miniupnpd; }
    }";

/// It is a router as miniupnpd is to serve it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) service: PortService,
    /// It has this address on the LAN.
    pub(crate) router: Ipv4Addr,
    /// It is to call this address its public one. Behind another NAT that is a lie, as some providers' routers tell it:
    /// an honest miniupnpd refuses to serve there.
    pub(crate) public: Ipv4Addr,
}

/// Starts it, and waits until it serves. What it says goes to `NAME.err` in the directory.
pub(crate) fn start(
    namespace: &Namespace,
    served: Served,
    directory: &Path,
    name: &str,
) -> Result<Program, NetnsError> {
    let path = directory.join(format!("{name}.conf"));
    let yes = |on: bool| if on { "yes" } else { "no" };
    let Served { service, router, public } = served;
    let config = format!(
        "ext_ifname=wan0\next_ip={public}\nlistening_ip={router}/24\nhttp_port=0\nipv6_disable=yes\n\
         enable_upnp={}\nforce_igd_desc_v1={}\nenable_natpmp={}\nsecure_mode=yes\nsystem_uptime=yes\n\
         minissdpdsocket={}\nuuid=5a78ec87-3cec-4a89-9888-bad5d12f5c23\nallow 1024-65535 {router}/24 1024-65535\n\
         deny 0-65535 0.0.0.0/0 0-65535\n",
        yes(service.upnp),
        yes(service.first_version),
        yes(service.port_control),
        directory.join(format!("{name}.sock")).display(),
    );
    fs::write(&path, config).map_err(NetnsError::system("writing miniupnpd's configuration"))?;
    let pid = directory.join(format!("{name}.pid"));
    let arguments = ["-d", "-f"].map(Into::into).into_iter().chain([
        path.into_os_string(),
        "-P".into(),
        pid.into_os_string(),
    ]);
    let program = locate()?;
    let start =
        Start { program: &program, arguments: arguments.collect(), log_dir: directory, name, hosts: None };
    // Nobody listens: what it says is in its log.
    let (tell, _) = mpsc::channel();
    let running = Program::start(namespace, &start, (), tell)?;
    let deadline = Instant::now() + READY;
    while !serves(namespace, service)? {
        if Instant::now() >= deadline {
            let stderr = format!("does not serve; see {}", directory.join(format!("{name}.err")).display());
            return Err(NetnsError::Configure { program: "miniupnpd", stderr });
        }
        // Another process's socket: there is nothing to wait on.
        thread::sleep(Duration::from_millis(5));
    }
    Ok(running)
}

fn serves(namespace: &Namespace, service: PortService) -> Result<bool, NetnsError> {
    let sockets = namespace.enter(|| {
        fs::read_to_string("/proc/thread-self/net/udp").map_err(NetnsError::system("reading /proc/net/udp"))
    })?;
    let wanted = [service.upnp, service.port_control];
    Ok(PORTS.iter().zip(wanted).all(|(port, wanted)| !wanted || sockets.contains(port)))
}

fn locate() -> Result<PathBuf, NetnsError> {
    let places = ["/usr/sbin/miniupnpd", "/usr/local/sbin/miniupnpd", "/sbin/miniupnpd"];
    let found = places.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or(NetnsError::MissingProgram { program: "miniupnpd", package: "miniupnpd" })
}
