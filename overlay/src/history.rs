//! The last seconds of each connection, for its graph.

use std::collections::VecDeque;
use std::time::Duration;

use bevy_ecs::prelude::*;
use bevy_traversal::{Loss, Rtt, Traffic};

/// Measurements that are kept: 20 s at two a second.
pub(crate) const SAMPLES: usize = 40;

/// Component of a player: it holds the latest measurements, the oldest first.
#[derive(Component, Clone, Debug, Default, PartialEq)]
pub(crate) struct History(pub(crate) VecDeque<(Duration, f32)>);

/// Adds each new measurement. [`Traffic`] is inserted with each.
pub(crate) fn keep(
    mut commands: Commands,
    mut measured: Query<(Entity, &Rtt, &Loss, Option<&mut History>), Changed<Traffic>>,
) {
    for (entity, Rtt(rtt), Loss(loss), history) in &mut measured {
        let Some(mut history) = history else {
            commands.entity(entity).try_insert(History([(*rtt, *loss)].into()));
            continue;
        };
        if history.0.len() >= SAMPLES {
            history.0.pop_front();
        }
        history.0.push_back((*rtt, *loss));
    }
}
