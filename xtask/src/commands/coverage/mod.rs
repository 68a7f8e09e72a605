//! `cargo xtask coverage`: which lines and branches of the kernel's code under test the suite runs. gcov counts,
//! gcov and lcov explain; here is only what joins them.

pub(super) mod table;

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use nlconform::cases;
use nlconform::event::{Role, Verdict};
use nlconform::program::Program;
use nlconform::report::known::Known;
use nlconform::selection::Selection;

use self::table::{Covered, Unreached, render};
use super::Ended;
use super::args::MachineArgs;
use crate::host::command::in_english;
use crate::host::packages::Purpose;
use crate::host::progress::say;
use crate::making::kbuild::{self, BuildOptions, KernelSpec, tested};
use crate::making::lab::{Bootable, Lab};
use crate::making::source::Kernels;
use crate::running::conversation::exec;
use crate::running::schedule::{self, Job, Limits};
use crate::running::session::News;
use crate::vm::{Arch, Place, Settings};

/// The variant whose kernel counts.
pub const VARIANT: &str = "coverage";

/// The kernel's own selftest of netlink that needs nothing but C, below its tree.
const SELFTEST: &str = "tools/testing/selftests/net/netlink-dumps.c";

/// The most bytes that are kept of what the selftest says.
const SAID: usize = 1 << 20;

/// Arguments of `cargo xtask coverage`.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// A kernel of kernel-configs/kernels.toml [default: the one named there]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Add kernel-configs/NAME.config, such as fault, with which cases reach more (can be repeated)
    #[arg(long, value_name = "NAME")]
    variant: Vec<String>,
    /// Do not install missing host packages
    #[arg(long)]
    no_install: bool,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    selection: Selection,
}

/// Runs the suite on a kernel that counts, and shows what it reached.
pub fn coverage(args: &CoverageArgs) -> Result<Ended> {
    let chosen = args.selection.cases(Role::Target).map_err(anyhow::Error::msg)?;
    args.variant.iter().try_for_each(|name| kbuild::check_variant(name))?;
    let kernels = Kernels::load()?;
    let name = args.kernel.clone().unwrap_or_else(|| kernels.default.clone());
    let kernel = kernels.get(&name)?;
    let unreached = Unreached::read(&args.variant)?;
    let purposes = [Purpose::Program, Purpose::Kernel, Purpose::Coverage];
    let arch = Arch::of_host();
    let lab = Lab::open(&purposes, &[arch], !args.no_install)?;
    lab.explain_accel(args.machine.accel)?;
    let tree = kernels.source(&kernel, &lab.cache, &lab.progress)?.dir;
    let variants = [vec![VARIANT.to_owned()], args.variant.clone()].concat();
    let options = BuildOptions { variants, ..BuildOptions::default() };
    let built = lab.build(arch, &KernelSpec::Release { name, patches: Vec::new(), options })?;
    let machine = lab.machine(&built, &args.machine.settings(), |_| Ok(()))?;
    let names = chosen.iter().map(|case| case.name.clone()).collect();
    let mut plan =
        schedule::plan(&schedule::profile(&built.kernel.release), names, built.kernel.needs.factor());
    plan.counters = true;
    let jobs = [Job { target: built.kernel.label.clone(), place: Place::Machine(machine), plan }];
    let limits = Limits { slots: args.machine.jobs(), max_crashes: 20 };
    let results = schedule::run(&jobs, limits, &mut |_, _| {});
    let run = results[0].to_run(&jobs[0], &Known::default());
    if !run.errors.is_empty() {
        bail!("{}", run.errors.join("\n"));
    }
    let bad = |verdict: &Verdict| !matches!(verdict, Verdict::Pass | Verdict::Skip { .. });
    for report in run.reports.iter().filter(|report| bad(&report.verdict)) {
        say(format_args!("does not pass: {}", report.case));
    }

    let folder = crate::project_root().join("target/coverage");
    let build_dir = &built.kernel.build_dir.as_ref().context("the kernel was built here")?.dir;
    let counters = gather(&results[0].counters, build_dir, &folder)?;
    let covered = Covered::of(gcov(&counters)?);
    html(&counters, &folder)?;
    let theirs = selftest(&tree, &lab, &built, &args.machine.settings())?;
    let table = render(&jobs[0].target, &covered, &theirs, &unreached);
    fs::write(folder.join("coverage.md"), &table.page)?;
    println!("{}", table.summary);
    println!("{}", folder.join("coverage.md").display());
    println!("{}", folder.join("html/index.html").display());
    // A part of the suite need not reach all.
    let whole = chosen.len() == cases::of(Role::Target).len();
    Ok(if whole && !table.is_explained { Ended::Failed } else { Ended::Well })
}

