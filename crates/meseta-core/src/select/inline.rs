//! The cascades over routes that requests bring along: the same few again and again, as programs have written them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use meseta_select::route::Route;

use crate::select::cascade::Cascade;

/// Sets of routes that are kept compiled.
const KEPT: usize = 8;
/// A larger set is neither kept nor fitted to the embedded chooser: anybody can send one, and the worker that fits it does
/// nothing else meanwhile.
const ROUTES: usize = 64;
const BYTES: usize = 16 * 1024;
/// Examples that are fitted, of all routes together: the time that it takes grows with their cube.
const EXAMPLES: usize = 128;

#[derive(Default)]
pub(super) struct Inline(Mutex<VecDeque<Arc<Cascade>>>);

fn is_small(routes: &[Route]) -> bool {
    let length = |route: &Route| {
        route.name.len() + route.description.len() + route.examples.iter().map(String::len).sum::<usize>()
    };
    routes.len() <= ROUTES && routes.iter().map(length).sum::<usize>() <= BYTES
}

/// What the embedded chooser is fitted to, as long as that can be done while the request waits.
pub(super) fn fitted(routes: &[Route]) -> Option<Vec<Route>> {
    let each = EXAMPLES.checked_div(routes.len()).filter(|_| is_small(routes))?;
    let mut routes = routes.to_vec();
    for route in &mut routes {
        route.examples.truncate(each);
    }
    Some(routes)
}

impl Inline {
    /// The cascade over these routes, compiled unless it was used lately.
    pub fn find(&self, routes: Vec<Route>, compile: impl FnOnce(Vec<Route>) -> Cascade) -> Arc<Cascade> {
        if !is_small(&routes) {
            return Arc::new(compile(routes));
        }
        let found = |kept: &mut VecDeque<Arc<Cascade>>| {
            let at = kept.iter().position(|cascade| cascade.routes() == routes)?;
            let cascade = kept.remove(at)?;
            kept.push_back(cascade.clone());
            Some(cascade)
        };
        if let Some(cascade) = self.lock(found) {
            return cascade;
        }
        // Outside of the lock: two requests may both compile it, and one of the two is kept.
        let cascade = Arc::new(compile(routes));
        self.lock(|kept| {
            kept.retain(|known| known.routes() != cascade.routes());
            kept.push_back(cascade.clone());
            if kept.len() > KEPT {
                kept.pop_front();
            }
        });
        cascade
    }

    fn lock<T>(&self, work: impl FnOnce(&mut VecDeque<Arc<Cascade>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
