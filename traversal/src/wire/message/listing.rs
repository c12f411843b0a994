//! What a player wants to see of the public rooms, and the news of those that it watches.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::room::RoomSummary;
use super::to_player::RequestError;
use crate::method::ExpectedWay;
use crate::text::{self, TextError};

/// A query has at most this many filters.
pub const MAX_FILTERS: usize = 8;
/// A filter names at most this many values.
pub const MAX_FILTER_VALUES: usize = 8;
/// The keys and values of all filters together have at most this many bytes, so that a query fits one datagram.
pub const MAX_FILTER_BYTES: usize = 512;
/// One query asks for at most this many rooms: a screen shows far fewer.
pub const MAX_LISTED: u16 = 500;
/// A player watches at most this many rooms.
pub const MAX_WATCHED: u16 = 100;
/// A listing shows this many bytes of a room's metadata at the most, keys and values together. Those of the first keys
/// are shown; a value that does not fit is left out. Filters look at all of them.
pub const MAX_LISTED_METADATA: usize = 384;
/// A listing that names the keys which it wants ([`RoomQuery::show`]) shows at most this many bytes, in the order of
/// the names: two of the longest values would not fit a datagram.
pub const MAX_NAMED_METADATA: usize = 600;
/// A query names at most this many keys.
pub const MAX_SHOWN_KEYS: usize = 8;
/// A property of a room whose key begins so is for everybody: filters look at it as they look at metadata, and listings show it
/// where it is asked for by its whole key. So a room says up to 4 KiB of itself
/// ([`MAX_ROOM_BYTES`](super::MAX_ROOM_BYTES)) beside its metadata.
pub const LISTED_PREFIX: &str = "list.";
/// News of watched rooms come with at least this pause between them, in milliseconds: twice a second.
pub const MIN_WATCH_PAUSE_MS: u16 = 500;

/// This says which public rooms of the game are wanted, in which order. The default is all of them, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomQuery {
    /// A room has to pass all of these, at most [`MAX_FILTERS`].
    pub filters: Vec<RoomFilter>,
    /// This has to stand somewhere in the name of the room or of its host; case and width of letters do not count. Empty:
    /// every room is wanted. It keeps to the rule [`text::SEARCH`].
    pub text: String,
    /// Only rooms that have a place left are wanted.
    pub not_full: bool,
    /// Only rooms without a password are wanted.
    pub no_password: bool,
    /// Only rooms of the same protocol of the game are wanted: others cannot be entered.
    pub same_protocol: bool,
    /// Rooms that are expected to be [out of reach](ExpectedWay::Unreachable) are left out.
    pub reachable: bool,
    /// Only rooms are wanted that are expected to be reached [directly](ExpectedWay::Direct).
    pub direct: bool,
    /// Only rooms of servers in this region are wanted, as their operators name it; empty: of all regions. It keeps to the
    /// rule [`text::REGION`].
    pub region: String,
    /// The rooms come in this order.
    pub sort: RoomSort,
    /// The order is turned round.
    pub descending: bool,
    /// The page begins after this place; none: with the first room.
    pub after: Option<RoomCursor>,
    /// At most this many rooms are wanted: 1 to [`MAX_LISTED`], and to [`MAX_WATCHED`] where they are watched. The
    /// default is 100.
    pub limit: u16,
    /// The values of these keys are to be shown, at most [`MAX_SHOWN_KEYS`]: of the metadata, and of the room's properties that
    /// are [for everybody](LISTED_PREFIX). Empty: those of the first keys of the metadata. They count for
    /// [`MAX_FILTER_BYTES`], too.
    pub show: Vec<String>,
}

impl Default for RoomQuery {
    fn default() -> Self {
        Self {
            filters: Vec::new(),
            text: String::new(),
            not_full: false,
            no_password: false,
            same_protocol: false,
            reachable: false,
            direct: false,
            region: String::new(),
            sort: RoomSort::default(),
            descending: false,
            after: None,
            limit: 100,
            show: Vec::new(),
        }
    }
}

/// This is a condition on one key of a room's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFilter {
    /// This key is looked at.
    pub key: String,
    /// This has to hold for its value.
    pub test: FilterTest,
}

/// This has to hold for a value of a room's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FilterTest {
    /// The value is this text.
    Equal(String),
    /// The value is another text, or there is none.
    NotEqual(String),
    /// The value is a number less than this one. A value that is no number does not pass.
    Less(String),
    /// The value is a number greater than this one. A value that is no number does not pass.
    Greater(String),
    /// The value is one of these texts, at most [`MAX_FILTER_VALUES`].
    OneOf(Vec<String>),
    /// There is a value, whatever it is.
    Exists,
}

