//! Looks now and then whether the agent's directory is still what it was, and makes it again if it is not: a file system may be lost, and directories
//! are removed, or emptied, by mistake.

use std::{
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use broker_codec::data::ZeekString;
use broker_endpoint::with_causes;
use mgmt_daemon::{
    files,
    lock::{Lock, LockError},
    process::enter,
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use crate::{
    config::{Config, LOCK},
    core::Supervise,
    error::RunError,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the agent has entered and locked.
#[derive(Clone, Debug)]
struct Place {
    directory: PathBuf,
    /// Where the directories of nodes are.
    nodes: PathBuf,
    /// Each on a directory, while no other process is to write our log, or to look after our Supervisor or our nodes.
    locks: Vec<(PathBuf, Option<Arc<Lock>>)>,
}

#[derive(Debug)]
pub(super) struct Home {
    place: Place,
    due: Instant,
    /// Off the loop: file systems may block for long.
    looking: Option<JoinHandle<Option<(Place, Lost)>>>,
    /// Why it could not be made again the last time.
    trouble: Option<String>,
}

/// The directory is there again, and these nodes still have theirs; or it cannot be made, for this reason, and is tried again at each look.
pub(super) type Lost = Result<Vec<ZeekString>, String>;

impl Home {
    /// Enters and locks the agent's directory.
    pub(super) fn enter(config: &Config) -> Result<Self, RunError> {
        enter(&config.daemon.working_dir)?;
        let nodes = config.daemon.state_dir.join("nodes");
        let mut locked = vec![config.daemon.working_dir.clone()];
        // Another agent of this name may have a directory that is called otherwise.
        let by_name = nodes.join(&config.daemon.name);
        if config.settings.supervise != Supervise::Zeek && by_name != locked[0] {
            locked.push(by_name);
        }
        let mut place = Place {
            directory: config.daemon.working_dir.clone(),
            nodes,
            locks: locked.into_iter().map(|path| (path, None)).collect(),
        };
        place.lock()?;
        Ok(Self {
            place,
            due: Instant::now() + INTERVAL,
            looking: None,
            trouble: None,
        })
    }

    /// Waits until it is lost; a reason why it cannot be made again comes once. May be cancelled.
    pub(super) async fn lost(&mut self) -> Lost {
        loop {
            if let Some(look) = &mut self.looking {
                // A task that panicked has seen nothing.
                let seen = look.await.ok().flatten();
                self.looking = None;
                self.due = Instant::now() + INTERVAL;
                if let Some((place, lost)) = seen {
                    self.place = place;
                    let trouble = lost.as_ref().err().cloned();
                    if lost.is_ok() || trouble != self.trouble {
                        self.trouble = trouble;
                        return lost;
                    }
                }
            }
            sleep_until(self.due).await;
            let place = self.place.clone();
            self.looking = Some(spawn_blocking(move || place.look()));
        }
    }
}

impl Place {
    /// None if nothing is lost.
    fn look(mut self) -> Option<(Self, Lost)> {
        let identity = |path: &Path| -> io::Result<(u64, u64)> {
            let found = fs::metadata(path)?;
            Ok((found.dev(), found.ino()))
        };
        let is_entered = match (identity(&self.directory), identity(Path::new("."))) {
            (Ok(named), Ok(entered)) => named == entered,
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                // Where it cannot be looked at, another one cannot be made.
                let lost = Err(error.to_string());
                return Some((self, lost));
            }
            _ => false,
        };
        if is_entered && self.locks.iter().all(is_held) {
            return None;
        }
        let made = enter(&self.directory).map_err(RunError::from);
        let made = made
            .and_then(|()| self.lock())
            .map_err(|error| with_causes(&error));
        let left = made.map(|()| self.left());
        Some((self, left))
    }

    /// Makes and locks what is not locked.
    fn lock(&mut self) -> Result<(), RunError> {
        for lock in self.locks.iter_mut().filter(|lock| !is_held(lock)) {
            let (path, held) = lock;
            let made = files::create_dir_all(path).map_err(|source| LockError::File {
                path: path.clone(),
                source,
            });
            let locked = made.and_then(|()| Lock::acquire(&path.join(LOCK)));
            let locked = locked.map_err(|source| RunError::Lock {
                path: path.clone(),
                source,
            })?;
            *held = Some(Arc::new(locked));
        }
        Ok(())
    }

    /// The nodes whose directories are there.
    fn left(&self) -> Vec<ZeekString> {
        let entries = fs::read_dir(&self.nodes).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_vec().into()).collect()
    }
}

/// Whether a directory has our lock in it.
fn is_held((path, lock): &(PathBuf, Option<Arc<Lock>>)) -> bool {
    lock.as_ref().is_some_and(|lock| lock.is_on(&path.join(LOCK)))
}
