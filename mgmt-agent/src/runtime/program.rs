//! Looks now and then at the program that Supervisors, or our own nodes, are started from.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use crate::core::{FileIdentity, Program};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct ProgramWatch {
    path: PathBuf,
    is_ours: bool,
    due: Instant,
    looking: Option<Look>,
}

#[derive(Debug)]
struct Look {
    is_start: bool,
    /// Off the loop: file systems may block for long.
    task: JoinHandle<Option<FileIdentity>>,
}

impl ProgramWatch {
    /// Looks at this program, from which the agent starts the Supervisor or another process has.
    pub(super) fn new(path: PathBuf, is_ours: bool) -> Self {
        Self {
            path,
            is_ours,
            due: Instant::now() + INTERVAL,
            looking: None,
        }
    }

    /// Looks at once, unless it is being looked at. It is known from the first look on what has changed.
    pub(super) fn look_now(&mut self) {
        if self.looking.is_none() {
            self.look(false);
        }
    }

    /// A Supervisor has just been started, or found.
    pub(super) fn supervisor_started(&mut self) {
        self.look(true);
    }

    /// What it is like, at each start and each [`INTERVAL`]. May be cancelled.
    pub(super) async fn seen(&mut self) -> Program {
        loop {
            if let Some(look) = &mut self.looking {
                // A task that panicked has seen nothing.
                let file = (&mut look.task).await.ok().flatten();
                let is_start = look.is_start;
                self.looking = None;
                self.due = Instant::now() + INTERVAL;
                return Program {
                    path: self.path.display().to_string(),
                    file,
                    is_start,
                    is_ours: self.is_ours,
                };
            }
            sleep_until(self.due).await;
            self.look(false);
        }
    }

    fn look(&mut self, is_start: bool) {
        let path = self.path.clone();
        self.looking = Some(Look {
            is_start,
            task: spawn_blocking(move || identity(&path)),
        });
    }
}

fn identity(path: &Path) -> Option<FileIdentity> {
    let known = fs::metadata(path).ok()?;
    Some(FileIdentity {
        device: known.dev(),
        inode: known.ino(),
        modified: known.modified().ok()?.duration_since(UNIX_EPOCH).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use broker_codec::data::ZeekString;
    use mgmt_api::{Level, Now, SequentialIds};

    use super::*;
    use crate::core::{Action, Agent, Input, Settings};

    /// The warnings of an agent that is told of the next look.
    async fn warnings(watch: &mut ProgramWatch, agent: &mut Agent) -> Vec<String> {
        let program = watch.seen().await;
        let actions = agent.step(Now::START, Input::Program(program));
        actions
            .into_iter()
            .filter_map(|action| match action {
                Action::Log {
                    level: Level::Warning,
                    message,
                    ..
                } => Some(message),
                _ => None,
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_replaced_is_a_warning_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zeek");
        let install = |content: &str| {
            let new = directory.path().join("new");
            fs::write(&new, content).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        install("old");
        let mut watch = ProgramWatch::new(path.clone(), true);
        let settings = Settings {
            name: ZeekString::from("agent-1"),
            ..Settings::default()
        };
        let mut agent = Agent::new(settings, Box::new(SequentialIds::default()));
        watch.supervisor_started();
        assert!(warnings(&mut watch, &mut agent).await.is_empty());
        assert!(warnings(&mut watch, &mut agent).await.is_empty());
        // Kept, so that no other file gets its inode.
        fs::hard_link(&path, directory.path().join("old")).unwrap();
        install("new");
        let told = warnings(&mut watch, &mut agent).await;
        let [told] = &told[..] else {
            panic!("one warning: {told:?}");
        };
        let expected = format!("{} has changed since the Supervisor was started", path.display());
        assert!(told.starts_with(&expected), "{told}");
        assert!(warnings(&mut watch, &mut agent).await.is_empty(), "told already");
        watch.supervisor_started();
        assert!(
            warnings(&mut watch, &mut agent).await.is_empty(),
            "started from it"
        );
        fs::remove_file(&path).unwrap();
        assert!(warnings(&mut watch, &mut agent).await.is_empty());
    }
}
