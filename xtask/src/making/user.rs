//! A program of the user's, and the way into a guest that it takes: one without libraries in the
//! initramfs, any other from the host's own root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nlconform::program::{Program, Surroundings};

use super::image::Image;

/// What a client run, or a program that is not static, needs of a kernel.
pub const VARIANT: &str = "client";

/// Beginning of a file that is looked at for its headers, in bytes.
const HEADERS: u64 = 64 << 10;
/// `EM_X86_64`.
const EM_X86_64: u16 = 62;

/// A program that the user has named.
#[derive(Debug)]
pub struct UserProgram {
    /// The program as the guest starts it.
    pub program: Program,
    /// The file, if it goes into the image.
    file: Option<PathBuf>,
}

impl UserProgram {
    /// Finds the program of a command line, and what it is.
    ///
    /// # Errors
    /// When there is none, or none that a guest can run.
    pub fn find(argv: &[String]) -> Result<UserProgram> {
        let (name, args) = argv.split_first().context("a program and its arguments are needed")?;
        let file = locate(name)?;
        let mut head = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(HEADERS).read_to_end(&mut head));
        read.with_context(|| format!("cannot read {}", file.display()))?;
        let is_static = is_static(&file, &head)?;
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

    /// Adds it to an image, if that is its way.
    pub fn pack(&self, image: &mut Image) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        image.dir("program")?;
        image.file(self.program.argv[0].trim_start_matches('/'), file)
    }
}

/// The file of a program: a path, or a name that PATH has.
fn locate(name: &str) -> Result<PathBuf> {
    let file = match name.contains('/') {
        true => std::path::absolute(name)?,
        false => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut places = std::env::split_paths(&path).map(|dir| dir.join(name));
            places
                .find(|file| file.is_file())
                .with_context(|| format!("there is no program {name} in PATH"))?
        }
    };
    let meta = fs::metadata(&file).with_context(|| format!("there is no program {}", file.display()))?;
    if !meta.is_file() {
        bail!("{} is not a program, but something else", file.display());
    }
    if meta.permissions().mode() & 0o111 == 0 {
        bail!("{0} is not executable: chmod +x {0}, or name its interpreter before it", file.display());
    }
    Ok(file)
}

/// Whether a guest without any library can run it.
///
/// # Errors
/// When no x86-64 guest can.
fn is_static(file: &Path, head: &[u8]) -> Result<bool> {
    if head.starts_with(b"#!") {
        return Ok(false);
    }
    if !head.starts_with(b"\x7fELF") {
        bail!(
            "{} is not a program: neither ELF nor a script that names its interpreter by #!",
            file.display()
        );
    }
    let machine = head.get(18..20).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]));
    if !head.starts_with(b"\x7fELF\x02\x01") || machine != EM_X86_64 {
        bail!("{} is for another architecture (ELF machine {machine}); guests are x86-64", file.display());
    }
    Ok(has_interpreter(head) == Some(false))
}

/// Whether an ELF64 file has a program header of type PT_INTERP; `None` when it is cut short.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let from = u64::from_le_bytes(elf.get(0x20..0x28)?.try_into().ok()?) as usize;
    let (size, count) = (half(0x36)?, half(0x38)?);
    for number in 0..count {
        let at = from.checked_add(number * size)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

/// What the program has around it when the user starts it here. What is not UTF-8 stays here.
fn surroundings() -> Result<Surroundings> {
    let directory = std::env::current_dir().context("there is no working directory")?;
    let environment: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let directory = directory.to_str().context("the working directory's path is not UTF-8")?.to_owned();
    Ok(Surroundings { directory, environment })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        format!("{:#}", UserProgram::find(&[name.to_owned()]).unwrap_err())
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
        let mut elf = vec![0; 0x40];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 183; // EM_AARCH64
        let foreign = file(&elf, 0o755);
        assert!(refusal(foreign.to_str().unwrap()).contains("ELF machine 183"));
    }

    #[test]
    fn what_needs_libraries_or_an_interpreter_runs_among_the_hosts_files() {
        // This test is dynamically linked itself.
        let me = std::env::current_exe().unwrap();
        let found = UserProgram::find(&[me.to_str().unwrap().to_owned()]).unwrap();
        assert!(found.is_on_host() && found.program.host.is_some());
        let script = file(b"#!/bin/sh\n", 0o755);
        assert!(UserProgram::find(&[script.to_str().unwrap().to_owned()]).unwrap().is_on_host());
        let mut elf = vec![0; 0x40];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        let alone = file(&elf, 0o755);
        let found = UserProgram::find(&[alone.to_str().unwrap().to_owned()]).unwrap();
        assert!(!found.is_on_host() && found.program.argv[0].starts_with("/program/"));
        // A header table that lies outside of the file.
        elf[0x20..0x28].fill(0xff);
        elf[0x38] = 1;
        assert_eq!(has_interpreter(&elf), None);
    }
}
