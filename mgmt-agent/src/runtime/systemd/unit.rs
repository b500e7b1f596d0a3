//! What becomes of one unit, from what systemd says of it. Pure: a unit's states in, what is to be told out.
//!
//! Whose doing it was is known by jobs: this agent ends nodes by signals, and starts them by jobs that it knows of. So any other job of a unit is an
//! administrator's, as of `systemctl stop`.

use crate::supervisors::own::End;

/// What kernel and systemd call the ways in which a process ends (`si_code` of SIGCHLD, and `ExecMainCode` of a service).
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// The exit statuses of systemd itself, before it has started a program (systemd.exec(5), "Process Exit Codes").
const NOT_STARTED: std::ops::RangeInclusive<i32> = 200..=245;

/// What a unit is, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// `ActiveState`.
    pub(super) state: String,
    /// When that has changed, in microseconds of the monotonic clock.
    pub(super) changed: u64,
    /// Which of its runs this is; empty when systemd has forgotten.
    pub(super) invocation: Vec<u8>,
    /// Its main process; 0: none.
    pub(super) pid: u32,
    /// The main process of this run, also when it has ended.
    pub(super) last_pid: u32,
    /// When that was started, in microseconds of the monotonic clock.
    pub(super) started: u64,
    /// How that has ended: `ExecMainCode` and `ExecMainStatus`.
    pub(super) code: i32,
    pub(super) status: i32,
    /// How the run has ended: `success`, `exit-code`, `signal`, `resources`.
    pub(super) result: String,
    /// The job that it has; 0: none.
    pub(super) job: u32,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Started {
        pid: i64,
    },
    /// An administrator has started it, at this time, in microseconds of the monotonic clock.
    Found {
        pid: i64,
        started: u64,
    },
    /// As below, for lack of this.
    Lacks {
        what: String,
    },
    NotStarted {
        reason: String,
    },
    Ended {
        pid: i64,
        end: End,
        /// Which run that was, and when it began, as in [`Snapshot`].
        invocation: Vec<u8>,
        started: u64,
    },
    Administered {
        runs: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    pid: u32,
    invocation: Vec<u8>,
    started: u64,
    /// How its process has ended. The next run makes systemd forget it.
    end: Option<End>,
}

/// A unit, as far as it has been told of.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    now: Snapshot,
    /// What runs, as was told.
    run: Option<Run>,
    /// The run that has ended last.
    ended: Vec<u8>,
    /// This agent starts it; and whether something was told of that.
    starting: Option<bool>,
    /// When it began to, in microseconds of the monotonic clock. What changed before that is of a run that it may not know.
    since: u64,
    /// It is being found out why a job of it has ended: nothing is told meanwhile.
    is_held: bool,
}

impl Snapshot {
    /// Neither ended nor failed. It has a process before it says that it is active.
    pub(super) fn is_active(&self) -> bool {
        self.pid != 0 || !matches!(self.state.as_str(), "inactive" | "failed" | "")
    }

    /// Its program runs.
    fn runs(&self) -> bool {
        self.pid != 0 && matches!(self.state.as_str(), "active" | "reloading" | "deactivating")
    }

    fn end(&self) -> End {
        match self.code {
            EXITED => End::Exit(self.status),
            KILLED | DUMPED => End::Signal {
                number: self.status,
                dumped_core: self.code == DUMPED,
            },
            _ => End::Unknown,
        }
    }

    fn was_not_started(&self) -> bool {
        self.last_pid == 0
            || (self.code == EXITED && self.result == "exit-code" && NOT_STARTED.contains(&self.status))
    }
}

impl Unit {
    /// One that runs since an earlier agent.
    pub(super) fn adopt(&mut self, found: Snapshot) {
        self.run = Some(Run {
            pid: found.pid,
            invocation: found.invocation.clone(),
            started: found.started,
            end: None,
        });
        self.now = found;
    }

    /// This agent is about to start it, which does not run, at this time, in microseconds of the monotonic clock.
    pub(super) fn start(&mut self, since: u64) {
        self.starting = Some(false);
        self.since = since;
        self.run = None;
    }

    /// This agent does not start it after all.
    pub(super) fn not_started(&mut self) {
        self.starting = None;
    }

    /// A job of an administrator's has ended. [`Unit::job_ended`] follows.
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    /// One that was not known. An administrator has started it, if it is active.
    pub(super) fn first_seen(&mut self, now: Snapshot) -> Vec<Told> {
        self.now = now;
        if self.now.is_active() {
            self.job_ended("done", false)
        } else {
            Vec::new()
        }
    }

