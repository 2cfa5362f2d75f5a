//! A ZIP archive of one file that is not compressed, as AWS Lambda accepts code.

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const VERSION: u16 = 20;
/// The first day that the format can express.
const DATE: u16 = (1 << 5) | 1;
/// A regular file that everybody may read; `AWS Lambda` runs the code as another user.
const MODE: u32 = 0o100_644 << 16;
/// Made by Unix, so that the mode is read.
const MADE_BY: u16 = (3 << 8) | VERSION;

/// Returns an archive with this file. Name and content are shorter than 64 KiB.
pub(crate) fn archive(name: &str, content: &str) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap_or_default().to_le_bytes();
    let name_length = u16::try_from(name.len()).unwrap_or_default().to_le_bytes();
    let zero = 0_u16.to_le_bytes();
    // Version, flags, method, time, date, checksum, both sizes, the name's length, no extra field.
    let mut common = Vec::new();
    for part in [VERSION.to_le_bytes(), zero, zero, zero, DATE.to_le_bytes()] {
        common.extend(part);
    }
    for part in [checksum(content.as_bytes()).to_le_bytes(), size, size] {
        common.extend(part);
    }
    common.extend(name_length.into_iter().chain(zero));

    let mut bytes = LOCAL.to_le_bytes().to_vec();
    bytes.extend(&common);
    bytes.extend(name.bytes().chain(content.bytes()));
    let start = u32::try_from(bytes.len()).unwrap_or_default();
    bytes.extend(CENTRAL.to_le_bytes().into_iter().chain(MADE_BY.to_le_bytes()));
    bytes.extend(&common);
    // No comment, the first disk, no internal attributes, the mode, the offset of the file.
    bytes.extend([0; 6].into_iter().chain(MODE.to_le_bytes()).chain([0; 4]));
    bytes.extend(name.bytes());
    let length = u32::try_from(bytes.len()).unwrap_or_default() - start;
    // One disk and one file.
    bytes.extend(END.to_le_bytes().into_iter().chain([0, 0, 0, 0, 1, 0, 1, 0]));
    bytes.extend(length.to_le_bytes().into_iter().chain(start.to_le_bytes()).chain(zero));
    bytes
}

/// Returns the CRC-32 of the format.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn checksum_is_that_of_the_format() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    /// Python imports modules from archives, and reads the file to its checksum.
    #[test]
    fn trigger_in_the_archive_behaves_as_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code.zip");
        fs::write(&path, archive("trigger.py", include_str!("trigger.py"))).unwrap();
        let script = r#"
import sys, zipfile
assert zipfile.ZipFile(sys.argv[1]).testzip() is None
sys.path.insert(0, sys.argv[1])
import trigger
slept = []
trigger.time.sleep = slept.append
def behave(behaviour):
    event = {"request": {"clientMetadata": {"behaviour": behaviour} if behaviour else None}}
    try:
        result = trigger.handler(event, None)
    except ValueError:
        return "throws"
    return "event" if result is event else result
print([behave(b) for b in (None, "throw", "nonsense", "late", "slow")], slept)
"#;
        let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.trim(), "['event', 'throws', 'nonsense', 'event', 'event'] [10, 3]");
    }
}
