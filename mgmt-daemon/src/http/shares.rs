//! What many share: so much of it in all, and so much for one, who so cannot take it from the others.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Places, or bytes, by who has them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    max: usize,
    of_one_max: usize,
}

/// What one has taken, until this is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    shares: Shares<K>,
    who: K,
    amount: usize,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Nothing is taken.
    pub fn new(max: usize, of_one_max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
            of_one_max,
        }
    }

    /// How much this one has taken.
    pub(super) fn taken_by(&self, who: &K) -> usize {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.get(who).copied().unwrap_or_default()
    }

    /// Takes so much, if it is left in all and for this one.
    pub fn take(&self, who: K, amount: usize) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |max: usize, taken: usize| max.saturating_sub(taken) >= amount;
        let of_one = taken.get(&who).copied().unwrap_or_default();
        if !left(self.of_one_max, of_one) || !left(self.max, taken.values().sum()) {
            return None;
        }
        *taken.entry(who.clone()).or_default() += amount;
        drop(taken);
        Some(Share {
            shares: self.clone(),
            who,
            amount,
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = taken.get_mut(&self.who) {
            *of_one -= self.amount;
            if *of_one == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_so_much_and_leaves_others_theirs() {
        let shares = Shares::new(10, 4);
        let mut taken = Vec::new();
        for who in ["a", "b"] {
            taken.extend([1, 3].map(|amount| shares.take(who, amount).unwrap()));
            assert!(shares.take(who, 1).is_none());
        }
        assert!(shares.take("c", 3).is_none(), "2 are left");
        assert!(shares.take("c", usize::MAX).is_none());
        taken.push(shares.take("c", 2).unwrap());
        assert!(shares.take("d", 1).is_none(), "all is taken");
        taken.remove(0);
        assert!(shares.take("b", 1).is_none());
        taken.push(shares.take("d", 1).unwrap());
        drop(taken);
        drop(shares.take("a", 0));
        assert!(shares.taken.lock().unwrap().is_empty());
    }
}
