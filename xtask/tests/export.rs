//! The exported directory, in a lab that has neither Rust nor this project: a guest, by its script alone.

use std::fs;
use std::process::{Command, Output};

use xtask::commands::args::KernelArgs;

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn its_script_judges_the_kernel_that_it_runs_on() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("nlconform");
    let made = xtask(&["export", dir.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(fs::read_to_string(dir.join("run.sh")).unwrap().lines().count() < 25);

    // The guest has the probe already; that it builds is tested below.
    let script = dir.join("run.sh");
    let run = |case: &str| {
        // A guest's program has one output: what goes to standard error is left out.
        let command = format!("EXPENDABLE=1 exec {} {case} 2>/dev/null", script.display());
        xtask(&["run", "--accel", "tcg", "--kernel", "6.12", "--", "sh", "-c", &command])
    };
    let well = run("genetlink::registration");
    let ktap = text(&well.stdout);
    assert_eq!(well.status.code(), Some(0), "{ktap}{}", text(&well.stderr));
    assert!(ktap.starts_with("KTAP version 1\n"), "{ktap}");
    assert!(ktap.contains("\n  ok 1 genetlink::registration::") && !ktap.contains("not ok"), "{ktap}");
    assert!(!ktap.contains("# SKIP needs probe"), "{ktap}");
    let mistyped = run("no::such::case");
    assert_ne!(mistyped.status.code(), Some(0), "{}", text(&mistyped.stdout));

    let again = xtask(&["export", dir.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("exists already"));
}

#[test]
fn its_probe_builds_by_its_makefile() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("nlconform");
    let made = xtask(&["export", dir.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let kernels = KernelArgs::default();
    let lab = kernels.open_lab().unwrap();
    let built = lab.build(xtask::vm::Arch::of_host(), &kernels.specs().unwrap()[0]).unwrap();
    let kdir = built.kernel.build_dir.unwrap().dir;
    let make = Command::new("make")
        .arg("-C")
        .arg(dir.join("probe"))
        .arg(format!("KDIR={}", kdir.display()))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(make.status.success(), "{}", text(&make.stderr));
    assert!(dir.join("probe/nlprobe.ko").exists());
}
