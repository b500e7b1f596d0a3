//! The Supervisor's process, where it is us who starts it: `zeek -j` is started, watched, started again when it ends, and
//! ended with us.
//!
//! It outlives a crash of ours, and its nodes with it: the next agent finds it by a record in its directory and takes it
//! over, if it would start the same one.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::tls::TlsConfig;
use mgmt_host::config::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};

use super::process::{Process, Record};
use crate::{
    config::{Config, ZeekCommand},
    scripts::local_address,
};

/// Between the end of a Supervisor and the next one; doubles each time.
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(60);

/// A Supervisor that has lived for so long is not one that cannot start.
const STEADY: Duration = Duration::from_secs(30);

/// How much of what it wrote last is looked at for the reason of its end, in bytes.
const TAIL_BYTES: u64 = 4096;

/// How much of a line is passed on, in bytes.
const LINE_BYTES_MAX: usize = 512;

/// Environment variables that make Zeek something else than a Supervisor of ours (`Supervisor.cc`, `agent/boot.zeek`,
/// `cluster/main.zeek`).
const NOT_INHERITED: [&str; 4] = [
    "ZEEK_STEM",
    "ZEEK_SUPERVISED_NODE",
    "ZEEK_MANAGEMENT_NODE",
    "CLUSTER_NODE",
];

/// A handle to the task that looks after the process.
#[derive(Debug)]
pub(super) struct Supervisor {
    ended: mpsc::Receiver<String>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// How a Supervisor is started. Two that are equal do the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where it works: its output is here, in `stdout` and `stderr`, and its record.
    directory: PathBuf,
}

impl Launch {
    /// By this script, for an agent at this port.
    pub(super) fn new(config: &Config, zeek: &ZeekCommand, script: &Path, port: Port) -> Self {
        let mut arguments = zeek.leading_arguments.clone();
        arguments.extend(["-j".into(), script.display().to_string()]);
        arguments.extend(zeek.further_arguments.iter().cloned());
        let port_of_its_own = Port::tcp(config.supervisor.port).show();
        arguments.push(format!("Broker::default_port={port_of_its_own}"));
        arguments.extend(tls_arguments(&config.broker_tls));
        let state = config.settings.agent.state_dir.to_string();
        let environment = [
            ("ZEEK_AGENT_ADDR", local_address(config.listen).to_string()),
            ("ZEEK_AGENT_PORT", port.show()),
            ("ZEEK_MANAGEMENT_STATE_DIR", state),
            (
                "ZEEK_MANAGEMENT_SPOOL_DIR",
                config.spool_dir.display().to_string(),
            ),
        ];
        Self {
            program: zeek.program.clone(),
            arguments,
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            directory: config.working_dir.join("supervisor"),
        }
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join("supervisor.json")
    }

    /// Starts the process, with new files for its output.
    fn start(&self) -> io::Result<Process> {
        fs::create_dir_all(&self.directory)?;
        let file = |name| fs::File::create(self.directory.join(name));
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            // What is typed at our terminal is for us: it ends when we end it.
            .process_group(0);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let process = Process::child(command.spawn()?)?;
        // Without its record it can still be looked after, by this agent.
        if let Err(error) = Record::new(&process, self).and_then(|record| record.write(&self.record_path())) {
            tracing::warn!(%error, "cannot write down which process the Supervisor is");
        }
        Ok(process)
    }

    /// The process that an agent before this one has left, and whether it is one that this one would start.
    fn left_behind(&self) -> Option<(Process, bool)> {
        let record = Record::read(&self.record_path())?;
        let process = record.process()?;
        Some((process, record.launch == *self))
    }

    /// The last line that it wrote to standard error.
    fn last_words(&self) -> Option<String> {
        let file = fs::File::open(self.directory.join("stderr")).ok()?;
        let from = file.metadata().ok()?.len().saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; usize::try_from(TAIL_BYTES).ok()?];
        let len = file.read_at(&mut tail, from).ok()?;
        let text = String::from_utf8_lossy(tail.get(..len)?).into_owned();
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        let end = (0..=LINE_BYTES_MAX.min(line.len())).rfind(|end| line.is_char_boundary(*end))?;
        line.get(..end).map(str::to_owned)
    }
}

