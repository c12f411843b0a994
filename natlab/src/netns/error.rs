//! What can go wrong when a laboratory of namespaces is built or used.

use std::io;

use super::script::ScriptError;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// The kernel refuses a user namespace to this user.
    #[error(
        "network namespaces are not permitted: run as root, or allow user namespaces \
         (sysctl user.max_user_namespaces > 0; on Debian also kernel.unprivileged_userns_clone=1; \
         on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0; in a container add CAP_SYS_ADMIN)"
    )]
    NotPermitted(#[source] nix::Error),
    /// A TUN device could not be made.
    #[error(
        "no TUN device: /dev/net/tun must exist and be readable and writable (modprobe tun; chmod 666 /dev/net/tun)"
    )]
    Tun(#[source] io::Error),
    /// A needed program is not installed.
    #[error("the program `{program}` is needed: install the package {package}")]
    MissingProgram {
        /// The program has this name.
        program: &'static str,
        /// This Debian package has it.
        package: &'static str,
    },
    /// `ip` or `nft` refused what it was given.
    #[error("`{program}` failed: {stderr}")]
    Configure {
        /// It was `ip` or `nft`.
        program: &'static str,
        /// What it said.
        stderr: String,
    },
    /// A NAT's name or settings make no sense.
    #[error("NAT `{name}`: {reason}")]
    Nat {
        /// It is the name as it was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A flag's value makes no sense.
    #[error("{flag} takes {expected}")]
    Flag {
        /// It is the flag, as on the command line.
        flag: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A binary that is needed was not found.
    #[error("there is no `{name}` beside natlab or in PATH: build it, or name it with {flag}")]
    MissingBinary {
        /// The binary has this name.
        name: String,
        /// It is the flag that names it.
        flag: &'static str,
    },
    /// The lobby server did not come up.
    #[error("the lobby server did not get ready: {reason} (its output is in {log})")]
    Lobby {
        /// What was seen of it.
        reason: String,
        /// It wrote its output to this file.
        log: String,
    },
    /// A program could not be started.
    #[error("`{program}` could not be started")]
    Spawn {
        /// It is the program that could not be started.
        program: String,
        /// It says why.
        #[source]
        source: io::Error,
    },
    /// A script makes no sense.
    #[error("{file}, {error}")]
    Script {
        /// The script was read from this file.
        file: String,
        /// What is wrong with it.
        error: ScriptError,
    },
    /// A system call failed.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// It says why the call failed.
        #[source]
        source: io::Error,
    },
}

impl NetnsError {
    /// Makes a function for `map_err`, which says that a system call failed while `what` was tried.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::System { what, source: error.into() }
    }

    /// Tells whether this machine, not the run, is what is missing: tests are skipped then.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::NotPermitted(_) | Self::Tun(_) | Self::MissingProgram { .. })
    }
}
