//! `cargo xtask run`: any static program, in a guest.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Ended;
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::running::session;
use crate::vm::Place;

/// Arguments of `cargo xtask run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// A statically linked program of the host
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Its arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the program; its exit status becomes the command's.
pub fn run_program(args: &RunArgs) -> Result<Ended> {
    check_static(&args.program)?;
    let specs = args.kernels.specs()?;
    let [spec] = specs.as_slice() else { bail!("a program runs on one kernel") };
    let lab = args.kernels.open_lab()?;
    let built = lab.build(spec)?;
    // Programs such as busybox go by the name that they are called by.
    let name = args.program.file_name().and_then(|name| name.to_str()).context("the program has no name")?;
    let machine = lab.machine(&built, &args.machine.settings(), |image| {
        image.dir("program")?;
        image.file(&format!("program/{name}"), &args.program)
    })?;
    let argv = [format!("/program/{name}")].into_iter().chain(args.args.iter().cloned()).collect();
    let mut out = std::io::stdout();
    let status = session::exec(&Place::Machine(machine), argv, &mut session::say_notes, &mut |text| {
        // A reader that has gone away is no reason to stop the program.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    })?;
    Ok(Ended::Status(status))
}

/// The guest has no libraries: a program that wants an interpreter would only say "not found".
fn check_static(program: &PathBuf) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    if bytes.starts_with(b"#!") {
        bail!("{} is a script, and the guest has no interpreter for it", program.display());
    }
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        bail!("{} is no program for a 64-bit machine", program.display());
    }
    if has_interpreter(&bytes) == Some(true) {
        bail!(
            "{} is dynamically linked, and the guest has no libraries: link it statically \
             (-static, or -C target-feature=+crt-static)",
            program.display()
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        // This test is dynamically linked itself.
        let me = std::env::current_exe().unwrap();
        assert!(check_static(&me).unwrap_err().to_string().contains("link it statically"));
        let mut elf = vec![0; 0x40];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(has_interpreter(&elf), Some(false));
        // A header table that lies outside of the file.
        elf[0x20..0x28].fill(0xff);
        elf[0x38] = 1;
        assert_eq!(has_interpreter(&elf), None);
    }
}
