//! Files that an operator names.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// Longest file of settings or certificates, in bytes: far above each that makes sense.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file of settings or certificates.
///
/// # Errors
///
/// Besides failures of the file system: if there are more than 16 MiB in it, as in a device that has no end. A FIFO, which has no writer, is empty.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut options = fs::File::options();
    // Nothing is waited for.
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let read = options
        .open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)?;
    if u64::try_from(read).is_ok_and(|read| read <= FILE_BYTES_MAX) {
        Ok(content)
    } else {
        Err(io::Error::other("it has more than 16 MiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let error = read_file(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 MiB");
        assert_eq!(read_file(Path::new("/dev/null")).unwrap(), b"");
    }
}
