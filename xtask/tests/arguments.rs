//! Invalid arguments of the lab.

use std::process::{Command, Output};

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap()
}

#[test]
fn filter_that_leaves_no_case() {
    let mistyped = xtask(&["test", "genetlink::registraton"]);
    assert_eq!(mistyped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&mistyped.stderr).contains("no case matches these filters"));
    assert_eq!(xtask(&["test", "--list", "genetlink::registration"]).status.code(), Some(0));
}

#[test]
fn architecture_that_is_unknown_or_one_too_many() {
    let refused = |args: &[&str]| {
        let refused = xtask(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        String::from_utf8_lossy(&refused.stderr).into_owned()
    };
    let unknown = refused(&["test", "--arch", "vax", "netlink::acks"]);
    assert!(unknown.contains("unknown architecture \"vax\"; known architectures: x86_64, "), "{unknown}");
    let two = refused(&["run", "--arch", "s390x,aarch64", "--", "true"]);
    assert!(two.contains("one kernel of one architecture"), "{two}");
    let compat = refused(&["test", "--compat", "--arch", "s390x", "netlink::acks"]);
    assert!(compat.contains("programs of i386 on kernels of x86_64"), "{compat}");
    // The host's programs are for the host's processor.
    let foreign = if cfg!(target_arch = "s390x") { "aarch64" } else { "s390x" };
    let other = refused(&["run", "--arch", foreign, "--", "true"]);
    assert!(other.contains("is for another architecture") && other.contains("--arch"), "{other}");
}

#[test]
fn what_cannot_be_written_or_read_is_told_before_any_work() {
    for (args, why) in [
        (&["export", "/proc/x"][..], "cannot write to /proc"),
        (&["new", "NL-ACK", "fn"], "a keyword of Rust"),
        (&["test", "--config", "/dev/null", "netlink::acks"], "--config takes a regular file"),
    ] {
        let refused = xtask(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{args:?}: {said}");
    }
}

/// Nothing is printed before the error, and no KVM, package or network is looked for.
#[test]
fn names_that_are_unknown_are_refused_first() {
    for (args, words) in [
        (
            &["test", "--variant", "nonsense"][..],
            "unknown variant \"nonsense\"; known variants: client, compat, ",
        ),
        (&["test", "--variant", "fault", "--variant", "../debug"], "unknown variant \"../debug\""),
        (&["test", "--variant", "netlink"], "unknown variant \"netlink\""),
        (&["client", "--adapter", "true", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (
            &["client", "--adapter", "true", "--kernel", "nonsense"],
            "unknown kernel \"nonsense\"; known kernels: ",
        ),
        (&["client", "--client", "nonsense"], "nonsense"),
        (&["test", "--kernel", "nonsense"], "unknown kernel \"nonsense\"; known kernels: "),
        (&["test", "--kernel", "6.12,nonsense"], "unknown kernel \"nonsense\""),
        (&["test", "--kernel", "stable,nonsense"], "unknown kernel \"nonsense\""),
        (&["test", "--kernel-src", "/nonexistent"], "cannot read --kernel-src /nonexistent: No such file"),
        (&["test", "--kernel-root", "/nonexistent"], "cannot read --kernel-root /nonexistent"),
        (&["test", "--kernel-image", "/nonexistent"], "cannot read --kernel-image /nonexistent"),
        (&["test", "--kernel", "./nonexistent.deb"], "cannot read --kernel ./nonexistent.deb: No such file"),
        (&["test", "--arch", "x86_64,vax"], "unknown architecture \"vax\""),
        (&["build", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["shell", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["run", "--variant", "nonsense", "--", "true"], "unknown variant \"nonsense\""),
        (&["bench", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["explore", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["explore", "--arch", "vax"], "unknown architecture \"vax\""),
        (&["explore", "--between", "6.12", "nonsense"], "unknown kernel \"nonsense\""),
        (&["explore", "--between", "6.12", "6.12"], "two kernels"),
        (&["coverage", "--kernel", "nonsense"], "unknown kernel \"nonsense\""),
        (&["coverage", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["mutants", "--kernel", "nonsense"], "unknown kernel \"nonsense\""),
        (&["mutants", "--variant", "nonsense"], "unknown variant \"nonsense\""),
        (&["history", "nonsense"], "unknown bug nonsense"),
    ] {
        let refused = xtask(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{args:?}: {said}");
        assert!(said.contains(words) && refused.stdout.is_empty(), "{args:?}: {said}");
    }
    let target = xtask(&["test", "--target", "nonsense"]);
    let said = String::from_utf8_lossy(&target.stderr);
    assert!(
        said.starts_with("error: invalid value 'nonsense' for '--target") && said.contains("gvisor"),
        "{said}"
    );
}

#[test]
fn counts_of_nothing() {
    for args in [
        &["explore", "--sequences", "0"][..],
        &["explore", "--differences", "0"],
        &["explore", "--first", "18446744073709551615"],
        &["explore", "--time", "0s"],
        &["history", "--explore", "0"],
        &["mutants", "--explore", "0"],
        &["mutants", "--sample", "0"],
        &["bench", "--runs", "0"],
        &["test", "--jobs", "0"],
        &["test", "--smp", "0"],
        &["test", "--memory", "0"],
        &["test", "--max-crashes", "0"],
        &["cache", "prune", "--older-than", "0"],
    ] {
        let refused = xtask(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        let (option, value) = (args[args.len() - 2], args[args.len() - 1]);
        let begin = format!("error: invalid value '{value}' for '{option} ");
        assert!(said.starts_with(&begin), "{args:?}: {said}");
    }
}

#[test]
fn package_that_cannot_exist() {
    for name in ["deb:", "deb:--help", "deb:linux-image-amd64/", "deb:../x", "deb:linux-image-amd64/a b"] {
        let refused = xtask(&["test", "--kernel", name, "netlink::acks"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("names no package of Debian's") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn whole_configuration_that_is_none() {
    let refused = |file: &str, kernel: &str| {
        let refused = xtask(&["build", "--kernel", kernel, "--config-from", file]);
        assert_eq!(refused.status.code(), Some(2), "{file}");
        String::from_utf8_lossy(&refused.stderr).into_owned()
    };
    let gone = refused("/nonexistent/.config", "6.12");
    assert!(gone.contains("cannot read --config-from /nonexistent/.config"), "{gone}");
    let other = refused("/proc/self/comm", "6.12");
    assert!(other.contains("is not the .config of a kernel") && other.lines().count() == 1, "{other}");
    let built = refused("/dev/null", "host");
    assert!(built.contains("--config-from changes how a kernel is built"), "{built}");
}

#[test]
fn options_of_another_tool() {
    for option in ["--bench", "--ignored", "--test-threads=1", "--nocapture"] {
        assert_eq!(xtask(&["test", option]).status.code(), Some(2), "{option}");
    }
    let help = xtask(&["test", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    assert!(help.contains("[FILTER]...") && help.contains("--max-crashes"), "{help}");
    assert!(!help.contains("bench"), "{help}");
}

#[test]
fn results_that_cannot_be_written() {
    let refused = xtask(&["test", "--results", "/proc/results", "netlink::acks"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("results cannot be written to /proc/results"), "{told}");
}

#[test]
fn words_that_a_command_line_cannot_have() {
    let long = "a".repeat(1025);
    for (words, why) in [("a=\"b c", "double quote is left open"), (&long, "has room for 1024")] {
        let refused = xtask(&["test", "--append", words]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{why}");
    }
}

#[test]
fn a_mirror_that_is_no_url() {
    let mut build = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let refused =
        build.args(["build", "--kernel", "6.12"]).env("NLCONFORM_KERNEL_MIRROR", "rubbish").output();
    let refused = refused.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.starts_with("error: NLCONFORM_KERNEL_MIRROR is to be the URL"), "{said}");
}
