//! Lines on their way to the thread that writes them.
//!
//! A thread that is woken for each line takes more of the processor than what the line tells of. So a thread writes the first line at once, and
//! then all that have come within [`DELAY`] together, unless one is urgent.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a line waits for others at most, if the thread is not busy.
const DELAY: Duration = Duration::from_millis(2);

/// So many bytes are written together, if a line is not longer.
pub(crate) const CHUNK_MAX: usize = 64 * 1024;

/// A queue for so many lines, those included that the thread has taken last.
pub(crate) fn queue<T>(max: usize) -> (Sender<T>, Receiver<T>) {
    with_delay(max, DELAY)
}

fn with_delay<T>(max: usize, delay: Duration) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        max,
        delay,
        state: Mutex::new(State {
            waiting: Vec::new(),
            taken: 0,
            thread: Thread::Works,
            is_urgent: false,
            is_ended: false,
        }),
        changed: Condvar::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// Where lines are put in. When it is dropped, the thread takes what waits, and no more.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Where the thread takes lines.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    max: usize,
    delay: Duration,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    /// So many are being written.
    taken: usize,
    thread: Thread,
    is_urgent: bool,
    is_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    /// It writes, or lets lines come together.
    Works,
    /// It waits for a line, and has to be woken.
    Waits,
    HasLeft,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State<T>>,
        limit: Duration,
        condition: impl FnMut(&mut State<T>) -> bool,
    ) -> MutexGuard<'a, State<T>> {
        let waited = self.changed.wait_timeout_while(state, limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<T> Sender<T> {
    /// Adds a line; false if there is no room, or no thread any more. What is urgent does not wait for others. Never waits.
    pub(crate) fn push(&self, line: T, is_urgent: bool) -> bool {
        let mut state = self.0.lock();
        if state.is_ended
            || state.thread == Thread::HasLeft
            || state.waiting.len() + state.taken >= self.0.max
        {
            return false;
        }
        state.waiting.push(line);
        // A burst must find room.
        let is_urgent = is_urgent || state.waiting.len() == self.0.max / 2;
        state.is_urgent |= is_urgent;
        let wakes = is_urgent || state.thread == Thread::Waits;
        if wakes {
            state.thread = Thread::Works;
        }
        drop(state);
        if wakes {
            self.0.changed.notify_all();
        }
        true
    }

    /// Takes no more lines. What waits is still written.
    pub(crate) fn end(&self) {
        self.0.lock().is_ended = true;
        self.0.changed.notify_all();
    }

    /// Waits until the thread has left, so long at most.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let state = self.0.lock();
        drop(
            self.0
                .wait_while(state, limit, |state| state.thread != Thread::HasLeft),
        );
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> Receiver<T> {
    /// Waits for lines, and takes all that wait; those that were taken before are written. Without any in this time, if there is a limit, none;
    /// `None` when no more come.
    pub(crate) fn take(&self, limit: Option<Duration>) -> Option<Vec<T>> {
        let began = Instant::now();
        let limit = limit.unwrap_or(Duration::MAX);
        let mut state = self.0.lock();
        if std::mem::take(&mut state.taken) > 0 {
            let delay = limit.min(self.0.delay);
            state = self
                .0
                .wait_while(state, delay, |state| !state.is_urgent && !state.is_ended);
        }
        let limit = limit.saturating_sub(began.elapsed());
        state.thread = Thread::Waits;
        state = self
            .0
            .wait_while(state, limit, |state| state.waiting.is_empty() && !state.is_ended);
        state.thread = Thread::Works;
        state.is_urgent = false;
        let lines = std::mem::take(&mut state.waiting);
        state.taken = lines.len();
        (!(lines.is_empty() && state.is_ended)).then_some(lines)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.lock().thread = Thread::HasLeft;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn lines_that_find_no_room_are_told() {
        let (sender, receiver) = queue(3);
        let push = |line| sender.push(line, false);
        assert!(push(1) && push(2));
        assert_eq!(receiver.take(AT_ONCE), Some(vec![1, 2]));
        // Two are being written.
        assert!(push(3) && !push(4));
        assert_eq!(receiver.take(None), Some(vec![3]));
        assert_eq!(receiver.take(AT_ONCE), Some(Vec::new()));
        assert!(push(5) && push(6) && push(7) && !push(8));
        drop(receiver);
        assert!(!push(9), "no thread writes it");
        sender.wait_for_end(Duration::MAX);
    }

    #[test]
    fn what_waits_at_the_end_is_taken() {
        let (sender, receiver) = queue(3);
        assert!(sender.push(1, false));
        assert_eq!(receiver.take(None), Some(vec![1]));
        assert!(sender.push(2, false));
        drop(sender);
        assert_eq!(receiver.take(None), Some(vec![2]));
        assert_eq!(receiver.take(None), None);
    }

    /// What a thread takes that has written a line when these are put in, as one batch: without an urgent line it would wait for ever.
    fn taken_after_a_line(max: usize, lines: impl Iterator<Item = (usize, bool)>) -> Vec<usize> {
        let (sender, receiver) = with_delay(max, Duration::MAX);
        assert!(sender.push(0, false));
        assert_eq!(receiver.take(None), Some(vec![0]));
        let thread = thread::spawn(move || receiver.take(None));
        for (line, is_urgent) in lines {
            assert!(sender.push(line, is_urgent));
        }
        thread.join().unwrap().unwrap()
    }

    #[test]
    fn lines_wait_for_others_until_one_is_urgent_or_half_of_the_room_is_taken() {
        let lines = (1..20).map(|line| (line, line == 19));
        assert!(taken_after_a_line(100, lines).into_iter().eq(1..20));
        let lines = (1..=50).map(|line| (line, false));
        assert!(taken_after_a_line(100, lines).into_iter().eq(1..=50));
    }
}
