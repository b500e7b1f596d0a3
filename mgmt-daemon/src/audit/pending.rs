use std::collections::BTreeMap;

use jiff::Timestamp;
use mgmt_api::{ENDING, Principal, ResultRecord, TIMED_OUT, operator::text};
use tokio::time::Instant;

use super::{Audit, Line, Outcome, What};

/// How many requests may be under way. Of further ones the outcome is not awaited: a core refuses them.
const PENDING_MAX: usize = 8192;

/// The requests over WebSocket and Broker that are under way, by what tells one from another.
#[derive(Debug)]
pub struct Pending<K> {
    audit: Audit,
    /// The one that has just come.
    current: Option<(K, Begun<K>)>,
    under_way: BTreeMap<K, Begun<K>>,
}

#[derive(Debug)]
struct Begun<K> {
    time: Timestamp,
    since: Instant,
    who: Principal,
    what: What,
    /// What it becomes when it is done as far as it has gone.
    next: Option<K>,
}

impl<K: Ord> Pending<K> {
    pub const fn new(audit: Audit) -> Self {
        Self {
            audit,
            current: None,
            under_way: BTreeMap::new(),
        }
    }

    /// A request has come, and is handed to the core next. If it is done, it may go on as the next one.
    pub fn comes(&mut self, key: K, next: Option<K>, who: Principal, what: What) {
        let begun = Begun {
            time: Timestamp::now(),
            since: Instant::now(),
            who,
            what,
            next,
        };
        self.current = Some((key, begun));
    }

    /// The core has dealt with what has just come: it is under way, or ended without an answer.
    pub fn is_taken(&mut self, is_under_way: bool) {
        let Some((key, begun)) = self.current.take() else {
            return;
        };
        if self.under_way.contains_key(&key) {
            let reason = "a request with this id is under way";
            self.end(begun, Outcome::Failed(reason.to_owned()), |_| {});
        } else if is_under_way && self.under_way.len() < PENDING_MAX {
            self.under_way.insert(key, begun);
        } else {
            self.end(begun, Outcome::Done, |_| {});
        }
    }

    /// What has just come is refused. Of one who has much refused there need not be a line each time: the log would lose what it holds.
    pub fn is_refused(&mut self, reason: String, is_told: bool) {
        let current = self.current.take();
        if let Some((_, begun)) = current.filter(|_| is_told) {
            self.end(begun, Outcome::Refused(reason), |_| {});
        }
    }

    /// A request is answered. Something may be added to what was asked.
    pub fn is_answered(&mut self, key: &K, outcome: Outcome, complete: impl FnOnce(&mut What)) {
        let begun = self.under_way.remove(key).or_else(|| {
            let (_, begun) = self.current.take_if(|(current, _)| current == key)?;
            Some(begun)
        });
        let Some(mut begun) = begun else { return };
        match begun.next.take_if(|_| outcome == Outcome::Done) {
            Some(next) => {
                self.under_way.insert(next, begun);
            }
            None => self.end(begun, outcome, complete),
        }
    }

    fn end(&self, begun: Begun<K>, outcome: Outcome, complete: impl FnOnce(&mut What)) {
        let Begun {
            time,
            since,
            who,
            mut what,
            ..
        } = begun;
        complete(&mut what);
        self.audit.record(Line {
            time,
            address: None,
            who: Some(who),
            what,
            outcome,
            took: since.elapsed(),
        });
    }
}

impl Outcome {
    /// Failed if a result is, for the reason that it gives; not known if all that went wrong is that no answer has come.
    pub fn of(results: &[ResultRecord]) -> Self {
        let failed = results.iter().filter(|result| !result.success);
        let failed = failed.map(|result| Self::failed(result.error.as_ref().map_or_else(String::new, text)));
        let (certain, others): (Vec<Self>, Vec<Self>) =
            failed.partition(|outcome| matches!(outcome, Self::Failed(_)));
        certain.into_iter().chain(others).next().unwrap_or(Self::Done)
    }

    /// Failed for this reason; not known if that is that no answer has come in time.
    pub(crate) fn failed(reason: String) -> Self {
        if reason.starts_with(TIMED_OUT) || reason.ends_with(TIMED_OUT) || reason == ENDING {
            Self::Unknown(reason)
        } else {
            Self::Failed(reason)
        }
    }
}
