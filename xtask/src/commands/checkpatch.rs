//! `cargo xtask checkpatch`: the kernel's own style checker on the probe.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Ended;
use crate::host::cache::Cache;
use crate::host::progress::Progress;
use crate::making::source::Kernels;
use crate::project_root;

/// The probe, and the findings in it that stay.
const PROBE: &str = "guest/probe";
const ALLOWED: &str = "guest/probe/checkpatch.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    allowed: Vec<Exception>,
}

/// A kind of finding that a file may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    file: String,
    r#type: String,
    /// Why; read by people only.
    #[serde(rename = "reason")]
    _reason: String,
}

impl Exception {
    /// Whether a finding such as `guest/probe/main.c:7: CHECK:TYPE: text` is of this kind.
    fn covers(&self, finding: &str) -> bool {
        let mut parts = finding.splitn(5, ':');
        let (file, kind) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
        file.ends_with(&format!("/{}", self.file)) && kind == self.r#type
    }
}

/// Runs the default kernel's `checkpatch.pl --strict` on the probe.
///
/// # Errors
/// When the kernel's source cannot be had, or perl cannot run the script.
pub fn checkpatch() -> Result<Ended> {
    let path = project_root().join(ALLOWED);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let allowed: Allowed = toml::from_str(&text).with_context(|| format!("{} is invalid", path.display()))?;
    let output = findings()?;
    let findings: Vec<&str> = output.lines().collect();
    let (listed, other): (Vec<&str>, Vec<&str>) =
        findings.iter().partition(|finding| allowed.allowed.iter().any(|it| it.covers(finding)));
    let needless = allowed.allowed.iter().filter(|it| !listed.iter().any(|finding| it.covers(finding)));
    let needless: Vec<_> = needless.map(|it| format!("{}: no {} any more", it.file, it.r#type)).collect();
    for finding in &other {
        eprintln!("{finding}");
    }
    for line in &needless {
        eprintln!("{ALLOWED}: {line}");
    }
    Ok(if other.is_empty() && needless.is_empty() { Ended::Well } else { Ended::Failed })
}

/// What checkpatch prints: a line for each finding.
fn findings() -> Result<String> {
    let kernels = Kernels::load()?;
    let source = kernels.source(&kernels.get(&kernels.default)?, &Cache::open()?, &Progress::new())?;
    let files = fs::read_dir(project_root().join(PROBE)).context("cannot read the probe's folder")?;
    let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| name.ends_with(".c") || name.ends_with(".h"));
    names.sort();
    let output = Command::new("perl")
        .arg(source.dir.join("scripts/checkpatch.pl"))
        .args(["--no-tree", "--strict", "--terse", "--show-types", "--no-summary", "--max-line-length=100"])
        .arg("--file")
        .args(names.iter().map(|name| format!("{PROBE}/{name}")))
        .current_dir(project_root())
        .output()
        .context("cannot run perl")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // It fails when it has found something, and prints nothing there when it could not look.
    if !output.status.success() && printed.is_empty() {
        bail!("checkpatch.pl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_for_one_file_and_one_kind() {
        let finding = "guest/probe/slot.c:10: ERROR:COMPLEX_MACRO: Macros with complex values";
        let exception = |file: &str, kind: &str| Exception {
            file: file.into(),
            r#type: kind.into(),
            _reason: String::new(),
        };
        assert!(exception("slot.c", "COMPLEX_MACRO").covers(finding));
        assert!(!exception("ot.c", "COMPLEX_MACRO").covers(finding));
        assert!(!exception("slot.c", "MACRO").covers(finding));
    }
}
