//! Messages of one direction of a WebSocket connection, HTTP head included, put together from its bytes.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data as DataOpcode, OpCode},
};

/// The largest message that is read, in bytes.
const MESSAGE_MAX: usize = 64 << 20;

const HEAD_MAX: usize = 64 << 10;

/// Cuts the bytes of one direction into messages.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    past_head: bool,
    /// Frames of a message that is not complete yet.
    fragments: Vec<u8>,
}

/// What comes next in a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The HTTP request or response, up to the empty line.
    Head(Bytes),
    /// A text or binary message. Zeek's server takes one for the other.
    Message(Vec<u8>),
    /// A ping, a pong, or what RFC 6455 reserves.
    Control { opcode: &'static str, payload: Bytes },
    /// The end, as the speaker announces it.
    Close(Bytes),
}

impl Reader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What has come and is not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// The next item; `None` if more bytes are needed. After an error, nothing that follows can be read.
    pub fn read(&mut self) -> Option<Result<Item, String>> {
        if !self.past_head {
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                return (self.buffer.len() > HEAD_MAX)
                    .then(|| Err(format!("HTTP head exceeds the limit of {HEAD_MAX} bytes")));
            };
            self.past_head = true;
            return Some(Ok(Item::Head(self.buffer.split_to(end + 4).freeze())));
        }
        loop {
            match self.frame()? {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next frame; the inner `None` is one that does not complete a message.
    fn frame(&mut self) -> Option<Result<Option<Item>, String>> {
        let mut cursor = Cursor::new(&self.buffer);
        let (header, len) = match FrameHeader::parse(&mut cursor) {
            Ok(parsed) => parsed?,
            Err(error) => return Some(Err(error.to_string())),
        };
        let start = usize::try_from(cursor.position()).ok()?;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= MESSAGE_MAX) else {
            return Some(Err(format!(
                "WebSocket frame of {len} bytes exceeds the limit of {MESSAGE_MAX}"
            )));
        };
        if self.buffer.len() - start < len {
            return None;
        }
        self.buffer.advance(start);
        let mut payload = self.buffer.split_to(len);
        if let Some(mask) = header.mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        Some(self.item(&header, payload.freeze()))
    }

    fn item(&mut self, header: &FrameHeader, payload: Bytes) -> Result<Option<Item>, String> {
        let opcode = match header.opcode {
            OpCode::Control(Control::Close) => return Ok(Some(Item::Close(payload))),
            OpCode::Control(Control::Ping) => "ping",
            OpCode::Control(Control::Pong) => "pong",
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(DataOpcode::Reserved(_)) => "reserved",
            OpCode::Data(DataOpcode::Text | DataOpcode::Binary | DataOpcode::Continue) => {
                if self.fragments.len() + payload.len() > MESSAGE_MAX {
                    return Err(format!(
                        "WebSocket message exceeds the limit of {MESSAGE_MAX} bytes"
                    ));
                }
                self.fragments.extend_from_slice(&payload);
                let message = header.is_final.then(|| std::mem::take(&mut self.fragments));
                return Ok(message.map(Item::Message));
            }
        };
        Ok(Some(Item::Control { opcode, payload }))
    }
}
