use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A number that all tasks count in.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, number: usize) {
        self.0.fetch_add(wide(number), Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// For a number that is known elsewhere.
    pub(crate) fn set(&self, number: usize) {
        self.0.store(wide(number), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A counter for each of some kinds.
#[derive(Debug)]
pub(crate) struct Family<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for Family<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Family<K> {
    pub(crate) fn increment(&self, kind: K) {
        // No code that could panic runs under this lock.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry(kind).or_default() += 1;
    }

    pub(crate) fn get(&self) -> BTreeMap<K, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// From one list of counters, and of families after a semicolon: `Counters`, which tasks count in, and what can be seen of them.
macro_rules! counters {
    (
        $(#[$about:meta])*
        $seen:ident {
            $($(#[$doc:meta])* $name:ident,)*
            $(; $($(#[$family_doc:meta])* $family:ident by $kind:ty,)*)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $seen {
            $($(#[$doc])* pub $name: u64,)*
            $($($(#[$family_doc])* pub $family: std::collections::BTreeMap<$kind, u64>,)*)?
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: $crate::counter::Counter,)*
            $($(pub(crate) $family: $crate::counter::Family<$kind>,)*)?
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> $seen {
                $seen {
                    $($name: self.$name.get(),)*
                    $($($family: self.$family.get(),)*)?
                }
            }
        }
    };
}

pub(crate) use counters;
