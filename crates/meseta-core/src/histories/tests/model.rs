//! Whatever is done in whatever order, a session is what a list is.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// A turn begins: it reads the session.
    Begin {
        caller: u8,
        name: u8,
    },
    /// The oldest turn that has begun ends, or the newest.
    End {
        oldest: bool,
        length: usize,
    },
    Delete {
        caller: u8,
        name: u8,
    },
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let (caller, name) = (0..2_u8, 0..3_u8);
    prop_oneof![
        4 => (caller.clone(), name.clone()).prop_map(|(caller, name)| Act::Begin { caller, name }),
        4 => (any::<bool>(), 0..4_usize).prop_map(|(oldest, length)| Act::End { oldest, length }),
        1 => (caller, name).prop_map(|(caller, name)| Act::Delete { caller, name }),
        1 => Just(Act::Reopen),
    ]
}

/// A session as it should be: its words, and which of all sessions it is.
#[derive(Clone, Debug, Default)]
struct List {
    born: usize,
    words: Vec<String>,
}

struct Turn {
    caller: u8,
    name: u8,
    seen: Version,
    born: Option<usize>,
    length: usize,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_session_is_a_list(acts in proptest::collection::vec(act(), 1..60)) {
        let folder = Folder::new();
        let mut histories = folder.histories();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let key = |caller: u8| Caller::Key([caller; 32]);
        let mut lists: BTreeMap<(u8, u8), List> = BTreeMap::new();
        let mut turns: Vec<Turn> = Vec::new();
        let mut births = 0;
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Begin { caller, name } => {
                    let session = runtime.block_on(histories.read(key(caller), &name.to_string())).unwrap();
                    let list = lists.get(&(caller, name)).cloned();
                    prop_assert_eq!(
                        words(&session.messages),
                        list.as_ref().map(|list| list.words.clone()).unwrap_or_default()
                    );
                    turns.push(Turn {
                        caller,
                        name,
                        seen: session.version,
                        length: session.messages.len(),
                        born: list.map(|list| list.born),
                    });
                }
                Act::End { oldest, length } => {
                    let turn = if oldest && !turns.is_empty() { Some(turns.remove(0)) } else { turns.pop() };
                    let Some(turn) = turn else { continue };
                    let new: Vec<String> = (0..length).map(|part| format!("{number}-{part}")).collect();
                    let messages: Vec<Kept<'_>> = new.iter().map(|words| user(words)).collect();
                    let name = turn.name.to_string();
                    let append = histories.append(key(turn.caller), &name, turn.seen, &messages);
                    let appended = runtime.block_on(append).unwrap();
                    let place = (turn.caller, turn.name);
                    let there = lists.get(&place).map(|list| list.born);
                    if turn.born.is_some() && turn.born != there {
                        prop_assert_eq!(appended, Appended::Gone);
                        continue;
                    }
                    births += 1;
                    let list = lists.entry(place).or_insert(List { born: births, words: Vec::new() });
                    let others = list.words.len() - turn.length;
                    prop_assert!(
                        matches!(appended, Appended::Done { behind, .. } if behind == others as u64),
                        "{appended:?} {others}"
                    );
                    list.words.extend(new);
                }
                Act::Delete { caller, name } => {
                    let deleted = runtime.block_on(histories.delete(key(caller), &name.to_string()));
                    prop_assert_eq!(deleted, Ok(lists.remove(&(caller, name)).is_some()));
                }
                Act::Reopen => {
                    drop(histories);
                    histories = folder.histories();
                }
            }
        }
    }
}
