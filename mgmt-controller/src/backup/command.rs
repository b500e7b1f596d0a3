//! The subcommand `store`. It ends with 0 if it is done and all is sound, with 1 if not or if there is no such file, with 3 if it is there and cannot be
//! read, and with 64 for a wrong command line.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use broker_codec::data::escaped_lines;
use broker_endpoint::with_causes;
use clap::ArgMatches;
use mgmt_daemon::program::complain;

use super::{BackupError, Places, make, options::FILE, restore::restore, verify, verify_backup};
use crate::{
    authority,
    config::{Config, SCHEMA},
    store::{ClusterReport, FILE_NAME, Inspection, SlotReport, Store, StoreError},
};

const CANNOT_TELL: u8 = 3;

/// Carries it out.
pub fn run(config: &Config, given: &ArgMatches) -> ExitCode {
    let places = Places {
        name: config.daemon.name.clone(),
        directory: config.daemon.working_dir.clone(),
        store: config.store_dir.join(FILE_NAME),
        tokens: config.daemon.http.tokens.clone(),
        ca: authority::directory(&config.daemon.working_dir),
    };
    let outcome = match given.subcommand() {
        Some(("inspect", given)) => Ok(inspect(&places, given.get_flag("json"))),
        Some(("backup", given)) => back_up(&places, file_of(given), given.get_flag("replace")),
        Some(("restore", given)) => restore_backup(&places, file_of(given)),
        Some((_, given)) => Ok(match given.get_one::<PathBuf>(FILE) {
            Some(file) => verified(&file.display().to_string(), verify_backup(file)),
            None => verified(&places.store.display().to_string(), verify(&places)),
        }),
        None => Ok(64),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        say(&format!("error: {}", with_causes(&error)));
        1
    }))
}

fn file_of(given: &ArgMatches) -> &Path {
    given
        .get_one::<PathBuf>(FILE)
        .map_or(Path::new(""), PathBuf::as_path)
}

fn inspect(places: &Places, json: bool) -> u8 {
    let found = match Store::look_at(&places.store).and_then(|store| store.inspect()) {
        Ok(found) => found,
        Err(error) => return cannot_tell(&error.into()),
    };
    if json {
        print(&(serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"));
    } else {
        print(&in_words(&found));
    }
    u8::from(!found.faults.is_empty())
}

fn back_up(places: &Places, file: &Path, replaces: bool) -> Result<u8, BackupError> {
    let unreadable = make(places, file, replaces)?;
    warn(&unreadable);
    print(&format!(
        "backed up {} in {}\n",
        places.store.display(),
        file.display()
    ));
    Ok(0)
}

fn restore_backup(places: &Places, file: &Path) -> Result<u8, BackupError> {
    let done = restore(places, file)?;
    warn(&done.unreadable);
    let mut text = format!("restored {}\nit is {} from now on\n", done.backup, done.identity);
    if done.keeps_ca {
        let ca = places.ca.display();
        let _ = writeln!(
            text,
            "the backup has no CA: the one in {ca} stays, without pending enrolments"
        );
    }
    for kept in &done.kept {
        let _ = writeln!(text, "what was there is kept as {}", kept.display());
    }
    print(&text);
    Ok(0)
}

fn verified(what: &str, outcome: Result<Vec<String>, BackupError>) -> u8 {
    match outcome {
        Ok(faults) if faults.is_empty() => {
            print(&format!("{what} is sound\n"));
            0
        }
        Ok(faults) => {
            for fault in faults {
                say(&format!("error: {fault}"));
            }
            1
        }
        Err(error) => cannot_tell(&error),
    }
}

/// Something that is not there is not sound; whatever else stands in the way, it may be.
fn cannot_tell(error: &BackupError) -> u8 {
    say(&format!("error: {}", with_causes(error)));
    let missing = match error {
        BackupError::Read { source, .. } | BackupError::Store(StoreError::Read { source, .. }) => {
            source.kind() == io::ErrorKind::NotFound
        }
        _ => false,
    };
    if missing { 1 } else { CANNOT_TELL }
}

fn in_words(found: &Inspection) -> String {
    let mut text = format!("{}: {} bytes", found.path, found.bytes);
    if let Some(version) = &found.broker_version {
        let _ = write!(text, ", format of Broker {version}");
    }
    text.push('\n');
    if let Some(controller) = &found.controller {
        let _ = writeln!(text, "{controller}");
    }
    for ClusterReport {
        cluster,
        staged,
        ready,
        deployed,
        dropped,
        revisions,
    } in &found.clusters
    {
        for (slot, report) in [("staged", staged), ("ready", ready), ("deployed", deployed)] {
            let _ = match report {
                Some(SlotReport { id, instances, nodes }) => {
                    writeln!(
                        text,
                        "cluster {cluster}, {slot}: {id}, instances: {instances}, nodes: {nodes}"
                    )
                }
                None => writeln!(text, "cluster {cluster}, {slot}: nothing"),
            };
        }
        if *revisions > 0 {
            let _ = writeln!(text, "cluster {cluster}, revisions: {revisions}");
        }
        if *dropped > 0 {
            let _ = writeln!(
                text,
                "cluster {cluster}, dropped instances that may not know: {dropped}"
            );
        }
    }
    if found.set_aside > 0 {
        let _ = writeln!(
            text,
            "values that could not be read and were replaced: {}",
            found.set_aside
        );
    }
    for fault in found.faults.iter().chain(&found.unreadable) {
        let _ = writeln!(text, "WRONG: {fault}");
    }
    let is_sound = found.faults.is_empty() && found.unreadable.is_empty();
    text + if is_sound {
        "it is sound\n"
    } else {
        "it is NOT sound\n"
    }
}

fn warn(unreadable: &[String]) {
    for fault in unreadable {
        say(&format!("warning: {fault}"));
    }
}

fn say(text: &str) {
    complain(&SCHEMA.program(), text);
}

/// Names that others chose do not drive the terminal.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(escaped_lines(text).as_bytes());
}
