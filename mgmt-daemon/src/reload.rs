//! Certificates, tokens, roles, the deny list, the log level and the management log anew, while the daemon runs: at SIGHUP, or as an operator asks.
//!
//! Everything is read first, on a thread of its own, as a disk may hang. If something of it cannot be used, all stays as it was.

use std::{fmt, sync::Arc};

use broker_endpoint::{
    tls::{RenewTls, Revoked},
    with_causes,
};
use counters::Counters;
use mgmt_api::operator::Reloaded;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};
use tracing_subscriber::filter::Targets;

use crate::{
    Counted,
    certificates::Certificates,
    config::{ConfigErrors, DaemonConfig, Effective, Value as _},
    deny_list::DenyList,
    grants::{Grants, Known},
    log,
    renewing::pair,
};

/// How many operators may wait for the loop to take notice of them.
const ASKING_MAX: usize = 16;

/// The settings that are taken while the daemon runs.
const TAKEN: [&str; 3] = ["deny_list", "log_level", "roles"];

/// Those of them that keep others out: a reload that takes one away is refused.
const KEEP_OUT: [&str; 2] = ["roles", "deny_list"];

/// As where a file is empty because an editor or a full disk has not written it yet.
const LOST: &str = "others would be kept out no longer; restart the daemon if that is meant";

/// What one who asks for it hears.
pub(crate) type Outcome = Result<Reloaded, String>;

/// By this an operator asks for it, and hears what came of it.
pub type AskReload = mpsc::Sender<oneshot::Sender<Outcome>>;

/// Reads the configuration again, from where it was read at the start.
#[derive(Clone)]
pub struct Reread(Arc<dyn Fn() -> Result<DaemonConfig, ConfigErrors> + Send + Sync>);

impl Reread {
    pub(crate) fn new(read: impl Fn() -> Result<DaemonConfig, ConfigErrors> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Reread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").finish_non_exhaustive()
    }
}

/// What a daemon needs for it.
#[derive(Debug)]
pub(crate) struct Reload {
    reread: Reread,
    /// Each setting as the daemon has it.
    effective: Vec<Effective>,
    log_filter: Targets,
    grants: Grants,
    revoked: Revoked,
    /// Whether the deny list that is in use has entries.
    has_entries: bool,
    counters: Counters<Counted>,
    running: Option<JoinHandle<Result<Loaded, String>>>,
    /// Whether it was asked for again after what runs may have read.
    is_due: bool,
    /// Those who wait for what runs, and for what runs after that.
    waiting: [Vec<oneshot::Sender<Outcome>>; 2],
    ask: AskReload,
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    config: DaemonConfig,
    /// Those that are in use now.
    certificates: Certificates,
    /// Who may what from now on.
    known: Known,
    denied: DenyList,
}

/// What happens to it next.
pub(crate) enum Happened {
    Asked(oneshot::Sender<Outcome>),
    Read(Box<Result<Loaded, String>>),
}

impl Reload {
    pub(crate) fn new(
        config: &DaemonConfig,
        reread: Reread,
        grants: Grants,
        denied: DenyList,
        counters: Counters<Counted>,
    ) -> Self {
        let (ask, asked) = mpsc::channel(ASKING_MAX);
        let has_entries = denied.len() > 0;
        denied.enforce(&config.revoked, &counters);
        Self {
            reread,
            effective: config.resolved.effective.clone(),
            log_filter: config.log_filter.clone(),
            grants,
            revoked: config.revoked.clone(),
            has_entries,
            counters,
            running: None,
            is_due: false,
            waiting: [Vec::new(), Vec::new()],
            ask,
            asked,
        }
    }

    pub(crate) fn asker(&self) -> AskReload {
        self.ask.clone()
    }

