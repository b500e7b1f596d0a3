//! The configuration file: TOML, whose keys are those of the table of settings.

use std::{fmt::Write, path::Path};

use broker_endpoint::read_file;
use toml::de::{DeTable, DeValue};

use super::{
    effective::Origin,
    error::ConfigError,
    options::without_links,
    resolver::Resolver,
    setting::{Schema, Setting, Takes},
    value::{Notation, Value},
};
use crate::files;

/// How wide comments of the example are, in characters.
const EXAMPLE_WIDTH: usize = 100;

/// What a value of the file gives a setting.
enum Entry {
    /// What an option or a variable would say.
    Texts(Vec<String>),
    /// A record, in Zeek's notation.
    Record(String),
    /// As if the key were not there.
    Nothing,
}

impl Resolver<'_> {
    /// Gathers what a configuration file sets. As with environment variables, an empty text is nothing given, and what stands later in the table
    /// of settings wins.
    pub(super) fn gather_config(&mut self, path: &Path) {
        let text = read_file(&self.absolute(path))
            .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
        let text = match text {
            Ok(text) => text,
            Err(source) => {
                let path = path.to_owned();
                return self.problems.push(ConfigError::File { path, source });
            }
        };
        let at = |start: usize| Origin::File {
            path: path.to_owned(),
            line: 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count(),
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let origin = at(error.span().map_or(0, |span| span.start));
            let reason = error.message().to_owned();
            self.problems.push(ConfigError::Toml { origin, reason });
        }
        // What was read around a mistake may be something else than was meant.
        if !errors.is_empty() {
            return;
        }
        let table = table.into_inner();
        for (key, _) in &table {
            if !self
                .schema
                .settings()
                .any(|setting| setting.key == &**key.get_ref())
            {
                let origin = at(key.span().start);
                let key = key.get_ref().to_string();
                let daemon = self.schema.daemon;
                self.problems
                    .push(ConfigError::UnknownKey { origin, daemon, key });
            }
        }
        let mut has_secret = false;
        for setting in self.schema.settings() {
            let Some((key, value)) = table.get_key_value(setting.key) else {
                continue;
            };
            let origin = at(key.span().start);
            match entry(setting, value.get_ref()) {
                Ok(Entry::Nothing) => continue,
                Ok(Entry::Texts(texts)) => self.give(setting, texts, origin),
                Ok(Entry::Record(text)) => self.set(setting, vec![text], Notation::Script, origin),
                Err(reason) => self.refuse_from(origin, setting, reason),
            }
            has_secret |= setting.secret;
        }
        if has_secret && let Some(problem) = files::too_open(path) {
            self.warn(problem);
        }
    }
}

/// What a value gives a setting, or why it cannot.
fn entry(setting: &Setting, value: &DeValue<'_>) -> Result<Entry, String> {
    Ok(match value {
        DeValue::Table(fields) => {
            let record = setting.default.strip_suffix("()");
            let record = record.ok_or("a table is not taken here")?;
            Entry::Record(format!("{record}({})", fields_of(fields)?))
        }
        DeValue::Array(values) if matches!(setting.option, Some(Takes::Many(_))) => {
            let texts: Option<Vec<String>> = values.iter().map(|value| text(value.get_ref())).collect();
            match texts.ok_or("only texts and numbers are taken in a list")? {
                texts if texts.is_empty() => Entry::Nothing,
                texts => Entry::Texts(texts),
            }
        }
        DeValue::Array(_) => return Err("a list is not taken here".to_owned()),
        // Given without a value, or not at all.
        DeValue::Boolean(given) if matches!(setting.option, Some(Takes::Optional(_))) => {
            if *given {
                Entry::Texts(vec![String::new()])
            } else {
                Entry::Nothing
            }
        }
        _ => match text(value).ok_or("a number with a fraction or a date is not taken here")? {
            text if text.is_empty() => Entry::Nothing,
            text => Entry::Texts(vec![text]),
        },
    })
}

/// A value as it would stand on the command line.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.show()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// The fields of a record, in Zeek's notation.
fn fields_of(fields: &DeTable<'_>) -> Result<String, String> {
    let shown = fields.iter().map(|(name, value)| {
        let name = name.get_ref();
        let value = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string().show()),
            other => text(other),
        };
        let value = value.ok_or_else(|| format!("its {name} can be a text, a number, true or false"))?;
        Ok(format!("${name}={value}"))
    });
    Ok(shown.collect::<Result<Vec<_>, String>>()?.join(", "))
}

