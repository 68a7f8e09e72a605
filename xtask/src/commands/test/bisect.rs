//! `cargo xtask test --bisect GOOD BAD`: the first commit at which a case fails.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use nlconform::event::{Report, Verdict};
use nlconform::report::known::Known;
use nlconform::report::{Record, Run, is_well};

use super::{Ended, Format, TestArgs, profile_of, show, show_record};
use crate::commands::output::Output;
use crate::host::cache::Kind;
use crate::host::content::Key;
use crate::host::progress::say;
use crate::host::signals;
use crate::making::kbuild::KernelSpec;
use crate::making::lab::Lab;
use crate::making::source::bisection::{Bisection, Commit, Found, Judged};
use crate::making::source::tree;
use crate::running::results::Folder;
use crate::running::schedule::{self, Job, Limits};
use crate::vm::{Arch, Place};

/// Names of a list that are shown.
const SHOWN: usize = 3;

/// Bisects, and shows the first bad commit with what failed there.
///
/// # Errors
/// GOOD or BAD is not what it is said to be, or cannot be tested; or no commit can be named because those that
/// may be the first cannot be tested.
pub fn bisect(args: &TestArgs, cases: &[String], known: &Known, good: &str, bad: &str) -> Result<Ended> {
    let [(arch, KernelSpec::Tree { dir, options, .. })] = &args.kernels.targets()?[..] else {
        bail!("--bisect builds the kernels of one tree for one architecture: name it with --arch");
    };
    let dir = tree::find(dir)?;
    let folder = Folder::prepare(args.run.results.as_deref(), SystemTime::now())?;
    let lab = args.kernels.open_lab()?;
    lab.explain_accel(args.machine.accel)?;
    let key = Key::new().part("bisection of", dir.as_os_str().as_encoded_bytes()).finish();
    let label = format!("bisection of {}", dir.display());
    let mut ended = Ok(Ended::Well);
    lab.cache.updated(Kind::Tree, &key, &label, &lab.progress, |making| {
        let bisection = Bisection::start(&dir, good, bad, &making.dir.join("worktree"))?;
        let spec = KernelSpec::Tree { dir: bisection.tree.clone(), copy: false, options: options.clone() };
        let search = Search { args, arch, spec, known, lab: &lab, bisection: &bisection };
        ended = search.run(cases, &folder);
        Ok(())
    })?;
    ended
}

/// What is the same for all commits.
struct Search<'a> {
    args: &'a TestArgs,
    arch: &'static Arch,
    spec: KernelSpec,
    known: &'a Known,
    lab: &'a Lab,
    bisection: &'a Bisection,
}

/// A commit that was tested.
struct Tested {
    commit: Commit,
    run: Run,
    consoles: Vec<String>,
}

