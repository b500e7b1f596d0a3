//! Our driver of systemd as a process in the container.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use mgmt_agent::{
    runtime::systemd::{Systemd, available::available},
    supervisors::own::{End, Launch, News, Order},
};
use tokio::sync::mpsc::unbounded_channel;

use super::NODES;
use crate::support::{
    container::{Container, PROGRAMS},
    limit::Limit,
    runtime,
};

/// Set for the process that is the driver.
const DRIVER: &str = "MGMT_TEST_SYSTEMD_DRIVER";

/// With what its lines begin; the test harness prints others.
const LINE: &str = "news: ";

/// Is run by [`Driver::start`], in the container. Does nothing else.
#[test]
#[expect(clippy::print_stdout, reason = "it talks to the test by standard output")]
fn process() {
    if env::var_os(DRIVER).is_none() {
        return;
    }
    runtime().block_on(async {
        let can_be = available(NODES.as_ref());
        println!("{LINE}{}", serde_json::to_string(&can_be).expect("JSON"));
        let mut systemd = Systemd::start(NODES.into());
        let (tell, mut orders) = unbounded_channel();
        thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let _ = tell.send(line.expect("standard input can be read"));
            }
        });
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    systemd.order(serde_json::from_str(&order).expect("an order"));
                }
                news = systemd.next() => {
                    let news = news.expect("it goes on");
                    println!("{LINE}{}", serde_json::to_string(&news).expect("JSON"));
                }
            }
        }
    });
}

pub(super) struct Driver {
    process: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    /// Whether it could keep nodes.
    pub(super) available: Result<(), String>,
}

impl Driver {
    /// Starts one, as root or through a program that makes it another user's.
    pub(super) fn start(container: &Container, through: &[&str]) -> Self {
        let tests = env::current_exe().expect("this program has a path");
        let tests = tests.file_name().expect("it has a name").display().to_string();
        let program = format!("{PROGRAMS}/{tests}");
        let line: Vec<&str> = through.iter().copied().chain([&*program]).collect();
        let mut command = container.command(line[0]);
        command.args(&line[1..]);
        command.args([
            "--exact",
            "systemd::driver::process",
            "--nocapture",
            "--test-threads=1",
        ]);
        let process = command
            .env(DRIVER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = process.expect("it can be started");
        let orders = process.stdin.take().expect("a pipe");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The harness leaves its line unfinished.
                if let Some((_, line)) = line.split_once(LINE) {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        let mut driver = Self {
            process,
            orders,
            lines,
            available: Ok(()),
        };
        driver.available = serde_json::from_str(&driver.line("its start")).expect("a result");
        driver
    }

    /// Starts one that knows what runs, as an agent does.
    pub(super) fn looking(container: &Container, through: &[&str]) -> (Self, Vec<News>) {
        let mut driver = Self::start(container, through);
        assert_eq!(driver.next(), News::Available);
        let found = driver.look();
        (driver, found)
    }

    /// What it finds.
    pub(super) fn look(&mut self) -> Vec<News> {
        self.order(&Order::Look);
        let mut found = Vec::new();
        loop {
            match self.next() {
                News::Looked => return found,
                news => found.push(news),
            }
        }
    }

    fn line(&self, what: &str) -> String {
        let line = self.lines.recv_timeout(Limit::new(what).left());
        line.unwrap_or_else(|error| panic!("waited for {what}: {error}"))
    }

    pub(super) fn order(&mut self, order: &Order) {
        let text = serde_json::to_string(order).expect("JSON");
        writeln!(self.orders, "{text}").expect("it reads");
    }

    pub(super) fn next(&mut self) -> News {
        serde_json::from_str(&self.line("news of nodes")).expect("news")
    }

    /// Has a node started; its process.
    #[track_caller]
    pub(super) fn started(&mut self, launch: &Launch) -> i64 {
        self.order(&Order::Start {
            launch: Box::new(launch.clone()),
        });
        match self.next() {
            News::Started { node, pid } if node == *launch.node() => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Has a node started that cannot be; why.
    #[track_caller]
    pub(super) fn refused(&mut self, launch: &Launch) -> String {
        self.order(&Order::Start {
            launch: Box::new(launch.clone()),
        });
        match self.next() {
            News::NotStarted { node, reason } if node == *launch.node() => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The end of a process: how, and what it has written.
    #[track_caller]
    pub(super) fn ended(&mut self, process: i64) -> (End, String) {
        match self.next() {
            News::Ended {
                pid, end, outputs, ..
            } if pid == process => {
                assert!(outputs.stdout.is_empty(), "{outputs:?}");
                let text = String::from_utf8_lossy(&outputs.stderr);
                (end, text.into_owned())
            }
            other => panic!("{process}: {other:?}"),
        }
    }

    /// Ends it as a crash would.
    pub(super) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it can be waited for");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
