//! What commands about deployments ask for, and say.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    path::Path,
    time::Duration,
};

use broker_codec::data::escaped_lines;
use mgmt_api::operator::{
    ConfigurationFile, Deployment, DeploymentState, Deployments, Expected, InstanceProgress, NewDeployment,
    NodeProgress, Progress, counted, diff, first_of,
};
use tokio::time::sleep;

use crate::{
    Exit,
    client::{ClientError, part},
    commands::{Daemon, print},
    status::{lines, table_of},
};

/// How long to wait before asking again how a deployment is.
const PAUSE: Duration = Duration::from_millis(300);

impl Daemon<'_> {
    pub(crate) async fn deploy(
        &self,
        file: Option<&Path>,
        yes: bool,
        note: Option<String>,
    ) -> Result<Exit, ClientError> {
        if !yes && !can_ask() {
            return Err(ClientError::Usage(
                "deploy asks before it begins, and there is no terminal to ask on: look with `mgmtctl config diff`, and say --yes",
            ));
        }
        if let Some(file) = file {
            self.stage(&self.read(file).await?).await?;
        }
        let (staged, deployed) = (self.staged().await?, self.deployed().await?);
        self.tell(&difference(&staged, deployed.as_ref()));
        if !yes {
            if !is_wanted(&format!("Deploy configuration {}?", shown_id(&staged))) {
                self.tell(&format!(
                    "NOT deployed: configuration {} stays staged\n",
                    shown_id(&staged)
                ));
                return Ok(Exit::Failed);
            }
            // It was looked at for a while.
            if self.staged().await? != staged {
                return Err(ClientError::Changed);
            }
        }
        self.deploy_staged(deployed.as_ref(), note).await
    }

    /// Has what is staged deployed in place of this, and follows that.
    pub(crate) async fn deploy_staged(
        &self,
        deployed: Option<&ConfigurationFile>,
        note: Option<String>,
    ) -> Result<Exit, ClientError> {
        let expected = Expected::of(deployed.map(|config| &config.id));
        let path = self.path_of_cluster("deployments")?;
        let begun: Deployment = self
            .client
            .begin(&path, &expected, &NewDeployment { plan: None, note })
            .await?;
        self.show_end_of(begun).await
    }

    /// Follows a deployment that has begun, and says what has come of it.
    pub(crate) async fn show_end_of(&self, begun: Deployment) -> Result<Exit, ClientError> {
        let id = begun.summary.id.clone();
        let ended = self.follow(begun).await;
        let ended = ended.map_err(|source| ClientError::Lost {
            id,
            source: Box::new(source),
        })?;
        Ok(self.show_deployment(&ended))
    }

    /// Waits for the end of a deployment.
    async fn follow(&self, mut deployment: Deployment) -> Result<Deployment, ClientError> {
        let path = self.path_of_cluster(&format!("deployments/{}", part(&deployment.summary.id)))?;
        let is_watched = io::stderr().is_terminal();
        while deployment.summary.state == DeploymentState::Running {
            if is_watched {
                progress_line(&under_way(&deployment));
            }
            sleep(PAUSE).await;
            deployment = self.client.get(&path).await?;
        }
        if is_watched {
            progress_line("");
        }
        Ok(deployment)
    }

    pub(crate) async fn deployments(&self, id: Option<&str>) -> Result<Exit, ClientError> {
        let path = self.path_of_cluster("deployments")?;
        if let Some(id) = id {
            let deployment: Deployment = self.client.get(&format!("{path}/{}", part(id))).await?;
            return Ok(self.show_deployment(&deployment));
        }
        let all: Deployments = self.client.get(&path).await?;
        let mut table = table_of(["BEGUN", "ENDED", "STATE", "CONFIGURATION", "ID", "ASKED BY"]);
        for summary in &all.deployments {
            table.add_row([
                summary.begun.as_str(),
                summary.ended.as_deref().unwrap_or("-"),
                &summary.state.to_string(),
                &summary.configuration,
                &summary.id,
                &summary.asked_by,
            ]);
        }
        let text = match &all.deployments[..] {
            [] => "no deployment was asked for since the controller was started\n".to_owned(),
            _ => lines(&table),
        };
        self.show(&all, &text);
        Ok(Exit::Done)
    }

    fn show_deployment(&self, deployment: &Deployment) -> Exit {
        self.show(deployment, &in_words(deployment));
        match deployment.summary.state {
            DeploymentState::Running | DeploymentState::Done => Exit::Done,
            DeploymentState::Failed => Exit::Failed,
            DeploymentState::Unknown => Exit::CannotTell,
        }
    }

    /// Says something to people: where the answer is JSON, beside it.
    pub(crate) fn tell(&self, text: &str) {
        if self.options.json {
            let _ = write!(io::stderr().lock(), "{}", escaped_lines(text));
        } else {
            print(&escaped_lines(text));
        }
    }
}

