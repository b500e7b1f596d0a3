//! What commands about roll-outs ask for, and say.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    time::Duration,
};

use mgmt_api::operator::{
    Expected, RolledNode, RolledState, Rollout, RolloutOptions, RolloutOrder, RolloutState, counted,
};
use tokio::time::sleep;

use crate::{
    Exit,
    client::ClientError,
    commands::Daemon,
    deploy::{can_ask, difference, is_wanted, progress_line, shown_id},
    options::{RolloutCommand, RolloutStart},
};

/// How long to wait before asking again how a roll-out is.
const PAUSE: Duration = Duration::from_millis(500);

/// How wide the bar of a stage is.
const BAR: usize = 20;

impl Daemon<'_> {
    pub(crate) async fn rollout(&self, command: &RolloutCommand) -> Result<Exit, ClientError> {
        let order = match command {
            RolloutCommand::Start(start) => return self.start_rollout(start).await,
            RolloutCommand::Status { follow } => {
                let mut rollout: Rollout = self.client.get(&self.path_of_rollout()?).await?;
                if *follow {
                    rollout = self.follow_rollout(rollout).await?;
                }
                return Ok(self.show_rollout(&rollout));
            }
            RolloutCommand::Pause => RolloutOrder::Pause,
            RolloutCommand::Resume => RolloutOrder::Resume,
            RolloutCommand::Abort => RolloutOrder::Abort,
        };
        let path = format!("{}/{order}", self.path_of_rollout()?);
        let rollout: Rollout = self.client.post(&path, &()).await?;
        self.show(&rollout, &in_words(&rollout));
        Ok(Exit::Done)
    }

    fn path_of_rollout(&self) -> Result<String, ClientError> {
        self.path_of_cluster("rollout")
    }

    async fn start_rollout(&self, start: &RolloutStart) -> Result<Exit, ClientError> {
        if !start.yes && !can_ask() {
            return Err(ClientError::Usage(
                "a roll-out asks before it begins, and there is no terminal to ask on: look with `mgmtctl config diff`, and say --yes",
            ));
        }
        if let Some(file) = &start.file {
            self.stage(&self.read(file).await?).await?;
        }
        let (staged, deployed) = (self.staged().await?, self.deployed().await?);
        self.tell(&difference(&staged, deployed.as_ref()));
        if !start.yes && !is_wanted(&format!("Roll out configuration {}?", shown_id(&staged))) {
            self.tell(&format!(
                "NOT rolled out: configuration {} stays staged\n",
                shown_id(&staged)
            ));
            return Ok(Exit::Failed);
        }
        let options = RolloutOptions {
            canary: start.canary.clone(),
            max_parallel: start.max_parallel,
            max_unavailable: start.max_unavailable.iter().cloned().collect(),
            watch: start.watch,
            on_failure: start.on_failure,
            on_lost: start.on_lost,
            note: start.note.clone(),
        };
        let expected = Expected::of(deployed.as_ref().map(|config| &config.id));
        let begun: Rollout = self
            .client
            .begin(&self.path_of_rollout()?, &expected, &options)
            .await?;
        let rollout = self.follow_rollout(begun).await?;
        Ok(self.show_rollout(&rollout))
    }

    /// Waits until it ends, or an operator has to decide.
    async fn follow_rollout(&self, mut rollout: Rollout) -> Result<Rollout, ClientError> {
        let path = self.path_of_rollout()?;
        let is_watched = io::stderr().is_terminal();
        let goes_on = |state: RolloutState| {
            !state.has_ended() && !matches!(state, RolloutState::Paused | RolloutState::Stopped)
        };
        while goes_on(rollout.state) {
            if is_watched {
                progress_line(&under_way(&rollout));
            }
            sleep(PAUSE).await;
            rollout = self.client.get(&path).await?;
        }
        if is_watched {
            progress_line("");
        }
        Ok(rollout)
    }

    fn show_rollout(&self, rollout: &Rollout) -> Exit {
        self.show(rollout, &in_words(rollout));
        match rollout.state {
            RolloutState::Unknown => Exit::CannotTell,
            RolloutState::Stopped
            | RolloutState::RollingBack
            | RolloutState::RolledBack
            | RolloutState::Failed => Exit::Failed,
            _ => Exit::Done,
        }
    }
}

