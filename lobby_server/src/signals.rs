//! What the system tells the program while it serves: SIGTERM and SIGINT end it, SIGHUP has it read its configuration again.

use std::path::PathBuf;

use lobby_server::log::Filter;
use lobby_server::{Handle, Reload, Settings, Tickets, check, check_tls};

use crate::Flags;

/// This reads the configuration again.
pub(crate) struct Reloader {
    pub(crate) config: Option<PathBuf>,
    pub(crate) flags: Flags,
    /// These settings are in force.
    pub(crate) settings: Settings,
    pub(crate) filter: Filter,
}

impl Reloader {
    /// Reads it, and has the server go by it. What cannot be read leaves everything as it is.
    fn reload(&mut self, handle: &Handle) {
        let read = Settings::load(self.config.as_deref(), &self.flags);
        match read.and_then(|read| self.settings.reload(&read)) {
            Ok(Reload { settings, changed, at_start }) => {
                if let Err(error) = Tickets::read(&settings.token_key) {
                    return tracing::error!("the configuration stays as it is: {}", check::chain(&error));
                }
                if let Err(error) = check_tls(&settings) {
                    return tracing::error!("the configuration stays as it is: {}", check::chain(&error));
                }
                if changed.iter().any(|key| key == "log") && !self.filter.set(&settings.log) {
                    tracing::error!("the log's filter stays as it is: the log does not take another one");
                }
                handle.reconfigure(settings.clone());
                self.settings = settings;
                match changed.as_slice() {
                    [] => tracing::info!("the configuration was read again: nothing has changed that can"),
                    changed => {
                        tracing::info!("the configuration was read again: {} changed", changed.join(", "))
                    }
                }
                if !at_start.is_empty() {
                    tracing::warn!("{} will change with the next start only", at_start.join(", "));
                }
            }
            Err(error) => {
                tracing::error!("the configuration stays as it is: {}", check::chain(&error));
            }
        }
    }
}

/// Listens for signals from now on, in a thread of its own.
pub(crate) fn listen(handle: Handle, mut reloader: Reloader) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("lobby_signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => reloader.reload(&handle),
                SIGTERM => handle.drain(),
                _ => handle.stop(),
            }
        }
    })?;
    Ok(())
}