    pub(super) const fn is_starting(&self) -> bool {
        self.starting.is_some()
    }

    pub(super) const fn has_job(&self) -> bool {
        self.now.job != 0
    }

    /// systemd tells what it is now.
    pub(super) fn seen(&mut self, now: Snapshot) -> Vec<Told> {
        // What was asked for may overtake what systemd tells by itself.
        if now.changed < self.now.changed {
            return Vec::new();
        }
        self.now = now;
        self.note_end();
        // Of what an administrator does the outcome is told, when it is there.
        if self.is_held || (self.has_job() && !self.is_starting()) {
            return Vec::new();
        }
        self.outcome()
    }

    /// A job of it has ended like this: `done`, `failed`, `canceled`. What stops because the host is shut down is to run when that is up again.
    pub(super) fn job_ended(&mut self, result: &str, is_stopping: bool) -> Vec<Told> {
        self.now.job = 0;
        self.is_held = false;
        if let Some(told) = self.starting {
            let mut all = self.outcome();
            self.starting = None;
            if !told && all.is_empty() {
                let reason = match result {
                    // Its conditions do not hold.
                    "done" => "systemd has not started it, as `systemctl status` tells".to_owned(),
                    result => format!("systemd has not started it: {result}"),
                };
                all.push(Told::NotStarted { reason });
            }
            return all;
        }
        // Another job has taken its place.
        if result == "canceled" {
            return Vec::new();
        }
        let runs = self.now.is_active() || result != "done";
        let told = self.outcome();
        let was_stopped = !runs || matches!(told.first(), Some(Told::Ended { .. }));
        let mut all = Vec::new();
        // First, so that the end is not taken for a crash.
        if was_stopped && !is_stopping {
            all.push(Told::Administered { runs: false });
        }
        all.extend(told);
        if runs {
            all.push(Told::Administered { runs });
        }
        all
    }

    fn note_end(&mut self) {
        let now = &self.now;
        if let Some(run) = self
            .run
            .as_mut()
            .filter(|run| run.pid == now.last_pid && now.code != 0)
        {
            run.end = Some(now.end());
        }
    }

    /// What has not been told yet.
    fn outcome(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        let now = &self.now;
        if let Some(run) = self
            .run
            .take_if(|run| !now.is_active() || run.invocation != now.invocation)
        {
            all.push(Told::Ended {
                pid: run.pid.into(),
                end: run.end.unwrap_or(End::Unknown),
                invocation: run.invocation.clone(),
                started: run.started,
            });
            self.ended = run.invocation;
        }
        let is_earlier = self.starting.is_some() && now.changed < self.since;
        let is_new = !now.invocation.is_empty() && now.invocation != self.ended && !is_earlier;
        if self.run.is_none() && is_new && now.runs() {
            all.push(begun(now, now.pid, self.is_starting()));
            self.run = Some(Run {
                pid: now.pid,
                invocation: now.invocation.clone(),
                started: now.started,
                end: None,
            });
        } else if self.run.is_none() && is_new && !now.is_active() {
            all.append(&mut came_and_went(now, self.is_starting()));
            self.ended.clone_from(&now.invocation);
        }
        if !all.is_empty() && self.is_starting() {
            self.starting = Some(true);
        }
        all
    }
}

/// A run that was over before it was seen.
fn came_and_went(now: &Snapshot, is_started_here: bool) -> Vec<Told> {
    if is_started_here && now.was_not_started() {
        let reason = if now.last_pid == 0 {
            format!("systemd cannot start it: {}", now.result)
        } else {
            // As `systemctl status` shows it.
            format!("systemd cannot start its program: exit status {}", now.status)
        };
        return vec![Told::NotStarted { reason }];
    }
    if now.last_pid == 0 {
        return Vec::new();
    }
    let ended = Told::Ended {
        pid: now.last_pid.into(),
        end: now.end(),
        invocation: now.invocation.clone(),
        started: now.started,
    };
    vec![begun(now, now.last_pid, is_started_here), ended]
}

fn begun(now: &Snapshot, pid: u32, is_started_here: bool) -> Told {
    let pid = pid.into();
    if is_started_here {
        return Told::Started { pid };
    }
    let started = now.started;
    Told::Found { pid, started }
}

#[cfg(test)]
mod tests;
