//! The directory of an export: locked, so that two exports do not continue the same chain, and
//! stored after each file.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::draft::is_draft;
use crate::{failure::Failure, terminal::remark};

/// A directory, which no other export writes into.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Absent where a directory cannot be opened for reading, or not be locked.
    locked: Option<File>,
}

impl Directory {
    /// Locks the directory of a file until the value is dropped, or the process ends.
    ///
    /// # Errors
    /// When there is no such directory, or another export has locked it.
    pub fn of(file: &Path) -> Result<Self, Failure> {
        let path = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = path.to_owned();
        match File::open(&path) {
            Ok(handle) => match handle.try_lock() {
                Ok(()) => Ok(Self { path, locked: Some(handle) }),
                Err(TryLockError::WouldBlock) => Err(Failure::refused(format!(
                    "another export writes into {}; nothing was exported: run the same command again when it has ended",
                    path.display()
                ))),
                Err(TryLockError::Error(error)) => Ok(Self::unlocked(path, &error)),
            },
            Err(error) if path.is_dir() => Ok(Self::unlocked(path, &error)),
            Err(error) => Err(Failure::usage(format!("--out: {} cannot be opened: {error}", path.display()))),
        }
    }

    fn unlocked(path: PathBuf, error: &io::Error) -> Self {
        let shown = path.display();
        remark!("{shown} cannot be locked ({error}): see to it that only one export at a time writes into it");
        Self { path, locked: None }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the names of the files, so that they are there after a power failure.
    ///
    /// # Errors
    /// When the directory cannot be stored.
    pub fn store(&self) -> Result<(), Failure> {
        let Some(handle) = &self.locked else { return Ok(()) };
        match handle.sync_all() {
            // Some file systems store names at once, and have nothing to do here.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            stored => stored.map_err(|error| {
                let shown = self.path.display();
                Failure::refused(format!(
                    "{shown} cannot be stored ({error}), so its new files may be lost at a power failure: check the disk, and export again"
                ))
            }),
        }
    }

    /// Removes the drafts of exports that were killed. Returns their number. Nobody writes them any
    /// more, since this process has the lock. Without a lock, they are only named.
    ///
    /// # Errors
    /// When the directory cannot be read, or a draft cannot be removed.
    pub fn clean(&self) -> Result<usize, Failure> {
        let drafts: Vec<String> = self.names()?.into_iter().filter(|name| is_draft(name)).collect();
        if self.locked.is_none() {
            if !drafts.is_empty() {
                remark!("left by interrupted exports, unless one runs now: {}", drafts.join(" "));
            }
            return Ok(0);
        }
        let removed = drafts.into_iter().map(|name| {
            fs::remove_file(self.path.join(&name)).map_err(|error| {
                Failure::refused(format!("{name}, which an interrupted export left, cannot be removed: {error}"))
            })
        });
        removed.collect::<Result<Vec<()>, _>>().map(|removed| removed.len())
    }

    /// Returns the names of the files, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries
            .map_err(|error| Failure::usage(format!("--out: {} cannot be read: {error}", self.path.display())))?;
        let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into()).collect();
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::export::draft::{Draft, tests::directory};

    #[test]
    fn one_export_at_a_time_writes_into_a_directory() {
        let path = directory("locked");
        let target = path.join("ledger.ndjson");
        let first = Directory::of(&target).unwrap();
        let error = Directory::of(&target).unwrap_err();
        assert!(error.exit == crate::exit::Exit::NothingSent && error.message.contains("another export"), "{error}");
        drop(first);
        Directory::of(&target).unwrap().store().unwrap();
        assert!(Directory::of(&path.join("no/such.ndjson")).unwrap_err().message.contains("cannot be opened"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn without_a_lock_nothing_is_removed() {
        let path = directory("unlocked");
        let draft = Draft::new(&path.join("ledger.ndjson")).unwrap();
        let directory = Directory { path: path.clone(), locked: None };
        assert_eq!((directory.clean().unwrap(), directory.names().unwrap().len()), (0, 1));
        drop(draft);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn only_drafts_of_killed_exports_are_removed() {
        let path = directory("cleaned");
        let draft = Draft::new(&path.join("ledger.ndjson")).unwrap();
        // A killed process removes nothing.
        std::mem::forget(draft);
        for name in [".other.draft", "ledger.ndjson"] {
            fs::write(path.join(name), "").unwrap();
        }
        let directory = Directory::of(&path.join("ledger.ndjson")).unwrap();
        assert_eq!(directory.clean().unwrap(), 1);
        assert_eq!(directory.names().unwrap(), [".other.draft", "ledger.ndjson"]);
        fs::remove_dir_all(path).unwrap();
    }
}
