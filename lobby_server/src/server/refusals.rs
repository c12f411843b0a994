//! What the server did not do for somebody, counted by reason: what an operator asks first when players complain.

use traversal_core::wire::message::LoginRefusal;

/// Declares the reasons, with what was refused and why as the metrics name it.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = ($what:literal, $reason:literal),)*) => {
        /// This is what was refused, and why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// These are all of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Names what was refused, as the metrics do.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }

            /// Names the reason, as the metrics do.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }
        }

        const COUNT: usize = [$(Refusal::$name,)*].len();
    };
}

refusals! {
    /// A login: there are `max_sessions` players.
    LoginFull = ("login", "full"),
    /// A login: its address has `max_sessions_per_address` players.
    LoginAddressFull = ("login", "address-full"),
    /// A login: the server does not serve its game.
    LoginGame = ("login", "game"),
    /// A login: its token was not taken.
    LoginToken = ("login", "token"),
    /// A login: it showed no ticket of the game's login service that serves here.
    LoginTicket = ("login", "ticket"),
    /// A login: its player or address is banned.
    LoginBanned = ("login", "banned"),
    /// A login: its token could not be checked in time.
    LoginUnchecked = ("login", "unchecked"),
    /// A login: one of its fields breaks a rule.
    LoginMalformed = ("login", "malformed"),
    /// A login: the server is about to stop.
    LoginStopping = ("login", "stopping"),
    /// A login: for a reason that has no name here.
    LoginOther = ("login", "other"),
    /// A login: its address logs in more often than it may.
    LoginRate = ("login", "rate"),
    /// The first datagram of a login: its address sends more of them than it may.
    HelloRate = ("hello", "rate"),
    /// The first datagram of a login: more come than can be served beside the players who are logged in.
    HelloBusy = ("hello", "busy"),
    /// A session that moved stays where it was: the new address has `max_sessions_per_address` players.
    MoveAddressFull = ("move", "address-full"),
    /// A room, or a quick match: there are `max_rooms` rooms.
    RoomsFull = ("room", "full"),
    /// A room: its address has opened `max_rooms_per_address`.
    RoomsOfAddress = ("room", "address-full"),
    /// A quick match: `max_queued_per_address` players of its address wait already.
    QueueOfAddress = ("quick-match", "address-full"),
    /// A request of a player: it makes more than it may.
    RequestRate = ("request", "rate"),
    /// A request or message of a player: it would have others told more than one may.
    EffectRate = ("request", "effects"),
    /// A message of a player: what it is told itself has not been acknowledged for too long.
    BackedUp = ("request", "backed-up"),
    /// A frame of a player: it sends more than it may.
    FrameRate = ("frame", "rate"),
    /// A probe of a player: it sends more than it may.
    ProbeRate = ("probe", "rate"),
    /// A knock at a mapping: the player asks for more than it may.
    KnockRate = ("knock", "rate"),
    /// A datagram to a port that a router forwards: the address asks for more than it may.
    MappedPortRate = ("mapped-port", "rate"),
    /// A STUN request: its address sends more than it may.
    StunRate = ("stun", "rate"),
    /// A STUN request: its answer was to go to another port, which has not asked, or too often.
    StunPort = ("stun", "response-port"),
    /// A password of a room: too many wrong ones came.
    PasswordRate = ("password", "rate"),
    /// A code of a room: the address tries more than it may.
    CodeRate = ("code", "rate"),
    /// A list of rooms: its address, or all together, have more rooms looked at than they may, or too many games are asked
    /// for.
    ListRate = ("list", "rate"),
    /// A list of contacts: it has more than `max_contacts`.
    ContactsFull = ("contacts", "full"),
    /// A list of contacts: its address sends more of them than it may.
    ContactsRate = ("contacts", "rate"),
    /// A call: its player makes more of them than it may.
    CallRate = ("call", "rate"),
    /// A call: it rings too often at the one who is called.
    RingRate = ("ring", "rate"),
    /// A probe for the other server: its address sends more of them than are handed over.
    NeighbourProbeRate = ("neighbour-probe", "rate"),
    /// A datagram that the other server wants sent: its address gets as much as it may.
    NeighbourSendRate = ("neighbour-send", "rate"),
    /// The same: it is to prove that a port is forwarded, and something has come here from there.
    NeighbourHeard = ("neighbour-send", "heard"),
    /// The relay, for a match: those that use it need all that there is.
    RelayFull = ("relay", "full"),
    /// The relay, for a match: the day's or the month's budget is used up.
    RelayBudget = ("relay", "budget"),
    /// The relay, for a match: the budget of its game is used up.
    RelayGameBudget = ("relay", "game-budget"),
    /// A datagram for the relay: it is over a rate.
    RelayRate = ("relay-datagram", "rate"),
    /// A TCP connection: there are as many as there may be, all with players who are logged in.
    TcpFull = ("tcp", "full"),
    /// A TCP connection: its address has `max_tcp_per_address`.
    TcpOfAddress = ("tcp", "address-full"),
    /// A connection of TLS: its address begins more of them than it may.
    TlsRate = ("tls", "rate"),
    /// A text: chat is switched off.
    ChatOff = ("chat", "off"),
    /// A text: its player writes more than it may.
    ChatRate = ("chat", "rate"),
    /// A text: more is written in its room than may be.
    ChatRoomRate = ("chat", "room-rate"),
    /// A text: it breaks its rule.
    ChatText = ("chat", "text"),
    /// A text to another player: that one is not on line, or the two have not allowed each other.
    ChatUnreached = ("chat", "not-reached"),
    /// A report of another player: its player makes more of them than it may.
    ReportRate = ("report", "rate"),
}

impl Refusal {
    /// Says why this login was refused, where that is none of the server's limits.
    pub(crate) fn of_login(refusal: &LoginRefusal) -> Self {
        match refusal {
            LoginRefusal::UnknownGame { .. } => Self::LoginGame,
            LoginRefusal::Token { .. } => Self::LoginToken,
            LoginRefusal::Ticket { .. } => Self::LoginTicket,
            LoginRefusal::Banned { .. } => Self::LoginBanned,
            LoginRefusal::Malformed { .. } => Self::LoginMalformed,
            LoginRefusal::Full => Self::LoginFull,
            LoginRefusal::Stopping => Self::LoginStopping,
            LoginRefusal::Unchecked => Self::LoginUnchecked,
            _ => Self::LoginOther,
        }
    }
}

/// These are the counts of all refusals since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals([u64; COUNT]);

impl Default for Refusals {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Refusals {
    /// Counts one more.
    pub(crate) fn count(&mut self, refusal: Refusal) {
        self.count_many(refusal, 1);
    }

    /// Counts this many more.
    pub(crate) fn count_many(&mut self, refusal: Refusal, count: u64) {
        self.0[refusal as usize] += count;
    }

    /// Adds those of somebody else.
    pub(crate) fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(own, other)| *own += other);
    }

    /// Returns how often this was refused.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// Gives each with its count, those that never happened too.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.iter().map(|refusal| (*refusal, self.of(*refusal)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_reasons_have_one_name() {
        let names: BTreeSet<_> =
            Refusal::ALL.iter().map(|refusal| (refusal.what(), refusal.reason())).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        let mut refusals = Refusals::default();
        refusals.count(Refusal::TcpOfAddress);
        assert_eq!(refusals.iter().filter(|(_, count)| *count > 0).count(), 1);
        assert_eq!(refusals.of(Refusal::TcpOfAddress), 1);
    }
}
