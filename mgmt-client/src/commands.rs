//! What each command asks for, and says.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::OnceLock,
};

use broker_codec::data::{escaped_lines, is_hostile};
use mgmt_api::operator::{
    About, Adopted, AgentStatus, Changed, ClusterStatus, Failure, Program, Reloaded, Selection, Values,
};
use serde::Serialize;

use crate::{
    Exit,
    client::{Client, ClientError, part},
    colours, completion, configurations, manual,
    options::{Command, ConfigCommand, Options, Which},
    place::Place,
    status,
};

/// A daemon, and what it is.
pub(crate) struct Daemon<'a> {
    pub(crate) client: Client,
    pub(crate) program: Program,
    pub(crate) options: &'a Options,
}

/// Carries out what the command line wants.
pub(crate) async fn run(options: &Options) -> Result<Exit, ClientError> {
    if options.clusters().nth(1).is_some() && !matches!(options.command, Command::Token(_)) {
        return Err(ClientError::Usage("name one cluster"));
    }
    match &options.command {
        Command::Completion { shell } => return completion::show(*shell),
        Command::Man { command } => return manual::show(command),
        Command::Config(ConfigCommand::Expand(expand)) => {
            return configurations::expand(options, expand).await;
        }
        _ => {}
    }
    let daemon = Daemon::of(options).await?;
    match &options.command {
        Command::Status(form) => daemon.status(form.is_wide()).await,
        Command::Clusters { command } => daemon.clusters(command.as_ref()).await,
        Command::Instances(form) => daemon.instances(form.is_wide()).await,
        Command::Stop(which) => daemon.change("stop", which).await,
        Command::Start(which) => daemon.change("start", which).await,
        Command::Restart(which) => daemon.restart(which).await,
        Command::Logs { node, follow: false } => daemon.logs(node).await,
        Command::Logs { node, follow: true } => daemon.follow_logs(node).await,
        Command::Diag { node } => daemon.diagnose(node).await,
        Command::Print { id, nodes } => daemon.values(id, nodes).await,
        Command::Rollout(command) => daemon.rollout(command).await,
        Command::Plan { file, exit_code } => daemon.plan(file, *exit_code).await,
        Command::Deploy {
            plan: Some(id),
            yes,
            note,
            ..
        } => daemon.deploy_plan(id, *yes, note.clone()).await,
        Command::Deploy { file, yes, note, .. } => daemon.deploy(file.as_deref(), *yes, note.clone()).await,
        Command::Revisions(command) => daemon.revisions_command(command).await,
        Command::Deployments { id } => daemon.deployments(id.as_deref()).await,
        Command::Config(command) => daemon.config(command).await,
        Command::Events { lines } => daemon.events(*lines).await,
        // They need no daemon.
        Command::Completion { .. } | Command::Man { .. } => Ok(Exit::Done),
        Command::Adopt => daemon.adopt().await,
        Command::Reload => daemon.reload().await,
        Command::Whoami => daemon.whoami().await,
        Command::Token(command) => daemon.token(command).await,
        Command::Enroll(which) => daemon.enroll(which).await,
    }
}

impl<'a> Daemon<'a> {
    /// The one that the command line names.
    pub(crate) async fn of(options: &'a Options) -> Result<Self, ClientError> {
        let client = Client::new(Place::of(options)?);
        let about: About = client.get("/v1").await?;
        Ok(Self {
            client,
            program: about.program,
            options,
        })
    }
}

