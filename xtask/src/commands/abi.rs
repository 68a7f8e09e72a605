//! `cargo xtask abi`: the probe's header in Rust.
//!
//! The header is the only source of the ioctl ABI. It is plain enough to be read line by line: constants,
//! enumerations of constants, structures of integers, and ioctl numbers. What is none of these is an error.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Ended;
use crate::project_root;

/// The source.
const HEADER: &str = "guest/probe/nlprobe.h";
/// What is made from it.
const MIRROR: &str = "conformance/src/adapters/linux/abi/nlprobe.rs";

/// Arguments of `cargo xtask abi`.
#[derive(Debug, Args)]
pub struct AbiArgs {
    /// Write nothing; fail when the committed file is not what would be written
    #[arg(long)]
    check: bool,
}

/// Writes the mirror, or checks it.
///
/// # Errors
/// When the header has a line that this cannot read.
pub fn abi(args: &AbiArgs) -> Result<Ended> {
    let header = project_root().join(HEADER);
    let header = fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let made = mirror(&header)?;
    let file = project_root().join(MIRROR);
    if !args.check {
        fs::write(&file, made).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    } else if fs::read_to_string(&file).ok().as_ref() != Some(&made) {
        eprintln!("{MIRROR} is not what {HEADER} says: run cargo xtask abi");
        return Ok(Ended::Failed);
    }
    Ok(Ended::Well)
}

/// What a header declares, in its order, as the bodies of the macros of abi.rs.
#[derive(Default)]
struct Mirror {
    constants: String,
    structures: String,
    ioctls: String,
}

/// The Rust file of a header.
fn mirror(header: &str) -> Result<String> {
    let code = without_comments(header);
    let mut mirror = Mirror::default();
    let mut lines = (1..).zip(code.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    while let Some((number, line)) = lines.next() {
        let mut block = || -> Vec<&str> {
            let body = lines.by_ref().map(|(_, line)| line);
            body.take_while(|line| *line != "};").collect()
        };
        let read = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["#ifndef" | "#endif" | "#include", ..] | ["#define", _] => Ok(()),
            ["#define", name, value] => mirror.constants("u32", &[(name, Some(value))]),
            ["#define", name, ref ioctl @ ..] => mirror.ioctl(name, &ioctl.concat()),
            ["enum", "{"] => mirror.enumeration(&block()),
            ["struct", name, "{"] => mirror.structure(name, &block()),
            _ => Err(anyhow::anyhow!("neither a constant nor a structure: {line:?}")),
        };
        read.with_context(|| format!("{HEADER}, line {number}"))?;
    }
    let Mirror { constants, structures, ioctls } = mirror;
    Ok(format!(
        "// Made by `cargo xtask abi` from {HEADER}. Do not edit.\n\n\
         use super::*;\n\n\
         constants! {{\n{constants}}}\n\nstructures! {{\n{structures}}}\n\nioctls! {{\n{ioctls}}}\n"
    ))
}

/// A text with its comments blanked; lines keep their numbers.
fn without_comments(mut text: &str) -> String {
    let mut code = String::new();
    while let Some((before, rest)) = text.split_once("/*") {
        let (comment, after) = rest.split_once("*/").unwrap_or((rest, ""));
        code += before;
        code.extend(comment.chars().filter(|c| *c == '\n'));
        text = after;
    }
    code + text
}

impl Mirror {
    /// Constants of one type; one without a value is one more than the one before.
    fn constants(&mut self, kind: &str, constants: &[(&str, Option<&str>)]) -> Result<()> {
        let (mut base, mut above) = ("0", 0);
        let mut made = Vec::new();
        for (name, value) in constants {
            if let Some(value) = value {
                (base, above) = (value, 0);
            }
            made.push(match (base, above) {
                ("0", _) => format!("{name} = {above}"),
                (_, 0) => format!("{name} = {base}"),
                _ => format!("{name} = {base} + {above}"),
            });
            above += 1;
        }
        match &made[..] {
            [one] => writeln!(self.constants, "    {kind} {{ {one} }}")?,
            _ => writeln!(self.constants, "    {kind} {{\n        {},\n    }}", made.join(",\n        "))?,
        }
        Ok(())
    }

