//! What controller and agent have in common as processes on a host: where their settings come from, what they write, how
//! they start and end. What they decide is in their own crates.
//!
//! | module | what |
//! |---|---|
//! | [`attempts`] | which of many failed attempts an operator hears of |
//! | [`audit`] | the audit log: who has asked for what |
//! | [`certificates`] | when the certificates end that the daemon uses |
//! | [`config`] | settings by Zeek's names, from the command line, the environment and Zeek scripts |
//! | [`Counted`] | what every daemon counts |
//! | [`daemon`] | the task that owns a core, and the loop of both daemons |
//! | [`deny_list`] | the file of certificates that count no more |
//! | [`error`] | why a daemon cannot start or go on |
//! | [`files`] | modes of what is written |
//! | [`grants`] | who may do what: tokens, and roles of certificates |
//! | [`http`] | HTTP for operators, on the control socket and over TCP |
//! | [`journal`] | what happens to a core, recorded and replayed |
//! | [`lock`] | keeps a second process off what the first one has |
//! | [`log`] | the log on standard error; limits of what one sender causes |
//! | [`machine`] | what a core is |
//! | [`management_log`] | `management-<name>.log` |
//! | [`metrics`] | metrics, as Prometheus reads them |
//! | [`owner`] | root in the directories of another user |
//! | [`pace`] | how often each of many may do something |
//! | [`peers`] | the Broker endpoint, and what is known of its peers |
//! | [`process`] | the process's name, limits, working directory and one thread |
//! | [`program`] | what the program says to its user, and its exit codes |
//! | [`ready`] | the file that says where a daemon listens |
//! | [`reload`] | certificates, tokens, roles and logs anew, while the daemon runs |
//! | [`renewing`] | renews a certificate of the daemon's own |
//! | [`secrets`] | secrets that are told once, and the file of what is known of them |
//! | [`tokens`] | tokens, as their file has them |

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod attempts;
pub mod audit;
pub mod certificates;
pub mod config;
mod counted;
pub mod daemon;
pub mod deny_list;
pub mod error;
pub mod files;
pub mod grants;
pub mod http;
pub mod journal;
mod lines;
pub mod lock;
pub mod log;
pub mod machine;
pub mod management_log;
pub mod metrics;
mod notify;
pub mod owner;
pub mod pace;
pub mod peers;
pub mod process;
pub mod program;
pub mod ready;
pub mod reload;
pub mod renewing;
pub mod secrets;
mod signals;
pub mod tokens;
mod turns;

pub use counted::Counted;
