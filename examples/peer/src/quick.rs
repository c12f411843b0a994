//! Quick matches: their rules on the command line, and how they come along, printed.

use bevy_ecs::prelude::*;
use bevy_traversal::{
    AnswerMatch, MatchFound, NumberRule, QueueChanged, QueueStatus, QuickRules, QuickTeams, TextRule,
};
use clap::{Args, ValueEnum};
use headless::Output;
use serde_json::json;

use crate::session::{Goal, Session};

/// These are the rules by which players are put together.
#[derive(Args, Clone, Debug)]
pub(crate) struct RulesArgs {
    /// A number that has to be near those of the others, both ways: first within 50, after 5 s within 100, then any. May be
    /// given several times; the first one counts most
    #[arg(long, value_name = "NAME=VALUE[:50,100[/5][:any]]", value_parser = number, allow_hyphen_values = true)]
    near: Vec<NumberRule>,
    /// A text that has to be that of the others, for ever, or for the first so many seconds of waiting; may be given several
    /// times
    #[arg(long, value_name = "NAME=TEXT[/SECONDS]", value_parser = text)]
    equal: Vec<(String, TextRule)>,
    /// Sizes of the teams, which come to --players together; event `teams` says who is in which
    #[arg(long, value_delimiter = ',', value_name = "SIZE,...")]
    match_teams: Vec<u16>,
    /// Ask all whether they play, and wait so long for their answers: 3 to 60; only players who say the same meet. Event
    /// `match_found`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(3..=60))]
    accept: Option<u16>,
    /// What to answer when a match was found
    #[arg(long, value_enum, default_value_t = Answer::Yes, requires = "accept")]
    pub(crate) answer: Answer,
}

/// This is what a player answers when it is asked whether it plays.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Nothing, as one who is not there.
    Nothing,
}

impl RulesArgs {
    pub(crate) fn rules(&self) -> QuickRules {
        QuickRules {
            numbers: self.near.clone(),
            texts: self.equal.iter().cloned().collect(),
            teams: self.match_teams.clone(),
            accept_s: self.accept,
        }
    }
}

fn number(text: &str) -> Result<NumberRule, String> {
    let wrong = || "write NAME=VALUE, or NAME=VALUE:50,100,200/5:any".to_owned();
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let mut parts = rest.split(':');
    let value = parts.next().and_then(|value| value.parse().ok()).ok_or_else(wrong)?;
    let mut rule = NumberRule::new(name, value);
    if let Some(steps) = parts.next() {
        let (within, every) =
            steps.split_once('/').map_or((steps, None), |(within, every)| (within, Some(every)));
        let within = within.split(',').map(|step| step.parse().map_err(|_| wrong()));
        rule = rule.within(within.collect::<Result<Vec<u32>, String>>()?);
        if let Some(every) = every {
            rule = rule.every(every.parse().map_err(|_| wrong())?);
        }
    }
    match (parts.next(), parts.next()) {
        (None, _) => Ok(rule),
        (Some("any"), None) => Ok(rule.then_any()),
        _ => Err(wrong()),
    }
}

fn text(text: &str) -> Result<(String, TextRule), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=TEXT, or NAME=TEXT/SECONDS")?;
    let timed = value.rsplit_once('/').and_then(|(value, seconds)| Some((value, seconds.parse().ok()?)));
    let (value, for_s) = timed.map_or((value, None), |(value, seconds)| (value, Some(seconds)));
    Ok((name.to_owned(), TextRule { value: value.to_owned(), for_s }))
}

/// Prints how a quick match comes along, and answers whether this player plays.
pub(crate) fn queue(
    mut session: ResMut<Session>,
    output: Res<Output>,
    (mut changed, mut found): (MessageReader<QueueChanged>, MessageReader<MatchFound>),
    mut teams: MessageReader<QuickTeams>,
    mut answers: MessageWriter<AnswerMatch>,
) {
    for QueueChanged(status) in changed.read() {
        session.trouble = None;
        if let (Some(QueueStatus { position, waiting, players, estimate_s }), Goal::Quick(wanted, _)) =
            (status, &session.goal)
        {
            let (mode, missing) = (wanted.mode.clone(), u32::from(*players).saturating_sub(*waiting));
            output.event(
                "queue",
                json!({"mode": mode, "position": position, "waiting": waiting, "players": players,
                       "estimate_s": estimate_s}),
            );
            // What is said if nobody else comes.
            session.trouble = Some(match missing {
                0 => format!("those who wait for {mode:?} do not suit; nobody else came in time"),
                _ => format!("{missing} more players wanted for {mode:?}; nobody came in time"),
            });
        }
    }
    for MatchFound(found) in found.read() {
        let answer = match session.goal {
            Goal::Quick(_, answer) => answer,
            _ => Answer::Nothing,
        };
        output.event("match_found", json!({"players": found.players, "within_s": found.within_s}));
        if answer != Answer::Nothing {
            answers.write(AnswerMatch { proposal: found.proposal, accept: answer == Answer::Yes });
        }
    }
    for QuickTeams(teams) in teams.read() {
        let teams: Vec<Vec<String>> =
            teams.iter().map(|team| team.iter().map(ToString::to_string).collect()).collect();
        output.event("teams", json!({"teams": teams}));
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_arguments_have_one_name() {
        crate::args::Cli::command().debug_assert();
    }

    #[test]
    fn rules_are_read_from_the_command_line() {
        let skill = NumberRule::new("skill", -5);
        assert_eq!(number("skill=-5"), Ok(skill.clone()));
        assert_eq!(number("skill=-5:50,100/7:any"), Ok(skill.clone().within([50, 100]).every(7).then_any()));
        assert_eq!(number("skill=-5:50"), Ok(skill.within([50])));
        for wrong in ["skill", "skill=x", "skill=1:a", "skill=1:2/x", "skill=1:2:some", "skill=1:2:any:any"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        let rule = |value: &str, for_s| Ok(("map".to_owned(), TextRule { value: value.into(), for_s }));
        assert_eq!(text("map=dust"), rule("dust", None));
        assert_eq!(text("map=dust/30"), rule("dust", Some(30)));
        assert_eq!(text("map=de/dust"), rule("de/dust", None));
        assert!(text("map").is_err());
    }
}
