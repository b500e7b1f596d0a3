//! Counters: how often something has happened since a program's start.
//!
//! What a part of a program counts is an enum that derives what [`Kind`] asks for: each variant is a counter, its name in snake case that of
//! the counter, and its doc comment the one line that says what is counted. [`Counters`] counts, from any task; a [`Registry`] lists what
//! all parts of a program count.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, Serializer};
use strum::{EnumMessage, IntoEnumIterator};

/// The kinds of things that a part of a program counts.
pub trait Kind: Copy + Ord + EnumMessage + IntoEnumIterator + Into<&'static str> {}

impl<K: Copy + Ord + EnumMessage + IntoEnumIterator + Into<&'static str>> Kind for K {}

/// A counter for each kind. Clones count together.
#[derive(Clone, Debug)]
pub struct Counters<K>(BTreeMap<K, Arc<AtomicU64>>);

impl<K: Kind> Default for Counters<K> {
    fn default() -> Self {
        Self(K::iter().map(|kind| (kind, Arc::default())).collect())
    }
}

impl<K: Kind> Counters<K> {
    pub fn increment(&self, kind: K) {
        self.add(kind, 1);
    }

    pub fn add(&self, kind: K, number: usize) {
        if let Some(counter) = self.0.get(&kind) {
            counter.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    pub fn get(&self, kind: K) -> u64 {
        self.0
            .get(&kind)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// All counters of a program. Serialized, it is those that are not zero, by their names.
#[derive(Debug, Default)]
pub struct Registry(Vec<(String, &'static str, Arc<AtomicU64>)>);

impl Registry {
    /// Lists what a part of the program counts, with this before each name.
    pub fn add<K: Kind>(&mut self, prefix: &str, counters: &Counters<K>) {
        self.0.extend(counters.0.iter().map(|(kind, counter)| {
            let name: &str = (*kind).into();
            let about = kind.get_documentation().unwrap_or_default();
            (format!("{prefix}{name}"), about, Arc::clone(counter))
        }));
    }

    /// Each counter: its name, what it counts, and how many there were.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        let entries = self.0.iter();
        entries.map(|(name, about, counter)| (&**name, *about, counter.load(Ordering::Relaxed)))
    }
}

impl Serialize for Registry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = self.iter().filter(|(.., number)| *number > 0);
        serializer.collect_map(counted.map(|(name, _, number)| (name, number)))
    }
}
