//! How a run went: what its programs printed, how they ended, and what the router counted.

use super::{Run, Who};
use crate::netns::acts::{Acts, ScriptReport};
use crate::netns::counts::Counts;
use crate::netns::report::{Events, Exits, Mappings, Packets, PairReport};
use crate::netns::side::Side;

impl Run<'_> {
    /// What is reported of the run, which is over.
    pub(super) fn report(self) -> PairReport {
        let exit = |who: Who| self.exits[who as usize];
        let clean = |who: Who| exit(who) == Some(0);
        let killed = self.acts.as_ref().is_some_and(Acts::has_killed);
        let lobby_well = self.settings.lobby_server.is_none() || clean(Who::Lobby) || killed;
        let script = self.acts.as_ref().map(|acts| {
            let [_, host, join, _] = &self.transcripts;
            acts.report(host.events(), join.events())
        });
        let trouble = script.as_ref().and_then(ScriptReport::trouble);
        let ok =
            self.reason.is_none() && trouble.is_none() && clean(Who::Host) && clean(Who::Join) && lobby_well;
        let reason = if ok { None } else { self.reason.clone().or(trouble).or_else(|| Some(self.why())) };
        let exit = Exits { host: exit(Who::Host), join: exit(Who::Join), lobby: exit(Who::Lobby) };
        let [_, host, join, _] = self.transcripts;
        let (left, right) = (host.path(), join.path());
        let played = if right.path.is_some() { &right } else { &left };
        let first_message_ms = join.first_message_ms();
        let mut counts = self.lab.stop().into_iter();
        let mut links = std::collections::BTreeMap::new();
        for name in ["lobby", "left", "right"] {
            links.insert(name, counts.next().unwrap_or_default());
        }
        links.extend(counts.next().map(|counts| ("attacker", counts)));
        let mappings = |side: &str| links.get(side).map_or(0, mappings_of);
        let names = |index: usize| {
            self.settings.lab.sides.get(index).map_or_else(String::new, |side: &Side| side.name.clone())
        };
        PairReport {
            left: names(0),
            right: names(1),
            ok,
            reason,
            path: played.path.clone(),
            method: played.method.clone(),
            since_request_ms: played.since_request_ms,
            first_message_ms,
            rtt_ms: played.rtt_ms,
            packets: Packets { left: left.packets_sent, right: right.packets_sent },
            mappings: Mappings { left: mappings("left"), right: mappings("right") },
            exit,
            log_dir: self.settings.log_dir.display().to_string(),
            seed: self.settings.lab.seed,
            seconds: self.began.elapsed().as_secs_f64(),
            world: None,
            simulated: None,
            script,
            links,
            events: Events { host: host.into_events(), join: join.into_events() },
        }
    }

    fn why(&self) -> String {
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        // Without a room nobody can join: then the host's trouble is the cause.
        let players = if self.transcripts[Who::Host as usize].has("room") {
            [Who::Join, Who::Host]
        } else {
            [Who::Host, Who::Join]
        };
        for who in players {
            if self.exits[who as usize] == Some(0) {
                continue;
            }
            if let Some(reason) = self.transcripts[who as usize].failure() {
                return reason;
            }
            if who == Who::Host {
                let words = self.last_words(who);
                if !words.is_empty() {
                    return format!("host{words}");
                }
            }
        }
        for who in [Who::Join, Who::Host, Who::Lobby] {
            match self.exits[who as usize] {
                Some(0) => {}
                Some(code) => {
                    return format!("{} ended with exit code {code}{}", who.name(), self.last_words(who));
                }
                None => return format!("{} had to be killed{}", who.name(), self.last_words(who)),
            }
        }
        String::from("unknown")
    }
}

fn mappings_of(counts: &Counts) -> u64 {
    counts.emulated_mappings.unwrap_or(counts.udp_endpoints)
}
