//! What the Supervisor has written on standard error shortly before its end: it may say why.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::Excerpt;

use super::kept::{Written, blocking};

/// Between two looks at how much it has written, once it has come up. What it writes in its last one or two of these is quoted:
/// older lines are about something else.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// How much of the end of the file is looked at, in bytes.
const TAIL_BYTES: u64 = 4096;

/// How much is quoted, in bytes.
const QUOTED_BYTES_MAX: usize = 512;

/// How Zeek's Supervisor begins a line about one of its nodes (`Supervisor.cc`, `Stem::Reap`).
const ABOUT_A_NODE: &str = "Supervised node '";

/// The file, and how long it was when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Stderr {
    path: PathBuf,
    /// Its length at the look before the last, in bytes: what comes after that is recent.
    recent: u64,
    /// Its length at the last look.
    last: u64,
}

impl Stderr {
    /// Of a process that was just started, with a new file.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            recent: 0,
            last: 0,
        }
    }

    /// Of a process that was found: all that it has written so far is old.
    pub(super) fn found(path: PathBuf) -> Self {
        let len = len(&path);
        Self {
            path,
            recent: len,
            last: len,
        }
    }

    /// Looks at the file. To be called each [`INTERVAL`].
    fn look(&mut self) {
        self.recent = std::mem::replace(&mut self.last, len(&self.path));
    }

    /// The recent lines that tell of an error, else the last recent line; one line.
    fn reason(&self) -> Option<String> {
        reason_in(&self.recent_text().ok()?)
    }

    fn recent_text(&self) -> io::Result<String> {
        let file = fs::File::open(&self.path)?;
        let len = file.metadata()?.len();
        // One that has become shorter was emptied.
        let recent = if len < self.recent { 0 } else { self.recent };
        let from = recent.max(len.saturating_sub(TAIL_BYTES));
        let mut tail = vec![0; usize::try_from(len - from).unwrap_or_default()];
        file.read_exact_at(&mut tail, from)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    }
}

impl Written for Stderr {
    async fn looked(self) -> Self {
        let mut looked = self.clone();
        let look = move || {
            looked.look();
            looked
        };
        // Without a look, older lines count as recent.
        blocking(look).await.unwrap_or(self)
    }

    async fn said(self) -> Option<String> {
        blocking(move || self.reason()).await.ok().flatten()
    }
}

/// The lines that tell of an error, else the last line; one line.
pub(super) fn reason_in(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains(ABOUT_A_NODE));
    let lines: Vec<&str> = lines.collect();
    let errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.contains("error"))
        .collect();
    let quoted = if errors.is_empty() {
        (*lines.last()?).to_owned()
    } else {
        errors.join("; ")
    };
    Some(
        Excerpt::new(quoted.as_bytes())
            .at_most(QUOTED_BYTES_MAX)
            .to_string(),
    )
}

/// Nothing can be read of a file that is not there.
fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |known| known.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Written {
        _directory: tempfile::TempDir,
        path: PathBuf,
    }

    impl Written {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("stderr");
            let written = Self {
                _directory: directory,
                path,
            };
            written.write("");
            written
        }

        fn write(&self, text: &str) {
            let file = fs::OpenOptions::new().create(true).append(true).open(&self.path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
    }

    fn reason(stderr: &Stderr) -> String {
        stderr.reason().unwrap_or_default()
    }

    #[test]
    fn all_errors_of_a_short_life_are_quoted() {
        let written = Written::new();
        let stderr = Stderr::new(written.path.clone());
        assert_eq!(stderr.reason(), None);
        written.write("loading scripts\n");
        assert_eq!(reason(&stderr), "loading scripts");
        written.write("error in x.zeek: cannot listen on 127.0.0.1:9999\n\nwarning: y\nfatal error: errors occurred while initializing\n");
        assert_eq!(
            reason(&stderr),
            "error in x.zeek: cannot listen on 127.0.0.1:9999; fatal error: errors occurred while initializing"
        );
    }

    #[test]
    fn what_was_written_long_before_is_not_quoted() {
        let written = Written::new();
        let mut stderr = Stderr::new(written.path.clone());
        written.write("error: old\n");
        stderr.look();
        assert_eq!(reason(&stderr), "error: old");
        stderr.look();
        assert_eq!(stderr.reason(), None);
        written.write("error: new\n");
        stderr.look();
        assert_eq!(reason(&stderr), "error: new");
        let found = Stderr::found(written.path.clone());
        assert_eq!(found.reason(), None);
    }

    #[test]
    fn lines_about_nodes_are_not_quoted() {
        let written = Written::new();
        let stderr = Stderr::new(written.path.clone());
        written.write("error: Supervised node 'worker-1' (PID 7) terminated prematurely by signal 9\n");
        assert_eq!(stderr.reason(), None);
    }

    #[test]
    fn a_quote_is_short() {
        let written = Written::new();
        let stderr = Stderr::new(written.path.clone());
        written.write(&"error: \u{e4}\n".repeat(4096));
        let reason = reason(&stderr);
        assert!(reason.len() <= QUOTED_BYTES_MAX + 20, "{reason}");
        assert!(reason.ends_with(" bytes)"), "{reason}");
    }
}
