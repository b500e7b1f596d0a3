//! Recorded WebSocket conversations, read from the packet captures.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Cursor, Read, Write},
};

use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{Role, WebSocket},
};
use tools::{
    pcap::Segments,
    tcp::{Reassembler, Speaker, TcpEvent, TcpEventKind},
};

use super::workspace_root;

/// Zeek's port for WebSocket clients.
const WEBSOCKET_PORT: u16 = 2149;

/// What one client and the server said to each other: the texts, in order and without pings.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// What the client sent, its subscription first.
    pub(crate) client: Vec<String>,
    /// What the server sent, its ack first.
    pub(crate) server: Vec<String>,
}

/// Every WebSocket conversation of a recording, in the order in which the connections were opened.
pub(crate) fn websocket_conversations(release: &str, name: &str) -> Vec<Conversation> {
    let path = workspace_root()
        .join("fixtures")
        .join(release)
        .join(name)
        .join("capture.pcap");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut connections: BTreeMap<usize, Connection> = BTreeMap::new();
    let mut on_event = |event: TcpEvent| match event.kind {
        TcpEventKind::Opened {
            addresses,
            from_start,
        } if addresses.server.port() == WEBSOCKET_PORT => {
            assert!(
                from_start,
                "{}: begins in the middle of a connection",
                path.display()
            );
            connections.insert(event.connection, Connection::default());
        }
        TcpEventKind::Data { from, bytes } => {
            if let Some(connection) = connections.get_mut(&event.connection) {
                connection.said_by(from).extend_from_slice(&bytes);
            }
        }
        TcpEventKind::Gap { from, len } => panic!("{}: {len} bytes of {from:?} are missing", path.display()),
        TcpEventKind::Opened { .. } | TcpEventKind::Closed { .. } => {}
    };
    let mut reassembler = Reassembler::new();
    for segment in Segments::new(BufReader::new(file)).expect("a capture in pcap format") {
        reassembler.push(segment.expect("a whole packet"), &mut on_event);
    }
    reassembler.finish(&mut on_event);
    connections
        .into_values()
        // A connection that was opened and closed without a byte is no conversation.
        .filter(|connection| !connection.client.is_empty())
        .map(|connection| Conversation {
            client: read_texts(after_http(&connection.client), Role::Server),
            server: read_texts(after_http(&connection.server), Role::Client),
        })
        .collect()
}

/// The bytes of either direction.
#[derive(Debug, Default)]
struct Connection {
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Connection {
    fn said_by(&mut self, speaker: Speaker) -> &mut Vec<u8> {
        match speaker {
            Speaker::Client => &mut self.client,
            Speaker::Server => &mut self.server,
        }
    }
}

fn after_http(bytes: &[u8]) -> &[u8] {
    const END: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|window| window == END);
    &bytes[end.expect("a WebSocket conversation begins with HTTP") + END.len()..]
}

/// The text messages in one direction, read in the role of the side that received them.
fn read_texts(bytes: &[u8], reader: Role) -> Vec<String> {
    let recorded = Recorded {
        input: Cursor::new(bytes),
    };
    let mut websocket = WebSocket::from_raw_socket(recorded, reader, None);
    let mut texts = Vec::new();
    loop {
        match websocket.read() {
            Ok(Message::Text(text)) => texts.push(text.as_str().to_owned()),
            Ok(Message::Close(_)) => return texts,
            Ok(_) => {}
            // zeek-client closes its connection without a close frame.
            Err(_) if websocket.get_ref().at_end() => return texts,
            Err(error) => panic!("recorded WebSocket stream: {error}"),
        }
    }
}

/// A recorded direction as a socket: what is written goes nowhere.
#[derive(Debug)]
struct Recorded<'a> {
    input: Cursor<&'a [u8]>,
}

impl Recorded<'_> {
    fn at_end(&self) -> bool {
        usize::try_from(self.input.position()).is_ok_and(|position| position >= self.input.get_ref().len())
    }
}

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Recorded<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
