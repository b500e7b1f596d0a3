//! The files that nodes write their outputs to: kept short while the nodes run, and quoted when they end.
//!
//! A node writes to the file itself, by appending: it never waits for the agent, nor needs it. One thread looks at all files, as a file
//! system may not answer for long.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use mgmt_api::NodeOutputs;
use mgmt_daemon::files;
use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    io::Errno,
};
use tokio::sync::oneshot;

/// Their names in a node's directory.
const NAMES: [&str; 2] = ["stdout", "stderr"];

/// A file that is longer is shortened, in bytes.
const LENGTH_MAX: u64 = 8 << 20;

/// How much of its end is kept then, in bytes.
const KEPT: u64 = 1 << 20;

/// How many lines are quoted of each, and bytes at most.
const QUOTED_LINES: usize = 100;
const QUOTED_BYTES: usize = 64 << 10;

/// Between two looks, and while a file grows fast.
const INTERVAL: Duration = Duration::from_millis(250);
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// How much a file may grow between two looks before it is looked at more often, in bytes.
const GROWS_FAST: u64 = 1 << 20;

/// A handle to the thread, which ends with it.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    jobs: Sender<Job>,
}

#[derive(Debug)]
enum Job {
    /// Keep the files in a node's directory short.
    Watch(PathBuf, Lengths),
    /// The node has ended: say what it wrote.
    Quote(PathBuf, oneshot::Sender<NodeOutputs>),
}

/// How long the files were when the node was started, in bytes: what comes after that is of this run.
pub(super) type Lengths = [u64; 2];

/// One of the files, of a node that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Output {
    /// Where this run begins.
    from: u64,
    /// What comes before is a hole, which takes no space.
    hole: u64,
    length: u64,
    /// The end of what is in the file no more, where a file system can only empty a file.
    before: Vec<u8>,
}

impl Outputs {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, to_do) = channel();
        thread::Builder::new()
            .name(String::from("outputs"))
            .spawn(move || work(&to_do))?;
        Ok(Self { jobs })
    }

    /// Keeps the files of a node that runs short.
    pub(super) fn watch(&self, directory: &Path, from: Lengths) {
        // A thread that panicked does nothing more.
        let _ = self.jobs.send(Job::Watch(directory.to_owned(), from));
    }

    /// The last lines of what a node wrote since it was started, which has ended. Its files are watched no more.
    pub(super) async fn quote(&self, directory: &Path) -> NodeOutputs {
        let (tell, told) = oneshot::channel();
        let _ = self.jobs.send(Job::Quote(directory.to_owned(), tell));
        told.await.unwrap_or_default()
    }
}

/// Opens the files in a directory for a node that is to be started, which appends to what earlier ones wrote. Returns how long they are.
pub(super) fn open(directory: &Path) -> io::Result<([File; 2], Lengths)> {
    let open = |name: &str| {
        let path = directory.join(name);
        let mut options = files::options();
        // Opening is not waited for, as a FIFO would have it: for what is written to a file that makes no difference. A link may lead to what
        // is not the node's.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.append(true).custom_flags(flags.bits().cast_signed());
        let file = options.open(&path)?;
        let known = file.metadata()?;
        if !known.is_file() {
            return Err(io::Error::other(format!("{name} is no file")));
        }
        if known.len() <= LENGTH_MAX {
            return Ok(file);
        }
        // The node has ended and writes no more, so it can be written anew; a hole goes as well.
        files::replace(&path, &end_of(&path, 0, KEPT)?, files::FILE_MODE)?;
        options.open(&path)
    };
    let [stdout, stderr] = NAMES.map(open);
    let opened = [stdout?, stderr?];
    let lengths = [opened[0].metadata()?.len(), opened[1].metadata()?.len()];
    Ok((opened, lengths))
}

