//! Where people look for the logs that are being written: `current` beside the archive, as with zeekctl. It is a link to the directory of
//! the node that writes logs, or a directory of such links, by the nodes' names, where there are several.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use broker_codec::data::ZeekString;
use mgmt_daemon::files;

use super::{disk::Job, preflight::path};
use crate::{
    core::writes_logs,
    supervisors::own::{Launch, News, Order},
};

/// The nodes of this host that write logs, by name, with their directories.
pub(super) type Loggers = BTreeMap<ZeekString, PathBuf>;

#[derive(Debug)]
pub(super) struct LiveLogs {
    /// The path of the link.
    at: PathBuf,
    agent: ZeekString,
    loggers: Loggers,
}

impl LiveLogs {
    /// Of this agent's nodes.
    pub(super) const fn new(at: PathBuf, agent: ZeekString) -> Self {
        Self {
            at,
            agent,
            loggers: Loggers::new(),
        }
    }

    /// What there is to do as a node is started or forgotten.
    pub(super) fn ordered(&mut self, order: &Order) -> Option<Job> {
        match order {
            Order::Start { launch } => self.starts(launch),
            Order::Forget { node } => self.loggers.remove(node).map(|_| self.job()),
            _ => None,
        }
    }

    /// What there is to do as a node is found that runs.
    pub(super) fn told(&mut self, news: &News) -> Option<Job> {
        match news {
            News::Found { launch, .. } if launch.agent == self.agent => self.starts(launch),
            _ => None,
        }
    }

    fn starts(&mut self, launch: &Launch) -> Option<Job> {
        let Launch { spec, .. } = launch;
        let own = spec.cluster.get(&spec.name)?;
        let directory = path(&spec.directory).to_owned();
        let before = if writes_logs(&spec.cluster, own) {
            self.loggers.insert(spec.name.clone(), directory.clone())
        } else {
            let stopped = self.loggers.remove(&spec.name);
            return stopped.map(|_| self.job());
        };
        (before != Some(directory)).then(|| self.job())
    }

    fn job(&self) -> Job {
        Job::ShowLogs {
            at: self.at.clone(),
            loggers: self.loggers.clone(),
        }
    }
}

/// Has the link, or the directory of links, show these. Fails, and changes nothing, if something else is there.
pub(super) fn show(at: &Path, loggers: &Loggers) -> io::Result<()> {
    let shown: Vec<(&Path, &Path)> = match loggers.first_key_value() {
        None => Vec::new(),
        Some((_, directory)) if loggers.len() == 1 => vec![(Path::new(""), directory)],
        Some(_) => loggers
            .iter()
            .map(|(name, directory)| (path(name), &**directory))
            .collect(),
    };
    clear(at)?;
    if let Some(parent) = at.parent().filter(|_| !shown.is_empty()) {
        files::create_dir_all(parent)?;
    }
    if shown.len() > 1 {
        files::create_dir_all(at)?;
    }
    shown.iter().try_for_each(|(name, directory)| {
        let link = if name.as_os_str().is_empty() {
            at.to_owned()
        } else {
            at.join(name)
        };
        symlink(directory, link)
    })
}

/// Removes a link, or a directory that holds links only.
fn clear(at: &Path) -> io::Result<()> {
    let known = match fs::symlink_metadata(at) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if known.is_symlink() {
        return fs::remove_file(at);
    }
    let entries = fs::read_dir(at)?.collect::<io::Result<Vec<_>>>()?;
    for entry in &entries {
        if !entry.file_type()?.is_symlink() {
            let what = format!("{} is there, which is no link", entry.path().display());
            return Err(io::Error::other(what));
        }
    }
    entries
        .iter()
        .try_for_each(|entry| fs::remove_file(entry.path()))?;
    fs::remove_dir(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_logger_is_shown_by_a_link_and_several_by_links_of_their_names() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join("logs/current");
        let loggers = |names: &[&str]| {
            let all = names
                .iter()
                .map(|name| ((*name).into(), Path::new("/nodes").join(name)));
            all.collect::<Loggers>()
        };
        let target = |link: &Path| fs::read_link(link).unwrap();
        show(&at, &loggers(&[])).unwrap();
        assert!(!at.exists());
        for _ in 0..2 {
            show(&at, &loggers(&["a"])).unwrap();
            assert_eq!(target(&at), Path::new("/nodes/a"));
            show(&at, &loggers(&["a", "b"])).unwrap();
            assert_eq!(target(&at.join("a")), Path::new("/nodes/a"));
            assert_eq!(target(&at.join("b")), Path::new("/nodes/b"));
        }
        show(&at, &loggers(&["b"])).unwrap();
        assert_eq!(target(&at), Path::new("/nodes/b"));
        show(&at, &loggers(&[])).unwrap();
        assert!(fs::symlink_metadata(&at).is_err());
    }

    #[test]
    fn what_others_have_put_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join("current");
        fs::create_dir(&at).unwrap();
        fs::write(at.join("conn.log"), "a").unwrap();
        let loggers = Loggers::from([("a".into(), "/nodes/a".into())]);
        let error = show(&at, &loggers).unwrap_err();
        assert!(
            error.to_string().ends_with("conn.log is there, which is no link"),
            "{error}"
        );
        assert_eq!(fs::read(at.join("conn.log")).unwrap(), b"a");
    }
}
