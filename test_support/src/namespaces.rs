//! Network namespaces of a test's own, joined by pairs of virtual Ethernet interfaces.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// These are named namespaces, whose loopback interfaces are up. They are gone when this is dropped.
pub struct Net {
    prefix: String,
    names: Vec<&'static str>,
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {text}")) }
}

impl Net {
    /// Namespaces and firewalls can be had here.
    pub fn possible() -> Result<(), String> {
        run(Command::new("nft").args(["list", "tables"]))?;
        // Tests of one process look at the same moment.
        static PROBES: AtomicU32 = AtomicU32::new(0);
        let number = PROBES.fetch_add(1, Ordering::Relaxed);
        let probe = format!("peer-{}-probe{number}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &probe]))?;
        run(Command::new("ip").args(["netns", "del", &probe]))
    }

    /// `tag` tells the namespaces of one test from those of another one in the same process.
    pub fn new(tag: &str, names: &[&'static str]) -> Result<Self, String> {
        let net = Self { prefix: format!("peer-{}-{tag}", std::process::id()), names: names.to_vec() };
        for name in names {
            run(Command::new("ip").args(["netns", "add", &net.name(name)]))?;
            net.ip(name, "link set lo up")?;
        }
        Ok(net)
    }

    /// Joins two namespaces: `inner` of `name` and `outer` of `router` are the two ends of one cable, both up.
    pub fn cable(&self, router: &str, outer: &str, name: &str, inner: &str) -> Result<(), String> {
        let other = self.name(name);
        self.ip(router, &format!("link add {outer} type veth peer name {inner} netns {other}"))?;
        self.ip(router, &format!("link set {outer} up"))?;
        self.ip(name, &format!("link set {inner} up"))
    }

    fn name(&self, namespace: &str) -> String {
        format!("{}-{namespace}", self.prefix)
    }

    /// Runs `ip LINE` in there.
    pub fn ip(&self, namespace: &str, line: &str) -> Result<(), String> {
        run(Command::new("ip").args(["-n", &self.name(namespace)]).args(line.split_whitespace()))
    }

    /// Returns a command that runs this program in there.
    pub fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(namespace), program]);
        command
    }

    /// Sets a parameter of the kernel in there: `net.ipv4.ip_forward=1`.
    pub fn sysctl(&self, namespace: &str, setting: &str) -> Result<(), String> {
        run(self.inside(namespace, "sysctl").args(["-qw", setting]))
    }

    /// Loads these rules of nftables into the namespace.
    pub fn nft(&self, namespace: &str, rules: &str) -> Result<(), String> {
        let mut nft = self.inside(namespace, "nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let status = nft.wait().unwrap();
        if status.success() { Ok(()) } else { Err(format!("nft: {status}")) }
    }

    /// Waits until IPv6 works on an interface.
    pub fn wait_for_link(&self, namespace: &str, link: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut show = Command::new("ip");
            show.args(["-n", &self.name(namespace), "-6", "addr", "show", "dev", link, "scope", "link"]);
            let output = show.output().map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            if text.contains("inet6") && !text.contains("tentative") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{link} of {namespace} has no link-local address"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            let mut del = Command::new("ip");
            let _ = del.args(["netns", "del", &self.name(name)]).stderr(Stdio::null()).status();
        }
    }
}
