use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long to wait for what must happen.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

const SCRIPT: &str = include_str!("echo.zeek");

/// A Zeek that runs `echo.zeek`.
pub(super) struct Zeek {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said and the test has not waited for yet.
    said: Vec<String>,
    pub(super) port4: u16,
    pub(super) port6: u16,
    _folder: tempfile::TempDir,
}

impl Zeek {
    /// Starts it, with ports by their names in the script, and settings as on its command line.
    pub(super) async fn start(prefix: &Path, ports: &[(&str, u16)], settings: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("echo.zeek");
        std::fs::write(&script, SCRIPT).expect("written");
        let mut child = Command::new(prefix.join("bin/zeek"))
            .arg(script)
            .args(
                ports
                    .iter()
                    .map(|(name, port)| format!("Live::{name}={port}/tcp")),
            )
            .args(settings)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("zeek can be started");
        let stdout = child.stdout.take().expect("piped");
        let mut zeek = Self {
            child,
            lines: BufReader::new(stdout).lines(),
            said: Vec::new(),
            port4: 0,
            port6: 0,
            _folder: folder,
        };
        let listening = zeek.says("listening ").await;
        let chosen: Vec<u16> = listening
            .split(' ')
            .skip(1)
            .map(|port| port.trim_end_matches("/tcp").parse().expect("a port"))
            .collect();
        (zeek.port4, zeek.port6) = (chosen[0], chosen[1]);
        zeek
    }

    /// Waits for a line that begins so; it is not found again.
    pub(super) async fn says(&mut self, start: &str) -> String {
        let wait = async {
            loop {
                if let Some(index) = self.said.iter().position(|line| line.starts_with(start)) {
                    return self.said.remove(index);
                }
                match self.lines.next_line().await.expect("text") {
                    Some(line) => self.said.push(line),
                    None => panic!("zeek ended without {start:?}: {:?}", self.said),
                }
            }
        };
        let line = timeout(TIMEOUT, wait).await.ok();
        line.unwrap_or_else(|| panic!("zeek does not say {start:?}: {:?}", self.said))
    }

    /// Ends it as a crash does.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// It ends by itself, in good order.
    pub(super) async fn ends(mut self) {
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("in time");
        let status = status.expect("it can be waited for");
        assert!(status.success(), "{status}, {:?}", self.said);
    }
}
