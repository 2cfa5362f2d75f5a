//! Rows in the order of their times. The API server lists records by name, so the rows wait until
//! the last one is there: the first ones in memory, and more of them in a temporary file without a
//! name. For each row of that, memory holds the time and the place, 24 bytes.

use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};

use jiff::Timestamp;
use tempfile::{SpooledTempFile, spooled_tempfile};

use crate::failure::Failure;

/// The size of the rows in memory, in bytes: some 10,000 rows. Only more of them need a directory
/// that can be written to, which the image of the operator does not have.
const IN_MEMORY: usize = 4 << 20;

/// Rows that wait to be passed on in the order of their times.
#[derive(Debug)]
pub struct RowsByTime {
    /// The cells of each row, as one line of JSON.
    lines: BufWriter<SpooledTempFile>,
    /// The time of each row, and the offset of its line in bytes.
    rows: Vec<(Timestamp, u64)>,
    end: u64,
}

impl Default for RowsByTime {
    /// Returns no rows.
    fn default() -> Self {
        Self::with(IN_MEMORY)
    }
}

impl RowsByTime {
    fn with(in_memory: usize) -> Self {
        Self { lines: BufWriter::new(spooled_tempfile(in_memory)), rows: Vec::new(), end: 0 }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the temporary file cannot be made or written.
    pub fn add(&mut self, moment: Timestamp, cells: &[String]) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(cells).map_err(|error| unusable(error.into()))?;
        line.push(b'\n');
        self.lines.write_all(&line).map_err(unusable)?;
        self.rows.push((moment, self.end));
        self.end += line.len() as u64;
        Ok(())
    }

    /// Passes the rows to a function, the oldest one first; those of the same time in the order in
    /// which they were added.
    ///
    /// # Errors
    /// When the temporary file cannot be written or read, or the function fails.
    pub fn each(self, mut take: impl FnMut(&[String]) -> Result<(), Failure>) -> Result<(), Failure> {
        let Self { lines, mut rows, .. } = self;
        let mut lines = BufReader::new(lines.into_inner().map_err(|error| unusable(error.into_error()))?);
        rows.sort_unstable();
        let mut line = Vec::new();
        for (_, offset) in rows {
            lines.seek(SeekFrom::Start(offset)).map_err(unusable)?;
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(unusable)?;
            let cells: Vec<String> = serde_json::from_slice(&line).map_err(|error| unusable(error.into()))?;
            take(&cells)?;
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err expects")]
fn unusable(error: io::Error) -> Failure {
    Failure::refused(format!(
        "cannot sort so many rows in a temporary file in {}: {error}; set TMPDIR to a directory that can be written to and has enough space, or choose a shorter range with --since and --until",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_time_and_then_as_they_were_added() {
        for in_memory in [0, 20, IN_MEMORY] {
            let mut sorted = RowsByTime::with(in_memory);
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
            assert_eq!(found, ["a\n\"'=|ü", "a again|ü", "b|ü", "c|ü", "|ü"], "{in_memory}");
        }
    }

    #[test]
    fn a_failure_ends_it() {
        let mut sorted = RowsByTime::default();
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
