use std::path::PathBuf;

use clap::Args;

use super::LogFormat;

/// What every daemon can be given on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct HostArgs {
    /// A Zeek setting by its own name, such as `Management::state_dir=/var/lib/zeek`
    #[arg(value_name = "MODULE::NAME=VALUE")]
    pub assignments: Vec<String>,
    /// Read `redef NAME = VALUE;` statements from a Zeek script; may be repeated; `@load` is not followed
    #[arg(long, value_name = "FILE")]
    pub redefs: Vec<PathBuf>,
    /// Where Zeek's processes keep state; ours is below `nodes/<name>` [Zeek: `Management::state_dir`]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Where rotated logs go, into `log-queue` [Zeek: `Management::spool_dir`]
    #[arg(long, value_name = "DIR")]
    pub spool_dir: Option<String>,
    /// Where Zeek is installed
    #[arg(long, value_name = "DIR")]
    pub zeek_prefix: Option<PathBuf>,
    /// The name that ps, pgrep and netstat show, such as `zeek.<name>`; ps and pgrep show 15 bytes of it
    #[arg(long, value_name = "NAME")]
    pub process_name: Option<String>,
    /// What to log on standard error: a level, or directives as in `RUST_LOG`, which this overrides
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How to log on standard error
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write a JSON file with the process id and the addresses once this listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Record everything that happens, for `replay`; configurations included, so keep it to yourself. It grows until the end; if the
    /// disk is full or too slow it ends there, and the daemon goes on
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}
