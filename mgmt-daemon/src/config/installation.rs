//! The Zeek installation beside us, for the default directories.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use broker_endpoint::read_file;

use super::{
    environment::Environment,
    value::{Notation, Value},
};

/// The prefix of Zeek's own default installation, for machines without Zeek.
const DEFAULT_PREFIX: &str = "/usr/local/zeek";

/// A Zeek installation, and where it keeps state, spool and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    pub prefix: PathBuf,
    pub state_dir: PathBuf,
    pub spool_dir: PathBuf,
    pub log_dir: PathBuf,
}

impl Installation {
    /// The installation at the given prefix, else at what `zeek-config --prefix` says, else around the `zeek` on PATH,
    /// else at Zeek's default prefix.
    pub fn find(prefix: Option<&Path>, environment: &Environment) -> Self {
        let prefix = prefix
            .map(Path::to_path_buf)
            .or_else(|| prefix_from_zeek_config(environment))
            .or_else(|| prefix_of_zeek(environment))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_PREFIX));
        Self::at(prefix)
    }

    /// Whether there is a Zeek at all.
    pub fn is_there(&self) -> bool {
        self.prefix.join("bin/zeek").is_file() || self.prefix.join("share/zeek").is_dir()
    }

    /// The directories are compiled into Zeek's scripts (`base/misc/installation.zeek`, since 7.0), because packagers
    /// move them; without that script they are where an unchanged build has them.
    fn at(prefix: PathBuf) -> Self {
        let script = read_file(&prefix.join("share/zeek/base/misc/installation.zeek")).unwrap_or_default();
        let script = String::from_utf8_lossy(&script);
        let directory = |name: &str, default: &str| {
            constant(&script, name).map_or_else(|| prefix.join(default), PathBuf::from)
        };
        Self {
            state_dir: directory("state_dir", "var/lib"),
            spool_dir: directory("spool_dir", "spool"),
            log_dir: directory("log_dir", "logs"),
            prefix,
        }
    }
}

/// The value of `const NAME = "VALUE";`.
fn constant(script: &str, name: &str) -> Option<String> {
    script.lines().find_map(|line| {
        let rest = line
            .trim()
            .strip_prefix("const")?
            .trim_start()
            .strip_prefix(name)?;
        let value = rest.trim_start().strip_prefix('=')?.trim().strip_suffix(';')?;
        String::parse(value, Notation::Script)
            .ok()
            .filter(|path| Path::new(path).is_absolute())
    })
}

fn prefix_from_zeek_config(environment: &Environment) -> Option<PathBuf> {
    let output = Command::new(environment.program("zeek-config")?)
        .arg("--prefix")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let prefix = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && prefix.is_absolute()).then_some(prefix)
}

fn prefix_of_zeek(environment: &Environment) -> Option<PathBuf> {
    let zeek = environment.program("zeek")?.canonicalize().ok()?;
    let bin = zeek
        .parent()
        .filter(|bin| bin.file_name() == Some(OsStr::new("bin")))?;
    bin.parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use testkit::write_executable;

    use super::*;

    fn path_of(directory: &Path) -> Environment {
        Environment::new([("PATH", directory.to_str().unwrap())], "/")
    }

    #[test]
    fn the_given_prefix_comes_first() {
        let found = Installation::find(Some(Path::new("/opt/zeek")), &Environment::default());
        assert_eq!(found.state_dir, Path::new("/opt/zeek/var/lib"));
        assert_eq!(found.spool_dir, Path::new("/opt/zeek/spool"));
    }

    #[test]
    fn zeek_config_is_asked_before_zeek_is_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("zeek/bin");
        write_executable(&bin.join("zeek"), "");
        let found = Installation::find(None, &path_of(&bin));
        assert_eq!(found.prefix, root.path().canonicalize().unwrap().join("zeek"));

        write_executable(
            &bin.join("zeek-config"),
            "#!/bin/sh\n[ \"$1\" = --prefix ] && echo /opt/elsewhere\n",
        );
        let found = Installation::find(None, &path_of(&bin));
        assert_eq!(found.prefix, Path::new("/opt/elsewhere"));
    }

    #[test]
    fn a_link_to_zeek_is_followed() {
        let root = tempfile::tempdir().unwrap();
        write_executable(&root.path().join("opt/zeek/bin/zeek"), "");
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink("../opt/zeek/bin/zeek", bin.join("zeek")).unwrap();
        let found = Installation::find(None, &path_of(&bin));
        assert_eq!(found.prefix, root.path().canonicalize().unwrap().join("opt/zeek"));
    }

    #[test]
    fn without_zeek_its_default_prefix_is_assumed() {
        let empty = tempfile::tempdir().unwrap();
        let found = Installation::find(None, &path_of(empty.path()));
        assert_eq!(found.prefix, Path::new("/usr/local/zeek"));
    }

    #[test]
    fn the_directories_that_a_packager_chose_are_found() {
        let root = tempfile::tempdir().unwrap();
        let script = root.path().join("share/zeek/base/misc/installation.zeek");
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(
            &script,
            "module Installation;\nexport {\n\t## Spool.\n\tconst spool_dir = \"/var/spool/zeek\";\n\n\tconst state_dir = \
             \"/var/lib/zeek\";\n}\n",
        )
        .unwrap();
        let found = Installation::find(Some(root.path()), &Environment::default());
        assert_eq!(found.state_dir, Path::new("/var/lib/zeek"));
        assert_eq!(found.spool_dir, Path::new("/var/spool/zeek"));
        assert_eq!(found.log_dir, root.path().join("logs"));
    }
}
