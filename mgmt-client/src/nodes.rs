//! What commands about one node ask for, and say.

use std::fmt::Write as _;

use mgmt_api::operator::{Moment, NodeHistory, NodeReport, Outputs};

use crate::{
    Exit,
    client::{ClientError, part},
    commands::Daemon,
    status::{counted, elapsed, lines, table_of},
};

impl Daemon<'_> {
    pub(crate) async fn logs(&self, node: &str) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{}/outputs", part(node)));
        let outputs: Outputs = self.client.get(&path).await?;
        let mut text = written(&outputs, node);
        if text.is_empty() {
            text = format!(
                "{node} has not ended since it was last up: what it writes is in stdout and stderr of its directory, under systemd in the journal\n"
            );
        }
        self.show(&outputs, &text);
        Ok(Exit::Done)
    }

    /// Tells what has become of a node.
    pub(crate) async fn diagnose(&self, node: &str) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{}/history", part(node)));
        let history: NodeHistory = self.client.get(&path).await?;
        self.show(&history, &told(&history));
        Ok(if history.trouble.is_some() {
            Exit::Failed
        } else {
            Exit::Done
        })
    }
}

/// What a node wrote, under the names of its outputs.
fn written(outputs: &Outputs, whose: &str) -> String {
    let mut text = String::new();
    for (name, output) in [
        ("standard output", &outputs.stdout),
        ("standard error", &outputs.stderr),
    ] {
        if !output.is_empty() {
            let _ = writeln!(text, "--- {name} of {whose}\n{}", output.trim_end());
        }
    }
    text
}

/// The history of a node, in words. How it is now comes last.
fn told(history: &NodeHistory) -> String {
    let NodeHistory {
        instance,
        now,
        trouble,
        forgotten,
        moments,
    } = history;
    let mut text = String::new();
    if *forgotten > 0 {
        let _ = writeln!(
            text,
            "{} before are not remembered",
            counted(usize::try_from(*forgotten).unwrap_or(usize::MAX), "change")
        );
    }
    if !moments.is_empty() {
        let mut table = table_of(["TIME", "STATE", "PID", "WHY"]);
        for moment in moments {
            table.add_row(row(moment));
        }
        text += &lines(&table);
    }
    for Moment {
        time, pid, outputs, ..
    } in moments
    {
        if let Some(outputs) = outputs {
            let process = pid.map(|pid| format!(", PID {pid}")).unwrap_or_default();
            text += &written(outputs, &format!("{}{process}, {time}", now.node));
        }
    }
    if let Some(trouble) = trouble {
        let _ = writeln!(text, "{trouble}");
    }
    text + &summary(instance, now)
}

fn row(moment: &Moment) -> [String; 4] {
    let Moment {
        time,
        state,
        pid,
        reason,
        ..
    } = moment;
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        time.clone(),
        state.to_string(),
        shown(pid.map(|pid| pid.to_string())),
        shown(reason.clone()),
    ]
}

/// How a node is now.
fn summary(instance: &str, now: &NodeReport) -> String {
    let NodeReport {
        node, role, state, ..
    } = now;
    let mut text = format!("{node} on {instance}, {role}, is {state}");
    if let Some(pid) = now.pid {
        let _ = write!(text, ", PID {pid}");
    }
    if let Some(uptime) = now.uptime {
        let _ = write!(text, ", up {}", elapsed(uptime));
    }
    if let Some(zeek) = &now.zeek {
        let _ = write!(text, ", Zeek {zeek}");
    }
    if now.restarts > 0 {
        let ends = usize::try_from(now.restarts).unwrap_or(usize::MAX);
        let _ = write!(text, ", has ended by itself {}", counted(ends, "time"));
    }
    if let Some(reason) = &now.reason {
        let _ = write!(text, ": {reason}");
    }
    text + "\n"
}
