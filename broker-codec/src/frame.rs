//! Frames: a length in four bytes, big-endian and not counting itself, then that many bytes
//! (`internal/connector.cc`, `continue_reading`; CAF's `length_prefix_framing.hpp`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

// DIFFERENCE(frame-limits): Broker takes handshake messages of up to 4 GiB and later ones of up to 2 GiB, and allocates what a
// peer announces at once.

/// The largest frame accepted before a peer has finished the handshake, in bytes without the length.
///
/// The largest handshake message carries a filter; Broker itself has no limit.
pub const HANDSHAKE_FRAME_MAX: u32 = 1 << 20;

/// The largest frame accepted or sent after the handshake, in bytes without the length; Broker's limit is 2 GiB.
pub const OPERATION_FRAME_MAX: u32 = 64 << 20;

/// The size of the length before each frame, in bytes.
pub const HEADER_LEN: usize = 4;

/// Bytes are not a frame, or cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    TooLong { len: u32, max: u32 },
    /// A frame of length 0 during the handshake, where Broker closes the connection.
    #[error("empty frame during the handshake")]
    Empty,
    #[error("message of {len} bytes exceeds the frame limit of {max}")]
    Unsendable { len: usize, max: u32 },
}

/// Cuts a stream of bytes into frames.
///
/// It has no buffer of its own, so it can be exchanged when the handshake is over: surplus bytes stay where they are.
/// Nothing is allocated by the announced length; the caller's buffer grows as bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDecoder {
    max: u32,
    skips_empty: bool,
}

impl FrameDecoder {
    /// For the handshake: [`HANDSHAKE_FRAME_MAX`], and an empty frame is an error.
    pub const fn handshake() -> Self {
        Self {
            max: HANDSHAKE_FRAME_MAX,
            skips_empty: false,
        }
    }

    /// For established peerings: [`OPERATION_FRAME_MAX`], and empty frames are skipped as CAF does.
    pub const fn operation() -> Self {
        Self {
            max: OPERATION_FRAME_MAX,
            skips_empty: true,
        }
    }

    #[must_use]
    pub const fn with_max(self, max: u32) -> Self {
        Self { max, ..self }
    }

    /// Takes the next complete frame out of the buffer, without copying it; `None` if more bytes are needed.
    ///
    /// After an error the stream cannot be resumed. A frame keeps the buffer's memory alive as long as it lives.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        loop {
            let Some(header) = buffer.first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let len = u32::from_be_bytes(*header);
            if len > self.max {
                return Err(FrameError::TooLong { len, max: self.max });
            }
            if len == 0 {
                if !self.skips_empty {
                    return Err(FrameError::Empty);
                }
                buffer.advance(HEADER_LEN);
                continue;
            }
            // A length beyond the address space can never be complete.
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if buffer.len() - HEADER_LEN < len {
                return Ok(None);
            }
            buffer.advance(HEADER_LEN);
            return Ok(Some(buffer.split_to(len).freeze()));
        }
    }
}

/// Appends the length of a frame whose content follows; on error nothing is appended.
pub fn put_header(len: usize, max: u32, out: &mut BytesMut) -> Result<(), FrameError> {
    match u32::try_from(len) {
        Ok(header) if header <= max => {
            out.put_u32(header);
            Ok(())
        }
        _ => Err(FrameError::Unsendable { len, max }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn frames(decoder: FrameDecoder, chunks: &[&[u8]]) -> Result<Vec<Bytes>, FrameError> {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = decoder.decode(&mut buffer)? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn a_frame_of_the_largest_size_passes_and_one_byte_more_is_refused() {
        for decoder in [FrameDecoder::handshake(), FrameDecoder::operation()] {
            let mut fits = BytesMut::from(&decoder.max.to_be_bytes()[..]);
            fits.resize(HEADER_LEN + usize::try_from(decoder.max).unwrap(), 7);
            let frame = decoder.decode(&mut fits).unwrap().unwrap();
            assert_eq!(u32::try_from(frame.len()), Ok(decoder.max));
            let len = decoder.max + 1;
            let header = len.to_be_bytes();
            assert_eq!(
                frames(decoder, &[&header]),
                Err(FrameError::TooLong {
                    len,
                    max: decoder.max
                })
            );
        }
        assert_eq!(
            frames(FrameDecoder::operation(), &[&0xFFFF_FFFE_u32.to_be_bytes()])
                .unwrap_err()
                .to_string(),
            "frame of 4294967294 bytes exceeds the limit of 67108864"
        );
    }

    #[test]
    fn announced_lengths_allocate_nothing() {
        let mut buffer = BytesMut::from(&OPERATION_FRAME_MAX.to_be_bytes()[..]);
        assert_eq!(FrameDecoder::operation().decode(&mut buffer), Ok(None));
        assert!(buffer.capacity() < 1024);
    }

    #[test]
    fn empty_frames_end_a_handshake_and_are_skipped_later() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x0c];
        assert_eq!(
            frames(FrameDecoder::handshake(), &[&bytes]),
            Err(FrameError::Empty)
        );
        assert_eq!(
            frames(FrameDecoder::operation(), &[&bytes]).unwrap(),
            [&b"\x0c"[..]]
        );
    }

    #[test]
    fn a_tls_client_hello_or_an_http_request_is_a_frame_too_long() {
        for first in [b"\x16\x03\x01\x02", b"GET "] {
            assert!(matches!(
                frames(FrameDecoder::operation(), &[first]),
                Err(FrameError::TooLong { .. })
            ));
        }
    }

    #[test]
    fn frames_share_the_buffer() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x02ab"[..]);
        let start = buffer.as_ptr();
        let frame = FrameDecoder::operation().decode(&mut buffer).unwrap().unwrap();
        assert_eq!(frame.as_ptr(), start.wrapping_add(HEADER_LEN));
    }

    #[test]
    fn a_message_that_cannot_be_sent_leaves_the_buffer_alone() {
        let mut out = BytesMut::from(&b"before"[..]);
        let len = usize::try_from(OPERATION_FRAME_MAX).unwrap() + 1;
        let max = OPERATION_FRAME_MAX;
        assert_eq!(
            put_header(len, max, &mut out),
            Err(FrameError::Unsendable { len, max })
        );
        assert_eq!(out, &b"before"[..]);
        assert_eq!(put_header(len - 1, max, &mut out), Ok(()));
    }

    proptest! {
        #[test]
        fn chunking_does_not_matter(
            contents in vec(vec(any::<u8>(), 1..40), 0..8),
            cuts in vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut stream = BytesMut::new();
            for content in &contents {
                put_header(content.len(), OPERATION_FRAME_MAX, &mut stream).unwrap();
                stream.extend_from_slice(content);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for cut in cuts {
                chunks.push(&stream[start..cut]);
                start = cut;
            }
            chunks.push(&stream[start..]);
            prop_assert_eq!(frames(FrameDecoder::operation(), &chunks).unwrap(), contents);
        }
    }
}
