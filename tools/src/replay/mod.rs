//! Puts a peer in the place of one that was recorded, plays everybody else from the recording, and compares what the peer
//! sends with what was recorded: the content of the command `replay`.
//!
//! * **As bytes, per connection and in order**: the messages of handshakes, the topic and the payload of every event, the text
//!   of every WebSocket message.
//! * **As values**, where only the order differs and Zeek's order is that of its hash tables: results inside answers to
//!   `deploy`, `get_nodes`, `get_id_value`, `restart`, `node_dispatch` and `set_configuration` requests, the `NodeStatus`
//!   vector in them, and bursts of requests to create or destroy nodes.
//! * **Excluded and counted**: log messages, commands of stores, routing updates, pings and pongs; the receiver that an
//!   envelope may name; the network timestamps and the spaces in JSON that old releases write.
//!
//! An input is released when everything that was recorded before it has been sent or waived. Time is virtual: it stands still,
//! and jumps to the next deadline where the recording shows an event that nothing else brings about, and before a connection ends
//! on which a request must have timed out. Ids that the peer draws
//! are mapped one to one to the recorded ones; the peer sees nothing else of the recording. Filters in handshakes, addresses,
//! names, directories and the dialect that others are taken to speak are configured as captured. When a process heard of its
//! peerings, its peers do not see: if the recording cannot be explained by one time, another one is tried.
//!
//! [`in_process`] replays with our own controller or agent, [`with_running`] with a process at a host and port.
//!
//! What the peer asks and the recorded one did not, as far as that is waived, is answered by a Supervisor that does what it is asked
//! to do, and by its nodes: counted as excluded.
//!
//! Deviations that are known stand in `waivers.txt`, with their exact number: one that does not come up, or too often, is a
//! difference.

mod agent;
pub mod capture;
pub mod cli;
mod controller;
mod endpoint;
mod engine;
mod ids;
mod json;
pub mod live;
mod logs;
mod names;
mod recording;
pub mod report;
pub mod scenario;
mod standin;
mod statement;
mod subject;
pub mod waivers;

use std::{io, sync::Arc};

use broker_codec::{
    Data,
    data::{Port, to_data},
};
use broker_endpoint::tls::TlsConfigError;
use mgmt_agent::core::broker;
use mgmt_api::Dialect;
use mgmt_controller::core::{Configurations, Settings, Slot};

use self::{
    capture::Protocol,
    endpoint::Hearing,
    engine::Engine,
    recording::{Cast, Life},
    waivers::Ledger,
};
pub use self::{
    capture::{Capture, ReadError},
    live::Whereabouts,
    recording::Role,
    report::{Difference, Report},
    scenario::Scenario,
    waivers::Waiver,
};

/// What to replay.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The recording's name, as waivers have it: `zeek-9.0.0-rc1/a2c`.
    pub name: &'a str,
    /// Whose place the peer takes.
    pub role: &'a Role,
    /// What was written down beside the capture.
    pub scenario: &'a Scenario,
    /// What the recorded controller has left in its store, if that is known.
    pub stored: Option<&'a Configurations>,
    /// The known deviations.
    pub waivers: &'a [Waiver],
}

/// Nothing can be replayed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The capture has nobody in that role.
    #[error("the capture has no {role}; it has: {present}")]
    NoSuchRole {
        /// The role.
        role: String,
        /// Those that it has.
        present: String,
    },
}

impl ReplayError {
    fn no_such_role(role: &impl ToString, present: &[Role]) -> Self {
        Self::NoSuchRole {
            role: role.to_string(),
            present: report::listed(present.iter().map(Role::to_string)),
        }
    }
}

/// The capture cannot be replayed with a running peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The capture has nobody in that role.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The recorded process ended and was started again, which is not ours to do.
    #[error("the recorded {role} was started {lives} times; a running peer is not restarted")]
    Restarted {
        /// The role.
        role: String,
        /// How often.
        lives: usize,
    },
    /// Nobody in the recording can talk to the running process.
    #[error("cannot replay with the running {role}: {reason}")]
    Unreachable {
        /// The role.
        role: String,
        /// The first connection, and why there is none.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsConfigError),
    /// The system refuses threads or sockets.
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[from] io::Error),
}

/// Replays a capture with a running peer. Its management log and its store are not looked at.
pub fn with_running(
    capture: &Capture,
    options: &Options<'_>,
    whereabouts: &Whereabouts,
) -> Result<Report, LiveError> {
    let (lives, mut ledger, mut report) = begin(capture, options)?;
    report.peer = Some(whereabouts.broker.to_string());
    report.tls = Some(whereabouts.tls.name());
    let [life] = &lives[..] else {
        return Err(LiveError::Restarted {
            role: options.role.to_string(),
            lives: lives.len(),
        });
    };
    let life = Arc::new(life.clone());
    let place = match options.role {
        Role::Controller => live::Place::default(),
        Role::Agent(instance) => live::Place::of_agent(&life.agent_traits(capture, instance), whereabouts),
    };
    let mut subject = live::Live::new(Arc::clone(&life), whereabouts.clone(), place)?;
    run(capture, options, &life, &mut subject, &mut ledger, &mut report);
    if let Some(reason) = subject.unreachable() {
        return Err(LiveError::Unreachable {
            role: options.role.to_string(),
            reason: reason.to_owned(),
        });
    }
    report.settle(&ledger.without_logs());
    Ok(report)
}

