//! The command line of the subcommand `enroll`.

use clap::{Arg, Command};

pub(super) const TOKEN: &str = "token";

/// What it is called with.
pub(crate) fn command(settings: &[Arg]) -> Command {
    Command::new("enroll")
        .about("Get a certificate of the controller's own CA for this host, by a token of `mgmtctl enroll`")
        .arg(
            Arg::new(TOKEN)
                .value_name("TOKEN")
                .required(true)
                .help("The token; `-` reads it from standard input, as other users of the host see what is on a command line"),
        )
        .args(settings)
}
