//! `cargo xtask mutants`: one small change of the kernel's code after the other, and whether a case sees it. One
//! kernel is built with all of them; a number on its command line says which one is alive. Its allocations can
//! fail, too: many a mutant shows only when one does.

mod find;
mod hunt;
mod reach;
mod record;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::find::{Mutant, find};
use self::hunt::Hunt;
use self::reach::{Meter, Reach};
use self::record::{Arguments, Elsewhere, Fate, Record};
use super::Ended;
use super::args::MachineArgs;
use super::coverage;
use super::explore::variants::{Variant, explore_each};
use crate::host::command::in_english;
use crate::host::content::Key;
use crate::host::packages::Purpose;
use crate::making::kbuild::{self, BuildOptions, KernelSpec, tested};
use crate::making::lab::{Bootable, Lab};
use crate::making::source::Kernels;
use crate::running::schedule;
use crate::vm::Arch;

/// The variant of the kernel (kernel-configs/) on which allocations can be made to fail.
const FAULT: &str = "fault";

/// The file that holds the switch.
const SWITCH: &str = "lib/nlattr.c";

/// At the head of each file, on its first line, so that line numbers in the kernel's messages stay.
const HEAD: &str =
    "#include <linux/compiler.h>\nextern int nlmut;\n#define NLMUT(n) unlikely(nlmut == (n))\n";
/// At the end of the one that holds the switch.
const DEFINITION: &str =
    "\n#include <linux/moduleparam.h>\nint nlmut __read_mostly;\ncore_param(nlmut, nlmut, int, 0444);\n";

/// Arguments of `cargo xtask mutants`.
#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// Only mutants in whose `file: function: change` one of these occurs [default: all]
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// A kernel of kernel-configs/kernels.toml [default: the one named there]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Of the mutants that are meant, take each Nth
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Try those again that survived an earlier run
    #[arg(long)]
    survivors: bool,
    /// Try those that show on this variant of the kernel only (conformance/mutants.toml), there [default: the others]
    #[arg(long, value_name = "NAME", conflicts_with = "explore")]
    variant: Option<String>,
    /// Run no case: make so many random sequences (docs/explore.md) on each mutant that is not equivalent, and tell
    /// which differ from the reference implementation
    #[arg(
        long,
        value_name = "SEQUENCES",
        conflicts_with = "survivors",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    explore: Option<u64>,
    /// List the mutants and try none
    #[arg(long)]
    list: bool,
    /// Do not install missing host packages
    #[arg(long)]
    no_install: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Tries the mutants and lists those that no case sees.
