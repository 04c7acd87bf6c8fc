//! A shared store within one process, for tests: what the contract says, without a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shared::store::{Connect, Failure, MEMBERS, Store, is_member};

type Values = HashMap<String, (Vec<u8>, Instant)>;

#[derive(Clone, Default)]
pub(super) struct Memory {
    values: Arc<Mutex<Values>>,
}

impl Memory {
    fn lock<T>(&self, work: impl FnOnce(&mut Values) -> T) -> T {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        values.retain(|_, (_, until)| *until > now);
        work(&mut values)
    }
}

impl Connect for Memory {
    type Store = Memory;

    async fn connect(&self) -> Result<Memory, Failure> {
        Ok(self.clone())
    }

    fn address(&self) -> &'static str {
        "memory"
    }
}

impl Store for Memory {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.lock(|values| values.get(name).map(|(value, _)| value.clone())))
    }

    async fn put(&self, name: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        self.lock(|values| values.insert(name.to_owned(), (value.to_owned(), Instant::now() + kept)));
        Ok(())
    }

    async fn left(&self, names: &[String]) -> Result<Vec<Option<(Vec<u8>, Duration)>>, Failure> {
        let left =
            |(value, until): &(Vec<u8>, Instant)| (value.clone(), until.duration_since(Instant::now()));
        Ok(self.lock(|values| names.iter().map(|name| values.get(name).map(left)).collect()))
    }

    async fn lease(&self, group: &str, member: &str, value: &[u8], kept: Duration) -> Result<(), Failure> {
        self.put(&format!("{group}:{member}"), value, kept).await
    }

    async fn leases(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let prefix = format!("{group}:");
        let member = |(name, (value, _)): (&String, &(Vec<u8>, Instant))| {
            let member = name.strip_prefix(&prefix).filter(|member| is_member(member))?;
            Some((member.to_owned(), value.clone()))
        };
        Ok(self.lock(|values| values.iter().filter_map(member).take(MEMBERS).collect()))
    }
}