/// `workers 3/10 changed, changing worker-4 on sensor2`
fn under_way(rollout: &Rollout) -> String {
    let mut text = format!("{}: {}", rollout.state, sum(rollout));
    let changing = nodes(rollout).find(|node| node.state == RolledState::Changing);
    let watched = nodes(rollout).find(|node| node.state == RolledState::Watched);
    if let Some(node) = changing {
        let _ = write!(text, ", changing {} on {}", node.node, node.instance);
    } else if let Some(node) = watched {
        let _ = write!(text, ", watching {} on {}", node.node, node.instance);
    } else if let Some(reason) = rollout.waits_for.first() {
        let _ = write!(text, ", waiting: {reason}");
    }
    text
}

fn nodes(rollout: &Rollout) -> impl Iterator<Item = &RolledNode> {
    rollout.stages.iter().flat_map(|stage| &stage.nodes)
}

/// `4 of 5 nodes changed`
fn sum(rollout: &Rollout) -> String {
    let changed = nodes(rollout).filter(|node| node.state == RolledState::Changed);
    format!(
        "{} of {} changed",
        changed.count(),
        counted(nodes(rollout).count(), "node")
    )
}

/// A bar for each stage, what is wrong or waited for, and the verdict.
fn in_words(rollout: &Rollout) -> String {
    let mut text = String::new();
    for stage in &rollout.stages {
        let all = stage.nodes.len();
        let changed = stage
            .nodes
            .iter()
            .filter(|node| node.state == RolledState::Changed);
        let changed = changed.count();
        let filled = (changed * BAR).checked_div(all).unwrap_or(0);
        let bar = "#".repeat(filled) + &".".repeat(BAR - filled);
        let _ = write!(text, "{:8} [{bar}] {changed}/{all}", stage.stage);
        for state in [RolledState::Changing, RolledState::Watched] {
            let of_state = stage.nodes.iter().filter(|node| node.state == state);
            let names: Vec<String> = of_state
                .map(|node| format!("{} on {}", node.node, node.instance))
                .collect();
            if !names.is_empty() {
                let _ = write!(text, "  {state}: {}", names.join(", "));
            }
        }
        text.push('\n');
    }
    for reason in &rollout.waits_for {
        let _ = writeln!(text, "waits: {reason}");
    }
    for reason in &rollout.reasons {
        let _ = writeln!(text, "{reason}");
    }
    text + &verdict(rollout)
}

fn verdict(rollout: &Rollout) -> String {
    let id = &rollout.configuration;
    let sum = sum(rollout);
    match rollout.state {
        RolloutState::Preparing => format!("preparing: configuration {id}; nothing is changed yet\n"),
        RolloutState::Running | RolloutState::Finishing => {
            format!("{}: configuration {id}, {sum}\n", rollout.state)
        }
        RolloutState::Paused => {
            format!("PAUSED: configuration {id}, {sum}; mgmtctl rollout resume, or abort\n")
        }
        RolloutState::Stopped => {
            format!("STOPPED: configuration {id}, {sum}; mgmtctl rollout resume, or abort\n")
        }
        RolloutState::RollingBack => format!("ROLLING BACK: configuration {id}, {sum} still\n"),
        RolloutState::Done => format!("deployed: configuration {id}, {sum}\n"),
        RolloutState::RolledBack => {
            let deployed = rollout.deployed.as_deref().unwrap_or("none");
            format!("ROLLED BACK: configuration {id} is not deployed, {deployed} is\n")
        }
        RolloutState::Failed => {
            format!("NOT rolled out: configuration {id}; what was deployed before is unchanged\n")
        }
        RolloutState::Unknown => {
            format!("how the roll-out of configuration {id} is, only another release of mgmtctl can tell\n")
        }
    }
}
