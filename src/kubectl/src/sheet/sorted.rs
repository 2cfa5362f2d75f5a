//! Rows in the order of their times. The API server lists records by name, so the rows wait in a
//! temporary file without a name; memory holds only the time and the place of each, 24 bytes.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _},
};

use jiff::Timestamp;

use crate::failure::Failure;

/// Rows that wait to be written in order.
#[derive(Debug)]
pub struct Sorted {
    /// The cells of each row, as one line of JSON.
    file: BufWriter<File>,
    /// The time of each row, and the offset of its line in bytes.
    rows: Vec<(Timestamp, u64)>,
    end: u64,
}

impl Sorted {
    /// Returns no rows.
    ///
    /// # Errors
    /// When the directory of temporary files cannot be written to.
    pub fn new() -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(unusable)?;
        Ok(Self { file: BufWriter::new(file), rows: Vec::new(), end: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, moment: Timestamp, cells: &[String]) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(cells).map_err(|error| unusable(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(unusable)?;
        self.rows.push((moment, self.end));
        self.end += line.len() as u64;
        Ok(())
    }

    /// Passes the rows to a function, the oldest one first; those of the same time in the order in
    /// which they were added.
    ///
    /// # Errors
    /// When the file cannot be read, or the function fails.
    pub fn each(self, mut take: impl FnMut(&[String]) -> Result<(), Failure>) -> Result<(), Failure> {
        let Self { file, mut rows, .. } = self;
        let mut file = BufReader::new(file.into_inner().map_err(|error| unusable(error.into_error()))?);
        rows.sort_unstable();
        let mut line = Vec::new();
        for (_, offset) in rows {
            file.seek(SeekFrom::Start(offset)).map_err(unusable)?;
            line.clear();
            file.read_until(b'\n', &mut line).map_err(unusable)?;
            let cells: Vec<String> = serde_json::from_slice(&line).map_err(|error| unusable(error.into()))?;
            take(&cells)?;
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err expects")]
fn unusable(error: io::Error) -> Failure {
    Failure::refused(format!(
        "cannot sort the rows in a temporary file in {}: {error}; set TMPDIR to a directory with enough space",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_time_and_then_as_they_were_added() {
        let mut sorted = Sorted::new().unwrap();
        let rows = [(3, "c"), (1, "a\n\"'="), (2, "b"), (1, "a again"), (3, "")];
        for (second, cell) in rows {
            sorted.add(Timestamp::from_second(second).unwrap(), &[cell.to_owned(), "ü".to_owned()]).unwrap();
        }
        let mut found = Vec::new();
        sorted
            .each(|cells| {
                found.push(cells.join("|"));
                Ok(())
            })
            .unwrap();
        assert_eq!(found, ["a\n\"'=|ü", "a again|ü", "b|ü", "c|ü", "|ü"]);
    }

    #[test]
    fn a_failure_ends_it() {
        let mut sorted = Sorted::new().unwrap();
        for second in 0..3 {
            sorted.add(Timestamp::from_second(second).unwrap(), &[]).unwrap();
        }
        let mut taken = 0;
        let failed = sorted.each(|_| {
            taken += 1;
            Err(Failure::refused("no"))
        });
        assert_eq!((failed, taken), (Err(Failure::refused("no")), 1));
    }
}
