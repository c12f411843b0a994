//! What happens to a run, and when: a text file with a line for each thing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::link::Mtu;

use super::side::Stage;

/// The game goes on this long after the last thing that happens, where no `end` says when it is over.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// A script of more than a day is a typing error.
const LONGEST: f64 = 86_400.0;

/// It says whom something happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    Lobby,
    Host,
    Join,
}

impl Actor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lobby => "lobby",
            Self::Host => "host",
            Self::Join => "join",
        }
    }
}

/// What one line of a script has happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The machine sleeps: its programs stand still (SIGSTOP), and its cable is dead.
    Sleep(Duration),
    /// The cable is dead.
    Cut(Duration),
    /// The provider gives the line another address; a machine without a NAT has it itself.
    Address,
    /// The machine goes over to another network: another address of its own, and another public one.
    Network,
    /// The NATs forget everything.
    Reboot,
    /// The line takes no longer packets than this from now on.
    Mtu(Mtu),
    /// The lobby server's program is killed.
    Kill,
    /// It is started.
    Start,
    /// It is killed, and started at once.
    Restart,
    /// It is killed, and started at the other address; its name leads there from then on.
    Move,
}

impl What {
    /// How long it lasts; what is done at once does not.
    pub(crate) fn lasts(self) -> Duration {
        match self {
            Self::Sleep(length) | Self::Cut(length) => length,
            _ => Duration::ZERO,
        }
    }

    /// Tells whether it needs a NAT that can be told to change.
    fn is_of_the_nat(self) -> bool {
        matches!(self, Self::Address | Self::Network | Self::Reboot)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleep(length) => write!(f, "sleep {}", length.as_secs_f64()),
            Self::Cut(length) => write!(f, "cut {}", length.as_secs_f64()),
            Self::Mtu(mtu) => write!(f, "mtu {}{}", mtu.bytes, if mtu.icmp { "" } else { ":silent" }),
            Self::Address => f.write_str("address"),
            Self::Network => f.write_str("network"),
            Self::Reboot => f.write_str("reboot"),
            Self::Kill => f.write_str("kill"),
            Self::Start => f.write_str("start"),
            Self::Restart => f.write_str("restart"),
            Self::Move => f.write_str("move"),
        }
    }
}

/// It is one thing that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// It stands in the line of this number, from 1.
    pub(crate) line: usize,
    /// It happens this long after the first messages of the game on both sides.
    pub(crate) at: Duration,
    pub(crate) who: Actor,
    pub(crate) what: What,
}

/// These are all of it, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    /// When the game is over.
    pub(crate) end: Duration,
}

/// It is a line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    /// The line has this number, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

const LINE: &str = "a line is TIME WHO WHAT, as in `30 host sleep 6`, or `TIME end`; # begins a comment";
const OF_PLAYERS: &str =
    "a player can sleep SECONDS, cut SECONDS, address, network, reboot, mtu BYTES[:silent]";
const OF_LOBBY: &str = "the lobby can sleep SECONDS, cut SECONDS, kill, start, restart, move";

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs_f64)
}

fn what(who: Actor, words: &[&str]) -> Result<What, String> {
    let rule = if who == Actor::Lobby { OF_LOBBY } else { OF_PLAYERS };
    let length = |text: &str| {
        let long = seconds(text).filter(|length| !length.is_zero());
        long.ok_or_else(|| format!("`{text}` is no number of seconds above 0"))
    };
    let what = match words {
        ["sleep", text] => What::Sleep(length(text)?),
        ["cut", text] => What::Cut(length(text)?),
        ["address"] => What::Address,
        ["network"] => What::Network,
        ["reboot"] => What::Reboot,
        ["mtu", text] => What::Mtu(text.parse().map_err(|error| format!("{error}"))?),
        ["kill"] => What::Kill,
        ["start"] => What::Start,
        ["restart"] => What::Restart,
        ["move"] => What::Move,
        _ => return Err(format!("`{}` is nothing that is known here: {rule}", words.join(" "))),
    };
    let of_server = matches!(what, What::Kill | What::Start | What::Restart | What::Move);
    let of_player = what.is_of_the_nat() || matches!(what, What::Mtu(_));
    match who {
        Actor::Lobby if of_player => Err(format!("{what} is for players: {rule}")),
        Actor::Host | Actor::Join if of_server => Err(format!("{what} is for the lobby: {rule}")),
        _ => Ok(what),
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut end = None;
        let (mut last, mut lobby_runs) = (Duration::ZERO, true);
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let wrong = |problem: String| ScriptError { line, problem };
            let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
            let Some((time, words)) = words.split_first() else { continue };
            if end.is_some() {
                return Err(wrong(
                    "nothing can happen after the end: put it before, or take the end away".into(),
                ));
            }
            let at = seconds(time).ok_or_else(|| wrong(format!("`{time}` is no time in seconds: {LINE}")))?;
            if at < last {
                return Err(wrong(format!(
                    "{time} s is before the line above it ({} s): put the lines in the order of their times",
                    last.as_secs_f64()
                )));
            }
            last = at;
            let (who, words) = match words {
                ["end"] => {
                    end = Some(at);
                    continue;
                }
                ["host", rest @ ..] => (Actor::Host, rest),
                ["join", rest @ ..] => (Actor::Join, rest),
                ["lobby", rest @ ..] => (Actor::Lobby, rest),
                _ => return Err(wrong(format!("host, join or lobby is missing after the time: {LINE}"))),
            };
            let what = what(who, words).map_err(wrong)?;
            if let Some(busy) = steps.iter().find(|step| step.who == who && step.at + step.what.lasts() > at)
            {
                return Err(wrong(format!(
                    "{} is busy until {} s (line {}): let this happen after that",
                    who.name(),
                    (busy.at + busy.what.lasts()).as_secs_f64(),
                    busy.line
                )));
            }
            match what {
                What::Start if lobby_runs => {
                    return Err(wrong("the lobby runs already: `kill` it before, or say `restart`".into()));
                }
                What::Kill | What::Restart | What::Move if !lobby_runs => {
                    return Err(wrong("the lobby does not run: `start` it before".into()));
                }
                What::Kill => lobby_runs = false,
                What::Start => lobby_runs = true,
                _ => {}
            }
            steps.push(Step { line, at, who, what });
        }
        let done = steps.iter().map(|step| step.at + step.what.lasts()).max().unwrap_or(last);
        if let Some(end) = end.filter(|end| *end < done) {
            let problem = format!("the end ({} s) is before what happens last is over", end.as_secs_f64());
            let line = text.lines().count();
            return Err(ScriptError {
                line,
                problem: format!("{problem} ({} s): put it later", done.as_secs_f64()),
            });
        }
        Ok(Self { steps, end: end.unwrap_or(done + AFTERWARDS) })
    }
}

