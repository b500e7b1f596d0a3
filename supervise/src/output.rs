//! What a process writes: read by lines, each bounded, the last ones kept.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is kept whole, in bytes. A longer one is several.
pub const LINE_MAX: usize = 64 * 1024;

/// Reads lines until the end. Empty ones are left out.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    buffer: BytesMut,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Of what is read from there.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::with_capacity(4096),
            ended: false,
        }
    }

    /// The next line, without its end. May be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let line = match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line = self.buffer.split_to(end);
                    let _ = self.buffer.split_to(1);
                    line
                }
                None if self.buffer.len() >= LINE_MAX || (self.ended && !self.buffer.is_empty()) => {
                    self.buffer.split()
                }
                None if self.ended => return None,
                None => {
                    self.ended = !matches!(self.from.read_buf(&mut self.buffer).await, Ok(1..));
                    continue;
                }
            };
            if !line.is_empty() {
                return Some(line.freeze());
            }
        }
    }
}

/// The last lines that were written.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    lines_max: usize,
    lines: VecDeque<Bytes>,
}

impl Tail {
    /// Keeps so many lines.
    pub const fn new(lines_max: usize) -> Self {
        Self {
            lines_max,
            lines: VecDeque::new(),
        }
    }

    /// A further line.
    pub fn push(&mut self, line: Bytes) {
        self.lines.push_back(line);
        while self.lines.len() > self.lines_max {
            self.lines.pop_front();
        }
    }

    /// The lines, with newlines between them; nothing if there are none.
    pub fn joined(self) -> Vec<u8> {
        Vec::from(self.lines).join(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_bounded_and_the_last_ones_kept() {
        let long = vec![b'x'; 5 * LINE_MAX];
        let written = [b"one\n\ntwo\n".as_slice(), &long, b"\nlast"].concat();
        let mut lines = Lines::new(&*written);
        let mut tail = Tail::new(2);
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await {
            lengths.push(line.len());
            tail.push(line);
        }
        assert_eq!(lengths.iter().sum::<usize>(), 3 + 3 + long.len() + 4);
        assert!(lengths.len() >= 5 && lengths.iter().all(|length| *length <= 3 * LINE_MAX));
        assert!(tail.joined().ends_with(b"\nlast"));
        assert_eq!(Tail::new(5).joined(), b"");
    }
}
