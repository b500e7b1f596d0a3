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
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
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
    fn entries_expire_at_their_deadline_and_not_before() {
        let mut table = RequestTable::new();
        table.insert("a", at(10), 1).unwrap();
        assert_eq!(table.deadline(), Some(at(10)));

        let just_before = Now::from_start(Duration::from_nanos(9_999_999_999));
        assert_eq!(table.pop_expired(just_before), None);
        assert_eq!(table.pop_expired(at(10)), Some(("a", 1)));
        assert_eq!(table.pop_expired(at(10)), None);
        assert_eq!(table.deadline(), None);
        assert!(table.is_empty());
    }

    #[test]
    fn entries_of_one_deadline_expire_in_order_of_insertion() {
        let mut table = RequestTable::new();
        for key in ["b", "a", "c"] {
            table.insert(key, at(10), ()).unwrap();
        }
        table.insert("first", at(9), ()).unwrap();
        let expired: Vec<_> = std::iter::from_fn(|| table.pop_expired(at(11))).collect();
        assert_eq!(expired, [("first", ()), ("b", ()), ("a", ()), ("c", ())]);
    }

    #[test]
    fn an_entry_is_not_replaced() {
        let mut table = RequestTable::new();
        table.insert("a", at(10), 1).unwrap();
        assert_eq!(table.insert("a", at(20), 2), Err(2));
        assert_eq!(table.get(&"a"), Some(&1));
        assert_eq!(table.deadline(), Some(at(10)));

        *table.get_mut(&"a").unwrap() = 3;
        assert_eq!(table.remove(&"a"), Some(3));
    }

    #[test]
    fn a_removed_entry_does_not_expire_and_its_key_is_free() {
        let mut table = RequestTable::new();
        table.insert("a", at(10), 1).unwrap();
        assert_eq!(table.remove(&"a"), Some(1));
        assert_eq!(table.remove(&"a"), None);
        assert_eq!(table.pop_expired(at(10)), None);
        assert_eq!(table.insert("a", at(20), 2), Ok(()));
        assert!(table.contains(&"a"));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_entry_can_be_given_more_time_and_not_less() {
        let mut table = RequestTable::new();
        table.insert("a", at(10), ()).unwrap();
        table.insert("b", at(12), ()).unwrap();
        table.postpone(&"a", at(15));
        table.postpone(&"a", at(11));
        table.postpone(&"c", at(11));
        assert_eq!(table.deadline(), Some(at(12)));
        let expired: Vec<_> = std::iter::from_fn(|| table.pop_expired(at(14))).collect();
        assert_eq!(expired, [("b", ())]);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(&"a", &())]);
        assert_eq!(table.pop_expired(at(15)), Some(("a", ())));
    }

    proptest! {
        /// Against the obvious model: a list that is searched.
        #[test]
        fn behaves_like_a_list(ops in prop::collection::vec((0..3u8, 0..8u8, 0..20u64), 0..200)) {
            let mut table = RequestTable::new();
            let mut model: Vec<(u8, Now, usize)> = Vec::new();
            for (value, (op, key, seconds)) in ops.into_iter().enumerate() {
                match op {
                    0 => {
                        let free = model.iter().all(|(other, ..)| *other != key);
                        prop_assert_eq!(table.insert(key, at(seconds), value).is_ok(), free);
                        if free {
                            model.push((key, at(seconds), value));
                        }
                    }
                    1 => {
                        let found = model.iter().position(|(other, ..)| *other == key);
                        let expected = found.map(|index| model.remove(index).2);
                        prop_assert_eq!(table.remove(&key), expected);
                    }
                    _ => {
                        let first = model.iter().enumerate().min_by_key(|(_, (_, deadline, value))| (*deadline, *value));
                        let expected = match first {
                            Some((index, (_, deadline, _))) if *deadline <= at(seconds) => {
                                let (key, _, value) = model.remove(index);
                                Some((key, value))
                            }
                            _ => None,
                        };
                        prop_assert_eq!(table.pop_expired(at(seconds)), expected);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.deadline(), model.iter().map(|(_, deadline, _)| *deadline).min());
            }
        }
    }
}
