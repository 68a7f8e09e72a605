//! A kernel's release: what `uname -r` prints when it runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The release of a build directory, with which modules are marked. Debian's headers have
/// a different one in include/config/kernel.release.
pub fn of_build(dir: &Path) -> Result<String> {
    let path = dir.join("include/generated/utsrelease.h");
    let header = fs::read_to_string(&path).with_context(|| {
        format!("{} is not a kernel build: there is no {}", dir.display(), path.display())
    })?;
    let release =
        header.lines().find_map(|line| line.strip_prefix("#define UTS_RELEASE ")?.split('"').nth(1));
    Ok(release.with_context(|| format!("{} has no UTS_RELEASE", path.display()))?.to_owned())
}

/// Checks that a directory builds modules for this release.
///
/// # Errors
/// It builds none, or for another.
pub fn check(dir: &Path, release: &str) -> Result<()> {
    let built = of_build(dir)?;
    if built != release {
        bail!("the kernel is {release}, but {} builds modules for {built}", dir.display());
    }
    Ok(())
}

/// The release of a kernel image.
///
/// # Errors
/// The file is neither a bzImage nor an uncompressed kernel.
pub fn of_image(image: &Path) -> Result<String> {
    let bytes = fs::read(image).with_context(|| format!("cannot read kernel image {}", image.display()))?;
    of_bzimage(&bytes)
        .or_else(|| of_banner(&bytes))
        .with_context(|| format!("{} is neither a bzImage nor a vmlinux", image.display()))
}

/// The setup header of Documentation/arch/x86/boot.rst: the magic `HdrS` at 0x202, and at 0x20e
/// the offset of the version, less 0x200.
fn of_bzimage(bytes: &[u8]) -> Option<String> {
    if bytes.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let pointer = bytes.get(0x20e..0x210)?.try_into().ok()?;
    first_word(bytes.get(usize::from(u16::from_le_bytes(pointer)) + 0x200..)?)
}

/// The banner that an uncompressed kernel prints when it starts. The format string of the banner
/// may come first, with a `%s` in place of the release.
fn of_banner(bytes: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    bytes
        .windows(BANNER.len())
        .enumerate()
        .filter(|(_, window)| *window == BANNER)
        .filter_map(|(at, _)| first_word(&bytes[at + BANNER.len()..]))
        .find(|release| release.starts_with(|first: char| first.is_ascii_digit()))
}

fn first_word(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | 0))?;
    let word = str::from_utf8(&bytes[..end]).ok()?;
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(bytes: &[u8]) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        fs::write(&image, bytes)?;
        of_image(&image)
    }

    #[test]
    fn a_build_says_it_where_modules_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let generated = dir.path().join("include/generated");
        fs::create_dir_all(&generated).unwrap();
        assert!(of_build(dir.path()).is_err());
        fs::write(generated.join("utsrelease.h"), "#define UTS_RELEASE \"6.1.0-56-cloud\"\n").unwrap();
        assert_eq!(of_build(dir.path()).unwrap(), "6.1.0-56-cloud");
    }

    #[test]
    fn a_bzimage_says_it_in_its_header() {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        bytes[0x300..0x30d].copy_from_slice(b"6.1.9-a (me) ");
        assert_eq!(release(&bytes).unwrap(), "6.1.9-a");
    }

    #[test]
    fn a_vmlinux_says_it_in_its_banner() {
        let bytes = b"\x7fELF..Linux version %s (..\0Linux version 7.3.4 (me@host)";
        assert_eq!(release(bytes).unwrap(), "7.3.4");
    }

    #[test]
    fn something_else_is_refused() {
        assert!(release(b"hello").is_err());
        // A header whose version pointer points outside of the file.
        let mut cut = vec![0; 0x210];
        cut[0x202..0x206].copy_from_slice(b"HdrS");
        cut[0x20e..0x210].copy_from_slice(&0xffffu16.to_le_bytes());
        assert!(release(&cut).is_err());
    }
}
