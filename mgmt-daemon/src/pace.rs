//! How often each of many may do something: so many times in a row, and then once in a while.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many are remembered. Of more, the one that has not asked for longest is forgotten.
const REMEMBERED_MAX: usize = 4096;

/// What is left to each.
#[derive(Debug)]
pub struct Pace<K = String> {
    accounts: Mutex<HashMap<K, Account>>,
    max: u32,
    recovery: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    left: u32,
    /// As of then.
    since: Instant,
}

/// Who has this address: those who have one of IPv6 have many that begin alike.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(prefix).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl<K: Clone + Eq + Hash> Pace<K> {
    /// Each may do it so many times in a row, and has one more after each such time.
    pub fn new(max: u32, recovery: Duration) -> Self {
        Self {
            accounts: Mutex::default(),
            max,
            recovery,
        }
    }

    /// Whether this one may do it now. That it does so is counted.
    pub fn allows(&self, who: K) -> bool {
        let now = Instant::now();
        let mut accounts = self.accounts();
        if accounts.len() >= REMEMBERED_MAX && !accounts.contains_key(&who) {
            let oldest = accounts.iter().min_by_key(|(_, account)| account.since);
            let oldest = oldest.map(|(who, _)| who.clone());
            oldest.and_then(|oldest| accounts.remove(&oldest));
        }
        let account = accounts.entry(who).or_insert(Account {
            left: self.max,
            since: now,
        });
        self.recover(account, now);
        let is_allowed = account.left > 0;
        account.left = account.left.saturating_sub(1);
        is_allowed
    }

    /// Whether this one might do it now.
    pub(crate) fn would_allow(&self, who: &K) -> bool {
        self.accounts().get_mut(who).is_none_or(|account| {
            self.recover(account, Instant::now());
            account.left > 0
        })
    }

    fn recover(&self, account: &mut Account, now: Instant) {
        let recovered = now.duration_since(account.since).as_millis() / self.recovery.as_millis().max(1);
        if recovered > 0 {
            let recovered = u32::try_from(recovered).unwrap_or(u32::MAX);
            account.left = account.left.saturating_add(recovered).min(self.max);
            account.since = now;
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<K, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MAX: u32 = 50;
    const RECOVERY: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn one_that_asks_all_the_time_may_now_and_then_and_others_have_theirs() {
        let pace = Pace::new(MAX, RECOVERY);
        let allowed = |who: &str, times: u32| (0..times).filter(|_| pace.allows(who.to_owned())).count();
        assert_eq!(allowed("a", 10 * MAX), MAX as usize);
        assert_eq!(allowed("b", 1), 1);
        advance(RECOVERY / 2).await;
        assert_eq!(allowed("a", 10), 0);
        advance(3 * RECOVERY).await;
        assert_eq!(allowed("a", 10), 3);
        advance(2 * MAX * RECOVERY).await;
        assert_eq!(allowed("a", 10 * MAX), MAX as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_remembered() {
        let pace = Pace::new(MAX, RECOVERY);
        for number in 0..2 * REMEMBERED_MAX {
            assert!(pace.allows(number.to_string()));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(pace.accounts().len(), REMEMBERED_MAX);
    }
}
