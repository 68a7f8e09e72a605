//! `cargo xtask history`: bugs that Linux once had are put back, one after the other, and the suite is
//! run on each. One kernel is built with all of them; a word on its command line switches one on.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use nlconform::cases;
use nlconform::event::{Report, Verdict};
use nlconform::report::known::Known;
use nlconform::report::word;
use serde::Deserialize;

use super::Ended;
use super::args::MachineArgs;
use super::explore::variants::{Variant, explore_each};
use crate::host::packages::Purpose;
use crate::host::signals;
use crate::making::kbuild::{BuildOptions, KernelSpec};
use crate::making::lab::{Bootable, Lab};
use crate::running::schedule::{self, Job, Limits};
use crate::vm::{Arch, Place, Settings};

/// Arguments of `cargo xtask history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Bugs of conformance/history/history.toml [default: all, and docs/history.md is written]
    #[arg(value_name = "BUG")]
    bugs: Vec<String>,
    /// Run each case on each bug, not only as many as it takes
    #[arg(long)]
    all_cases: bool,
    /// Run no case: make so many random sequences on each bug (docs/explore.md), and tell which differ from the
    /// reference implementation
    #[arg(
        long,
        value_name = "SEQUENCES",
        conflicts_with = "all_cases",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    explore: Option<u64>,
    /// Do not install missing host packages
    #[arg(long)]
    no_install: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// conformance/history/history.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The kernel that the patches are for.
    pub kernel: String,
    /// The bugs, in the order in which their patches are applied.
    #[serde(rename = "bug")]
    pub bugs: Vec<Bug>,
}

/// A bug that Linux once had.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What switches it on: `nlbug=NAME`.
    pub name: String,
    /// Title of the commit that fixed it.
    pub fix: String,
    /// That commit, where it is known.
    pub commit: Option<String>,
    /// Year of the fix.
    pub year: u16,
    /// First version that had it.
    pub version: String,
    /// What users saw.
    pub saw: String,
    /// How the patch puts it back into today's code.
    pub back: String,
    /// Cases that are expected to see it, the likeliest first.
    #[serde(default)]
    pub caught_by: Vec<String>,
    /// The variant of the kernel (kernel-configs/) on which they do, where the plain one does not show it.
    pub variant: Option<String>,
    /// Why no case can see it.
    pub unseen: Option<String>,
}

/// What the suite made of a bug.
#[derive(Debug)]
pub struct Found {
    /// Reports of the cases that saw it, in the order of the suite.
    pub by: Vec<Report>,
    /// What the lab could not do.
    pub errors: Vec<String>,
}

/// The folder of the data and the patches.
fn folder() -> PathBuf {
    crate::project_root().join("conformance/history")
}

