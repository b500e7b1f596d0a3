//! A directory with nodes, and what starts and ends them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use mgmt_agent::{
    core::NodeSpec,
    runtime::native::Native,
    supervisors::own::{End, Launch, News, Order},
};
use mgmt_api::NodeOutputs;
use tempfile::TempDir;
use tokio::time::timeout;

/// The agent's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mgmt-agent");

/// How long anything may take on a machine that is busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) home: TempDir,
    pub(crate) native: Native,
}

/// What a node is started with that is a shell program, and works in a directory of its own name.
pub(crate) fn launch(home: &Path, name: &str, script: &str) -> Box<Launch> {
    let directory = home.join("nodes").join(name);
    Box::new(Launch {
        spec: NodeSpec {
            name: name.into(),
            directory: directory.to_str().unwrap().into(),
            ..NodeSpec::default()
        },
        agent: "a".into(),
        token: "secret".into(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        layout: "# the layout\n".into(),
        ..Launch::default()
    })
}

/// Writes down what a node is to be started with.
pub(crate) fn write(launch: &Launch) -> PathBuf {
    let directory = PathBuf::from(launch.spec.directory.as_str().unwrap());
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("node.json");
    fs::write(&path, serde_json::to_vec(launch).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    directory
}

pub(crate) fn runs(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with('Z')
}

impl World {
    /// In which no node runs.
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut world = Self {
            native: native(&home),
            home,
        };
        assert_eq!(world.look().await, []);
        world
    }

    /// As when the agent has been started again.
    pub(crate) async fn again(self) -> (Self, Vec<News>) {
        let home = self.home;
        drop(self.native);
        let mut world = Self {
            native: native(&home),
            home,
        };
        let found = world.look().await;
        (world, found)
    }

    async fn look(&mut self) -> Vec<News> {
        assert_eq!(self.next().await, News::Available);
        self.native.order(Order::Look);
        let mut found = Vec::new();
        loop {
            match self.next().await {
                News::Looked => return found,
                news => found.push(news),
            }
        }
    }

    pub(crate) fn launch(&self, name: &str, script: &str) -> Box<Launch> {
        launch(self.home.path(), name, script)
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.home.path().join("nodes").join(name)
    }

    pub(crate) async fn next(&mut self) -> News {
        let news = timeout(LONG, self.native.next()).await;
        news.expect("it tells something").expect("it lives")
    }

    /// Starts a node, and returns its process.
    pub(crate) async fn start(&mut self, launch: Box<Launch>) -> i64 {
        self.native.order(Order::Start { launch });
        match self.next().await {
            News::Started { pid, .. } => pid,
            other => panic!("it is not started: {other:?}"),
        }
    }

    pub(crate) async fn ended(&mut self) -> (End, NodeOutputs) {
        match self.next().await {
            News::Ended { end, outputs, .. } => (end, outputs),
            other => panic!("it has not ended: {other:?}"),
        }
    }

    /// Starts a node, and returns how it ended by itself.
    pub(crate) async fn run(&mut self, launch: Box<Launch>) -> (End, NodeOutputs) {
        self.start(launch).await;
        self.ended().await
    }

    /// Waits until a node has written a file, and returns what is in it.
    pub(crate) async fn written(&self, name: &str, file: &str) -> String {
        let path = self.directory(name).join(file);
        let written = async {
            loop {
                match fs::read_to_string(&path) {
                    Ok(text) if text.ends_with('\n') => return text.trim_end().to_owned(),
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(LONG, written).await.expect("it writes the file")
    }
}

fn native(home: &TempDir) -> Native {
    Native::start(home.path().join("nodes"), PROGRAM.into(), "a".into()).unwrap()
}
