//! What the core has for the driver: what is asked for goes at once or not at all, and facts are never lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{SyncSender, TrySendError};

use traversal_core::id::{PlayerId, RoomId};

use super::jobs::Order;

/// This is the core's end of the way to the driver. Facts for which there was no room are kept: of each room and each player the
/// last one, so that there are no more of them than rooms and players when the way filled, and players who are here.
pub(super) struct Outbox {
    way: SyncSender<Order>,
    rooms: BTreeMap<RoomId, Order>,
    /// These have come, or have gone.
    players: BTreeMap<PlayerId, bool>,
    /// The driver was told that these are here.
    told: BTreeSet<PlayerId>,
}

/// The driver does not take it now, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Outbox {
    pub(super) fn new(way: SyncSender<Order>) -> Self {
        Self { way, rooms: BTreeMap::new(), players: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// Hands an order to the driver. Nothing overtakes a fact that was kept: a claim would be undone by an older release.
    pub(super) fn send(&mut self, order: Order) -> Result<(), NoRoom> {
        self.go_on();
        if !self.is_empty() {
            return self.keep(order);
        }
        match self.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(order)) => self.keep(order),
            Err(TrySendError::Disconnected(_)) => Err(NoRoom),
        }
    }

    /// Hands over what was kept, as far as there is room.
    pub(super) fn go_on(&mut self) {
        while let Some((room, order)) = self.rooms.pop_first() {
            if let Err(TrySendError::Full(order)) = self.try_send(order) {
                self.rooms.insert(room, order);
                return;
            }
        }
        while let Some((player, here)) = self.players.pop_first() {
            let order = if here { Order::Arrive(player) } else { Order::Depart(player) };
            if let Err(TrySendError::Full(_)) = self.try_send(order) {
                self.players.insert(player, here);
                return;
            }
        }
    }

    /// Tells the driver that this node ends. False: it finds out by itself, when it has done all else.
    pub(super) fn end(&self) -> bool {
        self.way.try_send(Order::End).is_ok()
    }

    fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.players.is_empty()
    }

    fn try_send(&mut self, order: Order) -> Result<(), TrySendError<Order>> {
        let place = match &order {
            Order::Arrive(player) => Some((*player, true)),
            Order::Depart(player) => Some((*player, false)),
            _ => None,
        };
        self.way.try_send(order)?;
        match place {
            Some((player, true)) => _ = self.told.insert(player),
            Some((player, false)) => _ = self.told.remove(&player),
            None => {}
        }
        Ok(())
    }

    fn keep(&mut self, order: Order) -> Result<(), NoRoom> {
        match order {
            Order::Ask(_) | Order::End => return Err(NoRoom),
            Order::Update(record) => {
                let room = record.location.room;
                if !matches!(self.rooms.get(&room), Some(Order::Release { .. })) {
                    self.rooms.insert(room, Order::Update(record));
                }
            }
            Order::Release { room, key } => _ = self.rooms.insert(room, Order::Release { room, key }),
            Order::Arrive(player) => _ = self.players.insert(player, true),
            Order::Depart(player) if self.told.contains(&player) => _ = self.players.insert(player, false),
            Order::Depart(player) => _ = self.players.remove(&player),
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.rooms.len(), self.players.len())
    }
}
