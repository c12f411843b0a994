//! What renet is not given of what a player sends.
//!
//! renet 2.0.1 trusts whoever it is connected with. Some packets that no renet makes have it panic (a slice whose number is
//! beyond its message, slices of one message that do not agree how many they are), keep memory without bound (messages far
//! ahead of the one that is missing, packets that count down), or write a line to the log for each message (what finds an
//! unreliable channel full). A player with a changed game could end the game of all. [`Guard`] knows of each connection what
//! renet has of it, and lets nothing of that kind through.
//!
//! It follows renet's `packet.rs`, `remote_connection.rs` and `channel/`. A newer renet has to be compared with it: the tests
//! below run both against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bevy_renet::renet::{ChannelConfig, SendType};
use octets::{BufferTooShortError, Octets, OctetsMut};

/// A slice that is not the last one of its message has this many bytes.
const SLICE: usize = 1200;
/// One message may have at most this many slices.
const MAX_SLICES: u64 = 1_000_000;
/// This is how far behind the newest one a packet may be: a second and more of renet's default rate (60 kB in each of
/// 60 ticks a second). What comes later is as good as lost, and renet sends it again where that matters.
const PACKETS: u64 = 4096;
/// At most this many messages of a reliable channel may come before one that is missing. A game does not send so many
/// in a round trip.
const MESSAGES_AHEAD: u64 = 65_536;
/// At most this many sliced messages of an unreliable channel may come after one whose slices still count.
const SLICED: u64 = 1024;
/// Slices of an unreliable message that come later than so after the one before are dropped: renet forgets the message
/// after 3 s.
const LATE: Duration = Duration::from_millis(2500);
/// This is when renet has forgotten it for sure: 3 s, and the longest frame that is likely.
const FORGOTTEN: Duration = Duration::from_secs(4);
/// This is what each message takes in memory beside its bytes.
const OVERHEAD: usize = 64;

/// This is what is to be done with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The packet goes to renet.
    Pass,
    /// Give this one to renet in its place: it has nothing but the packet's number, which the sender waits to hear of.
    Instead(Vec<u8>),
    /// The packet is dropped: it is too old.
    Drop,
    /// No renet has made it: end the connection.
    Refuse,
}

/// Looks at what comes over one connection, and keeps what is needed for that.
#[derive(Debug)]
pub(crate) struct Guard {
    channels: BTreeMap<u8, Channel>,
    newest: u64,
    frame: Duration,
    /// The other side only watches: its acknowledgements pass, and none of its messages.
    spectator: bool,
}

#[derive(Debug)]
enum Channel {
    Reliable(Reliable),
    Unreliable(Unreliable),
}

/// No renet has made the packet.
#[derive(Debug)]
struct Malformed;

impl From<BufferTooShortError> for Malformed {
    fn from(_: BufferTooShortError) -> Self {
        Self
    }
}

impl Guard {
    /// Makes a guard for a connection that receives on these channels.
    pub(crate) fn new(channels: &[ChannelConfig]) -> Self {
        let channel = |config: &ChannelConfig| {
            let memory = config.max_memory_usage_bytes;
            let channel = match config.send_type {
                SendType::Unreliable => Channel::Unreliable(Unreliable::new(memory)),
                _ => Channel::Reliable(Reliable::new(memory)),
            };
            (config.channel_id, channel)
        };
        Self {
            channels: channels.iter().map(channel).collect(),
            newest: 0,
            frame: Duration::ZERO,
            spectator: false,
        }
    }

    /// Makes it the guard of a player who only watches. renet needs the acknowledgements of such a player to send to it; what
    /// carries a message is dropped, and not acknowledged.
    pub(crate) fn of_spectator(self) -> Self {
        Self { spectator: true, ..self }
    }

    /// Looks at a packet that came in the frame of this time.
    pub(crate) fn check(&mut self, packet: &[u8], now: Duration) -> Verdict {
        if self.frame != now {
            self.frame = now;
            for channel in self.channels.values_mut() {
                if let Channel::Unreliable(channel) = channel {
                    channel.begin_frame(now);
                }
            }
        }
        self.judge(packet, now).unwrap_or(Verdict::Refuse)
    }