    /// Waits for it. May be cancelled without losing anything.
    pub(crate) async fn next(&mut self) -> Happened {
        let read = async {
            match &mut self.running {
                Some(running) => running.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender that is kept here keeps the queue open.
            Some(asked) = self.asked.recv() => Happened::Asked(asked),
            read = read => Happened::Read(Box::new(read.unwrap_or_else(|error| Err(error.to_string())))),
        }
    }

    /// Begins, or begins again when what runs has ended: it may have read already what has changed since.
    pub(crate) fn begin(&mut self, tls: Vec<RenewTls>, waiting: Option<oneshot::Sender<Outcome>>) {
        let [now, later] = &mut self.waiting;
        if self.running.is_some() {
            self.is_due = true;
            later.extend(waiting);
            return;
        }
        now.extend(waiting);
        let (reread, grants) = (self.reread.clone(), self.grants.clone());
        let mut kept = KEEP_OUT.to_vec();
        kept.retain(|key| is_set(&self.effective, key));
        let has_entries = self.has_entries;
        self.running = Some(spawn_blocking(move || {
            read(&reread, &grants, (&kept, has_entries), &tls)
        }));
    }

    /// Everything was read. Returns whether it is to begin again. What is in use now is handed on before any who waits hears of it.
    pub(crate) fn finish(
        &mut self,
        read: Result<Loaded, String>,
        reloaded: impl FnOnce(Certificates),
    ) -> (Outcome, bool) {
        self.running = None;
        let outcome = read.map(|loaded| {
            self.grants.take(loaded.known);
            let denied = loaded.denied.len();
            self.has_entries = denied > 0;
            loaded.denied.enforce(&self.revoked, &self.counters);
            reloaded(loaded.certificates);
            self.take(loaded.config, denied)
        });
        let [now, later] = &mut self.waiting;
        for waiting in now.drain(..) {
            // The operator may be gone.
            let _ = waiting.send(outcome.clone());
        }
        std::mem::swap(now, later);
        (outcome, std::mem::take(&mut self.is_due))
    }

    /// Uses what can be changed while the daemon runs.
    fn take(&mut self, config: DaemonConfig, denied: usize) -> Reloaded {
        if self.log_filter != config.log_filter {
            log::set_filter(config.log_filter.clone());
            self.log_filter = config.log_filter;
        }
        let is_other = |new: &&Effective| {
            let of_start = self
                .effective
                .iter()
                .find(|old| old.setting.key == new.setting.key);
            !TAKEN.contains(&new.setting.key) && of_start.is_none_or(|old| old.value != new.value)
        };
        let changed = config.resolved.effective.iter().filter(is_other);
        let reloaded = Reloaded {
            tokens: self.grants.list().tokens.len(),
            roles: config.roles.len(),
            denied,
            log_level: self.log_filter.to_string(),
            needs_restart: changed.map(|new| new.setting.key.to_owned()).collect(),
        };
        let is_taken = |setting: &Effective| TAKEN.contains(&setting.setting.key);
        self.effective.retain(|setting| !is_taken(setting));
        self.effective
            .extend(config.resolved.effective.into_iter().filter(is_taken));
        reloaded
    }
}

/// Whether a setting has a value that is not empty.
fn is_set(effective: &[Effective], key: &str) -> bool {
    let mut effective = effective.iter();
    effective.any(|setting| setting.setting.key == key && setting.value != String::new().show())
}

/// Reads configuration, tokens, deny list and certificates, and uses the certificates if all is in order. Settings that are kept have to be set, and a
/// deny list that had entries has to have some.
fn read(
    reread: &Reread,
    grants: &Grants,
    (kept, has_entries): (&[&str], bool),
    tls: &[RenewTls],
) -> Result<Loaded, String> {
    let config = (reread.0)().map_err(|errors| errors.iter().collect::<Vec<_>>().join("; "))?;
    if let Some(lost) = kept.iter().find(|key| !is_set(&config.resolved.effective, key)) {
        return Err(format!("{lost} was set, and is not any more: {LOST}"));
    }
    let known = grants.read(config.roles.clone())?;
    let denied = DenyList::read(config.deny_list.as_deref()).map_err(|error| error.to_string())?;
    if has_entries && denied.len() == 0 {
        return Err(format!(
            "the deny list had entries, and has none any more: {LOST}"
        ));
    }
    let _pair = pair();
    for tls in tls {
        tls.check().map_err(|error| with_causes(&error))?;
    }
    for tls in tls {
        tls.renew().map_err(|error| with_causes(&error))?;
    }
    let certificates = Certificates::read(tls.iter().map(RenewTls::config));
    Ok(Loaded {
        config,
        certificates,
        known,
        denied,
    })
}
