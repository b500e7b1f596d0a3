//! The stream of events, which goes on when its connection, or the controller, does not.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use broker_codec::data::escaped_lines;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mgmt_api::operator::{Event, RESET};
use tokio::time::{sleep, timeout};

use crate::{
    Exit,
    client::{ClientError, broken, part},
    commands::{Daemon, note},
};

/// How long nothing may come: a controller says each 15 s that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Between attempts to connect again.
const RETRY: Duration = Duration::from_secs(1);

/// The longest line of the stream that is read, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// What one message of the stream says.
#[derive(Debug, Default)]
struct Message {
    id: Option<String>,
    kind: String,
    data: String,
}

/// Makes messages of the lines of a stream (the HTML standard, section 9.2.6).
#[derive(Debug, Default)]
struct Lines {
    left: Vec<u8>,
    message: Message,
}

impl Lines {
    /// The messages that these bytes complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Message>, ClientError> {
        let mut messages = Vec::new();
        self.left.extend_from_slice(bytes);
        while let Some(end) = self.left.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.left.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => messages.push(std::mem::take(&mut self.message)),
                "id" => self.message.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut self.message.kind),
                "data" => self.message.data.push_str(value),
                _ => {}
            }
        }
        if self.left.len() > LINE_BYTES_MAX {
            return Err(ClientError::Broken("a line has no end".to_owned()));
        }
        Ok(messages)
    }
}

/// Where the reader is.
#[derive(Debug, Default)]
struct Follower {
    last_id: Option<String>,
    /// It has had a connection.
    has_begun: bool,
    /// It was said that the connection is lost.
    is_lost: bool,
}

impl Daemon<'_> {
    /// Shows events until the reader of our output is gone.
    pub(crate) async fn events(&self, lines: usize) -> Result<Exit, ClientError> {
        self.needs_controller()?;
        let cluster = self.options.cluster();
        let cluster = cluster.map(|name| format!("&cluster={}", part(name)));
        let path = format!("/v1/events?last={lines}{}", cluster.unwrap_or_default());
        let mut follower = Follower::default();
        loop {
            let ended = match self.client.follow(&path, follower.last_id.as_deref()).await {
                Ok(stream) => self.show_all(&mut follower, stream).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => return Ok(Exit::Done),
                Err(error @ ClientError::Refused { .. }) => return Err(error),
                Err(error) if !follower.has_begun => return Err(error),
                Err(error) if !follower.is_lost => {
                    note(&format!("{error}; trying again"));
                    follower.is_lost = true;
                }
                Err(_) => {}
            }
            sleep(RETRY).await;
        }
    }

    /// Shows what comes. Ends when the reader of our output is gone.
    async fn show_all(&self, follower: &mut Follower, mut stream: Incoming) -> Result<(), ClientError> {
        follower.has_begun = true;
        if std::mem::take(&mut follower.is_lost) {
            note("connected again");
        }
        let mut lines = Lines::default();
        loop {
            let frame = timeout(SILENCE_MAX, stream.frame()).await;
            let frame = frame.map_err(|_| ClientError::Silent)?;
            let frame = frame.ok_or_else(|| ClientError::Broken("the daemon has ended it".to_owned()))?;
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            for message in lines.take(&data)? {
                if self.show_message(follower, message)?.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn show_message(&self, follower: &mut Follower, message: Message) -> Result<io::Result<()>, ClientError> {
        let Message { id, kind, data } = message;
        if kind == RESET {
            note(
                "events are missing here: the controller was restarted, or too much has happened; see `mgmtctl status`",
            );
            return Ok(Ok(()));
        }
        // That the controller is there.
        if data.is_empty() {
            return Ok(Ok(()));
        }
        let event: Event = serde_json::from_str(&data).map_err(ClientError::Unreadable)?;
        follower.last_id = id.or(follower.last_id.take());
        let line = if self.options.json {
            data + "\n"
        } else {
            escaped_lines(&shown(&event))
        };
        Ok(io::stdout().lock().write_all(line.as_bytes()))
    }
}

fn shown(event: &Event) -> String {
    let cluster = match event.cluster.as_str() {
        "default" => String::new(),
        cluster => format!("cluster {cluster}: "),
    };
    let Event {
        time, level, message, ..
    } = event;
    format!("{time} {level:<7} {cluster}{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let text = ":\n\nid: 7-1\nevent: node\ndata: {}\n\nevent:reset\ndata:\n\nid";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let pieces = text.as_bytes().chunks(size);
            let read: Vec<Message> = pieces.flat_map(|piece| lines.take(piece).unwrap()).collect();
            let read: Vec<(Option<&str>, &str, &str)> = read
                .iter()
                .map(|message| (message.id.as_deref(), &*message.kind, &*message.data))
                .collect();
            assert_eq!(
                read,
                [(None, "", ""), (Some("7-1"), "node", "{}"), (None, "reset", "")]
            );
            assert_eq!(lines.left, b"id");
        }
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; LINE_BYTES_MAX + 1]).is_err());
    }
}
