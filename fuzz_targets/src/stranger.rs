//! Any datagram from an address that nobody has proven.

use std::cell::RefCell;

use lobby_server::Server;

use crate::servers::{answer, generous, stranger_at};

thread_local! {
    // Whatever strangers say leaves a server as it was, but for its counters; so one serves all executions.
    static SERVERS: RefCell<[Server; 2]> = RefCell::new([generous(false), generous(true)]);
}

/// The first byte says which server hears the others, at which socket and from which family. Nothing is kept, and no more
/// bytes go out than came in.
pub fn stranger(data: &[u8]) {
    let Some((way, datagram)) = data.split_first() else { return };
    let two_addresses = way & 1 != 0;
    let (socket, from) = stranger_at(two_addresses, way & 2 != 0, usize::from(way >> 2));
    SERVERS.with_borrow_mut(|servers| {
        let server = &mut servers[usize::from(two_addresses)];
        let _ = answer(server, two_addresses, socket, from, datagram);
        let gauges = server.gauges();
        assert_eq!((gauges.sessions, gauges.rooms, gauges.matches), (0, 0, 0), "a stranger is nobody");
        assert_eq!(server.poll_timeout(), None, "nothing waits for a stranger");
    });
}
