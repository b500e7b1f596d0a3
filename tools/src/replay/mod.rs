//! Puts a peer in the place of one that was recorded, plays its peers from the recording, and compares what it sends with what was
//! recorded: the content of the command `replay`.
//!
//! What may differ stands in `docs/replay.md`.
//!
//! An input is released when everything that was recorded before it has been sent or explained. Time is virtual: it stands still,
//! and jumps to the next deadline where the recording shows an event that nothing else brings about, and before a connection ends
//! on which a request must have timed out. Ids that the peer draws
//! are mapped one to one to the recorded ones; the peer sees nothing else of the recording. Filters in handshakes, addresses,
//! names, directories and the dialect that others are taken to speak are configured as captured. What a capture does not show is
//! tried: when a process heard of its peerings, whether it found what the one before it had stored, and whether a controller of ours leaves
//! out absent instances.
//!
//! [`in_process()`] replays with our own controller or agent, [`with_running`] with a process at a host and port.
//!
//! What the peer asks and the recorded one did not, as far as a rule explains it, is answered by a Supervisor that does what it is asked
//! to do, and by its nodes: counted as excluded.
//!
//! Deviations that are known stand in `rules.txt`, each with its evidence and a condition.

mod agent;
pub mod capture;
pub mod cli;
mod controller;
mod engine;
mod error;
mod history;
mod ids;
mod in_process;
mod json;
mod judge;
pub mod live;
mod logs;
mod message;
mod names;
mod recording;
pub mod report;
pub mod rules;
pub mod scenario;
mod standin;
mod subject;

use std::sync::Arc;

use broker_codec::data::{Port, to_data};
use broker_endpoint::{PeerAddress, tls::TlsConfig};
use mgmt_controller::core::{AbsentInstances, Configurations, Slot};

use self::{
    capture::Protocol,
    engine::Engine,
    ids::{Ids, Place},
    in_process::Hearing,
    judge::Judge,
    logs::Log,
    names::stored_mismatches,
    recording::{Endpoints, Process},
    rules::{Case, Kind},
};
pub use self::{
    capture::{Capture, ReadError},
    error::ReplayError,
    live::Target,
    recording::Role,
    report::{Difference, Report},
    scenario::Scenario,
};

#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The recording's name: `zeek-9.0.0-rc1/a2c`.
    pub name: &'a str,
    /// Whose place the peer takes.
    pub role: &'a Role,
    /// What was written down beside the capture.
    pub scenario: &'a Scenario,
    /// What the recorded controller has left in its store, if that is known.
    pub stored: Option<&'a Configurations>,
    /// Whether no deviation is excused.
    pub strict: bool,
}

/// Replays a capture with a running peer. Its management log and its store are not looked at.
pub fn with_running(
    capture: &Capture,
    options: &Options<'_>,
    peer: &PeerAddress,
    tls: &TlsConfig,
    target: &Target,
) -> Result<Report, ReplayError> {
    let (processes, mut report) = begin(capture, options)?;
    report.peer = Some(format!("{peer} (TLS: {})", tls.name()));
    let [process] = &processes[..] else {
        return Err(ReplayError::Restarted {
            role: options.role.to_string(),
            times: processes.len(),
        });
    };
    let place = match options.role {
        Role::Controller => Place::default(),
        Role::Agent(instance) => {
            let traits = process.agent_traits(capture, instance);
            let recorded = traits.listen.map(|listen| Port::tcp(listen.port()));
            Place {
                port: recorded.map(|recorded| (Port::tcp(peer.port), recorded)),
                state_dir: target.state_dir.clone().zip(traits.state_dir),
                pid: None,
            }
        }
    };
    let mut subject = live::Live::new(Arc::clone(process), peer.clone(), tls, target.clone())?;
    run(
        capture,
        options,
        process,
        &mut subject,
        Ids::at(place),
        &mut report,
    );
    if let Some(reason) = subject.unreachable() {
        return Err(ReplayError::Unreachable {
            role: options.role.to_string(),
            reason: reason.to_owned(),
        });
    }
    Ok(report)
}

/// The roles that a capture has: those that can be replayed.
pub fn roles(capture: &Capture) -> Vec<Role> {
    Endpoints::of(capture).roles()
}

