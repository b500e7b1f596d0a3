//! What commands about configurations ask for, and say.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
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
    commands::{Daemon, note, print, show_json},
    facts,
    options::{ConfigCommand, Expand, Options, Written, is_standard_input},
    templates::{self, Cpus, Facts, TomlFile},
};

impl Daemon<'_> {
    pub(crate) async fn config(&self, command: &ConfigCommand) -> Result<Exit, ClientError> {
        match command {
            ConfigCommand::Show { station } => self.show_configuration(*station).await,
            ConfigCommand::Stage { file } => {
                let staged = self.stage(&self.read(file).await?).await?;
                self.show(&staged, &format!("configuration {} is staged\n", staged.id));
                Ok(Exit::Done)
            }
            ConfigCommand::Expand(what) => expand(self.options, what).await,
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
            Some(file) => self.read(file).await?,
            None => self.staged().await?,
        };
        let deployed = self.deployed().await?.unwrap_or_default();
        let differences = diff::between(&deployed, &new);
        self.show(&differences, &diff::in_words(&differences, &new));
        Ok(Exit::Done)
    }

    /// Reads a configuration from a file. What one in TOML leaves open is asked for, and what names of hosts stand for is compared with what is deployed.
    pub(crate) async fn read(&self, file: &Path) -> Result<ConfigurationFile, ClientError> {
        let toml = match read(file)? {
            Content::Configuration(config) => return Ok(config),
            Content::Toml(toml) => toml,
        };
        let path = self.path_of_cluster("status")?;
        let facts = Facts {
            addresses: facts::addresses(&toml).await,
            cpus: facts::cpus(&self.client, &path, toml.that_use_cpus()).await?,
        };
        let config = expanded(&toml, &facts, file)?;
        if toml.host_names().next().is_some()
            && let Some(deployed) = self.deployed().await?
        {
            for line in facts::changed_addresses(&toml, &config, &deployed) {
                note(&line);
            }
        }
        Ok(config)
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

/// What a file has.
enum Content {
    Configuration(ConfigurationFile),
    /// What a configuration is made of.
    Toml(Box<TomlFile>),
}

/// Prints the configuration that a file stands for.
pub(crate) async fn expand(options: &Options, what: &Expand) -> Result<Exit, ClientError> {
    let config = match read(&what.file)? {
        Content::Configuration(config) => config,
        Content::Toml(toml) => {
            if let Some((name, _)) = what.cpus.iter().find(|(name, _)| !toml.has_instance(name)) {
                let file = what.file.display();
                return Err(ClientError::Options(format!(
                    "--cpus {name}: there is no such instance in {file}"
                )));
            }
            let mut facts = Facts {
                addresses: facts::addresses(&toml).await,
                cpus: what
                    .cpus
                    .iter()
                    .map(|(name, cpus)| (name.clone(), Ok(cpus.clone())))
                    .collect(),
            };
            let mut wanted = toml.that_count_cpus();
            wanted.retain(|name| !facts.cpus.contains_key(*name));
            if !wanted.is_empty() {
                facts.cpus.extend(asked_for(options, wanted).await);
            }
            expanded(&toml, &facts, &what.file)?
        }
    };
    if what.output == Written::Json {
        show_json(&config);
        return Ok(Exit::Done);
    }
    let text = as_cluster_file(&config).and_then(|text| {
        let by_address = config
            .instances
            .iter()
            .find(|entry| entry.host.is_some() && entry.port.is_none());
        by_address.map_or(Ok(text), |entry| {
            Err(format!("instance {}: an address without a port", entry.name))
        })
    });
    let text = text.map_err(|reason| ClientError::File {
        path: what.file.clone(),
        reason: format!("a cluster file has no place for this: {reason}; -o json has one"),
    })?;
    print(&text);
    Ok(Exit::Done)
}

/// The CPUs of these instances, or why they are not known.
async fn asked_for(options: &Options, instances: BTreeSet<&str>) -> BTreeMap<String, Result<Cpus, String>> {
    let told = match Daemon::of(options).await {
        Ok(daemon) => match daemon.path_of_cluster("status") {
            Ok(path) => facts::cpus(&daemon.client, &path, instances.clone()).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    told.unwrap_or_else(|error| {
        let reason = format!("its controller does not tell: {error}");
        instances
            .into_iter()
            .map(|name| (name.to_owned(), Err(reason.clone())))
            .collect()
    })
}

fn expanded(toml: &TomlFile, facts: &Facts, file: &Path) -> Result<ConfigurationFile, ClientError> {
    toml.expand(facts)
        .map_err(|problems| ClientError::Problems(problems.in_words(file)))
}

/// Reads a configuration: TOML if its name ends so; a cluster file of zeek-client's likewise (`ini`); else by what is in it: JSON if it begins with a brace,
/// TOML if it has its sections, and a cluster file if not.
fn read(file: &Path) -> Result<Content, ClientError> {
    let text = text_of(file)?;
    let wrong = |reason: String| ClientError::File {
        path: file.to_owned(),
        reason,
    };
    let is_toml = match file.extension().and_then(OsStr::to_str) {
        Some("toml") => true,
        Some("ini") => false,
        _ if text.trim_start().starts_with('{') => false,
        _ => templates::looks_like_toml(&text).map_err(wrong)?,
    };
    if is_toml {
        let toml =
            templates::read(&text).map_err(|problems| ClientError::Problems(problems.in_words(file)))?;
        return Ok(Content::Toml(Box::new(toml)));
    }
    if text.trim_start().starts_with('{') {
        let config = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        return Ok(Content::Configuration(config));
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty());
    let read = cluster_file::read(&text, host.unwrap_or("localhost"));
    let read = read.map_err(|error| wrong(error.to_string()))?;
    for warning in read.warnings {
        note(&warning);
    }
    Ok(Content::Configuration(read.config))
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
