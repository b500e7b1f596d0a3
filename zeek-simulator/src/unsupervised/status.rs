use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use crate::complain;

/// The file of option `-U`, in which Zeek writes what it does (`set_processing_status` in `util.cc`): truncated and written in place, so
/// that readers may find nothing in it.
pub(super) struct Status {
    file: Option<PathBuf>,
}

impl Status {
    /// A process that has just begun.
    pub(super) fn new(file: Option<&str>) -> Self {
        let status = Self {
            file: file.map(PathBuf::from),
        };
        status.set("INITIALIZING", "main");
        status
    }

    pub(super) fn set(&self, word: &str, reason: &str) {
        let Some(file) = &self.file else {
            return;
        };
        let opened = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o777)
            .open(file);
        let written = opened.and_then(|mut file| writeln!(file, "{word} [{reason}]"));
        if let Err(error) = written {
            let number = error.raw_os_error().unwrap_or_default();
            complain(&format!(
                "Failed to open process status file '{}': {number} [{word}]",
                file.display()
            ));
        }
    }
}

/// However it ends, but by a signal.
impl Drop for Status {
    fn drop(&mut self) {
        self.set("TERMINATED", "atexit");
    }
}
