//! The reference implementation passes the cases as each Linux that the specification was checked against.

use std::process::Command;

#[test]
fn every_profile_is_kept() {
    for profile in ["linux-5.10", "linux-6.1", "linux-6.6", "linux-6.12", "linux-7.2"] {
        let mut reference = Command::new(env!("CARGO_BIN_EXE_nlconform-reference"));
        let output = reference.env("PROFILE", profile).output().expect("the reference runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let failed: Vec<_> = text.lines().filter(|line| line.ends_with("... FAILED")).collect();
        assert!(output.status.success() && failed.is_empty(), "{profile}: {failed:#?}");
        let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap_or_default();
        let passed = result.split(' ').next().and_then(|passed| passed.parse().ok()).unwrap_or(0);
        assert!(passed > 1000, "{profile}: {result}");
    }
}
