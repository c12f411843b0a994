//! Actions of a service (UPnP Device Architecture 1.1, section 3).

use std::fmt;

use quick_xml::escape::escape;

use super::Service;
use super::http::{self, Ask};
use super::xml::{self, Piece};

/// The port belongs to another machine (718, ConflictInMappingEntry: WANIPConnection:1, section 2.4.16), or to something else
/// in the router, such as PCP (729, ConflictWithOtherMechanisms: WANIPConnection:2, section 2.5.16).
const IN_USE: [u16; 2] = [718, 729];
/// There is no such action in this device's version of the service.
const NO_SUCH_ACTION: [u16; 3] = [401, 602, 501];
/// This is what devices answer to a lease that they do not like: InvalidArgs, ActionFailed, the optional-action and
/// argument codes (600 to 605), and OnlyPermanentLeasesSupported, the one that the standard has for it.
const NOT_THIS_LEASE: [u16; 9] = [402, 501, 600, 601, 602, 603, 604, 605, 725];

/// This is why an action came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer came in time.
    Silent,
    /// The device says no, by this code (0: without one that can be read).
    Refused(u16),
}

impl Fault {
    /// Returns whether the port is somebody else's.
    pub(super) fn is_taken(self) -> bool {
        matches!(self, Self::Refused(code) if IN_USE.contains(&code))
    }

    /// Returns whether the device does not know what it was asked to do.
    pub(super) fn is_unknown(self) -> bool {
        matches!(self, Self::Refused(code) if NO_SUCH_ACTION.contains(&code))
    }

    /// Returns whether the same wish for ever may be granted.
    pub(super) fn may_be_the_lease(self) -> bool {
        matches!(self, Self::Refused(code) if NOT_THIS_LEASE.contains(&code))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "no answer"),
            Self::Refused(code) => write!(f, "refused with error {code}"),
        }
    }
}

/// This is the answer to an action.
pub(super) struct Answer(Vec<Piece>);

impl Answer {
    /// Returns the text of this argument.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        xml::text(&self.0, name).map(str::to_owned)
    }
}

/// Has a service do something.
pub(super) async fn call(
    service: &Service,
    action: &str,
    arguments: &[(&str, &str)],
) -> Result<Answer, Fault> {
    let kind = escape(&service.kind);
    let arguments: String =
        arguments.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escape(*value))).collect();
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    );
    let header = format!("\"{}#{action}\"", service.kind);
    let answer =
        http::request(service.local, service.device, &service.control, Ask::Post { action: &header, body });
    let answer = answer.await;
    let (status, text) = answer.ok_or(Fault::Silent)?;
    let pieces = xml::pieces(&text);
    let code = xml::text(&pieces, "errorCode").map(|code| code.parse().unwrap_or(0));
    match code {
        Some(code) => Err(Fault::Refused(code)),
        None if (200..300).contains(&status) => Ok(Answer(pieces)),
        None => Err(Fault::Refused(0)),
    }
}
