//! The controller as a program that is kept. What it logs is logged again, as ours.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use broker_endpoint::{PeerAddress, at, with_causes};
use mgmt_api::Level;
use mgmt_daemon::log::{Limiter, Sum, object};
use serde_json::{Map, Value};
use supervise::{
    output::{Lines, Tail},
    unix::Handle,
};
use tokio::{
    process::ChildStderr,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    kept::{Program, Written, blocking},
    stderr::reason_in,
};
use crate::{
    config::{Config, ControllerCommand},
    coordinates::local_address,
    scripts,
};

/// Between two looks for the ready file of a controller that was just started.
const LOOK: Duration = Duration::from_millis(50);

/// How old an error may be that says why the controller has ended.
const RECENT: Duration = Duration::from_secs(10);

/// How many errors are quoted.
const QUOTED_MAX: usize = 5;

/// How long the rest of what an ended controller wrote is waited for: nothing that it has started holds the pipe.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// The controller, its arguments but for those that we need, and its directory below that of the agent.
#[derive(Clone, Debug)]
pub(super) struct ControllerProgram {
    command: ControllerCommand,
    arguments: Vec<String>,
    directory: PathBuf,
    /// The script of the settings that it has as the agent has them: its path, and its text.
    script: (PathBuf, String),
}

/// What a controller says in its ready file.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Announced {
    pub(super) pid: i64,
    pub(super) name: String,
    broker: Vec<SocketAddr>,
}

impl Announced {
    /// Where agents of its host connect, unless it listens for none.
    pub(super) fn address(&self) -> Option<PeerAddress> {
        let port = self.broker.first()?.port();
        Some(PeerAddress::new(local_address(&self.broker).to_string(), port))
    }
}

impl ControllerProgram {
    pub(super) fn new(config: &Config, command: &ControllerCommand) -> Self {
        let path = config.daemon.working_dir.join("scripts/controller.zeek");
        Self {
            arguments: command.arguments(&path),
            command: command.clone(),
            directory: config.daemon.working_dir.join("controller"),
            script: (path, scripts::controller(config)),
        }
    }

    fn ready_file(&self) -> PathBuf {
        self.directory.join("ready.json")
    }
}

impl Program for ControllerProgram {
    const WHAT: &'static str = "controller";
    const WHOLE: &'static str = "controller";
    const TAG: &'static str = "MGMT_AGENT_CONTROLLER";
    const STOP_TIMEOUT: Duration = Duration::from_secs(10);
    type Written = Relayed;
    type Announced = Announced;

    fn program(&self) -> &Path {
        &self.command.program
    }

    fn arguments(&self) -> Vec<String> {
        let ready_file = self.ready_file().display().to_string();
        let ours = [
            "--log-format".to_owned(),
            "json".into(),
            "--ready-file".into(),
            ready_file,
        ];
        self.arguments.iter().cloned().chain(ours).collect()
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn start(&mut self) -> io::Result<(Handle, Relayed)> {
        let (path, text) = &self.script;
        scripts::write_file(path, text).map_err(|error| io::Error::other(with_causes(&error)))?;
        let mut command = self.command()?;
        let mut child = command
            .current_dir(&self.command.started_in)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let process = Handle::child(child)?;
        let stderr = stderr.ok_or_else(|| io::Error::other("its standard error is not ours"))?;
        let stderr = ChildStderr::from_std(stderr)?;
        Ok((process, Relayed(tokio::spawn(relay(stderr)))))
    }

    async fn announced(&self, id: i32) -> Announced {
        loop {
            let path = self.ready_file();
            let read = blocking(move || fs::read(path)).await.and_then(|read| read);
            let announced = read.ok().and_then(|text| serde_json::from_slice(&text).ok());
            // An earlier one's file may be there still.
            if let Some(announced) = announced.filter(|known: &Announced| known.pid == i64::from(id)) {
                return announced;
            }
            sleep(LOOK).await;
        }
    }
}

/// The task that logs what the controller writes, until it has ended: then why it may have.
#[derive(Debug)]
pub(super) struct Relayed(JoinHandle<Option<String>>);

impl Written for Relayed {
    async fn looked(self) -> Self {
        self
    }