impl Script {
    /// Tells whether the lobby server is at another address at some time, so that players must know it by a name.
    pub(crate) fn moves(&self) -> bool {
        self.steps.iter().any(|step| step.what == What::Move)
    }

    /// Whether this can happen to players behind these stages.
    pub(crate) fn fits(&self, left: &[Stage], right: &[Stage]) -> Result<(), ScriptError> {
        let kernel = |stages: &[Stage]| stages.iter().any(|stage| matches!(stage, Stage::Kernel(_)));
        for step in &self.steps {
            let of_kernel = match step.who {
                Actor::Host => kernel(left),
                Actor::Join => kernel(right),
                Actor::Lobby => false,
            };
            if of_kernel && step.what.is_of_the_nat() {
                let problem = format!(
                    "{} needs an emulated NAT: a NAT of `natlab list` instead of the kernel's",
                    step.what
                );
                return Err(ScriptError { line: step.line, problem });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_comments_and_in_order() {
        let script: Script = "# a game\n\n10 host sleep 6 # away\n 10  join cut 2.5\n20 lobby move\n20 join mtu 1280:silent\n60 end"
            .parse()
            .unwrap();
        assert_eq!(script.end, Duration::from_secs(60));
        let told: Vec<String> = script
            .steps
            .iter()
            .map(|step| format!("{} {} {} {}", step.line, step.at.as_secs_f64(), step.who.name(), step.what))
            .collect();
        assert_eq!(
            told,
            ["3 10 host sleep 6", "4 10 join cut 2.5", "5 20 lobby move", "6 20 join mtu 1280:silent"]
        );
        assert!(script.moves());
        let open: Script = "1 host cut 4".parse().unwrap();
        assert_eq!(open.end, Duration::from_secs(35));
        assert!(!open.moves());
    }

    #[test]
    fn the_scripts_that_come_along_are_right() {
        let minute: Script = include_str!("../../scripts/minute.txt").parse().unwrap();
        assert_eq!(minute.end, Duration::from_secs(60));
        let evening: Script = include_str!("../../scripts/evening.txt").parse().unwrap();
        assert_eq!(evening.end, Duration::from_secs(1800));
        // A seat is kept for a minute.
        let longest = evening.steps.iter().map(|step| step.what.lasts()).max();
        assert!(longest < Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number_and_what_would_be_right() {
        for (text, line, cure) in [
            ("ten host sleep 1", 1, "no time"),
            ("1 guest sleep 1", 1, "host, join or lobby"),
            ("1 host", 1, "a player can"),
            ("\n5 host sleep", 2, "a player can"),
            ("5 host sleep 0", 1, "above 0"),
            ("5 host cut -3", 1, "above 0"),
            ("5 host mtu 9", 1, "576"),
            ("5 host restart", 1, "for the lobby"),
            ("5 lobby address", 1, "for players"),
            ("5 host cut 1\n4 join cut 1", 2, "order of their times"),
            ("5 host cut 9\n8 host reboot", 2, "line 1"),
            ("5 lobby start", 1, "runs already"),
            ("5 lobby kill\n6 lobby move", 2, "start"),
            ("5 end\n6 host reboot", 2, "after the end"),
            ("5 host sleep 9\n6 end", 2, "later"),
            ("1e9 end", 1, "no time"),
        ] {
            let error = text.parse::<Script>().expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(cure), "{text}: {error}");
        }
    }

    #[test]
    fn a_nat_of_the_kernels_cannot_be_told_to_change() {
        let stages = |name: &str| name.parse::<super::super::side::Side>().unwrap().stages;
        let script: Script = "5 join reboot".parse().unwrap();
        assert!(script.fits(&stages("kernel"), &stages("ps")).is_ok());
        let error = script.fits(&stages("ps"), &stages("kernel")).expect_err("the kernel's");
        assert!(error.to_string().contains("line 1") && error.to_string().contains("emulated"), "{error}");
    }
}
