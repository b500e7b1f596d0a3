//! The command line of tokens.

use clap::{Args, Subcommand};
use mgmt_api::access::Role;

use super::seconds;

#[derive(Args, Debug)]
pub(crate) struct Enroll {
    /// The instance
    #[arg(value_name = "INSTANCE", required_unless_present = "list")]
    pub(crate) instance: Option<String>,
    /// In what time the token ends, as in 12h or 30d; without, in a day
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) expires: Option<u64>,
    /// Where the agent reaches the controller's HTTP port, as https://HOST:PORT; without, by the first name in `http_host`, or that of the controller's host
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Show the instances whose tokens are not used yet
    #[arg(long, conflicts_with_all = ["instance", "expires", "url", "revoke"])]
    pub(crate) list: bool,
    /// Delete the token of the instance, which is not used yet
    #[arg(long, conflicts_with_all = ["expires", "url"])]
    pub(crate) revoke: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is not shown again
    Create {
        /// What it is called in logs and lists
        #[arg(value_name = "NAME")]
        name: String,
        /// read, deploy or admin; in the clusters of --cluster, else in all
        #[arg(long, value_parser = access_role)]
        role: Role,
        /// In what time it ends, as in 12h or 30d; without, never
        #[arg(long, value_name = "DURATION", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// Show the tokens that there are
    List,
    /// Delete a token: what uses it is refused from now on
    Revoke {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

fn access_role(word: &str) -> Result<Role, &'static str> {
    word.parse().map_err(|_| "the roles are read, deploy and admin")
}