fn work(jobs: &Receiver<Job>) {
    let mut nodes: BTreeMap<PathBuf, [Output; 2]> = BTreeMap::new();
    let mut interval = INTERVAL;
    loop {
        match jobs.recv_timeout(interval) {
            Ok(Job::Watch(directory, from)) => {
                let output = |from| Output {
                    from,
                    length: from,
                    ..Output::default()
                };
                nodes.insert(directory, from.map(output));
                continue;
            }
            Ok(Job::Quote(directory, tell)) => {
                let mut outputs = nodes.remove(&directory).unwrap_or_default();
                let mut quote = |at: usize| {
                    let path = directory.join(NAMES[at]);
                    outputs[at].look(&path);
                    outputs[at].quote(&path).into()
                };
                // Who asked may be gone.
                let _ = tell.send(NodeOutputs {
                    stdout: quote(0),
                    stderr: quote(1),
                });
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        interval = INTERVAL;
        for (directory, outputs) in &mut nodes {
            for (name, output) in NAMES.iter().zip(outputs) {
                if output.look(&directory.join(name)) > GROWS_FAST {
                    interval = INTERVAL_MIN;
                }
            }
        }
    }
}

impl Output {
    /// Shortens the file if it is too long. Returns by how much it has grown since the last look.
    fn look(&mut self, path: &Path) -> u64 {
        // Nothing is to be done about one that was removed.
        let Ok(known) = fs::metadata(path) else { return 0 };
        let grown = known.len().saturating_sub(self.length);
        self.length = known.len();
        // It was emptied by another process.
        if self.length < self.from.max(self.hole) {
            (self.from, self.hole) = (0, 0);
        }
        if self.length.saturating_sub(self.hole) > LENGTH_MAX
            && let Err(error) = self.shorten(path, known.blksize())
        {
            tracing::warn!(path = %path.display(), %error, "cannot shorten the file of a node's output: see whose it is");
        }
        grown
    }

    /// Cuts off the beginning, so that no line at the end is lost: Linux can do that on ext4 and XFS. Other file systems can make a hole of
    /// it; the rest can only empty the file.
    fn shorten(&mut self, path: &Path, block: u64) -> io::Result<()> {
        let file = files::options().write(true).open(path)?;
        let block = block.max(1);
        let cut = self.length.saturating_sub(KEPT) / block * block;
        match fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut) {
            Ok(()) => {
                self.from = self.from.saturating_sub(cut);
                self.hole = 0;
                self.length -= cut;
                return Ok(());
            }
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        match fallocate(
            &file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            0,
            cut,
        ) {
            Ok(()) => self.hole = cut,
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.empty(path, &file)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What is written between the two steps is lost.
    fn empty(&mut self, path: &Path, file: &File) -> io::Result<()> {
        self.before = self.quote(path);
        file.set_len(0)?;
        *self = Self {
            before: std::mem::take(&mut self.before),
            ..Self::default()
        };
        Ok(())
    }

    /// The last lines since the start.
    fn quote(&self, path: &Path) -> Vec<u8> {
        let now = end_of(path, self.from.max(self.hole), QUOTED_BYTES as u64).unwrap_or_default();
        let mut text = self.before.clone();
        if !text.is_empty() && !now.is_empty() {
            text.push(b'\n');
        }
        text.extend(now);
        last_lines(text)
    }
}

/// The end of a file, at most so many bytes, and none of before a place. One that is shorter than that was emptied.
fn end_of(path: &Path, from: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = files::open_foreign(path)?;
    let length = file.metadata()?.len();
    let from = if from > length { 0 } else { from };
    let from = from.max(length.saturating_sub(bytes_max));
    let mut end = vec![0; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut end, from)?;
    Ok(end)
}

/// As much of the end as is quoted, without the newline that ends it. Half a line comes first only if it is the only one.
fn last_lines(mut text: Vec<u8>) -> Vec<u8> {
    let is_cut = text.len() >= QUOTED_BYTES;
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    if text.len() > QUOTED_BYTES {
        text.drain(..text.len() - QUOTED_BYTES);
    }
    let mut begins = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let begin = match begins.nth(QUOTED_LINES - 1) {
        Some((at, _)) => at + 1,
        None if is_cut => text.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        None => 0,
    };
    text.drain(..begin);
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn numbered(lines: std::ops::Range<usize>) -> Vec<u8> {
        let lines: Vec<String> = lines.map(|line| format!("line {line}\n")).collect();
        lines.concat().into_bytes()
    }

    #[test]
    fn the_last_hundred_lines_are_quoted_whole() {
        let ends = |text: &[u8]| last_lines(text.to_vec());
        assert_eq!(ends(b""), b"");
        assert_eq!(ends(b"\n\n"), b"");
        assert_eq!(ends(b"a\n\nb\n"), b"a\n\nb");
        let expected = numbered(900..1000);
        assert_eq!(ends(&numbered(0..1000)), expected.trim_ascii_end());
        let long = [vec![b'x'; QUOTED_BYTES], b"\nlast\n".to_vec()].concat();
        assert_eq!(ends(&long), b"last");
        assert_eq!(ends(&vec![b'x'; 2 * QUOTED_BYTES]).len(), QUOTED_BYTES);
    }

    /// A file that an earlier run wrote to, and this one.
    fn written(directory: &Path) -> (PathBuf, File, Output) {
        fs::write(directory.join("stdout"), "earlier\n").unwrap();
        let ([stdout, _], [from, _]) = open(directory).unwrap();
        let output = Output {
            from,
            ..Output::default()
        };
        (directory.join("stdout"), stdout, output)
    }

    #[test]
    fn what_earlier_runs_wrote_stays_and_is_not_quoted() {
        let home = tempfile::tempdir().unwrap();
        let (path, mut file, mut output) = written(home.path());
        assert_eq!(output.quote(&path), b"");
        file.write_all(b"this\nrun\n").unwrap();
        assert_eq!(output.quote(&path), b"this\nrun");
        assert!(output.look(&path) > 0);
        assert_eq!(output.look(&path), 0);
        assert_eq!(fs::read(&path).unwrap(), b"earlier\nthis\nrun\n");
        file.set_len(0).unwrap();
        file.write_all(b"new\n").unwrap();
        assert_eq!(output.quote(&path), b"new", "it was emptied");
        fs::remove_file(&path).unwrap();
        assert_eq!((output.look(&path), output.quote(&path)), (0, Vec::new()));
    }

    #[test]
    fn a_long_file_is_shortened_and_its_end_stays() {
        let home = tempfile::tempdir().unwrap();
        let (path, mut file, mut output) = written(home.path());
        let lines = numbered(0..1_000_000);
        for _ in 0..3 {
            file.write_all(&lines).unwrap();
            output.look(&path);
            let used = fs::metadata(&path).unwrap().blocks() * 512;
            assert!(used <= 2 * KEPT, "{used} bytes, {output:?}");
            assert_eq!(output.quote(&path), numbered(999_900..1_000_000).trim_ascii_end());
        }
        drop(file);
        fs::write(&path, &lines).unwrap();
        let (_, [length, _]) = open(home.path()).unwrap();
        assert_eq!(length, KEPT);
    }

    #[test]
    fn lines_are_quoted_also_of_a_file_that_was_emptied() {
        let home = tempfile::tempdir().unwrap();
        let (path, mut file, mut output) = written(home.path());
        file.write_all(&numbered(0..150)).unwrap();
        output.empty(&path, &file).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        file.write_all(&numbered(150..200)).unwrap();
        assert_eq!(output.quote(&path), numbered(100..200).trim_ascii_end());
    }
}
