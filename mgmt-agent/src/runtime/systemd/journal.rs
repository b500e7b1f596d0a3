//! What a node has written: its last lines in systemd's journal, by `journalctl`, since no library reads the journal's files without C.
//!
//! Standard output and standard error of a unit are one stream there. The journal knows by itself which unit a line is of, and looks at the process for
//! the run; so lines that a process writes at its very end, which say why, often lack the run (`_SYSTEMD_INVOCATION_ID`). They are told by when they came.

use std::{process::Stdio, time::Duration};

use mgmt_api::NodeOutputs;
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt,
    process::Command,
    time::{Instant, sleep, timeout},
};

use super::name;

/// How many lines are told.
const LINES_MAX: usize = 100;

/// How much is told, in bytes: the end.
const BYTES_MAX: usize = 64 << 10;

/// How much of what `journalctl` prints is read, in bytes.
const PRINTED_MAX: u64 = 16 << 20;

/// What systemd itself has to say of a run comes between the lines, a few messages; those of the run before are left out.
const ENTRIES: &str = "--lines=110";

/// The messages by which systemd says that a run is over, by success or by failure (`SD_MESSAGE_UNIT_SUCCESS`,
/// `SD_MESSAGE_UNIT_FAILURE_RESULT`).
const OVER: [&str; 2] = [
    "7ad2d189f7e94e70a38c781354912448",
    "d9b373ed55a64feb8242e02dbe79a49c",
];

/// Between two looks. The journal takes a while to write down what it was sent, and does so for each of its senders by itself.
const INTERVAL: Duration = Duration::from_millis(100);

/// After so long without more of it, what is there has to do.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// After so long in all, likewise: the journal is behind one that writes a lot, and the node is started again after that only.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// For one look.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// What is told when there is nothing to be read.
const NOTHING: &str =
    "(The journal has nothing of it. To read it, the agent's user must be in the group systemd-journal.)";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    lines: Vec<String>,
    /// When the last of them came: as long as there are more, that changes, though all may be the same.
    newest: u64,
    is_over: bool,
}

/// A run of a node's unit.
struct Run<'a> {
    unit: &'a str,
    id: &'a str,
    /// When it began, in microseconds of the monotonic clock.
    started: u64,
}

/// The last lines of a run of a node that is over. Takes some tenths of a second, up to some seconds on a busy host or for much.
pub(super) async fn tail(node: &str, invocation: &[u8], started: u64) -> NodeOutputs {
    let id: Vec<String> = invocation.iter().map(|byte| format!("{byte:02x}")).collect();
    let (unit, id) = (name::unit(node), id.concat());
    let run = Run {
        unit: &unit,
        id: &id,
        started,
    };
    let begun = Instant::now();
    let mut changed = begun;
    let mut last = look(&run).await;
    loop {
        sleep(INTERVAL).await;
        let now = look(&run).await;
        if now != last {
            changed = Instant::now();
        } else if now.is_over {
            return outputs(&now);
        }
        if changed.elapsed() > WAIT_MAX || begun.elapsed() > BEHIND_MAX {
            return outputs(&now);
        }
        last = now;
    }
}

fn outputs(look: &Look) -> NodeOutputs {
    let skipped = look.lines.len().saturating_sub(LINES_MAX);
    let mut text = look.lines[skipped..].join("\n");
    if !text.is_empty() {
        text.push('\n');
    } else if !look.is_over {
        NOTHING.clone_into(&mut text);
    }
    let mut from = text.len().saturating_sub(BYTES_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    NodeOutputs {
        stdout: "".into(),
        stderr: text[from..].into(),
    }
}

async fn look(run: &Run<'_>) -> Look {
    match timeout(LOOK_MAX, printed(run)).await {
        Ok(Ok(printed)) => parse(&printed, run),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot run journalctl");
            Look::default()
        }
        Err(_) => Look::default(),
    }
}

