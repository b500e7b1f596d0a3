//! What a process writes to standard error, line by line and while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::limit::Limit;

/// The lines of a process. Read all the time: a full pipe would stop it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    taken: usize,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Told {
    pub(crate) fn by(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Lines>, Condvar)>::default();
        let to_fill = Arc::clone(&shared);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { break };
                lock(&to_fill)
                    .lines
                    .push(String::from_utf8_lossy(&line).into_owned());
                to_fill.1.notify_all();
            }
            lock(&to_fill).ended = true;
            to_fill.1.notify_all();
        });
        Self { shared, taken: 0 }
    }

    /// Waits until all these words were said, each in a line of its own, and returns what was said until then and not taken before.
    /// Lines with the words are in the order of the words: they may come in any.
    pub(crate) fn until_all(&mut self, words: &[&str]) -> Vec<String> {
        let mut limit = Limit::new("");
        let mut told = lock(&self.shared);
        loop {
            let fresh = told.lines.get(self.taken..).unwrap_or_default();
            let places = places(fresh, words);
            if let Some(last) = places.iter().copied().flatten().max()
                && let Some(places) = places.iter().copied().collect::<Option<Vec<_>>>()
            {
                let mut lines = fresh[..=last].to_vec();
                let mut sorted = places.clone();
                sorted.sort_unstable();
                for (place, from) in sorted.into_iter().zip(places) {
                    lines[place].clone_from(&fresh[from]);
                }
                self.taken += lines.len();
                return lines;
            }
            assert!(!told.ended, "{words:?} were not said: {fresh:#?}");
            limit.say(format_args!("lines with {words:?} in {fresh:#?}"));
            let (count, left) = (told.lines.len(), limit.left());
            let nothing_new = |told: &mut Lines| told.lines.len() == count && !told.ended;
            let waited = self.shared.1.wait_timeout_while(told, left, nothing_new);
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end, and returns everything that was written.
    pub(crate) fn all(&self) -> String {
        let limit = Limit::new("the end of standard error");
        let told = lock(&self.shared);
        let waited = self
            .shared
            .1
            .wait_timeout_while(told, limit.left(), |told| !told.ended);
        let told = waited.unwrap_or_else(PoisonError::into_inner).0;
        let mut all = told.lines.join("\n");
        if !all.is_empty() {
            all.push('\n');
        }
        all
    }
}

/// The lines with these words.
fn places(lines: &[String], words: &[&str]) -> Vec<Option<usize>> {
    let mut free: Vec<_> = (0..lines.len()).collect();
    let mut place = |words: &&str| {
        let found = free.iter().position(|place| lines[*place].contains(words))?;
        Some(free.remove(found))
    };
    words.iter().map(&mut place).collect()
}

fn lock(shared: &Arc<(Mutex<Lines>, Condvar)>) -> MutexGuard<'_, Lines> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}
