//! A file that appears under its name only when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::directory::Directory;
use crate::failure::Failure;

/// The begin of the name of a draft.
const BEGIN: &str = ".kubectl-cognito_reset.";
/// The end of the name of a draft.
const END: &str = ".draft";

/// A file that is being written, beside its final place. It is removed unless it is published.
#[derive(Debug)]
pub struct Draft {
    draft: PathBuf,
    target: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
}

/// Returns true for the name of a draft.
#[must_use]
pub fn is_draft(name: &str) -> bool {
    name.starts_with(BEGIN) && name.ends_with(END)
}

impl Draft {
    /// Begins a file that only its owner may read: the ledger contains user names.
    ///
    /// # Errors
    /// When it exists already, or cannot be created.
    pub fn new(target: &Path) -> Result<Self, Failure> {
        if target.exists() {
            return Err(exists(target));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // A name of its own: in a container, each process has the same id.
        let now = Timestamp::now().as_nanosecond();
        let draft = target.with_file_name(format!("{BEGIN}{name}.{}-{now}{END}", std::process::id()));
        let file = create(&draft).map_err(|error| unwritable(target, &error))?;
        Ok(Self { draft, target: target.to_owned(), file: BufWriter::new(file), hash: Sha256::new() })
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| unwritable(&self.target, &error))
    }

    /// Stores the content, still without its name. Returns its SHA-256.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn complete(&mut self) -> Result<String, Failure> {
        let stored = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        stored.map_err(|error| unwritable(&self.target, &error))?;
        Ok(hex::encode(self.hash.clone().finalize()))
    }

    /// Gives the file its name, and stores the name. A file that has this name since the draft
    /// began is left as it is.
    ///
    /// # Errors
    /// When the name is taken, or cannot be given.
    pub fn publish(self, directory: &Directory) -> Result<(), Failure> {
        let named = fs::hard_link(&self.draft, &self.target).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Err(error),
            _ => self.rename(),
        });
        match named {
            Ok(()) => directory.store(),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(&self.target)),
            Err(error) => Err(unwritable(&self.target, &error)),
        }
    }

    /// Renames the file, for a file system without hard links. Who creates the name owns it.
    fn rename(&self) -> io::Result<()> {
        create(&self.target)?;
        fs::rename(&self.draft, &self.target).inspect_err(|_| {
            let _ = fs::remove_file(&self.target);
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // The published file has a name of its own.
        let _ = fs::remove_file(&self.draft);
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the failure of a name that is taken.
pub(super) fn exists(target: &Path) -> Failure {
    Failure::usage(format!("{} exists already: give another name with --out", target.display()))
}

fn unwritable(target: &Path, error: &io::Error) -> Failure {
    Failure::refused(format!("{} cannot be written: {error}; nothing was exported", target.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a new directory of a test.
    pub(crate) fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("export-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        directory
    }

    #[test]
    fn a_file_appears_only_when_it_is_published() {
        let path = directory("published");
        let target = path.join("ledger.ndjson");
        let directory = Directory::of(&target).unwrap();
        let mut draft = Draft::new(&target).unwrap();
        draft.write(b"one\n").unwrap();
        let hash = draft.complete().unwrap();
        assert_eq!(hash, super::super::manifest::sha256(b"one\n"));
        assert!(!target.exists());
        draft.publish(&directory).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one\n");
        assert!(Draft::new(&target).unwrap_err().message.contains("exists already"));
        assert_eq!(directory.names().unwrap(), ["ledger.ndjson"]);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_that_took_the_name_meanwhile_is_left() {
        let path = directory("taken");
        let target = path.join("ledger.ndjson");
        let directory = Directory::of(&target).unwrap();
        let [mut first, mut second] = [0, 1].map(|_| Draft::new(&target).unwrap());
        first.write(b"first\n").unwrap();
        second.write(b"second\n").unwrap();
        first.complete().unwrap();
        second.complete().unwrap();
        first.publish(&directory).unwrap();
        assert!(second.publish(&directory).unwrap_err().message.contains("exists already"));
        assert_eq!(fs::read(&target).unwrap(), b"first\n");
        assert_eq!(directory.names().unwrap(), ["ledger.ndjson"]);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn an_interrupted_file_leaves_nothing() {
        let path = directory("interrupted");
        let mut draft = Draft::new(&path.join("ledger.ndjson")).unwrap();
        draft.write(b"one\n").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::remove_dir_all(path).unwrap();
    }
}
