//! A file that appears under its name only when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// A file that is being written, beside its final place. It is removed unless it is published.
#[derive(Debug)]
pub struct Draft {
    draft: PathBuf,
    target: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
}

impl Draft {
    /// Begins a file that only its owner may read: the ledger contains user names.
    ///
    /// # Errors
    /// When it exists already, or cannot be created.
    pub fn new(target: &Path) -> Result<Self, Failure> {
        if target.exists() {
            return Err(Failure::usage(format!("{} exists already: give another name with --out", target.display())));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // A name of its own: in a container, each process has the same id.
        let now = Timestamp::now().as_nanosecond();
        let draft = target.with_file_name(format!(".{name}.{}-{now}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&draft).map_err(|error| unwritable(target, &error))?;
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

    /// Gives the file its name.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn publish(self) -> Result<(), Failure> {
        fs::rename(&self.draft, &self.target).map_err(|error| unwritable(&self.target, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the renaming, there is nothing to remove.
        let _ = fs::remove_file(&self.draft);
    }
}

fn unwritable(target: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{} cannot be written: {error}; nothing was exported", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("draft-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        directory
    }

    #[test]
    fn a_file_appears_only_when_it_is_published() {
        let directory = directory("published");
        let target = directory.join("ledger.ndjson");
        let mut draft = Draft::new(&target).unwrap();
        draft.write(b"one\n").unwrap();
        let hash = draft.complete().unwrap();
        assert_eq!(hash, super::super::manifest::sha256(b"one\n"));
        assert!(!target.exists());
        draft.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one\n");
        assert!(Draft::new(&target).unwrap_err().message.contains("exists already"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_interrupted_file_leaves_nothing() {
        let directory = directory("interrupted");
        let mut draft = Draft::new(&directory.join("ledger.ndjson")).unwrap();
        draft.write(b"one\n").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }
}
