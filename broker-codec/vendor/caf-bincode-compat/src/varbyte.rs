//! Lengths and counts: 7 bits a byte, least significant first, the high bit says that more follows
//! (`broker/format/bin.cc`, `write_varbyte` and `read_varbyte`).

use bytes::{BufMut, BytesMut};

use crate::ErrorKind;

/// The longest varbyte.
pub const LEN_MAX: usize = 5;

/// Appends a number in its shortest form.
pub fn encode(mut number: u32, out: &mut BytesMut) {
    loop {
        let [.., low] = number.to_be_bytes();
        number >>= 7;
        if number == 0 {
            out.put_u8(low & 0x7f);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Reads the number that the input begins with, and returns what is behind it.
///
/// Broker also takes longer forms and drops what exceeds 32 bits; it never writes either, and we refuse both.
pub fn decode(input: &[u8]) -> Result<(u32, &[u8]), ErrorKind> {
    let mut number = 0;
    let mut shift = 0;
    let mut rest = input;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        // The fifth byte has the last 4 of 32 bits and no successor.
        if shift == 28 && byte > 0x0f {
            return Err(ErrorKind::VarbyteOverflow);
        }
        if byte == 0 && shift > 0 {
            return Err(ErrorKind::VarbyteNotCanonical);
        }
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((number, rest));
        }
        shift += 7;
    }
    Err(ErrorKind::UnexpectedEnd)
}
