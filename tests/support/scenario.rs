//! Recorded sessions: what an operator typed, and what Zeek's controller and zeek-client answered.

use std::{collections::BTreeMap, fs, time::Duration};

use serde::Deserialize;

use super::workspace_root;

/// `fixtures/<release>/<name>/scenario.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    /// The calls of zeek-client in order.
    #[serde(skip)]
    pub(crate) commands: Vec<Command>,
    /// The commands and what happened between them, in order.
    pub(crate) steps: Vec<Step>,
    processes: Vec<Process>,
    /// Path below the recording's folder to the text of a `management-*.log`.
    management_logs: BTreeMap<String, String>,
}

/// What happened in a recording.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// zeek-client was called.
    Command(Box<Command>),
    /// The recorder did something else, in its words.
    Note {
        /// Such as `polled get-nodes until 6 nodes RUNNING`.
        note: String,
    },
}

#[derive(Debug, Deserialize)]
struct Process {
    argv: Vec<String>,
}

/// One recorded call of zeek-client.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    /// The release that was run.
    pub(crate) client_version: String,
    /// What was fed to it.
    pub(crate) stdin: Option<String>,
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// When it was started, in seconds since the recording began.
    t: f64,
    t_end: f64,
}

impl Command {
    /// The command with the Broker port of the recorded controller replaced, in what was fed to it and in what it printed.
    pub(crate) fn with_broker_port(&self, port: u16) -> Self {
        let stdin = self.stdin.as_deref().map(|text| with_broker_port(text, port));
        Self {
            stdin,
            stdout: with_broker_port(&self.stdout, port),
            stderr: with_broker_port(&self.stderr, port),
            ..self.clone()
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_secs_f64(self.t_end - self.t)
    }
}

impl Scenario {
    /// Reads the recording of `name` made with `release`, such as `zeek-9.0.0-rc1`.
    pub(crate) fn load(release: &str, name: &str) -> Self {
        let path = workspace_root()
            .join("fixtures")
            .join(release)
            .join(name)
            .join("scenario.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut scenario: Self =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let commands = scenario.steps.iter().filter_map(|step| match step {
            Step::Command(command) => Some((**command).clone()),
            Step::Note { .. } => None,
        });
        scenario.commands = commands.collect();
        scenario
    }

    /// The names of the agents, in the order in which they were started.
    pub(crate) fn agents(&self) -> Vec<&str> {
        let mut agents = Vec::new();
        for argument in self.processes.iter().flat_map(|process| &process.argv) {
            if let Some(name) = argument.strip_prefix("Management::Agent::name=")
                && !agents.contains(&name)
            {
                agents.push(name);
            }
        }
        agents
    }

    /// The settings that Zeek's controller was started with, as they stood on its command line.
    pub(crate) fn controller_settings(&self) -> Vec<String> {
        let [controller] = self.processes.as_slice() else {
            panic!("one process is recorded: {:?}", self.processes)
        };
        let is_setting = |argument: &&String| argument.contains("::") && argument.contains('=');
        controller.argv.iter().filter(is_setting).cloned().collect()
    }

    /// The only management log of a recording with one process.
    pub(crate) fn management_log(&self) -> &str {
        assert_eq!(self.management_logs.len(), 1, "{:?}", self.management_logs.keys());
        self.management_logs.values().next().expect("one log")
    }
}

/// The recorded controllers listen for agents on Zeek's default port, ours on a free one. The text with the port replaced where
/// configurations and messages name it; longer numbers stay.
pub(crate) fn with_broker_port(text: &str, port: u16) -> String {
    text.replace("port = 2150\n", &format!("port = {port}\n"))
        .replace(" 2150/tcp", &format!(" {port}/tcp"))
        .replace("\"2150/tcp", &format!("\"{port}/tcp"))
}
