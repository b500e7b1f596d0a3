//! What one process has taken of the machine.

use std::{error::Error, fs, time::Duration};

use nix::{time::ClockId, unistd::Pid};

use crate::{Failure, failed};

/// The processor time of all its threads, since its start.
pub(crate) fn cpu(process: u32) -> Result<Duration, Failure> {
    let time = || -> Result<_, Box<dyn Error + Send + Sync>> {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.try_into()?))?;
        Ok(clock.now()?.into())
    };
    time().map_err(failed(format!("processor time of process {process}")))
}

/// Lets the peak of its memory begin anew, at what is resident now (`proc_pid_clear_refs(5)`).
pub(crate) fn reset_peak(process: u32) -> Result<(), Failure> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").map_err(failed(path))
}

/// The most that was resident since, in KiB.
pub(crate) fn peak_kib(process: u32) -> Result<u64, Failure> {
    Ok(field(&read(process, "status")?, "VmHWM:"))
}

/// How many file descriptors it has open.
pub(crate) fn descriptors(process: u32) -> Result<usize, Failure> {
    let path = format!("/proc/{process}/fd");
    Ok(fs::read_dir(&path).map_err(failed(path))?.count())
}

pub(crate) fn read(process: u32, file: &str) -> Result<String, Failure> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).map_err(failed(path))
}

/// A field of such a file, in KiB.
pub(crate) fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name() {
        let rollup = "5590a000-7ffd0000 ---p 00000000 00:00 0 [rollup]\nRss:   1234 kB\nPss:    567 kB\nPss_Anon: 9 kB\n";
        let fields = ["Rss:", "Pss:", "Swap:"].map(|name| field(rollup, name));
        assert_eq!(fields, [1234, 567, 0]);
    }

    #[test]
    fn a_process_has_taken_something() {
        let this = std::process::id();
        assert!(cpu(this).unwrap() > Duration::ZERO);
        assert!(peak_kib(this).unwrap() > 0);
    }
}
