//! A Supervisor that connects is held back from the core until the installed Zeek has said which one it is.

use broker_endpoint::Credit;
use tokio::task::JoinHandle;

use super::{Daemon, Runtime};
use crate::{config::version_now, core::broker::Input};

/// A Supervisor that the core has not heard of yet.
pub(super) struct HeldBack {
    added: Input,
    /// What the installed Zeek says that it is.
    version: JoinHandle<Option<String>>,
}

impl Runtime {
    /// A Supervisor that connects may be of another Zeek than the one before, and what it wants its records to look like shows
    /// late: the installed Zeek is asked first.
    pub(super) fn hold_back(&mut self, input: Input) -> Option<Input> {
        let is_supervisor = matches!(
            &input,
            Input::PeerAdded {
                is_supervisor: true,
                ..
            }
        );
        if is_supervisor {
            if let Some(supervisor) = &self.supervisor {
                supervisor.connected();
            } else if let Some(program) = &mut self.program {
                program.supervisor_started();
            }
        }
        match &self.config.installed_zeek.program {
            Some(program) if is_supervisor => {
                self.held_back = Some(HeldBack {
                    added: input,
                    version: tokio::spawn(version_now(program.clone())),
                });
                None
            }
            _ => Some(input),
        }
    }

    /// Lets the core know of the Supervisor, and of the Zeek that it probably is.
    pub(super) async fn introduce(&mut self, daemon: &mut Daemon, version: Option<String>) {
        let known = &mut self.config.installed_zeek;
        // One that does not say may be about to be replaced.
        if version.is_some() && version != known.version {
            let before = std::mem::replace(&mut known.version, version);
            let layout = known.layout();
            let release = |version: &Option<String>| {
                let version = version.as_deref().unwrap_or("unknown");
                version
                    .strip_prefix("zeek version ")
                    .unwrap_or(version)
                    .to_owned()
            };
            let (before, now) = (release(&before), release(&known.version));
            tracing::info!(
                "Zeek was {before} and is {now} now: the Supervisor that has connected is taken for a {now}; \
                 start it again if it was started before that"
            );
            if layout.is_none() {
                tracing::warn!(
                    "the records of Zeek {now} are not known: name a release with the same ones by --zeek-version"
                );
            }
            daemon
                .handle(self, [Input::Installed { layout }], &Credit::none())
                .await;
        }
        if let Some(HeldBack { added, .. }) = self.held_back.take() {
            daemon.handle(self, [added], &Credit::none()).await;
        }
    }
}

/// What the installed Zeek says that it is, while a Supervisor is held back for that; else for ever. May be cancelled.
pub(super) async fn version_of(held_back: Option<&mut HeldBack>) -> Option<String> {
    match held_back {
        // A task that panicked has not found out.
        Some(held_back) => (&mut held_back.version).await.ok().flatten(),
        None => std::future::pending().await,
    }
}