/// The roles that a capture has: those that can be replayed.
pub fn roles(capture: &Capture) -> Vec<Role> {
    Cast::of(capture).roles()
}

/// Replays a capture with our own controller or agent, in this process.
pub fn in_process(capture: &Capture, options: &Options<'_>) -> Result<Report, ReplayError> {
    let (lives, mut ledger, mut report) = begin(capture, options)?;
    let mut restored = Configurations::default();
    for life in lives {
        let replay = |hearing| {
            let life = Arc::new(life.clone());
            let (mut ledger, mut report, mut restored) = (ledger.clone(), report.clone(), restored.clone());
            match options.role {
                Role::Controller => {
                    restored = controller_life(
                        capture,
                        options,
                        &life,
                        (hearing, restored),
                        &mut ledger,
                        &mut report,
                    );
                }
                Role::Agent(instance) => {
                    let settings = agent_settings(capture, &life, instance);
                    let mut subject = agent::InProcess::new(Arc::clone(&life), settings, hearing);
                    run(capture, options, &life, &mut subject, &mut ledger, &mut report);
                }
            }
            (ledger, report, restored)
        };
        let late = replay(Hearing::Late);
        // When a process heard of its peerings, its peers cannot see: any time that explains the recording will do.
        let found = if late.1.differences.len() > report.differences.len() {
            let early = replay(Hearing::Early);
            if early.1.differences.len() < late.1.differences.len() {
                early
            } else {
                late
            }
        } else {
            late
        };
        (ledger, report, restored) = found;
    }
    if let (Role::Controller, Some(stored)) = (options.role, options.stored) {
        compare_stored(stored, &restored, &mut ledger, &mut report);
    }
    report.settle(ledger.entries());
    Ok(report)
}

/// Who had the role, and what is known before anything is replayed.
fn begin(capture: &Capture, options: &Options<'_>) -> Result<(Vec<Life>, Ledger, Report), ReplayError> {
    let cast = Cast::of(capture);
    let lives = cast.lives(capture, options.role);
    if lives.is_empty() {
        return Err(ReplayError::no_such_role(options.role, &cast.roles()));
    }
    let ledger = Ledger::new(options.waivers, options.name, &options.role.to_string());
    let mut report = Report {
        scenario: options.name.to_owned(),
        role: options.role.to_string(),
        lives: lives.len(),
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
    Ok((lives, ledger, report))
}

/// Replays a life of the controller; returns what is durable at its end.
fn controller_life(
    capture: &Capture,
    options: &Options<'_>,
    life: &Arc<Life>,
    (hearing, restored): (Hearing, Configurations),
    ledger: &mut Ledger,
    report: &mut Report,
) -> Configurations {
    let dialect = life.dialect(capture);
    let settings = Settings {
        // They came with Zeek 7.0.
        auto_assign_metrics_ports: dialect >= Dialect::V7_0,
        ..Settings::default()
    };
    let listeners = [Some(controller::listener(2150)), Some(controller::listener(2149))];
    let mut subject =
        controller::InProcess::new(Arc::clone(life), settings, dialect, hearing, restored, listeners);
    run(capture, options, life, &mut subject, ledger, report);
    subject.durable().clone()
}

/// Compares what is durable at the end with what the recorded controller left behind.
fn compare_stored(recorded: &Configurations, own: &Configurations, ledger: &mut Ledger, report: &mut Report) {
    for slot in Slot::ALL {
        let data = |configurations: &Configurations| {
            let configuration = configurations.get(slot)?;
            to_data(configuration).ok()
        };
        let differences = names::stored_mismatches(data(recorded).as_ref(), data(own).as_ref());
        let mut alike = true;
        for mismatch in differences {
            let name = format!("stored {slot}");
            let path = names::without_indices(&mismatch.path);
            if !ledger.take(&waivers::Deviation::Differs(name.clone(), path)) {
                alike = false;
                let in_words =
                    |data: Option<Data>| data.map_or_else(|| "nothing".into(), |data| data.to_string());
                let difference = Difference {
                    event: name,
                    path: mismatch.path,
                    ..Difference::default()
                };
                report
                    .differences
                    .push(difference.between(in_words(mismatch.expected), in_words(mismatch.got)));
            }
        }
        report.compared.stored += u64::from(alike);
    }
}

/// The settings that the recorded agent had.
fn agent_settings(capture: &Capture, life: &Life, instance: &str) -> broker::Settings {
    let traits = life.agent_traits(capture, instance);
    let mut settings = broker::Settings {
        controller_api: life.dialect(capture),
        ..broker::Settings::default()
    };
    settings.supervisor.configured = traits.layout;
    settings.agent.name = instance.into();
    settings.agent.connecting = traits.connecting;
    if let Some(port) = traits.listen_port {
        settings.agent.listen_port = Port::tcp(port);
    }
    if let Some(directory) = traits.state_dir {
        settings.agent.state_dir = directory.into();
    }
    settings
}

fn run(
    capture: &Capture,
    options: &Options<'_>,
    life: &Arc<Life>,
    subject: &mut dyn subject::Subject,
    ledger: &mut Ledger,
    report: &mut Report,
) {
    let mut engine = Engine::new(capture, Arc::clone(life), subject, ledger, report);
    engine.run();
    let mut ids = engine.ids;
    if let (Some(recorded), Some(own)) = (options.scenario.log(life.id), subject.log()) {
        logs::compare(&recorded, own, &mut ids, ledger, report);
    }
}
