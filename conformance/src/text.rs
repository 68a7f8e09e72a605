//! Text files that users name, which may turn out to be anything.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The most bytes of one. The results of a run on many kernels are tens of MiB.
const MOST: u64 = 1 << 30;

/// Reads a file that a user has named.
///
/// # Errors
/// It cannot be read, is no UTF-8, or has no end, as /dev/zero has none.
pub fn read(path: &Path) -> io::Result<String> {
    read_up_to(path, MOST)
}

fn read_up_to(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read_up_to(Path::new("/dev/zero"), 1 << 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_up_to(Path::new("/dev/null"), 0).unwrap(), "");
    }
}
