//! Bans: who may not log in, by player, by address or prefix, for all games or one, until a time or for good.
//!
//! They are kept in a small file, which is written whole when one changes. Their number is bounded, and looking one up takes
//! the same time however many there are.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use traversal_core::id::PlayerId;
use traversal_core::text;
use traversal_core::wire::message::LoginRefusal;
use traversal_udp::private::read_at_most;

/// There are so many bans at the most; one takes some 300 bytes.
pub const MOST: usize = 10_000;
/// A file of this program is no longer than that.
const LONGEST: u64 = 8 << 20;
/// A prefix that a ban names has so many bits at the least: a wider one is a mistake, and bans a large part of the world.
const WIDEST: [u8; 2] = [8, 16];

/// This is whom a ban is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whom {
    /// The player with this id: whoever has its key, at whatever address.
    Player(PlayerId),
    /// Everybody at these addresses; the rest of the first one is zero behind so many bits.
    Prefix(IpAddr, u8),
}

/// A text names nobody who can be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWhom {
    /// It is neither an id nor an address.
    #[error("a ban names the 32 digits of a player's id, an address or a prefix, as in 203.0.113.0/24")]
    Text,
    /// The prefix has more addresses than anybody wants to ban.
    #[error("a prefix has at least {} bits for IPv4 and {} for IPv6", WIDEST[0], WIDEST[1])]
    TooWide,
}

impl FromStr for Whom {
    type Err = NotWhom;

    fn from_str(text: &str) -> Result<Self, NotWhom> {
        if text.len() == 32
            && let Ok(id) = u128::from_str_radix(text, 16)
            && !text.starts_with('+')
        {
            return Ok(Self::Player(PlayerId(id.to_be_bytes())));
        }
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| NotWhom::Text)?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| NotWhom::Text)?;
        if bits > all {
            return Err(NotWhom::Text);
        }
        if bits < WIDEST[usize::from(ip.is_ipv6())] {
            return Err(NotWhom::TooWide);
        }
        Ok(Self::Prefix(cut(ip, bits), bits))
    }
}

/// Returns the first address of the prefix of so many bits that this one is in.
fn cut(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Player(id) => write!(f, "{id}"),
            Self::Prefix(ip, bits) if *bits == if ip.is_ipv4() { 32 } else { 128 } => write!(f, "{ip}"),
            Self::Prefix(ip, bits) => write!(f, "{ip}/{bits}"),
        }
    }
}

impl TryFrom<String> for Whom {
    type Error = NotWhom;

    fn try_from(text: String) -> Result<Self, NotWhom> {
        text.parse()
    }
}

impl From<Whom> for String {
    fn from(whom: Whom) -> Self {
        whom.to_string()
    }
}

/// This is one ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// These players may not log in.
    pub whom: Whom,
    /// The ban is for this game. `None`: it is for all.
    pub game: Option<String>,
    /// The ban ends at this time, in seconds since 1970. `None`: it does not end by itself.
    pub until: Option<u64>,
    /// The ban was made at this time, in seconds since 1970.
    pub since: u64,
    /// The players read this reason.
    pub reason: String,
}

/// A ban cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {MOST} bans, which are all that may be; lift some")]
pub struct TooMany;

/// These are all bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    bans: BTreeMap<(Whom, Option<String>), Ban>,
    /// So many bans have prefixes of these lengths, by family.
    lengths: BTreeMap<(bool, u8), usize>,
}

