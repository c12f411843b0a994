//! The keys of lobby servers, as they were at the first login: trust on first use, kept from one start to the next as SSH
//! keeps its `known_hosts`.
//!
//! A text file with one line for each server: the server as the game names it, `host:port`, and its key. People read it, and
//! take a line out when a server has another key on purpose. A line is only ever added at the end, with one write, so that
//! programs that share the file do not lose each other's lines; of two lines for one server the first one counts.
//!
//! Servers on this machine (loopback addresses) are not kept, and may have another key at each start: whoever could answer in
//! their place is on this machine already, and a server that a game or a developer starts often has a key of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use traversal_core::KnownServer;
use traversal_udp::private;

use crate::config::ServerKey;
use crate::identity::restrict;
use crate::kept_file::read_text;

/// The file has this ending where it lies beside the identity.
pub(crate) const ENDING: &str = ".known_servers";
/// The file has at most this many bytes: a few thousand lines of some 70 bytes. A longer file is none of ours.
const MAX_FILE: u64 = 1 << 20;
/// At most this many servers may have a line that waits for the disk.
const WAITING: usize = 8;
const HEAD: &str = "# Lobby servers and their keys. Remove a line to trust the server's next key.\n";

/// This is what is known of the servers' keys.
pub(crate) struct Known {
    path: Option<PathBuf>,
    /// These are the keys of the file, as it was at the last [`reload`](Self::reload), and of this run.
    keys: BTreeMap<String, [u8; 32]>,
    writer: Option<Sender<(String, [u8; 32])>>,
}

impl Known {
    /// Returns what is known, and what a thread is to run until that is dropped.
    pub(crate) fn new(path: Option<PathBuf>) -> (Self, Option<impl FnOnce() + Send + use<>>) {
        let (sender, receiver): (_, Receiver<(String, [u8; 32])>) = bounded(WAITING);
        let thread = path.clone().map(|path| {
            move || {
                for (server, key) in receiver {
                    if let Err(error) = append(&path, &server, &key) {
                        bevy_log::warn!("cannot keep the key of {server} in {}: {error}", path.display());
                    }
                }
            }
        });
        let writer = path.is_some().then_some(sender);
        (Self { path, keys: BTreeMap::new(), writer }, thread)
    }

    /// Reads the file again: a line may have been taken out.
    pub(crate) fn reload(&mut self) {
        let Some(path) = &self.path else { return };
        match read(path) {
            Ok(keys) => self.keys = keys,
            Err(error) => {
                bevy_log::warn!("the known lobby servers in {} are not used: {error}", path.display());
            }
        }
    }

    /// Adds the key that each of these servers had before. `servers`: the addresses of each, by the name that the
    /// game has for it.
    pub(crate) fn of(&self, servers: BTreeMap<String, Vec<SocketAddr>>) -> Vec<KnownServer> {
        let known = |(name, addresses): (String, Vec<SocketAddr>)| {
            let here = addresses.iter().all(|address| address.ip().is_loopback());
            KnownServer { key: self.keys.get(&name).copied().filter(|_| !here), addresses }
        };
        servers.into_iter().map(known).collect()
    }

    /// This server has let the player in, at this address.
    pub(crate) fn learn(&mut self, server: &str, at: SocketAddr, key: [u8; 32]) {
        if at.ip().is_loopback() || self.keys.contains_key(server) {
            return;
        }
        self.keys.insert(server.to_owned(), key);
        if let Some(writer) = &self.writer {
            // So many new servers at once are none: the next login keeps it.
            let _ = writer.try_send((server.to_owned(), key));
        }
    }

    /// Returns the file with this server's line, if there is one.
    pub(crate) fn file_of(&self, server: &str) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.keys.contains_key(server))
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, [u8; 32]>> {
    let Some(text) = read_text(path, MAX_FILE)? else { return Ok(BTreeMap::new()) };
    let mut keys = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(char::is_whitespace).map(|(server, key)| (server, key.parse::<ServerKey>())) {
            Some((server, Ok(key))) => _ = keys.entry(server.to_lowercase()).or_insert(key.0),
            _ => bevy_log::warn!("line {} of {} is no server and its key", number + 1, path.display()),
        }
    }
    Ok(keys)
}

