//! Kernels that the lab has not built: what cannot be used is refused in one line, and what can is booted with its
//! own modules.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nlconform::event::Verdict;
use nlconform::report::Record;
use xtask::commands::args::KernelArgs;
use xtask::vm::Arch;

/// Exit status of `cargo xtask test` with these arguments, and what it said.
fn test(args: &[&str]) -> (Option<i32>, String) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = xtask.args(["test", "--quiet", "--accel", "tcg"]).args(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A root directory with the lab's default kernel as if it had been installed there. Its modules are these: name, and
/// the names of what each depends on.
fn installed(root: &Path, modules: &[(&str, &str)]) -> String {
    let kernels = KernelArgs::default();
    let lab = kernels.open_lab().unwrap();
    let built = lab.build(Arch::of_host(), &kernels.specs().unwrap()[0]).unwrap();
    let release = built.kernel.release.clone();
    fs::create_dir_all(root.join("boot")).unwrap();
    symlink(&built.kernel.image, root.join("boot/vmlinux")).unwrap();
    let dir = root.join("lib/modules").join(&release);
    fs::create_dir_all(dir.join("kernel")).unwrap();
    let builtin = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n";
    fs::write(dir.join("modules.builtin"), builtin).unwrap();
    for (name, depends) in modules {
        let text = format!("\x7fELF\0depends={depends}\0");
        fs::write(dir.join("kernel").join(name).with_extension("ko"), text).unwrap();
    }
    release
}

#[test]
fn an_installed_kernel_is_found_booted_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (root, results) = (dir.path().join("root"), dir.path().join("results"));
    let release = installed(&root, &[]);
    let cases = ["netlink::acks", "genetlink::registration"];
    let args = ["--kernel-root", root.to_str().unwrap(), "--results", results.to_str().unwrap()];
    let (status, said) = test(&[&args[..], &cases[..]].concat());
    assert_eq!(status, Some(0), "{said}");
    let run = Record::read(&results).unwrap().runs.remove(0);
    assert_eq!(run.target, format!("kernel {release}"));
    let reasons: Vec<_> = run
        .reports
        .iter()
        .filter_map(|report| match &report.verdict {
            Verdict::Skip { reason } if reason.starts_with("needs probe") => Some(reason),
            _ => None,
        })
        .collect();
    assert!(run.reports.iter().any(|report| report.verdict == Verdict::Pass));
    let missing = format!("there are no headers of {release}");
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason.contains(&missing)), "{reasons:?}");
}

#[test]
fn a_module_that_the_kernel_refuses_is_named() {
    let root = tempfile::tempdir().unwrap();
    installed(root.path(), &[("nlmon", "other"), ("other", "")]);
    let (status, said) = test(&["--kernel-root", root.path().to_str().unwrap(), "netlink::acks"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("000-other.ko") && said.contains("are these the modules of this kernel?"),
        "{said}"
    );
}

#[test]
fn a_module_that_is_missing_is_named_before_anything_boots() {
    let root = tempfile::tempdir().unwrap();
    installed(root.path(), &[("nlmon", "gone")]);
    let (status, said) = test(&["--kernel-root", root.path().to_str().unwrap(), "netlink::acks"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("has no gone, which nlmon needs"), "{said}");
}

#[test]
fn a_root_without_a_kernel_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (status, said) = test(&["--kernel-root", root.path().to_str().unwrap(), "netlink::acks"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("there is no kernel: neither") && said.contains("/boot/vmlinuz-*"), "{said}");
}

#[test]
fn an_image_that_cannot_boot_is_given_up_with_qemus_words() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("boot")).unwrap();
    // It says that it is one of x86_64, and has nothing more.
    let head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0";
    let image = [head, b"Linux version 6.1.9 (nobody)".as_slice()].concat();
    fs::write(root.path().join("boot/vmlinuz-6.1.9"), image).unwrap();
    let (status, said) = test(&["--kernel-root", root.path().to_str().unwrap(), "netlink::acks"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("guests end before they run a case"), "{said}");
}

#[test]
fn a_variant_of_a_kernel_that_is_built_already_is_refused() {
    let (status, said) = test(&["--kernel", "host", "--variant", "fault", "netlink::acks"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("host is built already"), "{said}");
}

#[test]
fn ktap_is_all_that_goes_to_standard_output() {
    let root = tempfile::tempdir().unwrap();
    let release = installed(root.path(), &[]);
    let results = root.path().join("results");
    let args = ["test", "--accel", "tcg", "--format", "ktap", "netlink::acks"];
    let place = ["--kernel-root", root.path().to_str().unwrap(), "--results", results.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).args(place).output().unwrap();
    let ktap = String::from_utf8(output.stdout).unwrap();
    assert_eq!(ktap, fs::read_to_string(results.join("results.ktap")).unwrap());
    assert!(
        ktap.starts_with("KTAP version 1\n1..1\n") && ktap.contains(&format!("# Subtest: kernel {release}"))
    );
}
