//! What each command asks for, and says.

use mgmt_api::operator::{
    About, AgentStatus, Changed, ClusterChanged, ClusterSelection, ClusterStatus, NodeNames, Outputs,
    Program, Selection,
};
use serde::Serialize;

use crate::{
    Exit,
    client::{Client, ClientError, part},
    options::{Command, Options, Which},
    status,
};

/// A daemon, and what it is.
struct Daemon<'a> {
    client: Client,
    program: Program,
    options: &'a Options,
}

/// Carries out what the command line wants.
pub(crate) async fn run(options: &Options) -> Result<Exit, ClientError> {
    let mut client = Client::connect(options.socket.as_deref()).await?;
    let about: About = client.get("/v1").await?;
    let mut daemon = Daemon {
        client,
        program: about.program,
        options,
    };
    match &options.command {
        Command::Status => daemon.status().await,
        Command::Stop(which) => daemon.change("stop", which).await,
        Command::Start(which) => daemon.change("start", which).await,
        Command::Restart { nodes, .. } => daemon.restart(nodes).await,
        Command::Logs { node } => daemon.logs(node).await,
    }
}

impl Daemon<'_> {
    /// The path of what belongs to a cluster; an agent has but one.
    fn path(&self, rest: &str) -> String {
        match self.program {
            Program::Controller => format!("/v1/clusters/{}/{rest}", part(&self.options.cluster)),
            Program::Agent => format!("/v1/{rest}"),
        }
    }

    async fn status(&mut self) -> Result<Exit, ClientError> {
        let path = self.path("status");
        match self.program {
            Program::Controller => {
                let status: ClusterStatus = self.client.get(&path).await?;
                let (text, exit) = status::of_cluster(&status);
                self.show(&status, &text);
                Ok(exit)
            }
            Program::Agent => {
                let status: AgentStatus = self.client.get(&path).await?;
                let (text, exit) = status::of_agent(&status);
                self.show(&status, &text);
                Ok(exit)
            }
        }
    }

    async fn change(&mut self, verb: &str, which: &Which) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{verb}"));
        let changed = match self.program {
            Program::Controller => {
                let which = ClusterSelection {
                    nodes: which.nodes.clone(),
                    instances: which.instances.clone(),
                    role: which.role,
                };
                self.client.post(&path, &which).await?
            }
            Program::Agent if !which.instances.is_empty() => {
                return Err(ClientError::Usage(
                    "--instance is for a controller; this is an agent's socket",
                ));
            }
            Program::Agent => {
                let which = Selection {
                    nodes: which.nodes.iter().map(|name| name.as_str().into()).collect(),
                    role: which.role,
                };
                let changed: Changed = self.client.post(&path, &which).await?;
                ClusterChanged {
                    nodes: changed.nodes.iter().map(ToString::to_string).collect(),
                    failures: Vec::new(),
                }
            }
        };
        Ok(self.changed(verb, &changed))
    }

    async fn restart(&mut self, nodes: &[String]) -> Result<Exit, ClientError> {
        if self.program == Program::Agent {
            return Err(ClientError::Usage(
                "a controller restarts nodes; this is an agent's socket: stop and start them here",
            ));
        }
        let path = self.path("nodes/restart");
        let nodes = nodes.to_vec();
        let changed: ClusterChanged = self.client.post(&path, &NodeNames { nodes }).await?;
        Ok(self.changed("restart", &changed))
    }

    async fn logs(&mut self, node: &str) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{}/outputs", part(node)));
        let outputs: Outputs = self.client.get(&path).await?;
        let mut text = String::new();
        for (name, output) in [
            ("standard output", &outputs.stdout),
            ("standard error", &outputs.stderr),
        ] {
            if !output.is_empty() {
                text += &format!("--- {name} of {node}\n{}\n", output.trim_end());
            }
        }
        if text.is_empty() {
            text = format!("nothing is known that {node} wrote before it ended\n");
        }
        self.show(&outputs, &text);
        Ok(Exit::Done)
    }

    /// Says what has changed.
    fn changed(&self, verb: &str, changed: &ClusterChanged) -> Exit {
        let mut text = match &changed.nodes[..] {
            [] if changed.failures.is_empty() => format!("nothing to {verb}: no node had to change\n"),
            [] => String::new(),
            nodes => format!("{verb}: {}\n", nodes.join(", ")),
        };
        for failure in &changed.failures {
            let names = [&failure.node, &failure.instance];
            let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
            text += &format!("cannot {verb} {}: {}\n", names.join(" on "), failure.reason);
        }
        self.show(changed, &text);
        if changed.failures.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        }
    }

    /// Prints the answer: as JSON, or as it is for people.
    #[expect(clippy::print_stdout, reason = "it is a command")]
    fn show(&self, answer: &impl Serialize, text: &str) {
        if self.options.json {
            if let Ok(json) = serde_json::to_string_pretty(answer) {
                println!("{json}");
            }
        } else {
            print!("{text}");
        }
    }
}