/// What a deployment would change.
pub(crate) fn difference(staged: &ConfigurationFile, deployed: Option<&ConfigurationFile>) -> String {
    let nothing = ConfigurationFile::default();
    let differences = diff::between(deployed.unwrap_or(&nothing), staged);
    let staged_id = shown_id(staged);
    let against = deployed.map_or_else(
        || "nothing is deployed".to_owned(),
        |deployed| format!("configuration {} is deployed", shown_id(deployed)),
    );
    let differences = diff::in_words(&differences, staged);
    format!("configuration {staged_id} is staged, {against}:\n{differences}")
}

pub(crate) fn shown_id(config: &ConfigurationFile) -> String {
    config.id.to_str_lossy().into_owned()
}

/// Whether there is a terminal to ask on.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on the terminal.
pub(crate) fn is_wanted(question: &str) -> bool {
    let question = format!("{question} [y/N] ");
    let mut answer = String::new();
    let _ = write!(
        io::stderr().lock(),
        "{}",
        escaped_lines(&question).trim_end_matches('\n')
    );
    let _ = io::stdin().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Takes the place of the last such line.
pub(crate) fn progress_line(text: &str) {
    let text = escaped_lines(text);
    let _ = write!(io::stderr().lock(), "\r\x1b[K{}", text.trim_end());
}

fn nodes(deployment: &Deployment) -> impl Iterator<Item = (&InstanceProgress, &NodeProgress)> {
    let instances = deployment.instances.iter();
    instances.flat_map(|instance| instance.nodes.iter().map(move |node| (instance, node)))
}

/// How many nodes are up, and whom it waits for.
fn under_way(deployment: &Deployment) -> String {
    let mut text = sum(deployment);
    for (state, what) in [
        (Progress::Waiting, "waiting for the agent of"),
        (Progress::Checking, "checking on"),
        (Progress::Starting, "starting on"),
    ] {
        let instances = deployment
            .instances
            .iter()
            .filter(|instance| instance.state == state);
        let names: Vec<&str> = instances.map(|instance| instance.instance.as_str()).collect();
        match names[..] {
            [] => {}
            [first] => _ = write!(text, "; {what} {first}"),
            [first, ..] => _ = write!(text, "; {what} {first} and {} more", names.len() - 1),
        }
    }
    text
}

/// `4 of 5 nodes up`
fn sum(deployment: &Deployment) -> String {
    let up = nodes(deployment)
        .filter(|(_, node)| node.state == Progress::Up)
        .count();
    format!("{up} of {} up", counted(nodes(deployment).count(), "node"))
}

/// How a deployment is: its nodes, what is wrong, and the verdict.
fn in_words(deployment: &Deployment) -> String {
    let mut table = table_of(["INSTANCE", "NODE", "STATE"]);
    for (instance, node) in nodes(deployment) {
        table.add_row([&instance.instance, &node.node, &node.state.to_string()]);
    }
    let mut text = if nodes(deployment).next().is_some() {
        lines(&table)
    } else {
        String::new()
    };
    for instance in &deployment.instances {
        text += &reasons(instance, deployment.summary.is_accepted);
    }
    for error in &deployment.summary.errors {
        let _ = writeln!(text, "{error}");
    }
    text + &verdict(deployment)
}

/// Why an instance or its nodes have failed, each reason once.
fn reasons(instance: &InstanceProgress, is_accepted: bool) -> String {
    let mut text = String::new();
    let name = &instance.instance;
    if let Some(reason) = &instance.reason {
        let _ = if reason.contains(&format!("instance {name}")) {
            writeln!(text, "{reason}")
        } else {
            writeln!(text, "instance {name}: {reason}")
        };
        // It has those of its nodes.
        if !is_accepted {
            return text;
        }
    }
    for NodeProgress { node, reason, .. } in &instance.nodes {
        if let Some(reason) = reason
            .as_ref()
            .filter(|reason| instance.reason.as_ref() != Some(reason))
        {
            let _ = writeln!(text, "{node} on {name}: {reason}");
        }
    }
    text
}

fn verdict(deployment: &Deployment) -> String {
    let summary = &deployment.summary;
    let id = &summary.configuration;
    let sum = sum(deployment);
    let revision = summary.revision;
    let as_revision = revision.map_or_else(String::new, |number| format!(" as revision {number}"));
    match summary.state {
        DeploymentState::Done => format!("deployed: configuration {id}{as_revision}, {sum}\n"),
        DeploymentState::Failed if summary.is_accepted => {
            format!("NOT all well: configuration {id} is deployed{as_revision}, {sum}\n")
        }
        DeploymentState::Failed => {
            let failed = deployment
                .instances
                .iter()
                .filter(|instance| instance.state == Progress::Failed);
            let failed: Vec<String> = failed
                .map(|instance| format!("instance {}", instance.instance))
                .collect();
            let of = if failed.is_empty() {
                String::new()
            } else {
                format!(" ({})", first_of(&failed))
            };
            format!("NOT deployed{of}: configuration {id}; what was deployed before is unchanged\n")
        }
        DeploymentState::Running => format!("running: configuration {id}, {}\n", under_way(deployment)),
        DeploymentState::Unknown => {
            format!("how the deployment of configuration {id} is, only another release of mgmtctl can tell\n")
        }
    }
}
