//! Values of the types that lists of rooms are made of.

use super::Samples;
use crate::wire::message::{
    ExpectedWay, FilterTest, RoomCursor, RoomFilter, RoomQuery, RoomSort, RoomSummary, RoomsNews,
};

pub(super) fn query() -> RoomQuery {
    RoomQuery {
        filters: vec![
            RoomFilter::new("map", FilterTest::Equal("desert".into())),
            RoomFilter::new("level", FilterTest::Less("5".into())),
        ],
        text: "den".into(),
        not_full: true,
        no_password: true,
        same_protocol: true,
        reachable: true,
        direct: false,
        region: "eu".into(),
        sort: RoomSort::Players,
        descending: true,
        after: Some(cursor()),
        limit: 50,
        show: vec!["list.mode".into()],
    }
}

pub(super) fn cursor() -> RoomCursor {
    RoomCursor { value: 300, name: "den".into() }
}

pub(super) fn news(changed: Vec<RoomSummary>) -> RoomsNews {
    RoomsNews { watch: 3, number: 300, changed, gone: vec!["ABCDEF".into()], settled: true }
}

pub(super) fn all(all: &mut Samples, summary: RoomSummary) {
    all.put(query());
    all.put(RoomFilter::new("map", FilterTest::Exists));
    let texts = || vec!["a".into(), "b".into()];
    use FilterTest as T;
    for test in [
        T::Equal("a".into()),
        T::NotEqual("a".into()),
        T::Less("5".into()),
        T::Greater("-2.5".into()),
        T::OneOf(texts()),
        T::Exists,
    ] {
        all.put(test);
    }
    use RoomSort as S;
    for sort in [S::Name, S::Players, S::Age, S::RoundTrip] {
        all.put(sort);
    }
    all.put(cursor());
    all.put(news(vec![summary]));
    use ExpectedWay as W;
    for way in [W::Unknown, W::Direct, W::Search, W::Relay, W::Unreachable] {
        all.put(way);
    }
}