    fn judge(&mut self, packet: &[u8], now: Duration) -> Result<Verdict, Malformed> {
        let mut packet = Octets::with_slice(packet);
        let kind = packet.get_u8()?;
        let sequence = packet.get_varint()?;
        if sequence.saturating_add(PACKETS) < self.newest {
            return Ok(Verdict::Drop);
        }
        if kind == 4 {
            acknowledgements(&mut packet)?;
            self.newest = self.newest.max(sequence);
            return Ok(Verdict::Pass);
        }
        if self.spectator {
            return Ok(Verdict::Drop);
        }
        let id = packet.get_u8()?;
        let channel = self.channels.get_mut(&id).ok_or(Malformed)?;
        let wanted = match (kind, channel) {
            (0, Channel::Reliable(channel)) => channel.small(&mut packet)?,
            (1, Channel::Unreliable(channel)) => channel.small(&mut packet)?,
            (2, Channel::Reliable(channel)) => channel.slice(&Slice::read(&mut packet)?)?,
            (3, Channel::Unreliable(channel)) => channel.slice(&Slice::read(&mut packet)?, now)?,
            _ => return Err(Malformed),
        };
        self.newest = self.newest.max(sequence);
        Ok(if wanted { Verdict::Pass } else { Verdict::Instead(empty(kind, sequence, id)?) })
    }
}

/// Returns a packet of the same number, channel and reliability, without messages.
fn empty(kind: u8, sequence: u64, channel: u8) -> Result<Vec<u8>, Malformed> {
    let mut bytes = [0; 16];
    let mut packet = OctetsMut::with_slice(&mut bytes);
    packet.put_u8(kind % 2)?;
    packet.put_varint(sequence)?;
    packet.put_u8(channel)?;
    packet.put_u16(0)?;
    let length = packet.off();
    Ok(bytes[..length].to_vec())
}

/// Reads ranges of packet numbers, each below the one before, with one number between them at least.
fn acknowledgements(packet: &mut Octets<'_>) -> Result<(), Malformed> {
    let mut end = packet.get_varint()?;
    let mut size = packet.get_varint()?;
    let further = packet.get_varint()?;
    for _ in 0..further {
        let start = end.checked_sub(size).ok_or(Malformed)?;
        let gap = packet.get_varint()?;
        end = start.checked_sub(gap + 2).ok_or(Malformed)?;
        size = packet.get_varint()?;
    }
    end.checked_sub(size).map(|_| ()).ok_or(Malformed)
}

/// This is a part of a message.
struct Slice {
    message: u64,
    index: usize,
    count: usize,
    length: usize,
}

impl Slice {
    fn read(packet: &mut Octets<'_>) -> Result<Self, Malformed> {
        let message = packet.get_varint()?;
        let (index, count) = (packet.get_varint()?, packet.get_varint()?);
        let length = packet.get_bytes_with_varint_length()?.len();
        let last = index + 1 == count;
        if count > MAX_SLICES || index >= count || length == 0 || length > SLICE || (!last && length != SLICE)
        {
            return Err(Malformed);
        }
        Ok(Self { message, index: index as usize, count: count as usize, length })
    }

    /// Returns how much memory renet sets aside for the whole message, in bytes.
    fn claim(&self) -> usize {
        self.count * SLICE
    }
}

/// This is a message of which some slices are there.
#[derive(Debug)]
struct Partial {
    received: Vec<bool>,
    missing: usize,
    last: Duration,
}

impl Partial {
    fn new(slices: usize) -> Self {
        Self { received: vec![false; slices], missing: slices, last: Duration::ZERO }
    }

    /// Takes a slice; true: the message is whole now.
    fn take(&mut self, slice: &Slice) -> Result<bool, Malformed> {
        let received = self.received.get_mut(slice.index).ok_or(Malformed)?;
        if !std::mem::replace(received, true) {
            self.missing -= 1;
        }
        Ok(self.missing == 0)
    }
}

#[derive(Debug)]
struct Reliable {
    memory: usize,
    /// All messages before this one have come.
    front: u64,
    /// These are the later ones that have come.
    ahead: BTreeSet<u64>,
    partial: BTreeMap<u64, Partial>,
    /// This is the memory that renet has set aside for partial ones.
    claimed: usize,
}

impl Reliable {
    fn new(memory: usize) -> Self {
        Self { memory, front: 0, ahead: BTreeSet::new(), partial: BTreeMap::new(), claimed: 0 }
    }

    fn has(&self, message: u64) -> bool {
        message < self.front || self.ahead.contains(&message)
    }

    fn may_come(&self, message: u64) -> Result<(), Malformed> {
        if message >= self.front.saturating_add(MESSAGES_AHEAD) { Err(Malformed) } else { Ok(()) }
    }