impl History {
    /// Reads it.
    ///
    /// # Errors
    /// The file is wrong.
    pub fn read() -> Result<History> {
        let path = folder().join("history.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let history: History =
            toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        for bug in &history.bugs {
            let unknown = bug.caught_by.iter().find(|case| cases::find(case).is_none());
            if let Some(case) = unknown {
                bail!("{}: {} is caught by {case}, but there is no such case", path.display(), bug.name);
            }
            if bug.caught_by.is_empty() == bug.unseen.is_none() {
                bail!("{}: {} needs either caught_by or unseen", path.display(), bug.name);
            }
            if bug.variant.is_some() && bug.unseen.is_some() {
                bail!("{}: {} needs no variant if nothing sees it", path.display(), bug.name);
            }
        }
        Ok(history)
    }

    /// The switch, and then each bug.
    fn patches(&self) -> Vec<PathBuf> {
        let names = self.bugs.iter().map(|bug| bug.name.as_str());
        let file = |name| folder().join("patches").join(name).with_extension("patch");
        ["nlbug"].into_iter().chain(names).map(file).collect()
    }

    /// The kernel that has all of them, or a variant of it.
    fn spec(&self, variant: Option<&str>) -> KernelSpec {
        let options = BuildOptions::of_variants(variant);
        KernelSpec::Release { name: self.kernel.clone(), patches: self.patches(), options }
    }

    /// The bugs that are meant.
    fn select(&self, names: &[String]) -> Result<Vec<&Bug>> {
        let find = |name: &String| {
            let found = self.bugs.iter().find(|bug| bug.name == *name);
            found.with_context(|| {
                format!("unknown bug {name}: conformance/history/history.toml has the names")
            })
        };
        if names.is_empty() { Ok(self.bugs.iter().collect()) } else { names.iter().map(find).collect() }
    }
}

/// Puts the bugs back and shows which cases see them.
pub fn history(args: &HistoryArgs) -> Result<Ended> {
    let history = History::read()?;
    let bugs = history.select(&args.bugs)?;
    let arch = Arch::of_host();
    let lab = Lab::open(&[Purpose::Program, Purpose::Kernel], &[arch], !args.no_install)?;
    lab.explain_accel(args.machine.accel)?;
    if let Some(sequences) = args.explore {
        let built = lab.build(arch, &history.spec(None))?;
        return explore(args, &lab, &built, &bugs, sequences);
    }
    let variants: BTreeSet<_> = bugs.iter().map(|bug| bug.variant.as_deref()).collect();
    let (mut label, mut found) = (String::new(), BTreeMap::new());
    for variant in variants {
        let bugs: Vec<_> = bugs.iter().copied().filter(|bug| bug.variant.as_deref() == variant).collect();
        let hunt = Hunt { args, lab: &lab, built: lab.build(arch, &history.spec(variant))? };
        let results = hunt.find(&bugs)?;
        show(&bugs, &results);
        if let Some(signal) = signals::stopped() {
            bail!("stopped by {signal}: docs/history.md is as it was");
        }
        found.extend(bugs.iter().map(|bug| bug.name.as_str()).zip(results));
        if variant.is_none() {
            label = hunt.built.kernel.label;
        }
    }
    let found: Vec<_> = bugs.iter().filter_map(|bug| found.remove(bug.name.as_str())).collect();
    let caught = found.iter().filter(|found| !found.by.is_empty()).count();
    println!("{caught} of {} bugs caught", bugs.len());
    if args.bugs.is_empty() {
        let page = crate::project_root().join("docs/history.md");
        let text = page::render(&label, &bugs, &found);
        fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        println!("{}", page.display());
    }
    let as_expected = bugs.iter().zip(&found).all(|(bug, found)| bug.unseen.is_some() == found.by.is_empty());
    let errors: Vec<_> = found.iter().flat_map(|found| &found.errors).map(String::as_str).collect();
    if !errors.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    Ok(if as_expected { Ended::Well } else { Ended::Failed })
}

/// Explores each bug; what counts most is those that no case sees.
fn explore(args: &HistoryArgs, lab: &Lab, built: &Bootable, bugs: &[&Bug], sequences: u64) -> Result<Ended> {
    let variant = |bug: &&Bug| Variant { name: bug.name.clone(), switch: format!("nlbug={}", bug.name) };
    let variants: Vec<_> = bugs.iter().map(variant).collect();
    let found = explore_each(lab, built, &args.machine, sequences, &variants)?;
    let unseen = bugs.iter().filter(|bug| bug.unseen.is_some() && found.contains(&bug.name));
    println!("of those that no case sees: {}", unseen.count());
    Ok(Ended::Well)
}

fn all_cases() -> Vec<String> {
    cases::all().iter().map(|case| case.name.clone()).collect()
}

/// What is the same for all bugs of a kernel.
struct Hunt<'a> {
    args: &'a HistoryArgs,
    lab: &'a Lab,
    built: Bootable,
}