/// Everything that the settings for TLS say, but the passphrase: whoever is on the host can read arguments.
fn tls_arguments(tls: &TlsConfig) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut file = |name: &str, path: &Path| arguments.push(format!("Broker::{name}={}", path.display()));
    match tls {
        TlsConfig::Off => arguments.push("Broker::disable_ssl=T".into()),
        TlsConfig::Mutual { identity, trust } => {
            file("ssl_certificate", &identity.certificate);
            file("ssl_keyfile", &identity.key);
            if let Some(path) = &trust.ca_file {
                file("ssl_cafile", path);
            }
            if let Some(path) = &trust.ca_path {
                file("ssl_capath", path);
            }
        }
        _ => {}
    }
    arguments
}

impl Supervisor {
    /// Starts looking after a Supervisor, and returns at once.
    pub(super) fn keep(launch: Launch) -> Self {
        let (tell, ended) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keep(launch, tell, stopped));
        Self { ended, stop, task }
    }

    /// Why the process has ended, or could not be started. May be cancelled.
    pub(super) async fn ended(&mut self) -> Option<String> {
        self.ended.recv().await
    }

    /// Ends the process and its nodes. Takes as long as these need, at most [`super::process::STOP_PATIENCE`].
    pub(super) async fn stop(self) {
        // If the task is gone already, so is the process.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that looks after the Supervisor panicked");
        }
    }
}

async fn keep(launch: Launch, tell: mpsc::Sender<String>, mut stop: oneshot::Receiver<()>) {
    let mut delay = DELAY_MIN;
    let mut process = take_over(&launch).await;
    loop {
        let started = Instant::now();
        let running = match process.take() {
            Some(process) => Ok(process),
            None => start(&launch).await,
        };
        let reason = match running {
            Ok(mut running) => {
                tokio::select! {
                    status = running.ended() => ended_by(&launch, &status).await,
                    _ = &mut stop => {
                        tracing::info!(pid = running.id(), "ending the Supervisor and its nodes");
                        running.stop().await;
                        forget(&launch).await;
                        return;
                    }
                }
            }
            Err(error) => format!("{} cannot be started: {error}", launch.program.display()),
        };
        if started.elapsed() >= STEADY {
            delay = DELAY_MIN;
        }
        tracing::error!(reason, again_in = ?delay, "the Supervisor does not run");
        // One that has not been fetched says the same.
        let _ = tell.try_send(reason);
        tokio::select! {
            () = sleep(delay) => {}
            _ = &mut stop => return,
        }
        delay = DELAY_MAX.min(delay * 2);
    }
}

async fn start(launch: &Launch) -> io::Result<Process> {
    let to_start = launch.clone();
    let process = blocking(move || to_start.start()).await??;
    let Launch {
        program, arguments, ..
    } = launch;
    tracing::info!(pid = process.id(), program = %program.display(), ?arguments, "started the Supervisor");
    Ok(process)
}

/// Takes the process over that an agent before this one has left, or ends it if this one would start another one.
async fn take_over(launch: &Launch) -> Option<Process> {
    let to_find = launch.clone();
    let (mut process, same) = blocking(move || to_find.left_behind()).await.ok()??;
    if same {
        tracing::info!(
            pid = process.id(),
            "taking over the Supervisor that an earlier agent has left"
        );
        return Some(process);
    }
    tracing::info!(
        pid = process.id(),
        "ending the Supervisor that an earlier agent has left, as it was started in another way"
    );
    process.stop().await;
    None
}

async fn ended_by(launch: &Launch, status: &str) -> String {
    let to_ask = launch.clone();
    let words = blocking(move || to_ask.last_words()).await.ok().flatten();
    match words {
        Some(words) => format!("its process has ended ({status}): {words}"),
        None => format!("its process has ended ({status})"),
    }
}

async fn forget(launch: &Launch) {
    let record = launch.record_path();
    // Without a process of that id and age it says nothing.
    let _ = blocking(move || fs::remove_file(record)).await;
}

/// Off the loop: file systems may block for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)
}

/// A port that is free now, if the system is to choose one for the Supervisor.
pub(super) fn choose_port(config: &Config) -> io::Result<u16> {
    let port = config.supervisor.port;
    if port != 0 {
        return Ok(port);
    }
    let listener = std::net::TcpListener::bind((config.supervisor.host.as_str(), 0))?;
    Ok(listener.local_addr()?.port())
}
