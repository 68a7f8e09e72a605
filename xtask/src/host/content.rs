//! Keys by content: what goes into a build determines where its result is cached.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// Collects what goes into a build; each part is framed, so that different collections differ.
#[derive(Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// An empty key.
    pub fn new() -> Key {
        Key::default()
    }

    /// Adds a named part.
    pub fn part(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Key {
        for piece in [name.as_bytes(), bytes.as_ref()] {
            self.0.update((piece.len() as u64).to_le_bytes());
            self.0.update(piece);
        }
        self
    }

    /// Adds a file, or each file below a directory, under the names relative to `base`.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn files(mut self, base: &Path, path: &str) -> Result<Key> {
        for entry in WalkDir::new(base.join(path)).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {path}"))?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(base)?.to_string_lossy();
                let bytes = fs::read(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                self = self.part(&name, bytes);
            }
        }
        Ok(self)
    }

    /// The key: 16 hexadecimal digits, enough for a cache and short enough for a path.
    pub fn finish(self) -> String {
        hex::encode(&self.0.finalize()[..8])
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(unreadable)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(unreadable)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed() {
        let together = Key::new().part("ab", "c").finish();
        assert_eq!(together, Key::new().part("ab", "c").finish());
        assert_ne!(together, Key::new().part("a", "bc").finish());
        assert_ne!(together, Key::new().part("ab", "").part("", "c").finish());
    }

    #[test]
    fn a_file_counts_by_name_and_content() {
        let dir = tempfile::tempdir().unwrap();
        let key = || Key::new().files(dir.path(), "src").unwrap().finish();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a"), "1").unwrap();
        let first = key();
        fs::write(dir.path().join("src/a"), "2").unwrap();
        let second = key();
        assert_ne!(first, second);
        fs::rename(dir.path().join("src/a"), dir.path().join("src/b")).unwrap();
        assert_ne!(second, key());
    }

    #[test]
    fn sha256_is_the_published_function() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            sha256(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
