//! Looks now and then whether the agent's directory is still what it was, and makes it again if it is not: a file system may be lost, and directories
//! are removed, or emptied, by mistake. So are those of nodes: what is written there is lost.

use std::{collections::BTreeSet, fs, io, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc, time::Duration};

use broker_codec::data::ZeekString;
use broker_endpoint::with_causes;
use mgmt_daemon::{
    files,
    lock::{Lock, LockError},
    process::enter,
};
use supervise::sessions::{ids, removed_directory};
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
    /// Where the directories of nodes are, without links.
    nodes: PathBuf,
    /// Each on a directory, while no other process is to write our log, or to look after our Supervisor or our nodes.
    locks: Vec<(PathBuf, Option<Arc<Lock>>)>,
}

#[derive(Debug)]
pub(super) struct Home {
    place: Place,
    due: Instant,
    /// Off the loop: file systems may block for long.
    looking: Option<JoinHandle<(Place, Look)>>,
    /// Why it could not be made again the last time.
    trouble: Option<String>,
    /// The nodes that work in directories which are gone, as was last told, and as was last seen.
    told: BTreeSet<ZeekString>,
    seen: BTreeSet<ZeekString>,
}

/// What has changed.
#[derive(Debug)]
pub(super) enum Change {
    /// The directory was lost and is there again; or it cannot be made, for this reason, and is tried again at each look.
    Lost(Result<(), String>),
    /// These nodes, and no others, work in directories that are gone.
    Homeless(BTreeSet<ZeekString>),
}

/// What was seen.
#[derive(Debug)]
struct Look {
    /// None if nothing is lost.
    lost: Option<Result<(), String>>,
    homeless: BTreeSet<ZeekString>,
}

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
        place.nodes = fs::canonicalize(&place.nodes).unwrap_or(place.nodes);
        Ok(Self {
            place,
            due: Instant::now() + INTERVAL,
            looking: None,
            trouble: None,
            told: BTreeSet::new(),
            seen: BTreeSet::new(),
        })
    }

    /// Waits until something changes; a reason why the directory cannot be made again comes once. May be cancelled.
    pub(super) async fn changed(&mut self) -> Change {
        loop {
            if let Some(look) = &mut self.looking {
                // A task that panicked has seen nothing.
                let seen = look.await.ok();
                self.looking = None;
                self.due = Instant::now() + INTERVAL;
                if let Some((place, Look { lost, homeless })) = seen {
                    (self.place, self.seen) = (place, homeless);
                    let trouble = lost.as_ref().and_then(|lost| lost.as_ref().err().cloned());
                    let before = std::mem::replace(&mut self.trouble, trouble);
                    match lost {
                        Some(Err(_)) if before == self.trouble => {}
                        Some(lost) => return Change::Lost(lost),
                        // It is back as it was: what was written meanwhile may be missing.
                        None if before.is_some() => return Change::Lost(Ok(())),
                        None => {}
                    }
                }
            }
            if self.seen != self.told {
                self.told.clone_from(&self.seen);
                return Change::Homeless(self.told.clone());
            }
            sleep_until(self.due).await;
            let place = self.place.clone();
            self.looking = Some(spawn_blocking(move || place.look()));
        }
    }
}

impl Place {
    fn look(mut self) -> (Self, Look) {
        let homeless = self.homeless();
        let lost = self.renew();
        (self, Look { lost, homeless })
    }

    /// Makes the directory again if it is lost.
    fn renew(&mut self) -> Option<Result<(), String>> {
        let is_entered = match (fs::metadata(&self.directory), fs::metadata(".")) {
            (Ok(named), Ok(entered)) => files::is_same(&named, &entered),
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                // Where it cannot be looked at, another one cannot be made.
                return Some(Err(error.to_string()));
            }
            _ => false,
        };
        if is_entered && self.locks.iter().all(is_held) {
            return None;
        }
        let made = enter(&self.directory).map_err(RunError::from);
        Some(
            made.and_then(|()| self.lock())
                .map_err(|error| with_causes(&error)),
        )
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

    /// The nodes that work in directories which are gone. Of processes of other users the agent may not see that.
    fn homeless(&self) -> BTreeSet<ZeekString> {
        let removed = ids()
            .unwrap_or_default()
            .into_iter()
            .filter_map(removed_directory);
        let of_nodes = removed.filter(|directory| directory.parent() == Some(&self.nodes));
        let names = of_nodes.filter_map(|directory| Some(directory.file_name()?.as_bytes().into()));
        names.collect()
    }
}

/// Whether a directory has our lock in it.
fn is_held((path, lock): &(PathBuf, Option<Arc<Lock>>)) -> bool {
    lock.as_ref().is_some_and(|lock| lock.is_on(&path.join(LOCK)))
}
