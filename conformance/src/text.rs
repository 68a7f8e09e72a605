//! Text files that users name, which may turn out to be anything.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The most bytes of one. The results of a run on many kernels are tens of MiB.
const MOST: u64 = 1 << 30;

/// Reads a file that a user has named.
///
/// # Errors
/// It cannot be read, is no UTF-8, or has no end, as /dev/zero has none.
pub fn read(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Reads a file that a user has named, and that should hold text.
///
/// # Errors
/// It cannot be read, or has no end.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    bytes_up_to(path, MOST)
}

/// Writes a file that a user has named, whole or not at all: on a full disk the old one stays.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    let file = if path.exists() { fs::canonicalize(path)? } else { path.to_owned() };
    // What is no file, such as a pipe, has no old text.
    if !file.is_file() && file.exists() {
        return fs::write(file, text);
    }
    let mut new = file.clone().into_os_string();
    new.push(".new");
    fs::write(&new, &text).and_then(|()| fs::rename(&new, &file)).or_else(|error| {
        let _ = fs::remove_file(&new);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Err(error),
            // A file that is a mount of its own, or in a folder that is not the user's, can only be overwritten.
            _ => fs::write(&file, &text),
        }
    })
}

fn bytes_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = bytes_up_to(Path::new("/dev/zero"), 1 << 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(bytes_up_to(Path::new("/dev/null"), 0).unwrap(), b"");
    }

    #[test]
    fn on_a_full_disk_the_old_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report");
        write(&file, "old").unwrap();
        symlink("/dev/full", dir.path().join("report.new")).unwrap();
        assert_eq!(write(&file, "new").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(read(&file).unwrap(), "old");
        write(&file, "new").unwrap();
        assert_eq!(read(&file).unwrap(), "new");
    }

    #[test]
    fn a_file_beside_which_nothing_can_be_written_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report");
        write(&file, "old").unwrap();
        fs::create_dir(dir.path().join("report.new")).unwrap();
        write(&file, "new").unwrap();
        assert_eq!(read(&file).unwrap(), "new");
    }
}
