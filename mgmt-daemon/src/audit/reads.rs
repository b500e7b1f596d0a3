//! How many lines of requests that only show something one principal has. Otherwise the least role could push out of the log what others have
//! changed.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// How many lines in a row.
pub(super) const READS_MAX: u32 = 500;

/// How long it takes until there is one more.
const RECOVERY: Duration = Duration::from_secs(1);

/// How many principals are remembered. Of more, the one that has not read for longest is forgotten.
const PRINCIPALS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Reads(HashMap<String, Account>);

#[derive(Clone, Copy, Debug)]
struct Account {
    left: u32,
    /// As of then.
    since: Instant,
}

impl Reads {
    /// Whether this principal may have a line now.
    pub(super) fn has_line(&mut self, principal: String) -> bool {
        let now = Instant::now();
        if self.0.len() >= PRINCIPALS_MAX && !self.0.contains_key(&principal) {
            let oldest = self.0.iter().min_by_key(|(_, account)| account.since);
            let oldest = oldest.map(|(principal, _)| principal.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let account = self.0.entry(principal).or_insert(Account {
            left: READS_MAX,
            since: now,
        });
        let recovered = now.duration_since(account.since).as_secs() / RECOVERY.as_secs();
        if recovered > 0 {
            let recovered = u32::try_from(recovered).unwrap_or(u32::MAX);
            account.left = account.left.saturating_add(recovered).min(READS_MAX);
            account.since = now;
        }
        let has_line = account.left > 0;
        account.left = account.left.saturating_sub(1);
        has_line
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_who_reads_all_the_time_has_a_line_now_and_then_and_others_have_theirs() {
        let mut reads = Reads::default();
        let mut lines = |principal: &str, requests: u32| {
            let has_line = |_: &u32| reads.has_line(principal.to_owned());
            (0..requests).filter(has_line).count()
        };
        assert_eq!(lines("token a", 10 * READS_MAX), READS_MAX as usize);
        assert_eq!(lines("token b", 1), 1);
        advance(3 * RECOVERY).await;
        assert_eq!(lines("token a", 10), 3);
        advance(2 * READS_MAX * RECOVERY).await;
        assert_eq!(lines("token a", 10 * READS_MAX), READS_MAX as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_principals_are_remembered() {
        let mut reads = Reads::default();
        for number in 0..2 * PRINCIPALS_MAX {
            assert!(reads.has_line(number.to_string()));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(reads.0.len(), PRINCIPALS_MAX);
    }
}