    fn came(&mut self, message: u64) {
        if message != self.front {
            self.ahead.insert(message);
            return;
        }
        self.front += 1;
        while self.ahead.remove(&self.front) {
            self.front += 1;
        }
    }

    fn small(&mut self, packet: &mut Octets<'_>) -> Result<bool, Malformed> {
        for _ in 0..packet.get_u16()? {
            let message = packet.get_varint()?;
            packet.get_bytes_with_varint_length()?;
            self.may_come(message)?;
            if self.partial.contains_key(&message) {
                return Err(Malformed);
            }
            if !self.has(message) {
                self.came(message);
            }
        }
        Ok(true)
    }

    /// Returns false if renet has the whole message, and would begin another one with this slice.
    fn slice(&mut self, slice: &Slice) -> Result<bool, Malformed> {
        self.may_come(slice.message)?;
        if self.has(slice.message) {
            return Ok(false);
        }
        if !self.partial.contains_key(&slice.message) {
            if self.claimed + slice.claim() > self.memory {
                // renet ends the connection, and says why.
                return Ok(true);
            }
            self.claimed += slice.claim();
        }
        let partial = self.partial.entry(slice.message).or_insert_with(|| Partial::new(slice.count));
        if partial.received.len() != slice.count {
            return Err(Malformed);
        }
        if partial.take(slice)? {
            self.partial.remove(&slice.message);
            self.claimed -= slice.claim();
            self.came(slice.message);
        }
        Ok(true)
    }
}

#[derive(Debug)]
struct Unreliable {
    memory: usize,
    newest: u64,
    /// This is how many slices each of the latest sliced messages has.
    counts: BTreeMap<u64, usize>,
    partial: BTreeMap<u64, Partial>,
    /// This is the memory that renet has set aside for partial ones.
    claimed: usize,
    /// Whole messages have this many bytes in this frame.
    whole: usize,
}

impl Unreliable {
    fn new(memory: usize) -> Self {
        Self { memory, newest: 0, counts: BTreeMap::new(), partial: BTreeMap::new(), claimed: 0, whole: 0 }
    }

    /// The game has read what came in the frame before. renet forgets partial messages in their order, up to the first one
    /// that is not old enough.
    fn begin_frame(&mut self, now: Duration) {
        self.whole = 0;
        while let Some(oldest) = self.partial.first_entry()
            && now.saturating_sub(oldest.get().last) >= FORGOTTEN
        {
            self.claimed -= oldest.remove().received.len() * SLICE;
        }
    }

    /// Half of the channel's memory is for whole messages, so that they find room while parts of others wait.
    fn has_room(used: usize, more: usize, memory: usize) -> bool {
        used.saturating_add(more) <= memory / 2
    }

    fn small(&mut self, packet: &mut Octets<'_>) -> Result<bool, Malformed> {
        let mut bytes = 0;
        for _ in 0..packet.get_u16()? {
            bytes += packet.get_bytes_with_varint_length()?.len() + OVERHEAD;
        }
        let room = Self::has_room(self.whole, bytes, self.memory);
        self.whole += if room { bytes } else { 0 };
        Ok(room)
    }

    /// Returns false if the slice comes too late, or finds no room.
    fn slice(&mut self, slice: &Slice, now: Duration) -> Result<bool, Malformed> {
        if slice.message.saturating_add(SLICED) < self.newest {
            return Ok(false);
        }
        self.newest = self.newest.max(slice.message);
        let oldest = self.newest.saturating_sub(SLICED);
        while self.counts.first_key_value().is_some_and(|(message, _)| *message < oldest) {
            self.counts.pop_first();
        }
        if *self.counts.entry(slice.message).or_insert(slice.count) != slice.count {
            return Err(Malformed);
        }
        match self.partial.get(&slice.message) {
            Some(partial) if now.saturating_sub(partial.last) >= LATE => return Ok(false),
            Some(_) => {}
            None => {
                let room = Self::has_room(self.claimed, slice.claim(), self.memory)
                    && Self::has_room(self.whole, slice.claim(), self.memory);
                if !room {
                    return Ok(false);
                }
                self.claimed += slice.claim();
            }
        }
        let partial = self.partial.entry(slice.message).or_insert_with(|| Partial::new(slice.count));
        partial.last = now;
        if partial.take(slice)? {
            self.partial.remove(&slice.message);
            self.claimed -= slice.claim();
            self.whole += (slice.count - 1) * SLICE + slice.length + OVERHEAD;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