/// This is the order of a listing. Rooms that are alike in it come in the order of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RoomSort {
    /// Rooms come by their names, in which case does not count.
    #[default]
    Name,
    /// The emptiest rooms come first.
    Players,
    /// The youngest rooms come first.
    Age,
    /// The nearest rooms come first: those of the same region by [`RoomSummary::rtt_ms`], then all others.
    RoundTrip,
}

impl RoomSort {
    /// Compares two rooms as a listing in this order does.
    pub fn compare(self, a: &RoomSummary, b: &RoomSummary) -> Ordering {
        let distance = |room: &RoomSummary| room.rtt_ms.unwrap_or(u16::MAX);
        let first = match self {
            Self::Name => Ordering::Equal,
            Self::Players => a.members.cmp(&b.members),
            Self::Age => a.age_s.cmp(&b.age_s),
            Self::RoundTrip => distance(a).cmp(&distance(b)),
        };
        first.then_with(|| text::fold(&a.name).cmp(&text::fold(&b.name)))
    }
}

/// This is a place in a listing, behind its last room. It is to be given back as it came: rooms that have changed since may be
/// missing on the next page, or be on it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomCursor {
    /// The room stood at this place of the order.
    pub value: u64,
    /// The room has this name.
    #[serde(deserialize_with = "text::read_room_name")]
    pub name: String,
}

/// This is what has changed among the rooms that a player watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomsNews {
    /// The player has numbered its wish with this one.
    pub watch: u32,
    /// The first news of a wish has the number 0, each further one the next.
    pub number: u32,
    /// These rooms are new, or are like this now.
    pub changed: Vec<RoomSummary>,
    /// The rooms with these codes are gone, or are not wanted any more.
    pub gone: Vec<String>,
    /// Nothing is left to be said at the moment: the player knows all the rooms that it wants.
    pub settled: bool,
}

/// This says why a query cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There are too many filters.
    #[error("{count} filters: at most {MAX_FILTERS} are allowed")]
    Filters {
        /// This is how many there are.
        count: usize,
    },
    /// Too many keys are to be shown.
    #[error("{count} keys to be shown: at most {MAX_SHOWN_KEYS} are allowed")]
    Shown {
        /// This is how many there are.
        count: usize,
    },
    /// A filter names no value, or too many.
    #[error("{count} values for \"{key}\": 1 to {MAX_FILTER_VALUES} are allowed")]
    Values {
        /// The filter is on this key.
        key: String,
        /// It names this many.
        count: usize,
    },
    /// The filters are too long.
    #[error("filters and keys of {bytes} bytes: at most {MAX_FILTER_BYTES} are allowed, with the values")]
    Bytes {
        /// They have this many.
        bytes: usize,
    },
    /// What a value is to be compared with is no number.
    #[error("\"{value}\" for \"{key}\": less and greater need a number, as in 5 or -2.5")]
    Number {
        /// The filter is on this key.
        key: String,
        /// This is no number.
        value: String,
    },
    /// Too many rooms are wanted, or none.
    #[error("{limit} rooms: 1 to {most} are allowed")]
    Limit {
        /// This many are wanted.
        limit: u16,
        /// This many are allowed.
        most: u16,
    },
    /// A text breaks its rule.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl From<QueryError> for RequestError {
    fn from(error: QueryError) -> Self {
        Self::Malformed { what: error.to_string() }
    }
}

/// Reads a number as hosts and players write it; none: it is none, or not a finite one.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl FilterTest {
    /// Returns whether this value of a room's metadata passes; none: the room has none.
    pub fn passes(&self, value: Option<&str>) -> bool {
        match self {
            Self::Equal(wanted) => value == Some(wanted.as_str()),
            Self::NotEqual(unwanted) => value != Some(unwanted.as_str()),
            Self::Less(bound) => {
                value.and_then(number).zip(number(bound)).is_some_and(|(is, than)| is < than)
            }
            Self::Greater(bound) => {
                value.and_then(number).zip(number(bound)).is_some_and(|(is, than)| is > than)
            }
            Self::OneOf(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
            Self::Exists => value.is_some(),
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Self::Equal(value) | Self::NotEqual(value) | Self::Less(value) | Self::Greater(value) => {
                std::slice::from_ref(value)
            }
            Self::OneOf(values) => values,
            Self::Exists => &[],
        }
    }
}

impl RoomFilter {
    /// Makes a filter on this key.
    pub fn new(key: impl Into<String>, test: FilterTest) -> Self {
        Self { key: key.into(), test }
    }

