//! How many wrong tokens an address may show before it is told for a while that it is too many. Good ones do not notice.

use std::{net::IpAddr, time::Duration};

use crate::pace::{Pace, network};

/// How many wrong tokens an address may show in a row.
pub(super) const WRONG_MAX: u32 = 10;

/// How long it takes until it may show one more.
pub(super) const RECOVERY: Duration = Duration::from_secs(1);

/// How often the log has a line about what is refused to one address.
const TOLD_EACH: Duration = Duration::from_secs(10);

/// How often the audit log has one.
const AUDITED_EACH: Duration = Duration::from_secs(1);

/// What is remembered of addresses.
#[derive(Debug)]
pub(super) struct Guard {
    wrong: Pace<IpAddr>,
    told: Pace<IpAddr>,
    audited: Pace<IpAddr>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            wrong: Pace::new(WRONG_MAX, RECOVERY),
            told: Pace::new(1, TOLD_EACH),
            audited: Pace::new(1, AUDITED_EACH),
        }
    }
}

impl Guard {
    /// Whether a wrong token of this address is not one of too many.
    pub(super) fn looks_at(&self, address: IpAddr) -> bool {
        self.wrong.would_allow(&network(address))
    }

    /// A token of this address was wrong.
    pub(super) fn was_wrong(&self, address: IpAddr) {
        self.wrong.allows(network(address));
    }

    /// Whether the log is to have a line about this address: it has some, whatever is refused to it.
    pub(super) fn is_told(&self, address: IpAddr) -> bool {
        self.told.allows(network(address))
    }

    /// Whether the audit log is to have a line about what is refused to this address: otherwise one could have it lose what it holds.
    pub(super) fn is_audited(&self, address: IpAddr) -> bool {
        self.audited.allows(network(address))
    }
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
    async fn the_log_has_few_lines_about_an_address() {
        let guard = Guard::default();
        assert!(guard.is_told(OTHER) && !guard.is_told(OTHER));
        advance(TOLD_EACH).await;
        assert!(guard.is_told(OTHER));
    }
}
