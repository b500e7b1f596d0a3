//! A sender has credit: it is read as fast as its messages are dealt with, and as listeners take what comes of them.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::sync::lock;

/// How many messages of one sender may be under way at a time. When there are as many, the sender is not read from.
pub(crate) const CREDITS: usize = 64;

/// A message takes one more of these for each time that it, or what was last published because of one, has so many bytes.
pub(crate) const BYTES_PER_CREDIT: usize = 256 * 1024;

/// How long listeners that do not take what they are sent hold back a sender. After that their own queues decide about them.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(2);

/// The credits of one sender.
#[derive(Debug)]
pub(crate) struct Credits {
    shared: Arc<Shared>,
    /// The messages that have some.
    out: Mutex<VecDeque<Weak<Claim>>>,
    /// Whether the last message had to wait.
    exhausted: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    free: Semaphore,
    /// How long what was last published because of this sender is, in bytes.
    published: AtomicUsize,
}

/// What one message has of its sender's credit.
#[derive(Debug)]
struct Claim {
    sender: Arc<Shared>,
    credits: AtomicUsize,
    /// Since when only listeners hold it.
    dealt_with: OnceLock<Instant>,
}

/// A message's credit, which its sender gets back when the last copy of this is dropped and listeners have taken what was
/// published with it.
///
/// The owner of an endpoint or a server keeps it as long as the message is under way: until it is answered, if it is a request.
#[derive(Clone, Debug, Default)]
pub struct Credit(Option<Arc<Underway>>);

#[derive(Debug)]
struct Underway(Arc<Claim>);

/// What a listener's queue keeps of a [`Credit`] until the listener has taken the message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold {
    /// Only kept.
    _claim: Option<Arc<Claim>>,
}

impl Credits {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                free: Semaphore::new(CREDITS),
                published: AtomicUsize::new(0),
            }),
            out: Mutex::default(),
            exhausted: AtomicBool::new(false),
        })
    }

    /// Waits until there is credit for a message of so many bytes.
    pub(crate) async fn acquire(&self, len: usize) -> Credit {
        let len = len.max(self.shared.published.load(Ordering::Relaxed));
        let credits = (1 + len / BYTES_PER_CREDIT).min(CREDITS);
        let wanted = u32::try_from(credits).unwrap_or(u32::MAX);
        let at_once = || self.shared.free.try_acquire_many(wanted);
        let permit = at_once().or_else(|_| {
            self.release_overdue();
            at_once()
        });
        let permit = if let Ok(permit) = permit {
            self.exhausted.store(false, Ordering::Relaxed);
            Ok(permit)
        } else {
            self.exhausted.store(true, Ordering::Relaxed);
            let mut free = pin!(self.shared.free.acquire_many(wanted));
            loop {
                tokio::select! {
                    permit = &mut free => break permit,
                    () = sleep(HOLD_MAX / 8) => self.release_overdue(),
                }
            }
        };
        // It is given back by the claim. The semaphore is never closed.
        let credits = permit.map_or(0, |permit| {
            permit.forget();
            credits
        });
        let claim = Arc::new(Claim {
            sender: Arc::clone(&self.shared),
            credits: AtomicUsize::new(credits),
            dealt_with: OnceLock::new(),
        });
        let mut out = lock(&self.out);
        out.retain(|claim| claim.strong_count() > 0);
        out.push_back(Arc::downgrade(&claim));
        Credit(Some(Arc::new(Underway(claim))))
    }

    /// Whether the sender sends more than it has credit for.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Gives credit back that listeners hold for too long.
    fn release_overdue(&self) {
        lock(&self.out).retain(|claim| {
            let Some(claim) = claim.upgrade() else {
                return false;
            };
            let overdue = claim
                .dealt_with
                .get()
                .is_some_and(|since| since.elapsed() >= HOLD_MAX);
            if overdue {
                claim.release();
            }
            !overdue
        });
    }
}

impl Claim {
    fn release(&self) {
        self.sender
            .free
            .add_permits(self.credits.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let _ = self.0.dealt_with.set(Instant::now());
    }
}

impl Credit {
    /// For what has no sender, or one that is not held back.
    pub const fn none() -> Self {
        Self(None)
    }

    /// For the queue of a listener; `len` is how long the message is for it, in bytes.
    pub(crate) fn hold(&self, len: usize) -> Hold {
        let claim = self.0.as_ref().map(|underway| Arc::clone(&underway.0));
        if let Some(claim) = &claim {
            claim.sender.published.store(len, Ordering::Relaxed);
        }
        Hold { _claim: claim }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn free(credits: &Credits) -> usize {
        credits.shared.free.available_permits()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_until_its_messages_are_dealt_with_and_taken() {
        let credits = Credits::new();
        let mut under_way = Vec::new();
        for _ in 0..CREDITS {
            under_way.push(credits.acquire(100).await);
        }
        assert!(!credits.is_exhausted());
        assert!(credits.acquire(100).now_or_never().is_none());
        assert!(credits.is_exhausted());
        // Answered, but a listener has not taken the answer yet.
        let first = under_way.remove(0);
        let hold = first.hold(100);
        drop(first);
        assert!(credits.acquire(100).now_or_never().is_none());
        drop(hold);
        let next = credits.acquire(100).now_or_never().expect("credit");
        assert!(!credits.is_exhausted());
        drop((next, under_way));
        assert_eq!(free(&credits), CREDITS);
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_that_take_nothing_hold_a_sender_back_for_a_limited_time_and_requests_as_long_as_they_take()
     {
        let credits = Credits::new();
        let mut holds = Vec::new();
        for _ in 0..CREDITS - 1 {
            holds.push(credits.acquire(1).await.hold(1));
        }
        let pending = credits.acquire(1).await;
        let began = Instant::now();
        let next = credits.acquire(1).await;
        assert!(
            began.elapsed() >= HOLD_MAX && began.elapsed() < HOLD_MAX * 2,
            "{:?}",
            began.elapsed()
        );
        assert_eq!(
            free(&credits),
            CREDITS - 2,
            "the one without an answer is still under way"
        );
        // What was given back is not given back again.
        drop((holds, next));
        assert_eq!(free(&credits), CREDITS - 1);
        drop(pending);
        assert_eq!(free(&credits), CREDITS);
        assert!(lock(&credits.out).len() <= 2, "of what is over, little is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_listeners_have_held_back_long_enough_does_not_wait() {
        let credits = Credits::new();
        let mut holds = Vec::new();
        for _ in 0..CREDITS {
            holds.push(credits.acquire(1).await.hold(1));
        }
        sleep(HOLD_MAX).await;
        assert!(credits.acquire(1).now_or_never().is_some());
        assert!(!credits.is_exhausted());
    }

    #[tokio::test(start_paused = true)]
    async fn long_messages_and_those_with_long_answers_take_more() {
        let credits = Credits::new();
        let long = credits.acquire(16 * 1024 * 1024).await;
        assert_eq!(free(&credits), 0);
        drop(long);
        let short = credits.acquire(1).await;
        assert_eq!(free(&credits), CREDITS - 1);
        drop(short.hold(5 * BYTES_PER_CREDIT));
        drop(short);
        let _next = credits.acquire(1).await;
        assert_eq!(free(&credits), CREDITS - 6);
    }
}