    fn check(&self) -> Result<(), QueryError> {
        text::METADATA_KEY.check(&self.key)?;
        let values = self.test.values();
        for value in values {
            text::METADATA_VALUE.check(value)?;
        }
        match &self.test {
            FilterTest::OneOf(values) if values.is_empty() || values.len() > MAX_FILTER_VALUES => {
                Err(QueryError::Values { key: self.key.clone(), count: values.len() })
            }
            FilterTest::Less(bound) | FilterTest::Greater(bound) if number(bound).is_none() => {
                Err(QueryError::Number { key: self.key.clone(), value: bound.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl RoomQuery {
    /// Returns the query with its texts as they are compared.
    ///
    /// # Errors
    /// Which limit it breaks; `most` is the greatest number of rooms.
    pub fn checked(self, most: u16) -> Result<Self, QueryError> {
        if self.filters.len() > MAX_FILTERS {
            return Err(QueryError::Filters { count: self.filters.len() });
        }
        if !(1..=most).contains(&self.limit) {
            return Err(QueryError::Limit { limit: self.limit, most });
        }
        let texts = |filter: &RoomFilter| -> usize {
            filter.key.len() + filter.test.values().iter().map(String::len).sum::<usize>()
        };
        if self.show.len() > MAX_SHOWN_KEYS {
            return Err(QueryError::Shown { count: self.show.len() });
        }
        let shown: usize = self.show.iter().map(String::len).sum();
        let bytes = self.filters.iter().map(texts).sum::<usize>() + shown;
        if bytes > MAX_FILTER_BYTES {
            return Err(QueryError::Bytes { bytes });
        }
        for filter in &self.filters {
            filter.check()?;
        }
        for key in &self.show {
            text::METADATA_KEY.check(key)?;
        }
        Ok(Self {
            text: text::SEARCH.check(&self.text)?,
            region: text::REGION.check(&self.region)?,
            after: self.after.map(|after| RoomCursor { name: text::ROOM_NAME.clean(&after.name), ..after }),
            ..self
        })
    }

    /// Compares two rooms as a list of this query does.
    pub fn compare(&self, a: &RoomSummary, b: &RoomSummary) -> Ordering {
        let order = self.sort.compare(a, b);
        if self.descending { order.reverse() } else { order }
    }

    /// Returns whether a room as it is listed passes all conditions, for a player with this protocol of the game. The server
    /// has looked already at those that it lists; this is for rooms that come from elsewhere, as those of the own network.
    pub fn passes(&self, room: &RoomSummary, protocol: u32) -> bool {
        let wanted = text::fold(&self.text);
        let contains = || [&room.name, &room.host_name].iter().any(|name| text::fold(name).contains(&wanted));
        self.passes_by(room, protocol, |key| room.metadata.get(key), contains, || room.way)
    }

    /// Does the same where more is known of a room than is listed: `metadata` gives the value of a key, `contains` says whether
    /// the text that is searched for stands in a name, and `way` how the player is expected to reach the host. What costs
    /// least is looked at first.
    pub fn passes_by<'a>(
        &self,
        room: &RoomSummary,
        protocol: u32,
        metadata: impl Fn(&str) -> Option<&'a String>,
        contains: impl FnOnce() -> bool,
        way: impl Fn() -> ExpectedWay,
    ) -> bool {
        let value = |filter: &RoomFilter| filter.test.passes(metadata(&filter.key).map(String::as_str));
        (!self.not_full || room.members < room.capacity)
            && (!self.no_password || !room.password)
            && (!self.same_protocol || room.protocol == protocol)
            && (self.region.is_empty() || room.region == self.region)
            && self.filters.iter().all(value)
            && (self.text.is_empty() || contains())
            && (!self.direct || way() == ExpectedWay::Direct)
            && (!self.reachable || way() != ExpectedWay::Unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filters: Vec<RoomFilter>) -> Result<RoomQuery, QueryError> {
        RoomQuery { filters, ..RoomQuery::default() }.checked(MAX_LISTED)
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_texts() {
        let less = FilterTest::Less("10".into());
        assert!(less.passes(Some("9")) && less.passes(Some("-1e3")) && less.passes(Some("9.5")));
        assert!(!less.passes(Some("10")) && !less.passes(Some("nine")) && !less.passes(Some("NaN")));
        assert!(!less.passes(Some("-inf")) && !less.passes(None) && !less.passes(Some("")));
        let greater = FilterTest::Greater("9".into());
        assert!(greater.passes(Some("10")) && !greater.passes(Some("9")) && !greater.passes(Some("zz")));
        let (equal, other) = (FilterTest::Equal("5".into()), FilterTest::NotEqual("5".into()));
        assert!(equal.passes(Some("5")) && !equal.passes(Some("5.0")) && !equal.passes(None));
        assert!(!other.passes(Some("5")) && other.passes(Some("5.0")) && other.passes(None));
        let one = FilterTest::OneOf(vec!["a".into(), "b".into()]);
        assert!(one.passes(Some("b")) && !one.passes(Some("c")) && !one.passes(None));
        assert!(FilterTest::Exists.passes(Some("")) && !FilterTest::Exists.passes(None));
    }

    #[test]
    fn what_breaks_a_limit_is_told_with_the_limit() {
        let many = |count| vec![RoomFilter::new("k", FilterTest::Exists); count];
        assert!(filtered(many(8)).is_ok());
        let told = |query: Result<RoomQuery, QueryError>| query.unwrap_err().to_string();
        assert_eq!(told(filtered(many(9))), "9 filters: at most 8 are allowed");
        let values = |count| vec![RoomFilter::new("k", FilterTest::OneOf(vec!["v".into(); count]))];
        assert!(filtered(values(8)).is_ok());
        assert_eq!(told(filtered(values(9))), "9 values for \"k\": 1 to 8 are allowed");
        assert_eq!(told(filtered(values(0))), "0 values for \"k\": 1 to 8 are allowed");
        let long = vec![RoomFilter::new("k", FilterTest::Equal("v".repeat(300))); 2];
        assert!(told(filtered(long)).contains("at most 512"));
        let word = vec![RoomFilter::new("level", FilterTest::Less("five".into()))];
        assert!(told(filtered(word)).contains("need a number"));
        assert!(told(filtered(vec![RoomFilter::new("", FilterTest::Exists)])).contains("key"));
        let show = RoomQuery { show: vec!["k".into(); 9], ..RoomQuery::default() };
        assert_eq!(told(show.checked(MAX_LISTED)), "9 keys to be shown: at most 8 are allowed");
        let limit = |limit| RoomQuery { limit, ..RoomQuery::default() }.checked(MAX_WATCHED);
        assert!(limit(100).is_ok());
        assert_eq!(told(limit(101)), "101 rooms: 1 to 100 are allowed");
        assert_eq!(told(limit(0)), "0 rooms: 1 to 100 are allowed");
        let text = RoomQuery { text: "x".repeat(65), ..RoomQuery::default() };
        assert!(told(text.checked(MAX_LISTED)).starts_with("search"));
    }

    #[test]
    fn the_longest_query_that_is_allowed_fits_a_datagram() {
        use super::super::{Request, ToServer};
        let value = "v".repeat(MAX_FILTER_BYTES / MAX_FILTERS / MAX_FILTER_VALUES - 1);
        let test = FilterTest::OneOf(vec![value; MAX_FILTER_VALUES]);
        let query = RoomQuery {
            filters: vec![RoomFilter::new("12345678", test); MAX_FILTERS],
            text: "\u{1f600}".repeat(16),
            region: "r".repeat(16),
            after: Some(RoomCursor { value: u64::MAX, name: "n".repeat(64) }),
            limit: MAX_WATCHED,
            ..RoomQuery::default()
        };
        let keys =
            RoomQuery { filters: Vec::new(), show: vec!["k".repeat(64); MAX_SHOWN_KEYS], ..query.clone() };
        assert!(keys.clone().checked(MAX_WATCHED).is_ok());
        let more = RoomQuery { show: vec!["k".repeat(65); MAX_SHOWN_KEYS], ..keys };
        assert_eq!(more.checked(MAX_WATCHED), Err(QueryError::Bytes { bytes: 520 }));
        let query = query.checked(MAX_WATCHED).unwrap();
        let request = Request::WatchRooms { watch: u32::MAX, query, pause_ms: u16::MAX };
        let message = ToServer::Request { id: crate::id::RequestId(u32::MAX), request };
        let bytes = crate::wire::codec::encode(&message).unwrap();
        assert!(bytes.len() < 900, "{} bytes", bytes.len());
    }

    #[test]
    fn rooms_from_elsewhere_pass_or_not_by_the_same_conditions() {
        let room = RoomSummary {
            name: "Großer Raum".into(),
            host_name: "Zoë".into(),
            members: 2,
            capacity: 2,
            protocol: 7,
            region: "eu".into(),
            metadata: [("map".to_owned(), "desert".to_owned())].into(),
            ..RoomSummary::default()
        };
        let all = RoomQuery::default();
        assert!(all.passes(&room, 7));
        for (query, passes) in [
            (RoomQuery { text: "GROSSER".into(), ..all.clone() }, true),
            (RoomQuery { text: "zoë".into(), ..all.clone() }, true),
            (RoomQuery { text: "hill".into(), ..all.clone() }, false),
            (RoomQuery { not_full: true, ..all.clone() }, false),
            (RoomQuery { no_password: true, ..all.clone() }, true),
            (RoomQuery { same_protocol: true, ..all.clone() }, true),
            (RoomQuery { region: "us".into(), ..all.clone() }, false),
            (RoomQuery { direct: true, ..all.clone() }, false),
            (RoomQuery { reachable: true, ..all.clone() }, true),
        ] {
            assert_eq!(query.passes(&room, 7), passes, "{query:?}");
        }
        assert!(!RoomQuery { same_protocol: true, ..all }.passes(&room, 8));
    }
}