impl Schema {
    /// A configuration file with every setting, commented out, at its default.
    pub fn example(&self) -> String {
        let mut text = format!(
            "# Configuration of {}, read from {} or where --config or {} says.\n\
             # Environment variables, --redefs files and the command line are stronger. A line below that is commented out is a default;\n\
             # an empty text stands for one that depends on the host or on other settings.\n",
            self.program(),
            self.config_file().display(),
            self.config_variable(),
        );
        for setting in self.settings() {
            let is_fixed = !setting.default.contains(['`', ' ']);
            let mut comment = without_links(setting.text);
            if !is_fixed {
                comment.extend(["; by default ", setting.default]);
            }
            text.push('\n');
            comment_out(&mut text, &comment);
            let value = match (setting.option, setting.default) {
                _ if !is_fixed => "\"\"".to_owned(),
                (Some(Takes::Optional(_)), _) | (_, "F") => "false".to_owned(),
                (Some(Takes::Many(_)), "") => "[]".to_owned(),
                (_, "T") => "true".to_owned(),
                (_, record) if record.ends_with("()") => "{}".to_owned(),
                (_, number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    number.to_owned()
                }
                (_, text) => text.to_owned().show(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "#{} = {value}", setting.key);
        }
        text
    }
}

/// Writes a comment, in lines.
fn comment_out(text: &mut String, comment: &str) {
    let mut line = String::from("#");
    for word in comment.split_whitespace() {
        if line.len() + word.len() >= EXAMPLE_WIDTH {
            text.extend([&line, "\n"]);
            line = String::from("#");
        }
        line.extend([" ", word]);
    }
    text.extend([&line, "\n"]);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::environment::Environment, *};

    static OWN: [Setting; 6] = [
        Setting::new("name", "`of the host`", "The name").zeek(&["Management::Agent::name"]),
        Setting::new("count", "5", "A count"),
        Setting::new("flag", "F", "A flag").option(Takes::Nothing),
        Setting::new("word", "", "Words").option(Takes::Many("WORD")),
        Setting::new("with", "", "With a file").option(Takes::Optional("FILE")),
        Setting::new("tls", "Cluster::Options()", "A record"),
    ];
    static SCHEMA: Schema = Schema {
        daemon: "agent",
        module: "Management::Agent::",
        tables: [&OWN, &[]],
        gone: &[],
        own_commands: &[],
    };

    /// What a file gives settings, and what is wrong with it, where `FILE` stands for its path.
    fn read(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let environment = Environment::new([], "/");
        let mut resolver = Resolver::new(&SCHEMA, &environment);
        resolver.gather_config(file.path());
        let given = resolver.given.iter().map(|(key, given)| {
            let texts = format!("{} # {}", given.texts.join("|"), given.origin);
            ((*key).to_owned(), texts)
        });
        let path = file.path().display().to_string();
        let plain = |text: String| text.replace(&path, "FILE");
        let given = given.map(|(key, texts)| (key, plain(texts))).collect();
        let problems = resolver.problems.iter().map(|problem| plain(problem.to_string()));
        (given, problems.collect())
    }

    #[test]
    fn each_type_is_taken_as_it_stands_in_toml() {
        let text = "# comment\nname = \"a b\"\ncount = 7\nflag = true\nword = [\"--x\", \"y\"]\nwith = true\n\
                    tls = { cert_file = 'a\"b', verify = true }\n";
        let (given, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        let expected = [
            ("count", "7 # FILE:3"),
            ("flag", "T # FILE:4"),
            ("name", "a b # FILE:2"),
            (
                "tls",
                r#"Cluster::Options($cert_file="a\"b", $verify=T) # FILE:7"#,
            ),
            ("with", " # FILE:6"),
            ("word", "--x|y # FILE:5"),
        ];
        let expected = expected.map(|(key, texts)| (key.to_owned(), texts.to_owned()));
        assert_eq!(given, expected);
    }

    #[test]
    fn what_is_empty_is_not_given() {
        let text = "name = \"\"\nword = []\nwith = false\n";
        assert_eq!(read(text), (Vec::new(), Vec::new()));
        assert_eq!(read(""), (Vec::new(), Vec::new()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            (
                "name = \"x\"\nnmae = 1\n",
                "FILE:2: the agent has no setting nmae; example-config shows them all",
            ),
            ("name = [\"x\"]", "FILE:1: name: a list is not taken here"),
            ("\nname = {x = 1}", "FILE:2: name: a table is not taken here"),
            ("[name]\nx = 1", "FILE:1: name: a table is not taken here"),
            (
                "count = 1.5",
                "FILE:1: count: a number with a fraction or a date is not taken here",
            ),
            (
                "word = [1.5]",
                "FILE:1: word: only texts and numbers are taken in a list",
            ),
            (
                "tls = {x = []}",
                "FILE:1: tls: its x can be a text, a number, true or false",
            ),
        ] {
            assert_eq!(read(text).1, [expected], "{text}");
        }
        for (text, line) in [("name = 1\nname = 2\n", "FILE:2: "), ("\n\nname x", "FILE:3: ")] {
            let (given, problems) = read(text);
            assert!(given.is_empty(), "{given:?}");
            assert!(problems[0].starts_with(line), "{problems:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("word = {}", "[".repeat(100_000));
        assert!(!read(&text).1.is_empty());
    }

    #[test]
    fn the_example_is_a_file_of_defaults() {
        let example = SCHEMA.example();
        assert_eq!(read(&example), (Vec::new(), Vec::new()));
        let uncommented = |line: &str| {
            let setting = line
                .strip_prefix('#')
                .filter(|rest| !rest.starts_with([' ', '\n']));
            setting.unwrap_or(line).to_owned()
        };
        let lines: Vec<String> = example.lines().map(uncommented).collect();
        let (given, problems) = read(&lines.join("\n"));
        assert_eq!(problems, [""; 0], "{example}");
        let keys: Vec<&str> = given.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["count", "flag", "tls"]);
    }
}
