//! A registry in this process: of one node, or of several that share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::store::Store;
use super::{NodeSite, RegistryNote, RegistryOperation, RegistryReply};

/// This is a registry in memory. A clone is the same registry: nodes of one process share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryRegistry {
    store: Arc<Mutex<Store>>,
}

impl MemoryRegistry {
    /// Makes a registry without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out an operation of this node at once.
    pub fn handle(&mut self, now: Instant, node: u64, operation: RegistryOperation) -> RegistryReply {
        self.lock().handle(now, node, operation)
    }

    /// Notes that this node is there. Every node of several calls it each [`BEAT`](super::BEAT); one that is alone need not.
    pub fn beat(&mut self, now: Instant, site: NodeSite) {
        self.lock().beat(now, site);
    }

    /// Returns what the registry has to say to this node.
    pub fn notes(&mut self, node: u64) -> Vec<RegistryNote> {
        self.lock().notes(node)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // Each operation leaves it whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
