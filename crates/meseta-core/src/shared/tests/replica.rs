//! A replica that only remembers what it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::shared::{Load, Local, SharedSettings};

#[derive(Clone, Default)]
pub struct Replica {
    pub under_way: u64,
    pub rests: Arc<Mutex<Vec<(String, Duration)>>>,
    pub told: Arc<Mutex<Told>>,
}

#[derive(Default)]
pub struct Told {
    pub others: Load,
    /// Every rest that was told, in order.
    pub rests: Vec<(String, Duration)>,
    /// How often the others' load was told.
    pub heard: usize,
}

impl Local for Replica {
    fn targets(&self) -> Vec<Arc<str>> {
        vec!["openai/gpt".into(), "spare".into()]
    }

    fn rests(&self) -> Vec<(String, Duration)> {
        std::mem::take(&mut *self.rests.lock().unwrap())
    }

    fn rest(&self, target: &str, left: Duration) {
        self.told.lock().unwrap().rests.push((target.to_owned(), left));
    }

    fn load(&self) -> Load {
        let mut load = Load::new(self.under_way);
        load.add("acme", self.under_way);
        load
    }

    fn others(&self, load: Load) {
        let mut told = self.told.lock().unwrap();
        told.others = load;
        told.heard += 1;
    }
}

/// With a time-out that a busy machine keeps.
pub fn settings(url: String) -> SharedSettings {
    SharedSettings { url, prefix: "test:".to_owned(), timeout: Duration::from_secs(5) }
}
