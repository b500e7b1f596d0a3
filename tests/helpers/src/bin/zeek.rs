//! A stand-in for `zeek`, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    stand_ins::run(stand_ins::Program::default(), std::env::args_os().skip(1))
}