/// Replays a capture with our own controller or agent, in this process. What the capture does not show is tried.
pub fn in_process(capture: &Capture, options: &Options<'_>) -> Result<Report, ReplayError> {
    let (processes, mut report) = begin(capture, options)?;
    let mut stored = Configurations::default();
    for process in &processes {
        let mut found = vec![stored, Configurations::default()];
        found.dedup();
        let all = found.into_iter().flat_map(|restored| {
            let report = &report;
            TRIED.map(|tried| {
                let mut report = report.clone();
                let left = play(capture, options, process, tried, restored.clone(), &mut report);
                (report, left)
            })
        });
        // The least that differs, and of these the least for which it takes chance.
        let best = all.min_by_key(|(report, _)| (report.differences.len(), report.by_chance()));
        (report, stored) = best.unwrap_or_default();
    }
    if let (Role::Controller, Some(recorded), Some(process)) =
        (options.role, options.stored, processes.last())
    {
        let judge = Judge::new(Arc::clone(process), options.strict);
        compare_stored(judge, recorded, &stored, &mut report);
    }
    Ok(report)
}

/// The processes that had the role, and what is known before anything is replayed.
fn begin(capture: &Capture, options: &Options<'_>) -> Result<(Vec<Arc<Process>>, Report), ReplayError> {
    let endpoints = Endpoints::of(capture);
    let processes = endpoints.processes(capture, options.role);
    if processes.is_empty() {
        return Err(ReplayError::no_such_role(options.role, &endpoints.roles()));
    }
    let mut report = Report {
        scenario: options.name.to_owned(),
        role: options.role.to_string(),
        processes: processes.len(),
        ..Report::default()
    };
    let encrypted = capture
        .connections
        .iter()
        .filter(|connection| connection.protocol == Protocol::Tls)
        .count();
    if encrypted > 0 {
        let encrypted = u64::try_from(encrypted).unwrap_or(u64::MAX);
        report.excluded.insert("encrypted connections", encrypted);
    }
    Ok((processes.into_iter().map(Arc::new).collect(), report))
}

/// When a process heard of its peerings, and what a controller does without an instance.
const TRIED: [(Hearing, AbsentInstances); 4] = [
    (Hearing::Late, AbsentInstances::Fail),
    (Hearing::Early, AbsentInstances::Fail),
    (Hearing::Late, AbsentInstances::Skip),
    (Hearing::Early, AbsentInstances::Skip),
];

/// Replays one process; returns what is durable at its end, if it is the controller.
fn play(
    capture: &Capture,
    options: &Options<'_>,
    process: &Arc<Process>,
    (hearing, absent): (Hearing, AbsentInstances),
    restored: Configurations,
    report: &mut Report,
) -> Configurations {
    if let Role::Agent(instance) = options.role {
        let traits = process.agent_traits(capture, instance);
        let mut subject = agent::in_process(process, instance, traits, hearing);
        run(capture, options, process, &mut subject, Ids::default(), report);
        return restored;
    }
    let mut subject = controller::in_process(process, restored, hearing, absent);
    run(capture, options, process, &mut subject, Ids::default(), report);
    subject.daemon.durable
}

/// Compares what is durable at the end with what the recorded controller left behind.
fn compare_stored(mut judge: Judge, recorded: &Configurations, own: &Configurations, report: &mut Report) {
    for slot in Slot::ALL {
        let data = |configurations: &Configurations| {
            let configuration = configurations.get(slot)?;
            to_data(configuration).ok()
        };
        let mismatches = stored_mismatches(data(recorded).as_ref(), data(own).as_ref());
        let event = format!("stored {slot}");
        let case = Case::new(Kind::Differs, &event, 0);
        let of = Difference {
            event: event.clone(),
            ..Difference::default()
        };
        if judge.compare(mismatches, &case, &of, report) {
            report.count("stored configurations", 1);
        }
    }
}

fn run(
    capture: &Capture,
    options: &Options<'_>,
    process: &Arc<Process>,
    subject: &mut dyn subject::Subject,
    ids: Ids,
    report: &mut Report,
) {
    let engine = Engine::new(capture, Arc::clone(process), subject, ids, options.strict, report);
    let (ids, judge) = engine.run();
    if let Some(recorded) = options.scenario.log(process.id).filter(|_| !subject.is_running()) {
        Log::new(capture, ids, judge).compare(&recorded, &subject.sent().log, report);
    }
}
