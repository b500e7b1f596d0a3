//! How many wrong tokens an address may show before no more of it are looked at for a while. Others do not notice.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many wrong tokens an address may show in a row.
pub(super) const WRONG_MAX: u32 = 10;

/// How long it takes until it may show one more.
pub(super) const RECOVERY: Duration = Duration::from_secs(1);

/// How many addresses are remembered. Of more, the one that has not been wrong for longest is forgotten.
const ADDRESSES_MAX: usize = 4096;

/// How often the log has a line about what is refused to one address.
const TOLD_EACH: Duration = Duration::from_secs(10);

/// How often the audit log has one.
const AUDITED_EACH: Duration = Duration::from_secs(1);

/// What is remembered of addresses.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<HashMap<IpAddr, Account>>);

#[derive(Debug)]
struct Account {
    /// How many wrong ones it may still show,
    left: u32,
    /// as of then.
    since: Instant,
    told: Option<Instant>,
    audited: Option<Instant>,
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            left: WRONG_MAX,
            since: now,
            told: None,
            audited: None,
        }
    }

    fn recover(&mut self, now: Instant) {
        let seconds = now.duration_since(self.since).as_secs() / RECOVERY.as_secs();
        let recovered = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(recovered).min(WRONG_MAX);
        if recovered > 0 {
            self.since = now;
        }
    }
}

/// Those who have an IPv6 address have many that begin alike.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(prefix).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Guard {
    /// Whether a token of this address is looked at.
    pub(super) fn looks_at(&self, address: IpAddr) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = accounts.get_mut(&network(address)) else {
            return true;
        };
        account.recover(Instant::now());
        account.left > 0
    }

    /// A token of this address was wrong.
    pub(super) fn was_wrong(&self, address: IpAddr) {
        self.account(address, |account| {
            account.left = account.left.saturating_sub(1);
        });
    }

    /// Whether the log is to have a line about this address: it has some, whatever is refused to it.
    pub(super) fn is_told(&self, address: IpAddr) -> bool {
        self.account(address, |account| is_due(&mut account.told, TOLD_EACH))
    }

    /// Whether the audit log is to have a line about what is refused to this address: otherwise one could have it lose what it holds.
    pub(super) fn is_audited(&self, address: IpAddr) -> bool {
        self.account(address, |account| is_due(&mut account.audited, AUDITED_EACH))
    }

    fn account<T>(&self, address: IpAddr, what: impl FnOnce(&mut Account) -> T) -> T {
        let (now, network) = (Instant::now(), network(address));
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ADDRESSES_MAX && !accounts.contains_key(&network) {
            let oldest = accounts.iter().min_by_key(|(_, account)| account.since);
            let oldest = oldest.map(|(address, _)| *address);
            oldest.and_then(|address| accounts.remove(&address));
        }
        let account = accounts.entry(network).or_insert_with(|| Account::new(now));
        account.recover(now);
        what(account)
    }
}

fn is_due(last: &mut Option<Instant>, each: Duration) -> bool {
    let now = Instant::now();
    let is_due = last.is_none_or(|last| now.duration_since(last) >= each);
    if is_due {
        *last = Some(now);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_wrong_too_often_waits_and_others_do_not() {
        let guard = Guard::default();
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        for _ in 0..WRONG_MAX {
            assert!(guard.looks_at(address));
            guard.was_wrong(address);
        }
        assert!(!guard.looks_at(address) && !guard.looks_at(neighbour));
        assert!(guard.looks_at(OTHER) && guard.looks_at("2001:db8:0:1::1".parse().unwrap()));
        advance(RECOVERY).await;
        assert!(guard.looks_at(neighbour));
        guard.was_wrong(address);
        assert!(!guard.looks_at(address));
        advance(RECOVERY * 100).await;
        for _ in 0..WRONG_MAX {
            assert!(guard.looks_at(address));
            guard.was_wrong(address);
        }
        assert!(!guard.looks_at(address));
        // An address of IPv4 may come as one of IPv6.
        guard.was_wrong("::ffff:127.0.0.1".parse().unwrap());
        for _ in 1..WRONG_MAX {
            guard.was_wrong(OTHER);
        }
        assert!(!guard.looks_at(OTHER));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_addresses_are_remembered() {
        let guard = Guard::default();
        for number in 0..2 * ADDRESSES_MAX {
            let number = u32::try_from(number).unwrap();
            guard.was_wrong(std::net::Ipv4Addr::from_bits(number).into());
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(guard.0.lock().unwrap().len(), ADDRESSES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_has_few_lines_about_an_address() {
        let guard = Guard::default();
        assert!(guard.is_told(OTHER) && !guard.is_told(OTHER));
        advance(TOLD_EACH).await;
        assert!(guard.is_told(OTHER));
    }
}
