//! What commands about configurations ask for, and say.

use mgmt_api::operator::{ConfigurationFile, Station};

use crate::{
    Exit,
    client::ClientError,
    cluster_file,
    commands::{Daemon, escaped, note, show_json},
    diff,
    options::ConfigCommand,
};

impl Daemon<'_> {
    pub(crate) async fn config(&self, command: &ConfigCommand) -> Result<Exit, ClientError> {
        match command {
            ConfigCommand::Show { station } => self.show_configuration(*station).await,
        }
    }

    async fn show_configuration(&self, station: Station) -> Result<Exit, ClientError> {
        let path = self.path_of_cluster(&format!("configurations/{station}"))?;
        let config: ConfigurationFile = self.client.get(&path).await?;
        match as_cluster_file(&config) {
            Ok(text) => self.show(&config, &text),
            Err(reason) => {
                note(&format!(
                    "as JSON, as a cluster file has no place for this: {reason}"
                ));
                show_json(&config);
            }
        }
        Ok(Exit::Done)
    }
}

/// A configuration as a cluster file, or what of it cannot be written as such.
fn as_cluster_file(config: &ConfigurationFile) -> Result<String, String> {
    let text = cluster_file::write(config);
    if escaped(&text) != text {
        return Err("control characters".to_owned());
    }
    let read = cluster_file::read(&text, "").map_err(|error| error.to_string())?;
    let lost = diff::between(config, &read.config);
    match lost.first() {
        None => Ok(text),
        Some(first) => Err(diff::place(first)),
    }
}