pub fn mutants(args: &MutantsArgs) -> Result<Ended> {
    let arguments = Arguments::read()?;
    args.variant.iter().try_for_each(|name| kbuild::check_variant(name))?;
    let kernels = Kernels::load()?;
    let name = args.kernel.clone().unwrap_or_else(|| kernels.default.clone());
    let kernel = kernels.get(&name)?;
    let lab = Lab::open(&[Purpose::Program, Purpose::Kernel], &[Arch::of_host()], !args.no_install)?;
    let source = kernels.source(&kernel, &lab.cache, &lab.progress)?;
    let folder = crate::project_root().join("target/mutants").join(&name);
    let (all, patch) = make(&source.dir, &folder)?;
    let chosen = args.choose(&all, &arguments);
    if chosen.is_empty() {
        bail!("no mutant matches these filters; --list shows all");
    }
    if args.list {
        for mutant in chosen {
            println!("{}", mutant.at_place());
        }
        return Ok(Ended::Well);
    }
    lab.explain_accel(args.machine.accel)?;
    let options = BuildOptions::of_variants([FAULT].into_iter().chain(args.variant.as_deref()));
    let spec = KernelSpec::Release { name: name.clone(), patches: vec![patch], options };
    let built = lab.build(Arch::of_host(), &spec)?;
    let identity = identity(&all, &source.identity);
    let open = |variant: Option<&str>| Record::open(&folder.join(fates(variant)), &identity);
    let mut record = open(args.variant.as_deref())?;
    let site = Site { lab: &lab, machine: &args.machine, kernel: name, built, folder: &folder };
    if let Some(sequences) = args.explore {
        let meant: Vec<_> =
            chosen.iter().copied().filter(|mutant| !arguments.is_equivalent(mutant)).collect();
        let found = site.explore(&meant, sequences)?;
        let no_case_kills = |mutant: &&&Mutant| match record.fate(mutant) {
            Some(Fate::Killed(_)) => false,
            Some(Fate::Survived | Fate::Unreached) => true,
            None => arguments.elsewhere(mutant).is_some(),
        };
        let unseen: Vec<_> = meant.iter().filter(no_case_kills).map(|mutant| mutant.at_place()).collect();
        let seen = unseen.iter().filter(|name| found.contains(name)).count();
        println!("of the {} among them that no case kills: {seen}", unseen.len());
        return Ok(Ended::Well);
    }
    if args.survivors {
        record.forget_survivors();
    }
    let is_tried_here = |mutant: &&Mutant| {
        !arguments.is_equivalent(mutant) && arguments.variant(mutant) == args.variant.as_deref()
    };
    let untried: Vec<_> =
        chosen.iter().copied().filter(is_tried_here).filter(|mutant| record.fate(mutant).is_none()).collect();
    if !untried.is_empty() {
        site.hunt(&untried, record)?;
    }
    let mut records = Records { plain: open(None)?, variants: BTreeMap::new() };
    for variant in arguments.variants() {
        records.variants.insert(variant, open(Some(variant))?);
    }
    Ok(match show(&chosen, &records, &arguments) {
        0 => Ended::Well,
        _ => Ended::Failed,
    })
}

/// Where mutants are tried.
struct Site<'a> {
    lab: &'a Lab,
    machine: &'a MachineArgs,
    /// Name of the kernel.
    kernel: String,
    /// It, with all mutants.
    built: Bootable,
    /// Where the records are.
    folder: &'a Path,
}

impl Site<'_> {
    /// The names of those that so many sequences tell from the reference implementation.
    fn explore(&self, mutants: &[&Mutant], sequences: u64) -> Result<Vec<String>> {
        let variants: Vec<_> = mutants
            .iter()
            .map(|mutant| Variant { name: mutant.at_place(), switch: switch(mutant.number) })
            .collect();
        explore_each(self.lab, &self.built, self.machine, sequences, &variants)
    }

    /// Tries each, and records its fate.
    fn hunt(&self, mutants: &[&Mutant], record: Record) -> Result<()> {
        let options = BuildOptions::of_variants([coverage::VARIANT, FAULT]);
        let spec = KernelSpec::Release { name: self.kernel.clone(), patches: Vec::new(), options };
        let counting = self.lab.build(Arch::of_host(), &spec)?;
        let profile = schedule::profile(&self.built.kernel.release);
        let (settings, slots) = (self.machine.settings(), self.machine.jobs());
        let meter = Meter {
            machine: self.lab.machine(&counting, &settings, |_| Ok(()))?,
            build_dir: counting.kernel.build_dir.context("the kernel was built here")?.dir,
            profile: profile.clone(),
            slots,
        };
        let reach = Reach::measure(&meter, self.folder)?;
        let machine = self.lab.machine(&self.built, &settings, |_| Ok(()))?;
        let slower = self.built.kernel.needs.factor();
        let (skipped, lossy) = (HashSet::new(), HashSet::new());
        let mut hunt = Hunt { machine, profile, slots, reach, skipped, lossy, slower };
        hunt.check_healthy()?;
        hunt.run(mutants, &Mutex::new(record))
    }
}

impl MutantsArgs {
    fn choose<'m>(&self, all: &'m [Mutant], arguments: &Arguments) -> Vec<&'m Mutant> {
        let wants = |mutant: &&Mutant| {
            let name = mutant.name();
            let is_there = self.variant.is_none() || arguments.variant(mutant) == self.variant.as_deref();
            is_there && (self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter)))
        };
        all.iter().filter(wants).step_by(self.sample as usize).collect()
    }
}

