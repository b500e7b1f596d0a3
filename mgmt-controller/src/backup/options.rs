//! The command line of the subcommand `store`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

pub(super) const FILE: &str = "file";

/// What it is called with.
pub fn command(settings: &[Arg]) -> Command {
    let file = |help: &'static str| {
        Arg::new(FILE)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let of_store = |name: &'static str, about: &'static str| Command::new(name).about(about);
    Command::new("store")
        .about("Look at what the controller remembers, verify it, back it up or restore it")
        .subcommand_required(true)
        .subcommand(
            of_store("inspect", "Show what is in the store, without secrets; also while the controller runs")
                .arg(flag("json", "Print JSON instead of text"))
                .args(settings),
        )
        .subcommand(
            of_store("backup", "Write everything that the controller remembers into one file; also while it runs")
                .arg(file("The file, with mode 0600: keep it as safe as the originals").required(true))
                .arg(flag("replace", "Replace the file if it is there"))
                .args(settings),
        )
        .subcommand(
            of_store("restore", "Put a backup in the place of what is there, which is kept under another name; no controller may run there")
                .arg(file("The backup").required(true))
                .args(settings),
        )
        .subcommand(
            of_store("verify", "Check the store, or a backup, and exit with 0 if it is sound, 1 if it is not or not there, 3 if that cannot be told; nothing is changed")
                .arg(file("A backup; without, what the controller has"))
                .args(settings),
        )
}
