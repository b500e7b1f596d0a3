//! What commands about one node ask for, and say.

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    time::Duration,
};

use broker_codec::data::escaped_lines;
use mgmt_api::operator::{Moment, NodeHistory, NodeReport, Outputs, counted};
use tokio::time::sleep;

use crate::{
    Exit,
    client::{ClientError, part},
    commands::{Daemon, note},
    status::{elapsed, lines, or_dash, table_of},
};

/// Between two looks at what a node has written.
const POLL: Duration = Duration::from_secs(1);

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

    /// Shows what a node writes before it ends, again and again, until the reader of our output is gone.
    pub(crate) async fn follow_logs(&self, node: &str) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{}/history", part(node)));
        // How many changes there are, and how many of them need not be looked at any more.
        let (mut count, mut shown) = (0, 0);
        let (mut has_begun, mut is_lost) = (false, false);
        loop {
            let asked = self.client.get::<NodeHistory>(&path).await;
            match asked.and_then(known) {
                Ok(history) => {
                    has_begun = true;
                    if std::mem::take(&mut is_lost) {
                        note("connected again");
                    }
                    let before =
                        std::mem::replace(&mut count, history.forgotten + history.moments.len() as u64);
                    if count < before {
                        note("the agent was restarted, and remembers nothing before that");
                        shown = 0;
                    }
                    // What a process wrote may come to be known a little later than its end.
                    for (number, moment) in (history.forgotten..).zip(&history.moments) {
                        if number < shown || moment.outputs.is_none() {
                            continue;
                        }
                        shown = number + 1;
                        if !self.show_end(node, moment) {
                            return Ok(Exit::Done);
                        }
                    }
                }
                Err(error) if !has_begun || error.exit() != Exit::CannotTell => return Err(error),
                Err(error) if !is_lost => {
                    note(&format!("{error}; trying again"));
                    is_lost = true;
                }
                Err(_) => {}
            }
            sleep(POLL).await;
        }
    }

    /// Shows what a process wrote that has ended. Returns whether that is still read.
    fn show_end(&self, node: &str, moment: &Moment) -> bool {
        let Moment {
            time, pid, outputs, ..
        } = moment;
        let Some(outputs) = outputs else {
            return true;
        };
        let process = pid.map(|pid| format!(", PID {pid}")).unwrap_or_default();
        let text = if self.options.json {
            serde_json::to_string(moment).unwrap_or_default() + "\n"
        } else {
            escaped_lines(&written(outputs, &format!("{node}{process}, {time}")))
        };
        let mut out = stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    /// Tells what has become of a node.
    pub(crate) async fn diagnose(&self, node: &str) -> Result<Exit, ClientError> {
        let path = self.path(&format!("nodes/{}/history", part(node)));
        let history: NodeHistory = self.client.get(&path).await?;
        self.show(&history, &told(&history));
        Ok(Exit::of(history.trouble.is_none()))
    }
}

/// A history, unless there is none to follow.
fn known(history: NodeHistory) -> Result<NodeHistory, ClientError> {
    match history.trouble {
        Some(trouble) => Err(ClientError::Untold(trouble)),
        None => Ok(history),
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
    [
        time.clone(),
        state.to_string(),
        or_dash(pid.map(|pid| pid.to_string())),
        or_dash(reason.clone()),
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
