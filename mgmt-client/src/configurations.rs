//! What commands about configurations ask for, and say.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use broker_codec::data::escaped_lines;
use mgmt_api::operator::{ConfigurationFile, Expected, Staged, Station, diff};
use serde::Serialize;

use crate::{
    Exit,
    client::{ClientError, FILE_BYTES_MAX},
    cluster_file,
    commands::{Daemon, note, show_json},
    options::{ConfigCommand, is_standard_input},
};

impl Daemon<'_> {
    pub(crate) async fn config(&self, command: &ConfigCommand) -> Result<Exit, ClientError> {
        match command {
            ConfigCommand::Show { station } => self.show_configuration(*station).await,
            ConfigCommand::Stage { file } => {
                let staged = self.stage(&read(file)?).await?;
                self.show(&staged, &format!("configuration {} is staged\n", staged.id));
                Ok(Exit::Done)
            }
            ConfigCommand::Diff { file } => self.diff(file.as_deref()).await,
        }
    }

    async fn show_configuration(&self, station: Station) -> Result<Exit, ClientError> {
        let config: ConfigurationFile = self.client.get(&self.path_of_configuration(station)?).await?;
        self.show_as_file(&config, &config);
        Ok(Exit::Done)
    }

    /// Prints an answer whose configuration this is: that as a cluster file, if it can be one.
    pub(crate) fn show_as_file(&self, answer: &impl Serialize, config: &ConfigurationFile) {
        match as_cluster_file(config) {
            Ok(text) => self.show(answer, &text),
            Err(_) if self.options.json => show_json(answer),
            Err(reason) => {
                note(&format!(
                    "JSON follows, as a cluster file has no place for this: {reason}"
                ));
                show_json(config);
            }
        }
    }

    async fn diff(&self, file: Option<&Path>) -> Result<Exit, ClientError> {
        let new = match file {
            Some(file) => read(file)?,
            None => self.staged().await?,
        };
        let deployed = self.deployed().await?.unwrap_or_default();
        let differences = diff::between(&deployed, &new);
        self.show(&differences, &diff::in_words(&differences, &new));
        Ok(Exit::Done)
    }

    /// Stages a configuration in place of whatever is deployed now.
    pub(crate) async fn stage(&self, config: &ConfigurationFile) -> Result<Staged, ClientError> {
        let deployed = self.deployed().await?;
        self.stage_after(deployed.as_ref(), config).await
    }

    /// Stages a configuration in place of one that is deployed, or of none.
    pub(crate) async fn stage_after(
        &self,
        deployed: Option<&ConfigurationFile>,
        config: &ConfigurationFile,
    ) -> Result<Staged, ClientError> {
        let path = self.path_of_configuration(Station::Staged)?;
        let expected = Expected::of(deployed.map(|config| &config.id));
        self.client.put(&path, &expected, config).await
    }

    pub(crate) async fn deployed(&self) -> Result<Option<ConfigurationFile>, ClientError> {
        let path = self.path_of_configuration(Station::Deployed)?;
        self.client.get_if_there(&path).await
    }

    pub(crate) async fn staged(&self) -> Result<ConfigurationFile, ClientError> {
        self.client
            .get(&self.path_of_configuration(Station::Staged)?)
            .await
    }

    fn path_of_configuration(&self, station: Station) -> Result<String, ClientError> {
        self.path_of_cluster(&format!("configurations/{station}"))
    }
}

/// Reads a configuration: JSON if it begins with a brace, else a cluster file of zeek-client's.
pub(crate) fn read(file: &Path) -> Result<ConfigurationFile, ClientError> {
    let text = text_of(file)?;
    let wrong = |reason: String| ClientError::File {
        path: file.to_owned(),
        reason,
    };
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| wrong(error.to_string()));
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty());
    let read = cluster_file::read(&text, host.unwrap_or("localhost"));
    let read = read.map_err(|error| wrong(error.to_string()))?;
    for warning in read.warnings {
        note(&warning);
    }
    Ok(read.config)
}

fn text_of(file: &Path) -> Result<String, ClientError> {
    let path = file.to_owned();
    let mut text = String::new();
    let source: io::Result<Box<dyn Read>> = if is_standard_input(file) {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(file).map(|file| Box::new(file) as _)
    };
    let read = source.and_then(|source| source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|source| ClientError::Read {
        path: path.clone(),
        source,
    })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ClientError::TooLong { path });
    }
    Ok(text)
}

/// A configuration as a cluster file, or what of it cannot be written as such.
fn as_cluster_file(config: &ConfigurationFile) -> Result<String, String> {
    let text = cluster_file::write(config);
    if escaped_lines(&text) != text {
        return Err("control characters".to_owned());
    }
    let read = cluster_file::read(&text, "").map_err(|error| error.to_string())?;
    let lost = diff::between(config, &read.config);
    match lost.first() {
        None => Ok(text),
        Some(first) => Err(diff::place(first)),
    }
}
