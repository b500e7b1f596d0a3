//! Real cluster nodes: what is asked for, and what runs.

use std::{fs, net::TcpStream};

use rustix::process::{Pid, Signal, kill_process};

use testkit::ReservedPort;

use super::zeek::Era;
use crate::{
    live_controller::{AGENT, TIMEOUT},
    support::limit::Limit,
};

/// A manager and a worker, both of which listen. Their names tell their processes from all others.
#[derive(Debug)]
pub(super) struct Nodes {
    manager: ReservedPort,
    worker: ReservedPort,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let [manager, worker] = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
        Self { manager, worker }
    }

    pub(super) fn names(&self) -> [String; 2] {
        [
            format!("m{}", self.manager.port()),
            format!("w{}", self.worker.port()),
        ]
    }

    /// For zeek-client.
    pub(super) fn configuration(&self) -> String {
        let [manager, worker] = self.names();
        format!(
            "[instances]\n{AGENT}\n[{manager}]\ninstance = {AGENT}\nrole = manager\nport = {}\n[{worker}]\ninstance = {AGENT}\nrole = worker\nport = {}\n",
            self.manager.port(),
            self.worker.port()
        )
    }

    /// For a client of the age: the request to set the configuration.
    pub(super) fn request(&self, era: Era, reqid: &str) -> String {
        let node = |name: &str, role: &str, port: u16| {
            let values = [
                ("NAME", name),
                ("INSTANCE", AGENT),
                ("ROLE", role),
                ("PORT", &port.to_string()),
            ];
            values
                .into_iter()
                .fold(era.node.to_owned(), |node, (what, value)| {
                    node.replace(what, value)
                })
        };
        let [manager, worker] = self.names();
        format!(
            "{}::API::set_configuration_request(\"{reqid}\", [\"config\", {{[\"{AGENT}\", 127.0.0.1, -]}}, {{{}, {}}}])",
            era.controller,
            node(&manager, "MANAGER", self.manager.port()),
            node(&worker, "WORKER", self.worker.port())
        )
    }

    /// Waits until both run and listen, by other processes than before.
    pub(super) fn wait(&self, before: &[u32]) -> [u32; 2] {
        let limit = Limit::lasting(
            TIMEOUT,
            format_args!("nodes {:?}, others than {before:?}", self.names()),
        );
        limit.poll(|| {
            let [manager, worker] = self.names().map(|name| process_of(&name));
            let processes = [manager?, worker?];
            let is_new = processes.iter().all(|process| !before.contains(process));
            let mut ports = [&self.manager, &self.worker].into_iter();
            let listen = ports.all(|port| TcpStream::connect(port.address()).is_ok());
            (is_new && listen).then_some(processes)
        })
    }

    /// Kills the worker, and waits until it runs again.
    pub(super) fn survive(&self, [_, worker]: [u32; 2]) {
        kill(worker);
        self.wait(&[worker]);
    }
}

/// The process of a node, which the Supervisor names after it.
fn process_of(node: &str) -> Option<u32> {
    let named = format!("zeek.{node}\n");
    let all = fs::read_dir("/proc").expect("there is /proc");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|process: &u32| {
            fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == named)
        })
}

fn kill(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process id"), Signal::KILL).expect("it runs");
}
