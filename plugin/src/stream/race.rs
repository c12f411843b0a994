//! TCP to the server's port, and TLS to its port 443 beside it where that does not come about soon: the first that stands is
//! the stream. Most networks without UDP let TCP out to any port, and do not pay for more; those that let out 443 alone
//! mostly say nothing about the rest, so that to wait for an error would be to wait for ever.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use traversal_core::{SocketId, StreamBy};

use super::{Stream, tls};
use crate::sockets::token;

/// The one that is begun second waits so long for the first: as long as most round trips to a server of TCP take, which is all
/// that a connection takes. It is a pace: the first goes on beside it.
const BESIDE: Duration = Duration::from_millis(500);
/// The connection with TLS has this name, the other one that of [`SocketId::STREAM`].
const TLS_SOCKET: SocketId = SocketId(u32::MAX - 2);

/// This is where a stream leads, and how.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The server has this address.
    pub(crate) to: SocketAddr,
    /// It serves TLS at this port.
    pub(crate) tls_port: u16,
    /// It has this name, if it has one.
    pub(crate) host: Option<String>,
    /// The connection is to be made from this address, unless that is unspecified.
    pub(crate) from: Option<IpAddr>,
}

/// This is a stream that is being made, or made.
pub(crate) struct Race {
    way: Way,
    tcp: Option<Stream>,
    tls: Option<Stream>,
    /// This is begun at this time: the one by TLS, if true.
    second: Option<(Instant, bool)>,
}

impl Race {
    /// Begins it; `tls_first` says that TLS was what came about the last time.
    ///
    /// # Errors
    /// When nothing can be begun.
    pub(crate) fn begin(
        now: Instant,
        registry: &Registry,
        way: Way,
        by: StreamBy,
        tls_first: bool,
    ) -> io::Result<Self> {
        let mut race = Self { way, tcp: None, tls: None, second: None };
        let only_tls = by == StreamBy::Tls;
        let tls_first = only_tls || (tls_first && cfg!(feature = "tls"));
        if !only_tls && (tls_first || cfg!(feature = "tls")) {
            race.second = Some((now + BESIDE, !tls_first));
        }
        match race.start(registry, tls_first) {
            Err(error) if race.second.is_none() => return Err(error),
            Err(_) => race.begin_second(registry)?,
            Ok(()) => {}
        }
        Ok(race)
    }

    fn start(&mut self, registry: &Registry, by_tls: bool) -> io::Result<()> {
        let Way { to, tls_port, host, from } = &self.way;
        let (id, to, tls) = if by_tls {
            let to = SocketAddr::new(to.ip(), *tls_port);
            let tls = tls::begin(host.as_deref(), to).map_err(io::Error::other)?;
            (TLS_SOCKET, to, Some(tls))
        } else {
            (SocketId::STREAM, *to, None)
        };
        let mut stream = Stream::connect(to, *from, tls)?;
        registry.register(stream.source(), token(id), Interest::READABLE | Interest::WRITABLE)?;
        *self.place(by_tls) = Some(stream);
        Ok(())
    }

    fn begin_second(&mut self, registry: &Registry) -> io::Result<()> {
        match self.second.take() {
            Some((_, by_tls)) => self.start(registry, by_tls),
            None => Ok(()),
        }
    }

    fn place(&mut self, by_tls: bool) -> &mut Option<Stream> {
        if by_tls { &mut self.tls } else { &mut self.tcp }
    }

    /// Returns the server's address.
    pub(crate) fn to(&self) -> SocketAddr {
        self.way.to
    }

    /// Returns the stream, if it stands.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        [&mut self.tcp, &mut self.tls].into_iter().flatten().find(|stream| stream.is_open())
    }

    /// Returns whether the stream stands, and is one of TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(Stream::is_open)
    }

    /// Returns whether the stream stands, and may have something to read.
    pub(crate) fn is_readable(&self) -> bool {
        [&self.tcp, &self.tls].into_iter().flatten().any(|stream| stream.is_open() && stream.readable)
    }

    /// The poller says that something can be done; false if it is about something else.
    pub(crate) fn handle_event(&mut self, event: &mio::event::Event) -> bool {
        let by_tls = match event.token() {
            Token(at) if at == token(SocketId::STREAM).0 => false,
            Token(at) if at == token(TLS_SOCKET).0 => true,
            _ => return false,
        };
        if let Some(stream) = self.place(by_tls) {
            stream.readable |= event.is_readable() || event.is_error() || event.is_read_closed();
            stream.writable |= event.is_writable();
        }
        true
    }

    /// Returns when [`turn`](Self::turn) is due without an event.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.second.map(|(at, _)| at)
    }

    /// Goes on with what is being made. True: the stream stands since now.
    ///
    /// # Errors
    /// When it cannot be had by any way.
    pub(crate) fn turn(&mut self, now: Instant, registry: &Registry) -> io::Result<bool> {
        if self.stream().is_some() {
            return Ok(false);
        }
        let mut failed = None;
        if self.second.is_some_and(|(at, _)| at <= now) {
            failed = self.begin_second(registry).err();
        }
        for by_tls in [false, true] {
            let Some(stream) = self.place(by_tls) else { continue };
            match stream.finish_connect() {
                Ok(true) => {
                    self.second = None;
                    self.give_up(registry, !by_tls);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => {
                    self.give_up(registry, by_tls);
                    // There is nothing more to wait for.
                    failed = Some(self.begin_second(registry).err().unwrap_or(error));
                }
            }
        }
        match failed {
            Some(error) if self.tcp.is_none() && self.tls.is_none() => Err(error),
            _ => Ok(false),
        }
    }

    fn give_up(&mut self, registry: &Registry, by_tls: bool) {
        let Some(mut stream) = self.place(by_tls).take() else { return };
        if let Err(error) = registry.deregister(stream.source()) {
            bevy_log::debug!("cannot deregister a socket: {error}");
        }
    }

    /// Ends it.
    pub(crate) fn close(mut self, registry: &Registry) {
        if let Some(stream) = self.stream() {
            stream.close();
        }
        self.give_up(registry, false);
        self.give_up(registry, true);
    }
}
