//! `replay`: our controller and our agent in the place of those that were recorded.

mod live;
mod live_agent;
mod live_zeek;
mod mutations;
mod recordings;

use std::{net::SocketAddr, path::PathBuf};

use tokio::net::TcpSocket;
use tools::replay::cli::CliError;

use crate::support::workspace_root;

/// The folder of a recording.
fn folder(recording: &str) -> PathBuf {
    workspace_root().join("fixtures").join(recording)
}

/// Replays a recording with options that are separated by spaces.
fn replay(recording: &str, options: &str) -> Result<(bool, String), CliError> {
    let folder = folder(recording);
    let words: Vec<&str> = options.split_whitespace().collect();
    recordings::replayed(&[&[folder.to_str().unwrap()], &words[..]].concat())
}

/// A port that no other process gets, and where none listens yet.
struct Reserved {
    socket: TcpSocket,
}

impl Reserved {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        // A process that listens there sets it too; both must.
        socket.set_reuseaddr(true).expect("an option of every socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a port is free");
        Self { socket }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().expect("it is bound").port()
    }
}
