//! A stand-in for `zeek`, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    zeek_simulator::run(Vec::new(), std::env::args_os().skip(1))
}
