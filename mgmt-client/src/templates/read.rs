//! The keys of a file. Each is known, or an error.

use std::{collections::BTreeMap, num::NonZeroU16};

use mgmt_api::ClusterRole;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    InstanceShape, Level, Shape, TomlFile,
    names::meant,
    problems::{At, Problems, shown},
    values::{self, Needed},
};

/// What may stand at the top of a file.
const TOP: [&str; 4] = ["defaults", "instance", "node", "template"];

/// What is said of nodes of any role.
const OF_ALL: &[&str] = &[
    "before_start",
    "env",
    "memory_max",
    "name",
    "nice",
    "options",
    "scripts",
];

/// What is said of nodes of one role besides.
const OF_ROLE: &[&str] = &["cpus"];

/// What is said of workers, or of nodes of which some may be workers.
const OF_WORKERS: &[&str] = &["cpus", "fanout_id", "interface"];

const OF_CAPTURE: &[&str] = &["workers"];

const OF_NODE: &[&str] = &["metrics_port", "port"];

const ROLES: [(&str, ClusterRole); 4] = [
    ("logger", ClusterRole::Logger),
    ("manager", ClusterRole::Manager),
    ("proxy", ClusterRole::Proxy),
    ("worker", ClusterRole::Worker),
];

const OF_DEFAULTS: &[&str] = &["logger", "manager", "proxy", "worker"];

const OF_TEMPLATE: &[&str] = &[
    "capture", "logger", "loggers", "manager", "proxies", "proxy", "worker", "workers",
];

const OF_INSTANCE: &[&str] = &["host", "port", "template"];

/// Keys that stand for options, which are not said by another name.
const STANDING_FOR: [(&str, &str); 5] = [
    ("before_start", "mgmt.before_start"),
    ("cpus", "mgmt.cpus"),
    ("fanout_id", super::fanout::OPTION),
    ("memory_max", "mgmt.memory_max"),
    ("nice", "mgmt.nice"),
];

/// A text as a file in TOML, or what is wrong with it.
pub(crate) fn read(text: &str) -> Result<TomlFile, Problems> {
    let mut reader = Reader::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = reader.line(error.span().map_or(0, |span| span.start));
        reader.problems.add(line, shown(error.message()).to_string());
    }
    let mut file = TomlFile::default();
    // What was read around a mistake may be something else than was meant.
    if errors.is_empty() {
        reader.file(table.get_ref(), &mut file);
    }
    reader.problems.or(file)
}

/// Whether a text that may also be a cluster file of zeek-client's is in TOML, by its sections. An error if it has those of both.
pub(crate) fn looks_like_toml(text: &str) -> Result<bool, String> {
    let is_toml = |header: &str| TOP.contains(&header.split('.').next().unwrap_or_default().trim());
    let headers = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let header = line.trim().strip_prefix('[')?;
        Some((number, header.trim_start_matches('[').split(']').next()?))
    });
    let (of_toml, others): (Vec<(usize, &str)>, Vec<_>) = headers.partition(|(_, header)| is_toml(header));
    match (of_toml.first(), others.first()) {
        (Some((line, header)), Some((other_line, other))) => Err(format!(
            "line {line} has a section of a TOML file, [{}], and line {other_line} one of a cluster file, [{}]: \
             put it into a file whose name ends in .toml or .ini",
            shown(header),
            shown(other)
        )),
        (first, _) => Ok(first.is_some()),
    }
}

/// A table and how its header is written.
struct Section<'a, 'i> {
    header: String,
    table: &'a DeTable<'i>,
    line: usize,
}

struct Reader {
    /// Where lines begin, in bytes.
    lines: Vec<usize>,
    problems: Problems,
}

