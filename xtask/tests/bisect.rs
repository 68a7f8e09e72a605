//! `--bisect` on a repository whose tree is built by a script: it takes the lab's default kernel, and its bad commits
//! change a message that a case reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nlconform::report::Record;
use xtask::commands::args::KernelArgs;
use xtask::vm::Arch;

const CASE: &str = "genetlink::attributes::leftover_bytes_are_refused::one_byte";
const MESSAGE: [&str; 2] = ["bytes leftover after parsing", "bytes leftover AFTER parsing"];

/// A repository of trees that Kbuild could not tell from kernels: each commit has one of these states.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new(states: &[&str]) -> Repository {
        let repository = Repository { dir: tempfile::tempdir().unwrap() };
        let tree = repository.dir.path();
        repository.git(&["init", "--quiet"]);
        let kernels = KernelArgs::default();
        let arch = Arch::of_host();
        let built = kernels.open_lab().unwrap().build(arch, &kernels.specs().unwrap()[0]).unwrap();
        for file in ["Kbuild", "Kconfig"] {
            fs::write(tree.join(file), "").unwrap();
        }
        for (number, state) in states.iter().enumerate() {
            let makefile = makefile(state, arch, &built.kernel.image, &built.kernel.release);
            fs::write(tree.join("Makefile"), makefile).unwrap();
            fs::write(tree.join("number"), number.to_string()).unwrap();
            repository.git(&["add", "--all"]);
            repository.git(&["commit", "--quiet", "--message", &format!("Commit {number}: {state}")]);
        }
        repository
    }

    fn git(&self, args: &[&str]) {
        let identity = ["-c", "user.name=n", "-c", "user.email=e"];
        let status = Command::new("git").arg("-C").arg(self.dir.path()).args(identity).args(args).status();
        assert!(status.unwrap().success(), "{args:?}");
    }

    fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    /// Bisects between commits of these numbers, counted from the last: exit status, standard output and error.
    fn bisect(&self, good: usize, bad: usize) -> (Option<i32>, String, String) {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        xtask.args(["test", "--accel", "tcg", "--no-probe", "--kernel-src"]).arg(self.dir.path());
        xtask.args(["--bisect", &format!("HEAD~{good}"), &format!("HEAD~{bad}"), CASE]);
        let output = xtask.arg("--results").arg(self.results()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

fn makefile(state: &str, arch: &Arch, image: &Path, release: &str) -> String {
    let (target, file) = arch.image;
    let [right, wrong] = MESSAGE;
    let build = match state {
        "good" => format!("cp {} $(O)/{file}", image.display()),
        "bad" => format!("sed 's/{right}/{wrong}/' {} > $(O)/{file}", image.display()),
        _ => "echo 'net/netlink/genetlink.c:1: error: no'; false".to_owned(),
    };
    format!(
        "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\n\
         allnoconfig:\n\tcp $(KCONFIG_ALLCONFIG) $(O)/.config\n\
         {target}:\n\tmkdir -p $(O)/include/generated $(O)/$(dir {file})\n\
         \techo '#define UTS_RELEASE \"{release}\"' > $(O)/include/generated/utsrelease.h\n\t{build}\n\
         modules:\n\ttrue\n"
    )
}

#[test]
fn the_first_bad_commit_is_shown_with_the_report_of_what_fails_there() {
    let repository = Repository::new(&["good", "broken", "good", "bad", "bad"]);
    let (status, shown, said) = repository.bisect(4, 0);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("(\"Commit 1: broken\"): skipped") || !said.contains("Commit 1"), "{said}");
    assert!(said.contains("first bad commit: ") && said.contains("(\"Commit 3: bad\")"), "{said}");
    assert!(shown.contains(CASE) && shown.contains(MESSAGE[1]), "{shown}");
    assert!(shown.contains("Commit 3: bad\n") && shown.contains("Makefile | 2 +-"), "{shown}");
    let run = Record::read(&repository.results()).unwrap().runs.remove(0);
    assert!(run.target.ends_with("(\"Commit 3: bad\")"), "{}", run.target);
    assert_eq!(run.reports.iter().map(|report| report.case.as_str()).collect::<Vec<_>>(), [CASE]);
}

#[test]
fn ends_that_are_not_what_they_are_said_to_be_are_refused() {
    let repository = Repository::new(&["broken", "bad", "good", "bad"]);
    let refused = |good, bad| {
        let (status, shown, said) = repository.bisect(good, bad);
        assert_eq!((status, shown.as_str()), (Some(2), ""), "{said}");
        said
    };
    let passes = refused(2, 1);
    assert!(passes.contains("BAD, ") && passes.contains("(\"Commit 2: good\"), passes"), "{passes}");
    let fails = refused(2, 0);
    assert!(fails.contains("(\"Commit 1: bad\"), is no better: ") && fails.contains(CASE), "{fails}");
    let broken = refused(3, 0);
    assert!(
        broken.contains("GOOD, ") && broken.contains("(\"Commit 0: broken\"), cannot be tested"),
        "{broken}"
    );
    assert!(broken.contains("error: no"), "{broken}");
}
