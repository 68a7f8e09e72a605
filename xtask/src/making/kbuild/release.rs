//! A kernel's release: what `uname -r` prints when it runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::making::elf;
use crate::vm::{Arch, arch};

/// The release of a build directory, with which modules are marked. Debian's headers have
/// a different one in include/config/kernel.release.
///
/// # Errors
/// Nothing was built there.
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

/// The release of a kernel image for an architecture.
///
/// # Errors
/// The file is none, is compressed as a whole, or is for another architecture.
pub fn of_image(arch: &Arch, image: &Path) -> Result<String> {
    let shown = image.display();
    // A device or a pipe has no end.
    if image.exists() && !image.is_file() {
        bail!("{shown} is not the image of a kernel: it is not a regular file");
    }
    let bytes = fs::read(image).with_context(|| format!("cannot read kernel image {shown}"))?;
    let of = |kind: &Arch| {
        let (at, magic) = kind.magic;
        elf::is_for(kind, &bytes) || bytes.get(at..at + magic.len()) == Some(magic)
    };
    if !of(arch) {
        if let Some(program) = packed_by(&bytes) {
            bail!("{shown} is compressed as a whole: unpack it with {program}, and give what is in it");
        }
        match arch::ALL.iter().find(|arch| of(arch)) {
            Some(other) => bail!("{shown} is a kernel for {}: --arch {} boots it", other.name, other.name),
            None => bail!("{shown} is not the image of a kernel for {}", arch.name),
        }
    }
    of_bzimage(&bytes)
        .or_else(|| of_banner(&bytes))
        .with_context(|| format!("{shown} does not say which release of the kernel it is"))
}

/// What unpacks an image that is compressed as a whole: one of gzip, or one that UEFI's own loader would unpack
/// (drivers/firmware/efi/libstub/zboot-header.S), which QEMU cannot enter.
fn packed_by(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x1f, 0x8b, ..] => Some("zcat"),
        [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => Some("unzboot"),
        _ => None,
    }
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

    fn release_on(arch: &str, bytes: &[u8]) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        fs::write(&image, bytes)?;
        of_image(Arch::named(arch)?, &image)
    }

    fn release(bytes: &[u8]) -> Result<String> {
        release_on("x86_64", bytes)
    }

    /// An image with an architecture's mark, and a banner.
    fn marked(arch: &str) -> Vec<u8> {
        let (at, magic) = Arch::named(arch).unwrap().magic;
        let mut bytes = vec![0; 0x10100];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes.extend(b"Linux version 6.12.9-arm64 (x)");
        bytes
    }

    #[test]
    fn an_image_is_that_of_its_architecture() {
        for arch in ["aarch64", "s390x", "riscv64"] {
            assert_eq!(release_on(arch, &marked(arch)).unwrap(), "6.12.9-arm64");
            let refused = release(&marked(arch)).unwrap_err().to_string();
            assert!(
                refused.ends_with(&format!("is a kernel for {arch}: --arch {arch} boots it")),
                "{refused}"
            );
        }
        let refused = |bytes: &[u8]| release_on("aarch64", bytes).unwrap_err().to_string();
        assert!(refused(b"hello").ends_with("is not the image of a kernel for aarch64"));
        assert!(refused(&[0x1f, 0x8b, 8, 0]).contains("compressed as a whole: unpack it with zcat"));
        assert!(refused(b"MZ\0\0zimg\0\0").contains("with unzboot"));
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
        let mut bytes = vec![0; 0x40];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes.extend(b"Linux version %s (..\0Linux version 7.3.4 (me@host)");
        assert_eq!(release(&bytes).unwrap(), "7.3.4");
    }

    #[test]
    fn something_else_is_refused() {
        assert!(release(b"hello").is_err());
        for place in ["/dev/zero", "/"] {
            let refused = of_image(Arch::of_host(), Path::new(place)).unwrap_err().to_string();
            assert!(refused.contains("not a regular file"), "{refused}");
        }
        // A header whose version pointer points outside of the file.
        let mut cut = vec![0; 0x210];
        cut[0x202..0x206].copy_from_slice(b"HdrS");
        cut[0x20e..0x210].copy_from_slice(&0xffffu16.to_le_bytes());
        assert!(release(&cut).is_err());
    }
}
