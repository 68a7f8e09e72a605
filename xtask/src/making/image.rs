//! The initramfs: the init, the probe, and what else the guest needs.

use std::fs::File;
use std::io::{self, Cursor, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// An initramfs under construction.
#[derive(Debug, Default)]
pub struct Image {
    archive: Vec<u8>,
    entries: u32,
}

impl Image {
    /// Adds a directory; its parents must exist.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn dir(&mut self, name: &str) -> Result<()> {
        self.entry(name, ModeFileType::Directory, &[])
    }

    /// Adds a file of the host under a name in the guest, executable.
    ///
    /// # Errors
    /// The file cannot be read, or the archive not written.
    pub fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.entry(name, ModeFileType::Regular, &bytes)
    }

    /// Adds a file with this content.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.entry(name, ModeFileType::Regular, bytes)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn link(&mut self, name: &str, to: &str) -> Result<()> {
        self.entry(name, ModeFileType::Symlink, to.as_bytes())
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let entry = NewcBuilder::new(name).ino(self.entries).mode(0o755).set_mode_file_type(kind);
        let mut writer = entry.write(&mut self.archive, u32::try_from(bytes.len())?);
        io::copy(&mut Cursor::new(bytes), &mut writer)?;
        writer.finish()?;
        Ok(())
    }

    /// The archive as an unnamed file, which disappears with the last process that has it open.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn finish(mut self) -> Result<Arc<File>> {
        trailer(&mut self.archive)?;
        let mut file = File::from(memfd_create("initramfs", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&self.archive)?;
        file.rewind()?;
        Ok(Arc::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_was_added_can_be_read_back() {
        let mut source = tempfile::NamedTempFile::new().unwrap();
        source.write_all(b"#!/bin/sh\n").unwrap();
        let mut image = Image::default();
        image.dir("bin").unwrap();
        image.file("bin/x", source.path()).unwrap();
        image.link("init", "bin/x").unwrap();

        let mut rest = image.finish().unwrap().try_clone().unwrap();
        let mut seen = Vec::new();
        loop {
            let mut entry = cpio::NewcReader::new(rest).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            let (name, mode) = (entry.entry().name().to_owned(), entry.entry().mode());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            seen.push((name, mode, content));
            rest = entry.finish().unwrap();
        }
        let expected =
            [("bin", 0o040755, ""), ("bin/x", 0o100755, "#!/bin/sh\n"), ("init", 0o120755, "bin/x")];
        assert_eq!(seen, expected.map(|(name, mode, text)| (name.into(), mode, text.into())));
    }
}