impl Daemon<'_> {
    /// The path of what belongs to a cluster; an agent has but one.
    pub(crate) fn path(&self, rest: &str) -> String {
        match self.program {
            Program::Controller => {
                let cluster = self.options.cluster().unwrap_or("default");
                format!("/v1/clusters/{}/{rest}", part(cluster))
            }
            Program::Agent => format!("/v1/{rest}"),
        }
    }

    /// The path of what belongs to a cluster, and not to an agent.
    pub(crate) fn path_of_cluster(&self, rest: &str) -> Result<String, ClientError> {
        self.needs_controller()?;
        Ok(self.path(rest))
    }

    /// That the daemon is a controller.
    pub(crate) const fn needs_controller(&self) -> Result<(), ClientError> {
        match self.program {
            Program::Controller => Ok(()),
            Program::Agent => Err(ClientError::Usage(
                "this is an agent: ask the controller, which has the configurations",
            )),
        }
    }

    async fn status(&self, is_wide: bool) -> Result<Exit, ClientError> {
        match self.program {
            Program::Controller if self.options.cluster().is_none() => self.status_of_all(is_wide).await,
            Program::Controller => self.status_of_one(is_wide).await,
            Program::Agent => {
                let status: AgentStatus = self.client.get(&self.path("status")).await?;
                let (text, exit) = status::of_agent(&status, is_wide);
                self.show_coloured(&status, &text, exit);
                Ok(exit)
            }
        }
    }

    pub(crate) async fn status_of_one(&self, is_wide: bool) -> Result<Exit, ClientError> {
        let status: ClusterStatus = self.client.get(&self.path("status")).await?;
        let (text, exit) = status::of_cluster(&status, is_wide);
        self.show_coloured(&status, &text, exit);
        Ok(exit)
    }

    async fn instances(&self, is_wide: bool) -> Result<Exit, ClientError> {
        let status: ClusterStatus = self.client.get(&self.path_of_cluster("status")?).await?;
        let (text, exit) = status::of_instances(&status, is_wide);
        self.show(&status.instances, &text);
        Ok(exit)
    }

    async fn change(&self, verb: &str, which: &Which) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{verb}"));
        let which = Selection {
            nodes: which.nodes.clone(),
            instances: which.instances.clone(),
            role: which.role,
            all: which.all,
        };
        let changed: Changed = self.client.post(&path, &which).await?;
        Ok(self.changed(verb, &changed))
    }

    async fn restart(&self, which: &Which) -> Result<Exit, ClientError> {
        if self.program == Program::Agent {
            let usage = "a controller restarts nodes; this is an agent: stop and start them here";
            return Err(ClientError::Usage(usage));
        }
        self.change("restart", which).await
    }

    /// Prints a variable of nodes.
    async fn values(&self, id: &str, nodes: &[String]) -> Result<Exit, ClientError> {
        let id = part(id);
        let mut all = Values::default();
        if nodes.is_empty() {
            let path = self.path_of_cluster(&format!("variables/{id}"))?;
            all = self.client.get(&path).await?;
        }
        for node in nodes {
            let path = self.path_of_cluster(&format!("nodes/{}/variables/{id}", part(node)))?;
            let values: Values = self.client.get(&path).await?;
            all.values.extend(values.values);
        }
        let mut text = String::new();
        for value in &all.values {
            let names = [&value.node, &value.instance].into_iter().flatten();
            let names: Vec<&str> = names.map(String::as_str).collect();
            let told = value.value.as_ref().or(value.error.as_ref());
            let _ = writeln!(
                text,
                "{}: {}",
                names.join(" on "),
                told.map_or("no value", String::as_str)
            );
        }
        self.show(&all, &text);
        Ok(Exit::of(all.values.iter().all(|value| value.value.is_some())))
    }

    async fn adopt(&self) -> Result<Exit, ClientError> {
        if self.program == Program::Controller {
            return Err(ClientError::Usage(
                "this is a controller: ask the agent that refuses it",
            ));
        }
        let adopted: Adopted = self.client.post("/v1/adopt", &()).await?;
        let text = match &adopted.controller {
            Some(controller) => format!("the agent obeys {controller}\n"),
            None => "the agent obeys the next controller that connects\n".to_owned(),
        };
        self.show(&adopted, &text);
        Ok(Exit::Done)
    }

    async fn reload(&self) -> Result<Exit, ClientError> {
        let reloaded: Reloaded = self.client.post("/v1/reload", &()).await?;
        self.show(&reloaded, &format!("{reloaded}\n"));
        Ok(Exit::Done)
    }

    /// Says what has changed.
    fn changed(&self, verb: &str, changed: &Changed) -> Exit {
        let mut text = match &changed.nodes[..] {
            [] if changed.failures.is_empty() => format!("nothing to {verb}: no node had to change\n"),
            [] => String::new(),
            nodes => format!("{}: {}\n", in_progress(verb), nodes.join(", ")),
        };
        for Failure {
            instance,
            node,
            reason,
        } in &changed.failures
        {
            let names: Vec<&str> = [node, instance]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            let _ = writeln!(text, "cannot {verb} {}: {reason}", names.join(" on "));
        }
        self.show(changed, &text);
        Exit::of(changed.failures.is_empty())
    }

    /// The same, with states and verdict in colours on a terminal.
    pub(crate) fn show_coloured(&self, answer: &impl Serialize, text: &str, exit: Exit) {
        if self.options.json {
            show_json(answer);
        } else if colours::are_wanted() {
            print(&colours::painted(&escaped_lines(text), exit));
        } else {
            print(&escaped_lines(text));
        }
    }

    /// Prints the answer: as JSON, or as it is for people.
    pub(crate) fn show(&self, answer: &impl Serialize, text: &str) {
        if self.options.json {
            show_json(answer);
        } else {
            print(&escaped_lines(text));
        }
    }
}

pub(crate) fn show_json(answer: &impl Serialize) {
    print(&(plain_json(&serde_json::to_string_pretty(answer).unwrap_or_default()) + "\n"));
}

/// JSON in which nothing drives the terminal: such characters are in texts only.
fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_hostile(c) {
            plain.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        }
    }
    plain
}

/// Why something could not be printed.
static NOT_PRINTED: OnceLock<io::Error> = OnceLock::new();

/// A reader that closes the pipe wants no more. Of any other failure [`not_printed`] tells at the end.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first one is told.
        let _ = NOT_PRINTED.set(error);
    }
}

/// Why something that was to be printed is missing, if it is.
pub(crate) fn not_printed() -> Option<&'static io::Error> {
    NOT_PRINTED.get()
}

/// Says something beside what is printed.
pub(crate) fn note(text: &str) {
    let _ = write!(io::stderr().lock(), "mgmtctl: {}", escaped_lines(text));
}

/// What begins with a command.
fn in_progress(verb: &str) -> &str {
    match verb {
        "stop" => "stopping",
        "start" => "starting",
        _ => "restarting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped_in_json() {
        let json = plain_json("{\n  \"a\": \"\u{9b}2J\u{202e}ü\u{e0001}\"\n}");
        assert_eq!(json, "{\n  \"a\": \"\\u009b2J\\u202eü\\udb40\\udc01\"\n}");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
