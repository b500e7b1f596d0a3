//! A stand-in for `zeek`, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    zeek_simulator::run(zeek_simulator::Program::default(), std::env::args_os().skip(1))
}