/// Makes all mutants of a tree, and the patch that puts them into it.
fn make(tree: &Path, folder: &Path) -> Result<(Vec<Mutant>, PathBuf)> {
    let (mut all, mut patch) = (Vec::new(), Vec::new());
    for file in tested::files() {
        let file = file.path.as_str();
        let path = tree.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mutants, mut changed) = find(file, &text, all.len() + 1);
        changed.insert_str(0, HEAD);
        if file == SWITCH {
            changed += DEFINITION;
        }
        all.extend(mutants);
        let place = folder.join("changed").join(file);
        fs::create_dir_all(place.parent().context("a file has a folder")?)?;
        fs::write(&place, changed)?;
        patch.extend(difference(&path, &place, file)?);
    }
    let file = folder.join("mutants.patch");
    fs::write(&file, patch).with_context(|| format!("cannot write {}", file.display()))?;
    Ok((all, file))
}

/// What diff(1) says of two files, under the name that both have in the tree.
fn difference(old: &Path, new: &Path, name: &str) -> Result<Vec<u8>> {
    let mut diff = Command::new("diff");
    diff.arg("--unified").args(["--label", &format!("a/{name}"), "--label", &format!("b/{name}")]);
    let output = in_english(diff.args([old, new])).output().context("cannot run diff")?;
    match output.status.code() {
        Some(0 | 1) => Ok(output.stdout),
        _ => bail!("diff failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// The word of the kernel's command line that brings the mutant with this number to life.
fn switch(number: usize) -> String {
    format!("nlmut={number}")
}

/// What the numbers of mutants mean.
fn identity(all: &[Mutant], source: &str) -> String {
    let names: String = all.iter().map(Mutant::name).collect();
    Key::new().part("source", source).part("mutants", names).finish()
}

/// The name of the file with the fates of mutants on this variant.
fn fates(variant: Option<&str>) -> String {
    variant.map_or_else(|| "fates.jsonl".to_owned(), |variant| format!("fates-{variant}.jsonl"))
}

/// What is known of all kernels.
struct Records<'a> {
    plain: Record,
    variants: BTreeMap<&'a str, Record>,
}

/// Mutants of a file, by what became of them.
#[derive(Debug, Default)]
struct Count {
    killed: usize,
    on_a_variant: usize,
    elsewhere: usize,
    survived: usize,
    equivalent: usize,
}

/// Shows the survivors, and the counts by file; returns how many have survived. Of those that are said to show only
/// elsewhere it shows the ones that a case has seen after all.
fn show(chosen: &[&Mutant], records: &Records<'_>, arguments: &Arguments) -> usize {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for mutant in chosen {
        let count = counts.entry(&mutant.file).or_default();
        let name = mutant.at_place();
        let (plain, elsewhere) = (records.plain.fate(mutant), arguments.elsewhere(mutant));
        let there = elsewhere.and_then(|there| records.variants.get(there.variant?)?.fate(mutant));
        match (plain, there, elsewhere) {
            _ if arguments.is_equivalent(mutant) => count.equivalent += 1,
            (Some(Fate::Killed(case)), _, elsewhere) => {
                count.killed += 1;
                if let Some(Elsewhere { reason, .. }) = elsewhere {
                    println!("seen here by {case}: {name}, in spite of: {reason}");
                }
            }
            (_, Some(Fate::Killed(_)), _) => count.on_a_variant += 1,
            (_, None, Some(_)) => count.elsewhere += 1,
            (_, Some(_), _) => {
                count.survived += 1;
                println!("survived on the variant, too  {name}");
            }
            (_, None, None) => {
                count.survived += 1;
                println!("survived  {name}");
            }
        }
    }
    let heads = ["killed", "on a variant", "elsewhere", "survived", "equivalent"];
    let row = |file: &str, cells: [String; 5]| {
        println!("{file:<32}{}", cells.map(|cell| format!(" {cell:>12}")).concat());
    };
    row("file", heads.map(str::to_owned));
    for (file, Count { killed, on_a_variant, elsewhere, survived, equivalent }) in &counts {
        row(file, [killed, on_a_variant, elsewhere, survived, equivalent].map(usize::to_string));
    }
    counts.values().map(|count| count.survived).sum()
}
