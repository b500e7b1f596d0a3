//! Manual pages.

use clap::CommandFactory;
use clap_mangen::Man;

use crate::{Exit, client::ClientError, commands::print, options::Options};

/// Prints the page of a command, such as `config diff`; without one that of the program.
pub(crate) fn show(words: &[String]) -> Result<Exit, ClientError> {
    let mut command = Options::command().disable_help_subcommand(true);
    command.build();
    let found = words
        .iter()
        .try_fold(&command, |of, word| of.find_subcommand(word));
    let found = found.ok_or(ClientError::Usage(
        "there is no such command; the page without one lists them",
    ))?;
    let mut page = Vec::new();
    let written = Man::new(found.clone()).render(&mut page);
    written.map_err(|error| ClientError::Broken(error.to_string()))?;
    print(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}