impl Search<'_> {
    fn run(&self, cases: &[String], folder: &Folder) -> Result<Ended> {
        let (bad, good) = (self.bisection.bad.clone(), self.bisection.good.clone());
        let at_bad = self.end("BAD", &bad, cases, None)?;
        let failing = names(at_bad.run.reports.iter().filter(|report| !is_well(report)));
        if failing.is_empty() {
            bail!("BAD, {bad}, passes every case: nothing to bisect");
        }
        say(format_args!("BAD, {bad}: {} fail", list(&failing)));
        let profile = at_bad.run.profile.clone();
        let at_good = self.end("GOOD", &good, &failing, Some(&profile))?;
        let wanted = names(at_good.run.reports.iter().filter(|report| report.verdict == Verdict::Pass));
        if wanted.is_empty() {
            bail!("GOOD, {good}, is no better: {} also fail there, or are skipped", list(&failing));
        }
        say(format_args!("GOOD, {good}: {} pass", list(&wanted)));
        let left_out: Vec<_> = failing.into_iter().filter(|case| !wanted.contains(case)).collect();
        if !left_out.is_empty() {
            say(format_args!("left out, because they do not pass at GOOD either: {}", list(&left_out)));
        }
        let mut worst = at_bad;
        let found = self.bisection.search(|commit| self.judge(commit, &wanted, &profile, &mut worst))?;
        worst.run.reports.retain(|report| wanted.contains(&report.case));
        self.report(&found, worst, folder)
    }

    /// Tests one of the two ends, which must be possible.
    fn end(&self, which: &str, commit: &Commit, cases: &[String], profile: Option<&str>) -> Result<Tested> {
        self.bisection.check_out(commit)?;
        self.test(commit, cases, profile).with_context(|| format!("{which}, {commit}, cannot be tested"))
    }

    /// Judges a commit between the ends; `worst` becomes it if it is bad.
    fn judge(&self, commit: &Commit, cases: &[String], profile: &str, worst: &mut Tested) -> Result<Judged> {
        let tested = match self.test(commit, cases, Some(profile)) {
            Ok(tested) => tested,
            Err(error) => {
                if let Some(signal) = signals::stopped() {
                    bail!("stopped by {signal}");
                }
                let error = format!("{error:#}");
                say(format_args!(
                    "{commit}: skipped, cannot be tested: {}",
                    error.lines().next().unwrap_or("")
                ));
                return Ok(Judged::Skip);
            }
        };
        let reports = &tested.run.reports;
        let judged = match reports.iter().find(|report| !is_well(report)) {
            Some(report) => {
                say(format_args!("{commit}: bad, {} fails", report.case));
                Judged::Bad
            }
            None if reports.iter().all(|report| report.verdict == Verdict::Pass) => {
                say(format_args!("{commit}: good"));
                Judged::Good
            }
            None => {
                say(format_args!("{commit}: skipped, because a case does not apply there"));
                Judged::Skip
            }
        };
        if judged == Judged::Bad {
            *worst = tested;
        }
        Ok(judged)
    }

    /// Builds what is checked out, and runs these cases on it, judged by BAD's profile.
    fn test(&self, commit: &Commit, cases: &[String], profile: Option<&str>) -> Result<Tested> {
        let built = self.lab.build(self.arch, &self.spec)?;
        let machine = self.lab.machine(&built, &self.args.machine.settings(), |_| Ok(()))?;
        let profile = profile.map_or_else(|| profile_of(self.args, &built.kernel.release), str::to_owned);
        let plan = schedule::plan(&profile, cases.to_vec(), built.kernel.needs.factor());
        let target = format!("kernel {} of {commit}", built.kernel.release);
        let jobs = [Job { target, place: Place::Machine(machine), plan }];
        let limits = Limits { slots: self.args.machine.jobs(), max_crashes: self.args.run.max_crashes };
        let mut shown = show(&jobs, limits, cases, self.known, true);
        let results = shown.results.remove(0);
        let run = results.to_run(&jobs[0], self.known);
        if let Some(error) = run.errors.first() {
            bail!("{error}");
        }
        Ok(Tested { commit: commit.clone(), run, consoles: results.consoles })
    }

    /// Shows what was found, and keeps the results of the commit.
    fn report(&self, found: &Found, worst: Tested, folder: &Folder) -> Result<Ended> {
        let mut output = Output::default();
        let record = Record::new(SystemTime::now(), vec![worst.run]);
        let written = folder.write(&record, &[&worst.consoles]).map(|folder| folder.join("report.html"));
        show_record(&record, self.args.run.format, &mut output);
        match found {
            Found::First(first) => {
                say(format_args!("first bad commit: {first}"));
                if self.args.run.format == Format::Pretty {
                    output.line(&format!("\n{}", self.bisection.show(first)?));
                }
            }
            Found::OneOf(commits) => {
                let lines: String = commits.iter().map(|commit| format!("\n  {commit}")).collect();
                say(format_args!("{} is the first bad commit that could be tested", worst.commit));
                say(written?.display());
                bail!("the first bad commit is one of these, as those before it could not be tested:{lines}");
            }
        }
        say(written?.display());
        output.end()?;
        Ok(Ended::Well)
    }
}

fn names<'a>(reports: impl Iterator<Item = &'a Report>) -> Vec<String> {
    reports.map(|report| report.case.clone()).collect()
}

/// The first of these names, and how many there are.
fn list(names: &[String]) -> String {
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=SHOWN => first,
        count => format!("{first} and {} other cases", count - SHOWN),
    }
}
