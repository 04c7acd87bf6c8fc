//! What this plane is among its replicas: what they hear from it, and what it makes of what it hears.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::serve;
use crate::shared::{Load, Local};

/// Ends with the plane: the thread of the shared store does not keep it alive.
pub(crate) struct Replica(Weak<serve::Shared>);

impl Replica {
    pub fn new(plane: &Arc<serve::Shared>) -> Replica {
        Replica(Arc::downgrade(plane))
    }
}

impl Local for Replica {
    fn targets(&self) -> Vec<Arc<str>> {
        let Some(plane) = self.0.upgrade() else { return Vec::new() };
        plane.snapshot.load().targets.iter().map(|target| target.name.clone()).collect()
    }

    fn rests(&self) -> Vec<(String, Duration)> {
        self.0.upgrade().map(|plane| plane.health.drain_hints(Instant::now())).unwrap_or_default()
    }

    fn rest(&self, target: &str, left: Duration) {
        let Some(plane) = self.0.upgrade() else { return };
        let snapshot = plane.snapshot.load();
        if let Some(known) = snapshot.targets.iter().find(|known| *known.name == *target) {
            plane.health.hint(target, left, &known.health_settings, Instant::now());
        }
    }

    fn load(&self) -> Load {
        self.0.upgrade().map(|plane| plane.gate.load()).unwrap_or_default()
    }

    fn others(&self, load: Load) {
        if let Some(plane) = self.0.upgrade() {
            plane.gate.others(load);
        }
    }
}
