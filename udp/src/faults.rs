//! Errors of the system on demand, for tests of what a program makes of them (feature `faults`).
//!
//! A fault belongs to the local address of a socket, wherever in the process that socket is: a test that has started a
//! whole program knows the address from the outside.

#[cfg(feature = "faults")]
pub mod log;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// These are the calls of the system that are made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// It is about the calls that receive.
    Receive,
    /// It is about the calls that send a single datagram.
    Send,
    /// Calls that send several datagrams at once.
    SendBatch,
    /// It is about attempts to open a socket at the address.
    Open,
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<i32>,
    forever: Option<i32>,
    taken: u64,
}

static PLANS: Mutex<BTreeMap<(SocketAddr, Call), Plan>> = Mutex::new(BTreeMap::new());

fn plans() -> std::sync::MutexGuard<'static, BTreeMap<(SocketAddr, Call), Plan>> {
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the next `times` calls at `local` fail with the error number `code` of this system.
pub fn fail(local: SocketAddr, call: Call, code: i32, times: usize) {
    plans().entry((local, call)).or_default().next.extend(std::iter::repeat_n(code, times));
}

/// Lets every call at `local` fail with the error number `code` until [`heal`].
pub fn fail_forever(local: SocketAddr, call: Call, code: i32) {
    plans().entry((local, call)).or_default().forever = Some(code);
}

static NARROW: Mutex<BTreeMap<SocketAddr, usize>> = Mutex::new(BTreeMap::new());

/// Lets the system refuse to send anything at `local` that is longer than this, as it does where an interface takes no more.
pub fn narrow(local: SocketAddr, longest: usize) {
    NARROW.lock().unwrap_or_else(PoisonError::into_inner).insert(local, longest);
}

/// Returns the error that a call at `local` has to end with which sends datagrams of this length.
pub(crate) fn check_length(local: SocketAddr, length: usize) -> io::Result<()> {
    let narrow = NARROW.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = narrow.get(&local).is_some_and(|longest| length > *longest);
    if refused { Err(io::Error::from_raw_os_error(crate::health::TOO_LONG)) } else { Ok(()) }
}

/// Ends what [`fail_forever`] and [`fail`] began. How many calls failed.
pub fn heal(local: SocketAddr, call: Call) -> u64 {
    plans().remove(&(local, call)).map_or(0, |plan| plan.taken)
}

/// Returns how many calls failed so far.
pub fn taken(local: SocketAddr, call: Call) -> u64 {
    plans().get(&(local, call)).map_or(0, |plan| plan.taken)
}

/// Returns whether calls at `local` still fail.
pub fn fails(local: SocketAddr, call: Call) -> bool {
    plans().get(&(local, call)).is_some_and(|plan| plan.forever.is_some() || !plan.next.is_empty())
}

/// A socket is opened at `local`: receiving from the new one does not fail.
pub(crate) fn opened(local: SocketAddr) {
    if let Some(plan) = plans().get_mut(&(local, Call::Receive)) {
        plan.next.clear();
        plan.forever = None;
    }
}

/// Returns the error that a call at `local` has to end with.
pub(crate) fn check(local: SocketAddr, call: Call) -> io::Result<()> {
    let mut plans = plans();
    let Some(plan) = plans.get_mut(&(local, call)) else { return Ok(()) };
    let Some(code) = plan.next.pop_front().or(plan.forever) else { return Ok(()) };
    plan.taken += 1;
    Err(io::Error::from_raw_os_error(code))
}