impl Reader {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect();
        Self {
            lines,
            problems: Problems::default(),
        }
    }

    /// The line of a place, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }

    fn file(&mut self, table: &DeTable<'_>, file: &mut TomlFile) {
        for (key, value) in table {
            let header = key.get_ref();
            let line = self.line(key.span().start);
            if !TOP.contains(&&**header) {
                let meant = meant(header, TOP);
                let header = shown(header);
                let reason = format!(
                    "there is no table {header} here, only defaults, instance, node and template{meant}"
                );
                self.problems.add(line, reason);
                continue;
            }
            if &**header == "defaults" {
                if let Some(section) = self.section("defaults".to_owned(), line, value) {
                    file.defaults = self.shape(&section, &[OF_ALL, OF_WORKERS, OF_DEFAULTS]);
                }
                continue;
            }
            for section in self.sections(header, line, value) {
                self.named(header, section, file);
            }
        }
        file.instances.sort_by_key(|instance| instance.line);
    }

    /// A table with a name: an instance, a template, or a node.
    fn named(&mut self, kind: &str, (name, section): (String, Section<'_, '_>), file: &mut TomlFile) {
        match kind {
            "template" => {
                let shape = self.shape(&section, &[OF_ALL, OF_WORKERS, OF_TEMPLATE]);
                file.templates.insert(name, shape);
            }
            "node" => {
                let named = OF_ALL
                    .iter()
                    .copied()
                    .filter(|key| *key != "name")
                    .collect::<Vec<_>>();
                let level = self.level(&section, &[&named, OF_WORKERS, OF_NODE]);
                file.nodes.insert(name, level);
            }
            _ => {
                let shape = self.shape(&section, &[OF_ALL, OF_WORKERS, OF_TEMPLATE, OF_INSTANCE]);
                file.instances.push(InstanceShape {
                    name,
                    line: section.line,
                    host: self.value(&section, "host", values::text),
                    template: self.value(&section, "template", values::text),
                    shape,
                });
            }
        }
    }

    /// The tables in a table, by their names, in the order of the file.
    fn sections<'a, 'i>(
        &mut self,
        header: &str,
        line: usize,
        value: &'a Spanned<DeValue<'i>>,
    ) -> Vec<(String, Section<'a, 'i>)> {
        let Some(within) = value.get_ref().as_table() else {
            self.problems
                .add(line, format!("tables are needed here, as in [{header}.NAME]"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in within {
            let line = self.line(name.span().start);
            let name = name.get_ref().to_string();
            let section = self.section(format!("{header}.{}", shown(&name)), line, value);
            found.extend(section.map(|section| (name, section)));
        }
        found.sort_by_key(|(_, section)| section.line);
        found
    }

    fn section<'a, 'i>(
        &mut self,
        header: String,
        line: usize,
        value: &'a Spanned<DeValue<'i>>,
    ) -> Option<Section<'a, 'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.problems
                .add(line, format!("a table is needed here: [{header}]"));
        }
        table.map(|table| Section { header, table, line })
    }

    /// What runs on an instance, with these keys.
    fn shape(&mut self, section: &Section<'_, '_>, keys: &[&[&str]]) -> Shape {
        let mut shape = Shape {
            plain: self.level(section, keys),
            loggers: self
                .value(section, "loggers", values::how_many)
                .map(|at| at.value),
            proxies: self
                .value(section, "proxies", values::how_many)
                .map(|at| at.value),
            ..Shape::default()
        };
        for (word, role) in ROLES {
            let Some((key, value)) = section.table.get_key_value(word) else {
                continue;
            };
            let line = self.line(key.span().start);
            let header = format!("{}.{word}", section.header);
            // A manager with nothing to say about it.
            if let (ClusterRole::Manager, DeValue::Boolean(there)) = (role, value.get_ref())
                && section.header != "defaults"
            {
                shape.has_manager = Some(*there);
            } else if let Some(section) = self.section(header, line, value) {
                let of_role = if role == ClusterRole::Worker {
                    OF_WORKERS
                } else {
                    OF_ROLE
                };
                shape.has_manager = shape
                    .has_manager
                    .or((role == ClusterRole::Manager).then_some(true));
                let level = self.level(&section, &[OF_ALL, of_role]);
                shape.roles.insert(role, level);
            }
        }
        if let Some((key, value)) = section.table.get_key_value("capture") {
            let line = self.line(key.span().start);
            let header = format!("{}.capture", section.header);
            for (name, section) in self.sections(&header, line, value) {
                let level = self.level(&section, &[OF_ALL, OF_WORKERS, OF_CAPTURE]);
                shape.captures.push((name, level));
            }
        }
        shape
    }

    /// What is said of nodes by a table, which may have these keys.
    fn level(&mut self, section: &Section<'_, '_>, keys: &[&[&str]]) -> Level {
        self.refuse_unknown(section, keys);
        let a_port = |value: &DeValue<'_>| {
            values::number::<u16>(value, "a number from 1 to 65535").and_then(|port| {
                NonZeroU16::new(port).ok_or_else(|| "a number from 1 to 65535 is needed".to_owned())
            })
        };
        let mut level = Level {
            line: section.line,
            env: self
                .texts_of(section, "env", values::variable, |_| None)
                .into_iter()
                .map(|(name, at)| (name, at.value))
                .collect(),
            options: self.texts_of(section, "options", values::option, key_for),
            scripts: self.value(section, "scripts", values::texts).map(|at| at.value),
            interface: self.value(section, "interface", values::text),
            cpus: self.value(section, "cpus", values::cpus),
            workers: self.value(section, "workers", values::workers),
            name: self.value(section, "name", values::text),
            port: self.value(section, "port", a_port).map(|at| at.value),
            metrics_port: self.value(section, "metrics_port", a_port).map(|at| at.value),
        };
        let fanout_id = |value: &DeValue<'_>| {
            values::number::<u16>(value, "a number from 0 to 65535").map(|id| id.to_string())
        };
        let nice = |value: &DeValue<'_>| {
            const NICE: &str = "a number from -20 to 19";
            let nice = values::number::<i64>(value, NICE)?;
            let is_nice = (-20..=19).contains(&nice);
            is_nice
                .then(|| nice.to_string())
                .ok_or_else(|| format!("{NICE} is needed"))
        };
        for (key, option) in STANDING_FOR {
            let value = match key {
                "before_start" => self.value(section, key, values::text),
                "fanout_id" => self.value(section, key, fanout_id),
                "memory_max" => self.value(section, key, values::text_or_number),
                "nice" => self.value(section, key, nice),
                _ => continue,
            };
            level
                .options
                .extend(value.map(|value| (option.to_owned(), value)));
        }
        level
    }

    fn refuse_unknown(&mut self, section: &Section<'_, '_>, known: &[&[&str]]) {
        for (key, _) in section.table {
            let line = self.line(key.span().start);
            let key = key.get_ref();
            if known.iter().any(|keys| keys.contains(&&**key)) || self.problems.is_full() {
                continue;
            }
            let meant = meant(key, known.iter().flat_map(|keys| keys.iter().copied()));
            let header = &section.header;
            self.problems.add(
                line,
                format!("[{header}]: there is no key {} here{meant}", shown(key)),
            );
        }
    }

    /// The value of a key, if it is there and is one.
    fn value<T>(
        &mut self,
        section: &Section<'_, '_>,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Needed>,
    ) -> Option<At<T>> {
        let (key, value) = section.table.get_key_value(key)?;
        let line = self.line(key.span().start);
        match read(value.get_ref()) {
            Ok(value) => Some(At { value, line }),
            Err(needed) => {
                let value = values::in_words(value.get_ref());
                let header = &section.header;
                self.problems.add(
                    line,
                    format!("[{header}]: {} is {value}: {needed}", key.get_ref()),
                );
                None
            }
        }
    }

    /// A table of names and their values, some of which stand for keys.
    fn texts_of(
        &mut self,
        section: &Section<'_, '_>,
        key: &str,
        read: impl Fn(&DeValue<'_>) -> Result<String, Needed>,
        key_for: impl Fn(&str) -> Option<&'static str>,
    ) -> BTreeMap<String, At<String>> {
        let mut texts = BTreeMap::new();
        let Some((place, value)) = section.table.get_key_value(key) else {
            return texts;
        };
        let line = self.line(place.span().start);
        let header = format!("{}.{key}", section.header);
        let Some(section) = self.section(header, line, value) else {
            return texts;
        };
        for (name, _) in section.table {
            let name = name.get_ref();
            if let Some(at) = self.value(&section, name, &read) {
                if let Some(key) = key_for(name) {
                    self.problems.add(
                        at.line,
                        format!("[{}]: {name} has a key of its own: write {key}", section.header),
                    );
                }
                texts.insert(name.to_string(), at);
            }
        }
        texts
    }
}

/// The key that stands for an option.
fn key_for(option: &str) -> Option<&'static str> {
    let (key, _) = STANDING_FOR.iter().find(|(_, own)| *own == option)?;
    Some(key)
}

#[cfg(test)]
pub(super) fn all_keys() -> impl Iterator<Item = &'static str> {
    let lists = [OF_ALL, OF_WORKERS, OF_CAPTURE, OF_NODE, OF_TEMPLATE, OF_INSTANCE];
    lists.into_iter().flatten().copied()
}