impl Hunt<'_> {
    /// What the suite makes of each of these bugs.
    fn find(&self, bugs: &[&Bug]) -> Result<Vec<Found>> {
        let expected = |bug: &Bug| match &bug.unseen {
            None if !self.args.all_cases => bug.caught_by.clone(),
            _ => all_cases(),
        };
        let needed: BTreeSet<_> = bugs.iter().flat_map(|bug| expected(bug)).collect();
        let [healthy] = <[Found; 1]>::try_from(self.run(&[None], |_| needed.iter().cloned().collect())?)
            .expect("one job, one result");
        if let Some(report) = healthy.by.first() {
            let Report { case, verdict, .. } = report;
            let why = match verdict {
                Verdict::Fail(mismatch) => format!("{} was {}", mismatch.what, mismatch.got),
                verdict => word(verdict).to_owned(),
            };
            bail!("{case} does not pass although no bug is put back: {why}");
        }
        let all: Vec<_> = bugs.iter().copied().map(Some).collect();
        let mut found = self.run(&all, |bug| bug.map_or_else(all_cases, expected))?;
        // Where those that should have seen it did not, any other may.
        let missed: Vec<_> =
            (0..bugs.len()).filter(|n| bugs[*n].unseen.is_none() && found[*n].by.is_empty()).collect();
        let again: Vec<_> = missed.iter().map(|n| Some(bugs[*n])).collect();
        for (n, more) in missed.iter().zip(self.run(&again, |_| all_cases())?) {
            found[*n] = more;
        }
        Ok(found)
    }

    /// Runs these cases with each of the bugs, or with none.
    fn run(&self, bugs: &[Option<&Bug>], cases: impl Fn(Option<&Bug>) -> Vec<String>) -> Result<Vec<Found>> {
        let profile = schedule::profile(&self.built.kernel.release);
        let mut jobs = Vec::new();
        for bug in bugs {
            let settings = self.settings(*bug);
            let machine = self.lab.machine(&self.built, &settings, |_| Ok(()))?;
            let target = bug.map_or_else(|| "no bug".to_owned(), |bug| bug.name.clone());
            let plan = schedule::plan(&profile, cases(*bug), self.built.kernel.needs.factor());
            jobs.push(Job { target, place: Place::Machine(machine), plan });
        }
        // The verdicts are looked at when all are there.
        let limits = Limits { slots: self.args.machine.jobs(), max_crashes: u32::MAX };
        let results = schedule::run(&jobs, limits, &mut |_, _| {});
        Ok(jobs
            .iter()
            .zip(results)
            .map(|(job, results)| {
                let run = results.to_run(job, &Known::default());
                Found { by: run.reports.into_iter().filter(sees).collect(), errors: run.errors }
            })
            .collect())
    }

    fn settings(&self, bug: Option<&Bug>) -> Settings {
        let mut settings = self.args.machine.settings();
        if let Some(bug) = bug {
            settings.append = format!("{} nlbug={}", settings.append, bug.name).trim_start().to_owned();
        }
        settings
    }
}

/// Whether a case has seen something.
fn sees(report: &Report) -> bool {
    !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. })
}

fn show(bugs: &[&Bug], found: &[Found]) {
    for (bug, found) in bugs.iter().zip(found) {
        let by: BTreeSet<_> =
            found.by.iter().map(|report| format!("{} ({})", report.case, word(&report.verdict))).collect();
        match (by.is_empty(), &bug.unseen) {
            (false, _) => {
                println!("caught      {}: {}", bug.name, by.into_iter().collect::<Vec<_>>().join(", "))
            }
            (true, Some(reason)) => println!("unseen      {}: {reason}", bug.name),
            (true, None) => println!("NOT CAUGHT  {}", bug.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_has_a_patch_that_switches_it_and_no_patch_is_left_over() {
        let history = History::read().unwrap();
        for (bug, patch) in history.bugs.iter().zip(&history.patches()[1..]) {
            let text = fs::read_to_string(patch).unwrap();
            assert!(text.contains(&format!("NLBUG(\"{}\")", bug.name)), "{}", patch.display());
        }
        let files = fs::read_dir(folder().join("patches")).unwrap().count();
        assert_eq!(files, history.patches().len());
    }

    #[test]
    fn names_are_unique() {
        let history = History::read().unwrap();
        let names: BTreeSet<_> = history.bugs.iter().map(|bug| &bug.name).collect();
        assert_eq!(names.len(), history.bugs.len());
    }
}