/// Adds a line, with one write. Another program may have added the same one meanwhile.
fn append(path: &Path, server: &str, key: &[u8; 32]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if read(path)?.contains_key(server) {
        return Ok(());
    }
    let mut file = private::options().read(true).append(true).create(true).open(path)?;
    let mut line = String::new();
    if file.seek(SeekFrom::End(0))? == 0 {
        restrict(path);
        line.push_str(HEAD);
    } else {
        // Somebody's editor, or a power cut, has left the last line without its end.
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            line.push('\n');
        }
    }
    line.push_str(&format!("{server} {}\n", ServerKey(*key)));
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let name = format!("bevy_traversal-known-{name}-{}", std::process::id());
        std::env::temp_dir().join(name)
    }

    fn servers(name: &str, address: &str) -> BTreeMap<String, Vec<SocketAddr>> {
        [(name.to_owned(), vec![address.parse().unwrap()])].into()
    }

    /// Does what one run of a program that logs in to this server does.
    fn run(path: &Path, name: &str, address: &str, key: [u8; 32]) -> Option<[u8; 32]> {
        let (mut known, thread) = Known::new(Some(path.to_owned()));
        let thread = std::thread::spawn(thread.unwrap());
        known.reload();
        let before = known.of(servers(name, address))[0].key;
        known.learn(name, address.parse().unwrap(), key);
        drop(known);
        thread.join().unwrap();
        before
    }

    #[test]
    fn a_key_is_kept_until_its_line_is_taken_out() {
        let folder = folder("kept");
        let path = folder.join("deeper").join("player.key.known_servers");
        assert_eq!(run(&path, "lobby.test:3478", "192.0.2.1:3478", [1; 32]), None);
        assert_eq!(run(&path, "other.test:9", "192.0.2.1:9", [2; 32]), None);
        // Another address behind the name, and another key: it is not kept over the first one.
        assert_eq!(run(&path, "lobby.test:3478", "192.0.2.7:3478", [3; 32]), Some([1; 32]));
        assert_eq!(run(&path, "lobby.test:3478", "192.0.2.1:3478", [1; 32]), Some([1; 32]));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("lobby.test:3478")).collect();
        fs::write(&path, rest.join("\n")).unwrap();
        assert_eq!(run(&path, "lobby.test:3478", "192.0.2.1:3478", [3; 32]), None);
        assert_eq!(run(&path, "lobby.test:3478", "192.0.2.1:3478", [3; 32]), Some([3; 32]));
        assert_eq!(run(&path, "other.test:9", "192.0.2.1:9", [2; 32]), Some([2; 32]), "the others stay");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn programs_that_share_the_file_do_not_lose_each_others_lines() {
        let folder = folder("shared");
        let path = folder.join("known_servers");
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8u8 {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    for server in 0..20 {
                        append(path, &format!("s{server}.of{number}:1"), &[number; 32]).unwrap();
                    }
                });
            }
        });
        let keys = read(&path).unwrap();
        assert_eq!(keys.len(), 160);
        assert_eq!(keys["s19.of7:1"], [7; 32]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_line_of_ours_spoils_no_other_one() {
        let folder = folder("broken");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("known_servers");
        let key = ServerKey([1; 32]);
        fs::write(
            &path,
            format!(
                "junk\nA.test:1 {key} \n\n# b.test:1 {key}\na.test:1 {}\nhalf:1 AAAA",
                ServerKey([2; 32])
            ),
        )
        .unwrap();
        assert_eq!(read(&path).unwrap(), [("a.test:1".to_owned(), [1; 32])].into(), "the first line counts");
        append(&path, "c.test:1", &[3; 32]).unwrap();
        assert_eq!(read(&path).unwrap()["c.test:1"], [3; 32]);
        fs::write(&path, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
        assert!(read(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn servers_on_this_machine_are_not_kept() {
        let folder = folder("here");
        let path = folder.join("known_servers");
        for (name, address) in
            [("127.0.0.1:9", "127.0.0.1:9"), ("[::1]:9", "[::1]:9"), ("localhost:9", "127.0.0.1:9")]
        {
            assert_eq!(run(&path, name, address, [1; 32]), None);
            assert_eq!(run(&path, name, address, [2; 32]), None);
        }
        assert!(!path.exists());
    }
}
