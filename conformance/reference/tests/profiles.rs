//! The reference implementation passes the cases as each Linux that the specification was checked against.

use std::process::Command;

use nlconform::spec::Profile;
use toml::Table;

/// Of no kernel in kernels.toml, and unlike both of its neighbours there.
const BETWEEN: &str = "linux-6.6";

/// Those of the kernels that the lab has by name, the oldest first.
fn profiles() -> Vec<String> {
    let table: Table = include_str!("../../../kernel-configs/kernels.toml").parse().unwrap();
    let kernels = table["kernel"].as_array().unwrap();
    kernels.iter().map(|kernel| format!("linux-{}", kernel["name"].as_str().unwrap())).collect()
}

#[test]
fn profiles_reach_from_the_oldest_kernel_to_the_newest() {
    let profiles = profiles();
    let ends = [profiles.first(), profiles.last()].map(|profile| profile.unwrap().parse());
    assert_eq!(ends, [Ok(Profile::oldest()), Ok(Profile::newest())]);
}

/// But the newest, which tests/inprocess.rs has.
#[test]
fn every_profile_is_kept() {
    let older = profiles().into_iter().filter(|profile| *profile != Profile::newest().to_string());
    for profile in older.chain([BETWEEN.to_owned()]) {
        let mut reference = Command::new(env!("CARGO_BIN_EXE_nlconform-reference"));
        let output = reference.env("PROFILE", &profile).output().expect("the reference runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let failed: Vec<_> = text.lines().filter(|line| line.ends_with("... FAILED")).collect();
        assert!(output.status.success() && failed.is_empty(), "{profile}: {failed:#?}");
        let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap_or_default();
        let passed = result.split(' ').next().and_then(|passed| passed.parse().ok()).unwrap_or(0);
        assert!(passed > 1000, "{profile}: {result}");
    }
}
