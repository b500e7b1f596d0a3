//! The command line, from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

use super::setting::{Schema, Setting, Takes};

pub(super) const ASSIGNMENTS: &str = "assignments";
/// The configuration file.
pub(super) const CONFIG: &str = "config";
pub(super) const REDEFS: &str = "redefs";

impl Schema {
    pub fn program(&self) -> String {
        format!("mgmt-{}", self.daemon)
    }

    /// The command line. What it is given stands in the matches of the subcommand, or of the command itself.
    pub fn command(&self) -> Command {
        let daemon = self.daemon;
        let settings = self.arguments();
        let own = self.own_commands.iter().map(|(_, command)| command(&settings));
        let with_settings =
            |name: &'static str, about: String| Command::new(name).about(about).args(&settings);
        Command::new(self.program())
            .version(env!("CARGO_PKG_VERSION"))
            .about(format!("Drop-in replacement for the {daemon} of Zeek's Management framework"))
            .long_about(format!(
                "Drop-in replacement for the {daemon} of Zeek's Management framework.\n\n\
                 Without a subcommand, and with `run`, the {daemon} starts. Settings come from options on the command line, then \
                 `Module::name=value` arguments, then `--redefs` files, then environment variables, then the configuration file, then defaults. They may stand \
                 before a subcommand or after it."
            ))
            .args_conflicts_with_subcommands(true)
            .subcommand_precedence_over_arg(true)
            .args(&settings)
            .subcommand(with_settings(
                "run",
                format!("Start the {daemon} and stay in the foreground (the default)"),
            ))
            .subcommand(with_settings(
                "check-config",
                "Read the whole configuration, try what it names, report what is wrong, and exit with 0 or 1".to_owned(),
            ))
            .subcommand(
                with_settings(
                    "dump-config",
                    "Print each effective setting and where it came from".to_owned(),
                )
                .arg(
                    Arg::new("json")
                        .long("json")
                        .action(ArgAction::SetTrue)
                        .help("Print JSON instead of text"),
                ),
            )
            .subcommands(own)
            .subcommand(Command::new("example-config").about("Print a configuration file with every setting at its default"))
            .subcommand(
                Command::new("replay")
                    .about(format!(
                        "Run a journal of `--journal` again, and print each input and what the {daemon} decides"
                    ))
                    .arg(
                        Arg::new("file")
                            .required(true)
                            .value_parser(value_parser!(PathBuf))
                            .help("The journal"),
                    ),
            )
            .subcommand(
                Command::new("completion")
                    .about("Print a completion script for a shell")
                    .arg(
                        Arg::new("shell")
                            .required(true)
                            .value_parser(value_parser!(clap_complete::Shell))
                            .help("The shell"),
                    ),
            )
            .subcommand(
                Command::new("man")
                    .about("Print the manual page in roff, or that of a subcommand")
                    .arg(Arg::new("subcommand").num_args(0..).help("The subcommand")),
            )
    }

    /// Everything by which settings can be given.
    fn arguments(&self) -> Vec<Arg> {
        let assignments = Arg::new(ASSIGNMENTS)
            .value_name("MODULE::NAME=VALUE")
            .num_args(0..)
            .help("A Zeek setting by its own name, such as `Management::state_dir=/var/lib/zeek`");
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help(format!(
                "Read settings from a TOML file, as `example-config` shows it [default: {}, if it is there] [environment: {}]",
                self.config_file().display(),
                self.config_variable()
            ));
        let redefs = Arg::new(REDEFS)
            .long(REDEFS)
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .help("Read `redef NAME = VALUE;` statements from a Zeek script; may be repeated; `@load` is not followed");
        let gone = self.gone.iter().map(|(option, instead)| {
            let refuse = move |_: &str| Err::<String, _>(*instead);
            Arg::new(*option).long(*option).hide(true).value_parser(refuse)
        });
        let options = self.settings().filter_map(option);
        [assignments, config, redefs]
            .into_iter()
            .chain(options)
            .chain(gone)
            .collect()
    }
}

fn option(setting: &'static Setting) -> Option<Arg> {
    let takes = setting.option?;
    let mut help = without_links(setting.text);
    let also = [
        (
            "default",
            Some(setting.default).filter(|default| !default.is_empty() && takes != Takes::Nothing),
        ),
        ("Zeek", setting.zeek.first().copied()),
        ("environment", setting.variable),
    ];
    for (what, value) in also {
        help.extend(value.map(|value| format!(" [{what}: {value}]")));
    }
    let option = Arg::new(setting.key)
        .long(setting.key.replace('_', "-"))
        .help(help);
    let (name, action) = match takes {
        Takes::Nothing => return Some(option.action(ArgAction::SetTrue)),
        Takes::One(name) | Takes::Optional(name) => (name, ArgAction::Set),
        Takes::Many(name) => (name, ArgAction::Append),
    };
    let option = match takes {
        Takes::Optional(_) => option
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(""),
        _ => option,
    };
    let option = option.allow_hyphen_values(matches!(action, ArgAction::Append));
    let hint = match name {
        "DIR" => ValueHint::DirPath,
        "FILE" => ValueHint::FilePath,
        _ => ValueHint::Unknown,
    };
    Some(option.value_name(name).value_hint(hint).action(action))
}

/// A text of Markdown with the words of its links alone.
pub(super) fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](")
        && let Some((start, words)) = before.rsplit_once('[')
        && let Some((_, end)) = after.split_once(')')
    {
        plain.extend([start, words]);
        rest = end;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_link_its_words_are_left() {
        for (text, plain) in [
            ("a [b](c.md#d) e ([f](g.md))", "a b e (f)"),
            ("`[]` and [x", "`[]` and [x"),
            ("a](b)", "a](b)"),
            ("[a](b", "[a](b"),
        ] {
            assert_eq!(without_links(text), plain);
        }
    }
}
