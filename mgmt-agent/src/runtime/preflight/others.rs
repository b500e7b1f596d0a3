//! Other keepers of Zeek on this host, which would start nodes of their own beside ours: zeekctl by its cron job, and systemd by the units that
//! `zeek-systemd-generator` makes from zeek.conf.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::obstacles::systemctl;

/// Where cron finds its tables: single ones, and folders of them.
const TABLES: [&str; 4] = [
    "etc/crontab",
    "etc/cron.d",
    "var/spool/cron/crontabs",
    "var/spool/cron",
];

/// How much of a table is read, in bytes.
const TABLE_BYTES_MAX: u64 = 64 << 10;

/// What systemd starts and stops all nodes of zeek.conf by.
const TARGET: &str = "zeek.target";

/// Why none of our nodes should be started, if zeekctl's would be.
pub(super) fn zeekctl() -> Option<String> {
    let table = zeekctl_cron(Path::new("/"))?;
    Some(format!(
        "{} has `zeekctl cron`, which starts the nodes of zeekctl's: run `zeekctl stop`, and take that line out",
        table.display()
    ))
}

/// Likewise, if those of zeek.conf run.
pub(super) async fn target() -> Option<String> {
    is_active(TARGET).await.then(|| {
        format!(
            "{TARGET} is active, by which systemd keeps the nodes of zeek.conf: run `systemctl stop {TARGET}`, and move zeek.conf away"
        )
    })
}

/// The table of cron's that has it, of a host with this root directory. Tables that may not be read are left out.
fn zeekctl_cron(root: &Path) -> Option<PathBuf> {
    let places = TABLES.iter().map(|table| root.join(table));
    let tables = places.flat_map(|place| match fs::read_dir(&place) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![place],
    });
    let mut files = tables.filter(|table| table.is_file());
    files.find(|table| {
        let mut text = Vec::new();
        let read = fs::File::open(table).and_then(|file| file.take(TABLE_BYTES_MAX).read_to_end(&mut text));
        read.is_ok() && String::from_utf8_lossy(&text).lines().any(runs_zeekctl)
    })
}

fn runs_zeekctl(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_comment = line.trim_start().starts_with('#');
    let is_zeekctl = |word: &str| word == "zeekctl" || word.ends_with("/zeekctl");
    !is_comment && words.any(is_zeekctl) && words.any(|word| word == "cron")
}

/// Whether systemd has this unit running; not so where there is no systemd.
async fn is_active(unit: &str) -> bool {
    let answer = systemctl(&["is-active", "--quiet", unit]).await;
    answer.is_some_and(|answer| answer.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cron_that_runs_zeekctl_is_found_in_each_table_unless_it_is_a_comment() {
        let line = "*/5 * * * * root /opt/zeek/bin/zeekctl cron\n";
        for table in [
            "etc/crontab",
            "etc/cron.d/zeek",
            "var/spool/cron/crontabs/zeek",
            "var/spool/cron/zeek",
        ] {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(zeekctl_cron(root.path()), None, "{table}");
            let table = root.path().join(table);
            fs::create_dir_all(table.parent().unwrap()).unwrap();
            for harmless in [
                "",
                "# 5 * * * * zeekctl cron\n",
                "5 * * * * root zeekctl status\n",
                "5 0 * * * root cron-zeekctl\n",
            ] {
                fs::write(&table, harmless).unwrap();
                assert_eq!(zeekctl_cron(root.path()), None, "{harmless}");
            }
            fs::write(&table, format!("SHELL=/bin/sh\n{line}")).unwrap();
            assert_eq!(zeekctl_cron(root.path()), Some(table));
        }
    }
}