    async fn said(self) -> Option<String> {
        timeout(REST_TIMEOUT, self.0).await.ok()?.ok()?
    }
}

/// Logs all lines until the end. A flood of them is summed up, as one of a peer is.
async fn relay(stderr: ChildStderr) -> Option<String> {
    let mut lines = Lines::new(stderr);
    let mut limiter = Limiter::default();
    let mut errors = Tail::new(QUOTED_MAX);
    let mut last_error = None;
    loop {
        let text = tokio::select! {
            text = lines.next() => text,
            () = at(limiter.due().map(Instant::from_std)) => {
                log_sums(&limiter.sum_up(Instant::now().into_std()));
                continue;
            }
        };
        let Some(text) = text else { break };
        let line = Line::of(&text);
        let now = Instant::now();
        if line.level == Level::Error {
            if last_error.is_none_or(|last: Instant| now - last > RECENT) {
                errors = Tail::new(QUOTED_MAX);
            }
            last_error = Some(now);
            errors.push(line.message.clone().into());
        }
        let kind = format!("{:?}", line.level);
        if limiter.admit(now.into_std(), "controller", &kind, &line.message) {
            line.log();
        }
    }
    log_sums(&limiter.finish());
    last_error.filter(|last| last.elapsed() <= RECENT)?;
    reason_in(&String::from_utf8_lossy(&errors.joined()))
}

fn log_sums(sums: &[Sum]) {
    for sum in sums {
        tracing::info!("{sum}");
    }
}

/// A line of the controller's.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    level: Level,
    message: String,
    /// The fields of its log, as JSON.
    fields: Option<String>,
}

impl Line {
    /// A line of its log, or one that it wrote as it could not start, or panicked.
    fn of(text: &[u8]) -> Self {
        let Ok(mut line) = serde_json::from_slice::<Map<String, Value>>(text) else {
            let text = String::from_utf8_lossy(text);
            return Self {
                level: Level::Error,
                message: text.strip_prefix("mgmt-controller: ").unwrap_or(&text).to_owned(),
                fields: None,
            };
        };
        let mut take = |name| match line.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let level = match take("level").as_str() {
            "TRACE" | "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARN" => Level::Warning,
            _ => Level::Error,
        };
        let message = take("message");
        for known in ["timestamp", "target"] {
            take(known);
        }
        Self {
            level,
            message,
            fields: (!line.is_empty()).then(|| object(&line)),
        }
    }

    fn log(self) {
        let Self {
            level,
            message,
            fields,
        } = self;
        match level {
            Level::Debug => tracing::debug!(json.fields = fields, "controller: {message}"),
            Level::Info => tracing::info!(json.fields = fields, "controller: {message}"),
            Level::Warning => tracing::warn!(json.fields = fields, "controller: {message}"),
            Level::Error => tracing::error!(json.fields = fields, "controller: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_level_message_and_fields() {
        let line = |level, message: &str, fields: Option<&str>| Line {
            level,
            message: message.into(),
            fields: fields.map(Into::into),
        };
        for (text, expected) in [
            (
                r#"{"timestamp":"t","level":"WARN","message":"m","nodes":2,"target":"x"}"#,
                line(Level::Warning, "m", Some(r#"{"nodes":2}"#)),
            ),
            (
                r#"{"timestamp":"t","level":"INFO","message":"m","target":"x"}"#,
                line(Level::Info, "m", None),
            ),
            (
                "mgmt-controller: error: a.zeek:1: no",
                line(Level::Error, "error: a.zeek:1: no", None),
            ),
            (r#"["no","line"]"#, line(Level::Error, r#"["no","line"]"#, None)),
            ("{}", line(Level::Error, "", None)),
        ] {
            assert_eq!(Line::of(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Line::of(b"\xff").message, "\u{fffd}");
    }
}