impl Bans {
    /// Adds a ban, which takes the place of one of the same for the same game. Those that are over at this time, in seconds
    /// since 1970, make room.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn add(&mut self, now_s: u64, ban: Ban) -> Result<(), TooMany> {
        let key = (ban.whom, ban.game.clone());
        if self.bans.len() >= MOST && !self.bans.contains_key(&key) {
            self.forget_old(now_s);
            if self.bans.len() >= MOST {
                return Err(TooMany);
            }
        }
        self.remove(&key);
        if let Whom::Prefix(ip, bits) = ban.whom {
            *self.lengths.entry((ip.is_ipv6(), bits)).or_default() += 1;
        }
        self.bans.insert(key, ban);
        Ok(())
    }

    /// Lifts the ban of these for a game, or all of theirs where no game is named, and returns what was lifted.
    pub fn lift(&mut self, whom: Whom, game: Option<&str>) -> Vec<Ban> {
        let meant = |ban: &&Ban| game.is_none() || ban.game.as_deref() == game;
        let keys: Vec<_> = self.of(whom).filter(meant).map(|ban| (ban.whom, ban.game.clone())).collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Forgets those that are over at this time.
    pub fn forget_old(&mut self, now_s: u64) {
        let over = |ban: &&Ban| !ban.holds(now_s);
        let keys: Vec<_> = self.bans.values().filter(over).map(|ban| (ban.whom, ban.game.clone())).collect();
        keys.iter().for_each(|key| drop(self.remove(key)));
    }

    /// Gives all of them, those that are over too.
    pub fn all(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values()
    }

    /// Returns the ban that keeps this player out at this time, if there is one: of several the one that lasts longest.
    pub fn find(&self, now_s: u64, player: PlayerId, ip: IpAddr, game: &str) -> Option<&Ban> {
        let meant = |ban: &&Ban| ban.holds(now_s) && ban.game.as_deref().is_none_or(|only| only == game);
        let of_player = self.of(Whom::Player(player));
        let bans = of_player.chain(self.at(ip)).filter(meant);
        bans.max_by_key(|ban| ban.until.unwrap_or(u64::MAX))
    }

    /// Returns whether everybody at this address is kept out of all games at this time.
    pub(crate) fn has_address(&self, now_s: u64, ip: IpAddr) -> bool {
        self.at(ip).any(|ban| ban.game.is_none() && ban.holds(now_s))
    }

    /// Gives those of all prefixes that an address is in: as many look-ups as there are lengths.
    fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Ban> {
        let ip = ip.to_canonical();
        let lengths = self.lengths.keys().filter(move |(v6, _)| *v6 == ip.is_ipv6());
        lengths.flat_map(move |(_, bits)| self.of(Whom::Prefix(cut(ip, *bits), *bits)))
    }

    fn of(&self, whom: Whom) -> impl Iterator<Item = &Ban> {
        // No game sorts before any.
        self.bans.range((whom, None)..).map(|(_, ban)| ban).take_while(move |ban| ban.whom == whom)
    }

    fn remove(&mut self, key: &(Whom, Option<String>)) -> Option<Ban> {
        let ban = self.bans.remove(key)?;
        if let Whom::Prefix(ip, bits) = ban.whom
            && let Some(count) = self.lengths.get_mut(&(ip.is_ipv6(), bits))
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&(ip.is_ipv6(), bits));
            }
        }
        Some(ban)
    }
}

impl Ban {
    /// Returns whether it is not over at this time, in seconds since 1970.
    pub fn holds(&self, now_s: u64) -> bool {
        self.until.is_none_or(|until| until > now_s)
    }

    /// Returns what its player is told at this time.
    pub(crate) fn refusal(&self, now_s: u64) -> LoginRefusal {
        LoginRefusal::Banned {
            reason: text::REASON.clean(&self.reason),
            left_s: self.until.map(|until| until.saturating_sub(now_s)),
        }
    }
}

/// The file of bans cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the bans in {} cannot be read; mend the file, or move it away to begin without any", path.display())]
pub struct BansError {
    /// This is the file.
    pub path: PathBuf,
    /// This is what is wrong with it.
    #[source]
    pub source: io::Error,
}

/// This is the file that they are kept in.
#[derive(Clone, Debug)]
pub(crate) struct BansFile(PathBuf);

impl BansFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads them; none where there is no file.
    pub(crate) fn read(&self, now_s: u64) -> Result<Bans, BansError> {
        let error = |source| BansError { path: self.0.clone(), source };
        let text = match read_at_most(&self.0, LONGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bans::default()),
            read => read.map_err(error)?,
        };
        let list: Vec<Ban> = serde_json::from_slice(&text).map_err(|failed| error(failed.into()))?;
        let mut bans = Bans::default();
        for ban in list.into_iter().filter(|ban| ban.holds(now_s)) {
            bans.add(now_s, ban).map_err(|failed| error(io::Error::other(failed)))?;
        }
        Ok(bans)
    }

    /// Writes these bans into the file in place of what it had.
    #[cfg(unix)] // an operator asks at a Unix socket
    pub(crate) fn write(&self, bans: &Bans) -> io::Result<()> {
        let list: Vec<&Ban> = bans.all().collect();
        crate::files::replace(&self.0, serde_json::to_string_pretty(&list)?.as_bytes())
    }
}

#[cfg(test)]
mod tests;
