//! Who gets what root makes in a daemon's directories.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
};

use rustix::process::geteuid;

use crate::files;

/// The owner of the directory that was there before, where root makes something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner(Option<(u32, u32)>);

impl Owner {
    /// Makes a directory and those above it that are missing.
    ///
    /// # Errors
    ///
    /// If one cannot be made or given away.
    pub fn make_directory(directory: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = directory
            .ancestors()
            .take_while(|above| !above.exists())
            .collect();
        let above = missing.last().and_then(|last| last.parent()).unwrap_or(directory);
        let found = fs::metadata(above)?;
        let owner = Self(Some((found.uid(), found.gid())).filter(|_| geteuid().is_root()));
        files::create_dir_all(directory)?;
        missing.into_iter().try_for_each(|made| owner.give(made))?;
        Ok(owner)
    }

    /// Gives away what was made.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        match self.0 {
            // A link that its owner has put there meanwhile is not followed.
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}
