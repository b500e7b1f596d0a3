//! The table of requests under way (`request.zeek`, `g_requests`).

use std::collections::BTreeMap;

use crate::time::Now;

/// How long a request id may be, in bytes. Requests with longer ones are refused. Those of zeek-client have 36, those that
/// Zeek draws 17.
///
/// DIFFERENCE(request-limits): Zeek has no such limit.
pub const REQID_BYTES_MAX: usize = 1024;

/// What is under way, by key, each until its deadline.
///
/// DIFFERENCE(request-timeout): an entry lives exactly as long as it is given. Zeek truncates creation times to seconds and looks for
/// expired entries every two seconds, which makes 9 to 12 seconds of 10.
///
/// An entry is never replaced by a new one under its key.
#[derive(Debug)]
pub struct RequestTable<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// The keys in the order in which they expire: by deadline, then by insertion.
    expiry: BTreeMap<(Now, u64), K>,
    inserted: u64,
}

/// Why a request is not taken into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// One of the same kind and id is under way.
    ///
    /// DIFFERENCE(repeated-request): Zeek replaces the live request, which is then never answered. An answer to the
    /// repetition would be taken for the answer to the first.
    Repeated,
    /// So many are under way.
    TooMany {
        /// How many may be.
        max: usize,
    },
}

impl NotAdmitted {
    /// What clients are answered, if they are.
    pub fn answer(self) -> Option<&'static str> {
        matches!(self, Self::TooMany { .. }).then_some("too many requests pending")
    }

    /// The line for the log about a request, such as `deploy_request r1 of client-1`.
    pub fn line(self, request: &str) -> String {
        match self {
            Self::Repeated => format!("ignoring repeated {request}: the first is still pending"),
            Self::TooMany { max } => format!("refusing {request}: {max} requests pending"),
        }
    }
}

#[derive(Debug)]
struct Entry<V> {
    expiry: (Now, u64),
    value: V,
}

impl<K, V> Default for RequestTable<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            expiry: BTreeMap::new(),
            inserted: 0,
        }
    }
}

impl<K: Clone + Ord, V> RequestTable<K, V> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a request may be added under this key, if so many may be under way.
    pub fn admit(&self, key: &K, max: usize) -> Result<(), NotAdmitted> {
        if self.contains(key) {
            return Err(NotAdmitted::Repeated);
        }
        if self.len() >= max {
            return Err(NotAdmitted::TooMany { max });
        }
        Ok(())
    }

    /// Adds an entry; the value comes back if there is one under that key.
    pub fn insert(&mut self, key: K, deadline: Now, value: V) -> Result<(), V> {
        if self.entries.contains_key(&key) {
            return Err(value);
        }
        let expiry = (deadline, self.inserted);
        self.inserted += 1;
        self.expiry.insert(expiry, key.clone());
        self.entries.insert(key, Entry { expiry, value });
        Ok(())
    }

    /// Whether there is an entry under this key.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// The entry under this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The entry under this key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The entries by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Moves the deadline of the entry under this key, if there is one, to a later time; never to an earlier one.
    pub fn postpone(&mut self, key: &K, deadline: Now) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if deadline > entry.expiry.0 {
            self.expiry.remove(&entry.expiry);
            entry.expiry = (deadline, self.inserted);
            self.inserted += 1;
            self.expiry.insert(entry.expiry, key.clone());
        }
    }

    /// Takes the entry under this key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.expiry.remove(&entry.expiry);
        Some(entry.value)
    }

    /// Takes the entry out that expires first, if it does so at or before `now`.
    pub fn pop_expired(&mut self, now: Now) -> Option<(K, V)> {
        let first = self.expiry.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let key = first.remove();
        let entry = self.entries.remove(&key)?;
        Some((key, entry.value))
    }

    /// When the first entry expires.
    pub fn deadline(&self) -> Option<Now> {
        self.expiry.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_request_is_admitted_once_and_if_there_is_room() {
        let mut table = RequestTable::new();
        table.insert("a", at(10), ()).unwrap();
        assert_eq!(table.admit(&"a", 2), Err(NotAdmitted::Repeated));
        assert_eq!(table.admit(&"b", 2), Ok(()));
        table.insert("b", at(10), ()).unwrap();
        assert_eq!(table.admit(&"b", 2), Err(NotAdmitted::Repeated));
        assert_eq!(table.admit(&"c", 2), Err(NotAdmitted::TooMany { max: 2 }));
    }

    /// An entry of the obvious model: a list that is searched.
    struct Listed {
        key: u8,
        deadline: Now,
        /// How late it was given this deadline.
        given: usize,
        value: usize,
    }

    proptest! {
        #[test]
        fn behaves_like_a_list(ops in prop::collection::vec((0..5u8, 0..8u8, 0..20u64), 0..200)) {
            let mut table = RequestTable::new();
            let mut model: Vec<Listed> = Vec::new();
            for (number, (op, key, seconds)) in ops.into_iter().enumerate() {
                let found = model.iter().position(|listed| listed.key == key);
                match op {
                    0 => {
                        let inserted = table.insert(key, at(seconds), number);
                        prop_assert_eq!(inserted, found.map_or(Ok(()), |_| Err(number)));
                        if found.is_none() {
                            model.push(Listed { key, deadline: at(seconds), given: number, value: number });
                        }
                    }
                    1 => {
                        let expected = found.map(|index| model.remove(index).value);
                        prop_assert_eq!(table.remove(&key), expected);
                    }
                    2 => {
                        table.postpone(&key, at(seconds));
                        if let Some(listed) = found.map(|index| &mut model[index])
                            && listed.deadline < at(seconds)
                        {
                            (listed.deadline, listed.given) = (at(seconds), number);
                        }
                    }
                    3 => {
                        let value = table.get_mut(&key).map(|value| std::mem::replace(value, number));
                        let listed = found.map(|index| &mut model[index]);
                        prop_assert_eq!(value, listed.map(|listed| std::mem::replace(&mut listed.value, number)));
                    }
                    _ => {
                        let first = model.iter().enumerate().min_by_key(|(_, listed)| (listed.deadline, listed.given));
                        let first = first.filter(|(_, listed)| listed.deadline <= at(seconds)).map(|(index, _)| index);
                        let expected = first.map(|index| model.remove(index)).map(|listed| (listed.key, listed.value));
                        prop_assert_eq!(table.pop_expired(at(seconds)), expected);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.deadline(), model.iter().map(|listed| listed.deadline).min());
                model.sort_by_key(|listed| listed.key);
                let listed = model.iter().map(|listed| (&listed.key, &listed.value));
                prop_assert!(table.iter().eq(listed));
                for key in 0..8 {
                    let listed = model.iter().find(|listed| listed.key == key);
                    prop_assert_eq!(table.get(&key), listed.map(|listed| &listed.value));
                    prop_assert_eq!(table.contains(&key), listed.is_some());
                }
            }
        }
    }
}