/// What the kernel's own selftest of netlink reaches of it, for comparison; nothing where the tree has none.
fn selftest(tree: &Path, lab: &Lab, built: &Bootable, settings: &Settings) -> Result<Covered> {
    let source = tree.join(SELFTEST);
    if !source.exists() {
        return Ok(Covered::default());
    }
    let place = tempfile::tempdir()?;
    let program = place.path().join("selftest");
    run(Command::new("gcc").args(["-static", "-O1", "-o"]).arg(&program).arg(&source))?;
    let machine = lab.machine(built, settings, |image| {
        image.dir("program")?;
        image.file("program/selftest", &program)
    })?;
    let (mut counters, mut said) = (Vec::new(), String::new());
    let argv = Program::here(vec!["/program/selftest".to_owned()]);
    let tell = &mut |news| {
        if let News::Counters { file, bytes } = news {
            counters.push((file, bytes));
        }
    };
    exec(&Place::Machine(machine), argv, tell, &mut |text| {
        said += text;
        // Its last line is wanted, and a guest may write without end.
        if said.len() > SAID {
            said.clear();
        }
    })?;
    if let Some(totals) = said.lines().find(|line| line.starts_with("# Totals:")) {
        say(format_args!("{SELFTEST}: {}", totals.trim_start_matches("# Totals: ")));
    }
    let build_dir = &built.kernel.build_dir.as_ref().context("the kernel was built here")?.dir;
    Ok(Covered::of(gcov(&gather(&counters, build_dir, &place.path().join("counters"))?)?))
}

/// Writes what came from the guests, merged, each beside the notes of the compiler. Returns the folder.
pub fn gather(counters: &[(String, Vec<u8>)], build_dir: &Path, folder: &Path) -> Result<PathBuf> {
    if counters.is_empty() {
        bail!("no guest sent counters");
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut times = HashMap::new();
    for (file, bytes) in counters {
        let object = object(file, build_dir).with_context(|| {
            format!("the guest sent counters of {file}, which is no file of {}", build_dir.display())
        })?;
        let time = times.entry(file).and_modify(|time| *time += 1).or_insert(1);
        let place = folder.join(format!("guest-{time}")).join(&object);
        fs::create_dir_all(place.parent().context("a file has a folder")?)?;
        fs::write(&place, bytes)?;
    }
    let guests = times.values().copied().max().unwrap_or(1);
    let mut merged = folder.join("guest-1");
    for guest in 2..=guests {
        let (next, both) = (folder.join(format!("guest-{guest}")), folder.join(format!("merged-{guest}")));
        run(Command::new("gcov-tool").arg("merge").arg("-o").arg(&both).args([&merged, &next]))?;
        merged = both;
    }
    for file in times.keys() {
        let notes = object(file, build_dir).context("checked above")?.with_extension("gcno");
        fs::copy(build_dir.join(&notes), merged.join(&notes))?;
    }
    Ok(merged)
}

/// The path below the build directory of a file that a guest names, if it is one of the kernel's.
fn object(file: &str, build_dir: &Path) -> Option<PathBuf> {
    let below = Path::new(file).strip_prefix(build_dir).ok()?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && build_dir.join(below).with_extension("gcno").is_file()).then(|| below.to_owned())
}

/// The files of counters below a folder.
fn counter_files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    files.map(|entry| entry.into_path()).filter(|path| path.extension().is_some_and(|kind| kind == "gcda"))
}

/// What gcov says of each, in its JSON format.
pub fn gcov(folder: &Path) -> Result<Vec<serde_json::Value>> {
    let explain = |file: PathBuf| {
        let mut gcov = Command::new("gcov");
        gcov.args(["--json-format", "--branch-probabilities", "--stdout"]).arg(&file).current_dir(folder);
        serde_json::from_slice(&run(&mut gcov)?).with_context(|| format!("gcov on {}", file.display()))
    };
    counter_files(folder).map(explain).collect()
}

/// lcov's trace file, and genhtml's pages.
fn html(counters: &Path, folder: &Path) -> Result<()> {
    let trace = folder.join("lcov.info");
    let branches = ["--rc", "lcov_branch_coverage=1"];
    let mut lcov = Command::new("lcov");
    lcov.args(["--quiet", "--capture"]).args(branches).arg("--directory").arg(counters);
    run(lcov.arg("--output-file").arg(&trace))?;
    let mut extract = Command::new("lcov");
    extract.arg("--quiet").args(branches).arg("--extract").arg(&trace);
    extract.args(tested::files().iter().map(|file| format!("*/{}", file.path)));
    run(extract.arg("--output-file").arg(&trace))?;
    let mut genhtml = Command::new("genhtml");
    genhtml.args(["--quiet", "--branch-coverage", "--output-directory"]).arg(folder.join("html"));
    run(genhtml.arg(&trace)).map(drop)
}

/// Runs a tool and returns its standard output.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = in_english(command).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_names_only_files_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/a.gcno"), "").unwrap();
        let object = |below: &str| object(&format!("{}/{below}", dir.path().display()), dir.path());
        assert_eq!(object("net/a.gcda"), Some(PathBuf::from("net/a.gcda")));
        assert_eq!(object("net/b.gcda"), None);
        assert_eq!(object("net/../net/a.gcda"), None);
        assert_eq!(super::object("/etc/a.gcda", dir.path()), None);
    }
}
