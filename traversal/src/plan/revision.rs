//! The plan that two players follow, and what becomes of it when more is known of their NATs.
//!
//! The plan in force is always the one that [`plan`](super::plan) makes of what is known now. A method that the new
//! plan has, too, goes on with what it has sent, unless it would now do something else; one that the new plan does
//! not have stops.

use super::{Plan, role_in, starts_together};
use crate::method::{Method, PlannedMethod, Role};
use crate::nat::{NatProfile, PortAllocation};
use crate::ports::UNKNOWN_RATE;
use crate::reach::reach;

/// A match may have this many plans: this many are told apart in the rounds on the wire, and the server makes no more.
pub const EDITIONS: u8 = 32;

/// This is what is new in a [`PlanInForce`] after [`PlanInForce::learn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// There is nothing new that a player acts on.
    Nothing,
    /// Only the facts have changed: what runs goes on, and what starts later starts with them.
    Facts,
    /// The methods, their order or the roles have changed: there is another edition.
    Plan,
}

/// This is the plan of a running match, and the two profiles that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanInForce {
    /// The caller has this role, as in [`Plan::caller`].
    pub caller: Role,
    /// These methods are tried in this order.
    pub methods: Vec<PlannedMethod>,
    /// The match had this many plans before this one; it is below [`EDITIONS`].
    pub edition: u8,
    /// These are the caller's profile and the callee's.
    nats: [NatProfile; 2],
}

impl PlanInForce {
    /// The first plan of a match, made from the profiles of caller and callee.
    pub fn new(plan: &Plan, nats: [NatProfile; 2]) -> Self {
        Self::resumed(plan, nats, 0)
    }

    /// The plan of a match whose former plans are not known any more; `edition` was the newest of them and is cut to
    /// what there can be.
    pub fn resumed(plan: &Plan, nats: [NatProfile; 2], edition: u8) -> Self {
        let edition = edition.min(EDITIONS - 1);
        let methods = plan.methods.iter().map(|method| PlannedMethod { method: *method, since: edition });
        Self { caller: plan.caller, methods: methods.collect(), edition, nats }
    }

    /// Begins everything anew, with the newest plan. False when the match has had all the editions that there are.
    pub fn begin_again(&mut self, plan: &Plan, nats: [NatProfile; 2]) -> bool {
        let more = self.edition + 1 < EDITIONS;
        if more {
            *self = Self::resumed(plan, nats, self.edition + 1);
        }
        more
    }

    /// Takes `plan`, which was made of what is known now of caller and callee. Once a match has had all the editions
    /// that there are, its plan stays as it is.
    pub fn learn(&mut self, plan: &Plan, nats: [NatProfile; 2]) -> Revision {
        if alike(&self.nats[0], &nats[0]) && alike(&self.nats[1], &nats[1]) {
            return Revision::Nothing;
        }
        let methods = self.revised(plan, &nats);
        let same_roles = plan.caller == self.caller || methods.is_empty();
        if same_roles && methods == self.methods {
            self.nats = nats;
            return Revision::Facts;
        }
        if self.edition + 1 >= EDITIONS {
            return Revision::Nothing;
        }
        *self = Self { caller: plan.caller, methods, edition: self.edition + 1, nats };
        Revision::Plan
    }

    /// Returns the methods of `plan`, each with the edition since which it runs.
    fn revised(&self, plan: &Plan, nats: &[NatProfile; 2]) -> Vec<PlannedMethod> {
        let next = self.edition + 1;
        let mut earlier = Vec::new();
        let mut anew = false;
        let mut methods = Vec::with_capacity(plan.methods.len());
        for method in &plan.methods {
            let known = self.methods.iter().find(|known| known.method == *method);
            // What waits for the cheap methods has its time after them, so it begins anew when one of them does; but a
            // search that runs goes on, since its sockets are all that an attempt may open.
            let waits = !earlier.is_empty() && !starts_together(&earlier, *method);
            let waits = waits && *method != Method::Birthday;
            let since = match known {
                Some(known) if !(waits && anew || self.changes(*method, plan.caller, nats)) => known.since,
                _ => next,
            };
            anew |= since == next;
            earlier.push(*method);
            methods.push(PlannedMethod { method: *method, since });
        }
        methods
    }

    /// Returns whether a method would do something else with the new roles and profiles than it does now.
    fn changes(&self, method: Method, caller: Role, nats: &[NatProfile; 2]) -> bool {
        if method == Method::Cone {
            return false; // The same tests to the same addresses, whatever is known.
        }
        let role = |role, nats: &[NatProfile; 2]| role_in(method, role, &nats[0], &nats[1]);
        let (before, after) = (role(self.caller, &self.nats), role(caller, nats));
        let sends = |side: usize| (side == 0) == (after == Role::Sending);
        let uses = |side: usize| match method {
            // The receiving side only answers what it is told.
            Method::Bubble => sends(side),
            // The side with the random ports decides how many of which are tried; the other has one port.
            Method::Birthday => sends(side),
            _ => true,
        };
        before != after || (0..2).any(|side| uses(side) && differs(method, &self.nats[side], &nats[side]))
    }
}

/// Returns whether two profiles make the same plan: how long a mapping lives does not matter.
fn alike(a: &NatProfile, b: &NatProfile) -> bool {
    *a == NatProfile { timeout: a.timeout, timeout_below: a.timeout_below, ..*b }
}

/// Ports counted with one of the profiles would be wrong with the other.
fn differs(method: Method, old: &NatProfile, new: &NatProfile) -> bool {
    if method == Method::Prediction && [old, new].iter().all(|nat| reach(nat).mapping_is_hoped_fixed()) {
        return false;
    }
    let same_ports = match (old.allocation, new.allocation) {
        (PortAllocation::RandomInBlock { .. }, PortAllocation::RandomInBlock { .. }) => true,
        (old, new) => old == new,
    };
    // As prediction takes an unknown rate; the width of what it tries goes with it.
    let rate = |nat: &NatProfile| nat.foreign_rate.unwrap_or(UNKNOWN_RATE) + 8.0;
    let rates_differ = rate(old).max(rate(new)) > 1.5 * rate(old).min(rate(new));
    old.mapping != new.mapping || (!reach(new).mapping_is_fixed() && (!same_ports || rates_differ))
}

#[cfg(test)]
mod tests;