/// A program that is not finished in time is killed. Of which boot an entry is, the entries say (`--boot` would ask `/proc`, which may say another
/// to a service in a container whose unit protects that).
async fn printed(run: &Run<'_>) -> std::io::Result<Vec<u8>> {
    let mut journalctl = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--all", "--output=json", ENTRIES])
        .arg("--output-fields=MESSAGE,MESSAGE_ID,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID")
        .args([
            &format!("_SYSTEMD_UNIT={}", run.unit),
            "+",
            &format!("INVOCATION_ID={}", run.id),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut all = Vec::new();
    if let Some(stdout) = journalctl.stdout.take() {
        stdout.take(PRINTED_MAX).read_to_end(&mut all).await?;
    }
    journalctl.wait().await?;
    Ok(all)
}

/// An entry as `journalctl --output=json` prints it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Option<Message>,
    #[serde(rename = "MESSAGE_ID")]
    message_id: Option<String>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<String>,
    #[serde(rename = "_SYSTEMD_INVOCATION_ID")]
    run: Option<String>,
    /// In microseconds.
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    came: Option<String>,
    #[serde(rename = "_BOOT_ID")]
    boot: Option<String>,
}

impl Entry {
    fn came(&self) -> Option<u64> {
        self.came.as_ref()?.parse().ok()
    }

    fn is_of(&self, run: &Run<'_>) -> bool {
        let since = self.came().is_some_and(|came| came >= run.started);
        let is_its = self.run.as_ref().map_or(since, |id| id == run.id);
        self.unit.as_deref() == Some(run.unit) && is_its
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    /// It is not UTF-8, or has control characters.
    Bytes(Vec<u8>),
}

fn parse(printed: &[u8], run: &Run<'_>) -> Look {
    let mut look = Look::default();
    let lines = printed.split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let mut entries: Vec<Entry> = entries.collect();
    // The host may have run for longer before it was booted.
    let boot = entries.last().and_then(|last| last.boot.clone());
    entries.retain(|entry| entry.boot == boot);
    for entry in entries {
        if entry.is_of(run) {
            look.newest = entry.came().unwrap_or(look.newest);
            look.lines.push(match entry.message {
                Some(Message::Text(text)) => text,
                Some(Message::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                None => String::new(),
            });
        } else if entry.unit.as_deref() != Some(run.unit) {
            look.is_over |= entry.message_id.is_some_and(|id| OVER.contains(&id.as_str()));
        }
    }
    look
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_run_are_told_and_its_end_is_seen() {
        let printed = br#"{"MESSAGE":"Started zeek-node@a.service","MESSAGE_ID":"39f53479d3a045ac8e11786248231fbf"}
{"MESSAGE":"of the run before","_SYSTEMD_UNIT":"zeek-node@a.service","_SYSTEMD_INVOCATION_ID":"aa"}
{"MESSAGE":"its last","_SYSTEMD_UNIT":"zeek-node@a.service","__MONOTONIC_TIMESTAMP":"99"}
{"MESSAGE":"one","_SYSTEMD_UNIT":"zeek-node@a.service","_SYSTEMD_INVOCATION_ID":"ab","__MONOTONIC_TIMESTAMP":"100"}
{"MESSAGE":[27,91,109,255],"_SYSTEMD_UNIT":"zeek-node@a.service","_SYSTEMD_INVOCATION_ID":"ab"}
{"MESSAGE":null,"_SYSTEMD_UNIT":"zeek-node@a.service","_SYSTEMD_INVOCATION_ID":"ab"}
{"MESSAGE":"forged","MESSAGE_ID":"d9b373ed55a64feb8242e02dbe79a49c","_SYSTEMD_UNIT":"zeek-node@a.service","_SYSTEMD_INVOCATION_ID":"ab"}
{"MESSAGE":"the end","_SYSTEMD_UNIT":"zeek-node@a.service","__MONOTONIC_TIMESTAMP":"120"}
no JSON
"#;
        let run = Run {
            unit: "zeek-node@a.service",
            id: "ab",
            started: 100,
        };
        let mut expected = Look {
            lines: ["one", "\u{1b}[m\u{fffd}", "", "forged", "the end"]
                .map(str::to_owned)
                .to_vec(),
            newest: 120,
            is_over: false,
        };
        assert_eq!(parse(printed, &run), expected);
        let over = br#"{"MESSAGE":"Failed with result 'exit-code'.","MESSAGE_ID":"d9b373ed55a64feb8242e02dbe79a49c"}"#;
        expected.is_over = true;
        assert_eq!(parse(&[printed.as_slice(), over].concat(), &run), expected);
    }

    #[test]
    fn lines_of_earlier_boots_are_none_of_the_run() {
        let printed = br#"{"MESSAGE":"earlier","_SYSTEMD_UNIT":"zeek-node@a.service","__MONOTONIC_TIMESTAMP":"900","_BOOT_ID":"b1"}
{"MESSAGE":"now","_SYSTEMD_UNIT":"zeek-node@a.service","__MONOTONIC_TIMESTAMP":"120","_BOOT_ID":"b2"}
"#;
        let run = Run {
            unit: "zeek-node@a.service",
            id: "ab",
            started: 100,
        };
        assert_eq!(parse(printed, &run).lines, ["now"]);
    }

    fn over(lines: Vec<String>) -> Look {
        Look {
            lines,
            newest: 0,
            is_over: true,
        }
    }

    #[test]
    fn the_last_lines_and_bytes_are_told() {
        let lines = (0..150).map(|line| format!("line {line}")).collect();
        let told = outputs(&over(lines));
        let text = told.stderr;
        assert!(
            text.starts_with(b"line 50\n") && text.ends_with(b"line 149\n"),
            "{text}"
        );
        let lines = vec!["\u{e4}".repeat(BYTES_MAX)];
        let told = outputs(&over(lines));
        assert!(told.stderr.len() <= BYTES_MAX && told.stderr.ends_with(b"\n"));
        assert_eq!(outputs(&Look::default()).stderr.to_string(), NOTHING);
        assert!(outputs(&over(Vec::new())).stderr.is_empty());
    }
}
