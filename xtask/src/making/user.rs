//! A program of the user's, and the way into a guest that it takes: one without libraries in the
//! initramfs, any other from the host's own root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nlconform::program::{Program, Surroundings};

use super::elf;
use super::image::Image;
use crate::host::program::locate;
use crate::vm::Arch;

/// What a client run, or a program that is not static, needs of a kernel.
pub const VARIANT: &str = "client";

/// Beginning of a file that is looked at for its headers, in bytes.
const HEADERS: u64 = 64 << 10;
/// A program that the user has named.
#[derive(Debug)]
pub struct UserProgram {
    /// The program as the guest starts it.
    pub program: Program,
    /// The file, if it goes into the image.
    file: Option<PathBuf>,
}

impl UserProgram {
    /// Finds the program of a command line, and what it is for a guest of this architecture.
    ///
    /// # Errors
    /// When there is none, or none that the guest can run.
    pub fn find(argv: &[String], arch: &Arch) -> Result<UserProgram> {
        let (name, args) = argv.split_first().context("a program and its arguments are needed")?;
        let file = locate(name.as_ref())?;
        let mut head = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(HEADERS).read_to_end(&mut head));
        read.with_context(|| format!("cannot read {}", file.display()))?;
        let is_static = is_static(&file, &head, arch)?;
        let path = match (is_static, file.file_name().and_then(|name| name.to_str())) {
            // Programs such as busybox go by the name that they are called by.
            (true, Some(name)) => format!("/program/{name}"),
            _ => file.to_str().context("the program's path is not UTF-8")?.to_owned(),
        };
        let argv = [path].into_iter().chain(args.iter().cloned()).collect();
        match is_static {
            true => Ok(UserProgram { program: Program::here(argv), file: Some(file) }),
            false => Ok(UserProgram { program: Program { argv, host: Some(surroundings()?) }, file: None }),
        }
    }

    /// Whether it is among the host's files.
    pub fn is_on_host(&self) -> bool {
        self.file.is_none()
    }

    /// Has it stop before it waits for its first input, and be copied from there, by this library.
    pub fn preload(&mut self, library: &Path) -> Result<()> {
        if let Some(surroundings) = &mut self.program.host {
            let path = library.to_str().context("the library's path is not UTF-8")?;
            surroundings.preload = Some(path.to_owned());
        }
        Ok(())
    }

    /// Adds it to an image, if that is its way.
    ///
    /// # Errors
    /// It cannot be read, or the image not be written.
    pub fn pack(&self, image: &mut Image) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        image.dir("program")?;
        image.file(self.program.argv[0].trim_start_matches('/'), file)
    }
}

/// Whether a guest without any library can run it.
///
/// # Errors
/// When no guest of the architecture can.
fn is_static(file: &Path, head: &[u8], arch: &Arch) -> Result<bool> {
    let is_script = head.starts_with(b"#!");
    if is_script && arch.is_host() {
        return Ok(false);
    }
    if is_script {
        bail!(
            "{} needs an interpreter, which a guest takes from the host, and this host's are not for {}",
            file.display(),
            arch.name
        );
    }
    if !head.starts_with(b"\x7fELF") {
        bail!(
            "{} is not a program: neither ELF nor a script that names its interpreter by #!",
            file.display()
        );
    }
    if !elf::is_for(arch, head) {
        bail!(
            "{} is for another architecture ({}); the guest is {}: choose its own with --arch",
            file.display(),
            elf::name(head),
            arch.name
        );
    }
    match elf::has_interpreter(head) {
        Some(false) => Ok(true),
        _ if arch.is_host() => Ok(false),
        _ => bail!(
            "{} needs shared libraries, which a guest takes from the host, and this host's are not for {}: \
             link it statically",
            file.display(),
            arch.name
        ),
    }
}

/// What the program has around it when the user starts it here. What is not UTF-8 stays here.
fn surroundings() -> Result<Surroundings> {
    let directory = std::env::current_dir().context("there is no working directory")?;
    let environment: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let directory = directory.to_str().context("the working directory's path is not UTF-8")?.to_owned();
    Ok(Surroundings { directory, environment, preload: None })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(name: &str) -> String {
        format!("{:#}", UserProgram::find(&[name.to_owned()], Arch::of_host()).unwrap_err())
    }

    fn file(bytes: &[u8], mode: u32) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn what_no_guest_can_run_is_refused_by_name() {
        assert!(refusal("/nonexistent/x").contains("there is no program /nonexistent/x"));
        assert!(refusal("no-such-program-anywhere").contains("in PATH"));
        let data = file(b"#!/bin/sh\n", 0o644);
        assert!(refusal(data.to_str().unwrap()).contains("not executable"));
        let text = file(b"hello", 0o755);
        assert!(refusal(text.to_str().unwrap()).contains("not a program"));
        let other = other_arch();
        let foreign = file(&elf(other), 0o755);
        assert!(refusal(foreign.to_str().unwrap()).contains(other.name));
        // A guest of another architecture cannot use the host's interpreters and libraries.
        let script = file(b"#!/bin/sh\n", 0o755);
        let find = |file: &Path| UserProgram::find(&[file.to_str().unwrap().to_owned()], other);
        assert!(format!("{:#}", find(&script).unwrap_err()).contains("needs an interpreter"));
        assert!(!find(&foreign).unwrap().is_on_host());
        let linked = file(&linked(other), 0o755);
        assert!(format!("{:#}", find(&linked).unwrap_err()).contains("link it statically"));
    }

    /// One that is not the host's, and little-endian.
    fn other_arch() -> &'static Arch {
        Arch::named(if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" }).unwrap()
    }

    /// A little-endian ELF64 file without program headers.
    fn elf(arch: &Arch) -> Vec<u8> {
        let mut bytes = vec![0; 0x80];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&arch.elf.1.to_le_bytes());
        bytes
    }

    /// One that names an interpreter, the dynamic linker.
    fn linked(arch: &Arch) -> Vec<u8> {
        let mut bytes = elf(arch);
        (bytes[0x20], bytes[0x36], bytes[0x38], bytes[0x40]) = (0x40, 56, 1, 3); // PT_INTERP
        bytes
    }

    #[test]
    fn what_needs_libraries_or_an_interpreter_runs_among_the_hosts_files() {
        let find = |file: &Path| UserProgram::find(&[file.to_str().unwrap().to_owned()], Arch::of_host());
        let linked = file(&linked(Arch::of_host()), 0o755);
        let found = find(&linked).unwrap();
        assert!(found.is_on_host() && found.program.host.is_some());
        let script = file(b"#!/bin/sh\n", 0o755);
        assert!(find(&script).unwrap().is_on_host());
        let mut bytes = elf(Arch::of_host());
        let alone = file(&bytes, 0o755);
        let found = find(&alone).unwrap();
        assert!(!found.is_on_host() && found.program.argv[0].starts_with("/program/"));
        // A header table that lies outside of the file.
        bytes[0x20..0x28].fill(0xff);
        bytes[0x38] = 1;
        assert_eq!(super::elf::has_interpreter(&bytes), None);
    }
}