    fn enumeration(&mut self, body: &[&str]) -> Result<()> {
        let mut constants = Vec::new();
        for line in body {
            let Some(entry) = line.strip_suffix(',') else { bail!("no comma after {line:?}") };
            constants.push(match entry.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (entry, None),
            });
        }
        let negative = constants.iter().any(|(_, value)| value.is_some_and(|value| value.starts_with('-')));
        self.constants(if negative { "i32" } else { "u32" }, &constants)
    }

    fn structure(&mut self, name: &str, body: &[&str]) -> Result<()> {
        writeln!(self.structures, "    {name} as {} {{", type_name(name)?)?;
        for line in body {
            let field = line.strip_suffix(';').and_then(|field| field.rsplit_once(' '));
            let Some((kind, name)) = field else { bail!("no field: {line:?}") };
            let (name, kind) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
                Some((name, len)) => (name, format!("[{}; {len} as usize]", rust_type(kind)?)),
                None => (name, rust_type(kind)?),
            };
            let name = if name == "type" { "r#type" } else { name };
            writeln!(self.structures, "        {name}: {kind},")?;
        }
        writeln!(self.structures, "    }}")?;
        Ok(())
    }

    fn ioctl(&mut self, name: &str, number: &str) -> Result<()> {
        let arguments = number.strip_suffix(')').and_then(|number| number.split_once("(NLPROBE_IOC,"));
        let Some((direction, arguments)) = arguments else { bail!("no ioctl number: {number:?}") };
        let (nr, kind) = arguments.split_once(',').unwrap_or((arguments, ""));
        let direction = match direction {
            "_IO" => "none",
            "_IOR" => "read",
            "_IOW" => "write",
            "_IOWR" => "both",
            _ => bail!("no direction of an ioctl: {direction:?}"),
        };
        let kind = match kind.strip_prefix("struct") {
            Some(name) => type_name(name)?,
            None if kind.is_empty() => "()".into(),
            None => rust_type(kind)?,
        };
        writeln!(self.ioctls, "    {name}: {kind} = {direction} {nr};")?;
        Ok(())
    }
}

/// The Rust type of a field.
fn rust_type(kind: &str) -> Result<String> {
    Ok(match kind {
        "char" | "__u8" => "u8".into(),
        "__u16" | "__u32" | "__u64" | "__s16" | "__s32" | "__s64" => {
            kind.trim_start_matches('_').replace('s', "i")
        }
        _ => match kind.strip_prefix("struct ") {
            Some(name) => type_name(name)?,
            None => bail!("no type that has the same size everywhere: {kind:?}"),
        },
    })
}

/// `LogEntry` for `nlprobe_log_entry`.
fn type_name(name: &str) -> Result<String> {
    let words = name.strip_prefix("nlprobe_").with_context(|| format!("not nlprobe_*: {name:?}"))?;
    let words = words.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    Ok(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_becomes_the_macros_of_the_adapter() {
        let header = "#ifndef X\n#define X\n\
            #define NLPROBE_MAX 7 /* in\n two lines */\n\
            enum {\n\tNLPROBE_A,\t/* first */\n\tNLPROBE_B,\n\tNLPROBE_C = 1 << 4,\n};\n\
            enum {\n\tNLPROBE_D = -2,\n};\n\
            struct nlprobe_log_entry {\n\t__s64 a;\n\tchar b[NLPROBE_MAX];\n\tstruct nlprobe_c type;\n};\n\
            #define NLPROBE_LOG _IOWR(NLPROBE_IOC, 0x0e, struct nlprobe_log_entry)\n\
            #define NLPROBE_GO _IO(NLPROBE_IOC, 0x0f)\n#endif\n";
        let made = mirror(header).unwrap();
        let bodies: Vec<_> = made.lines().skip(4).collect();
        assert_eq!(
            bodies,
            [
                "constants! {",
                "    u32 { NLPROBE_MAX = 7 }",
                "    u32 {",
                "        NLPROBE_A = 0,",
                "        NLPROBE_B = 1,",
                "        NLPROBE_C = 1 << 4,",
                "    }",
                "    i32 { NLPROBE_D = -2 }",
                "}",
                "",
                "structures! {",
                "    nlprobe_log_entry as LogEntry {",
                "        a: i64,",
                "        b: [u8; NLPROBE_MAX as usize],",
                "        r#type: C,",
                "    }",
                "}",
                "",
                "ioctls! {",
                "    NLPROBE_LOG: LogEntry = both 0x0e;",
                "    NLPROBE_GO: () = none 0x0f;",
                "}",
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (wrong, line) in [
            ("\n\ntypedef int nlprobe_t;\n", 3),
            ("enum {\n\tNLPROBE_A\n};\n", 1),
            ("struct nlprobe_a {\n\tlong b;\n};\n", 1),
            ("struct other {\n\t__u32 b;\n};\n", 1),
            ("#define NLPROBE_A _IOC(NLPROBE_IOC, 1, 2)\n", 1),
        ] {
            let error = format!("{:#}", mirror(wrong).unwrap_err());
            assert!(error.contains(&format!("line {line}: ")), "{wrong:?}: {error}");
        }
    }
}
