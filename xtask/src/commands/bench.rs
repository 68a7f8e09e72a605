//! `cargo xtask bench`: where the time of a warm run goes, as medians of several runs and as ratios
//! between them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use nlconform::cases;

use super::Ended;
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::host::packages::{Host, Probe};
use crate::making::kbuild::KernelSpec;
use crate::running::schedule;
use crate::running::session::{self, Losses, News};
use crate::vm::{Arch, Place};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Runs of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Other tools that boot a kernel: program, and the arguments before the kernel that make it run a
/// command in the guest.
const PEERS: [(&str, &[&str]); 2] = [("vng", &["--disable-kvm", "--run"]), ("vmtest", &["--kernel"])];

/// Measures, and prints the table.
pub fn bench(args: &BenchArgs) -> Result<Ended> {
    let (arch, spec) = &args.kernels.one_target("times are measured")?;
    let mut table = Table::default();
    for _ in 0..args.runs {
        run_once(arch, spec, args, &mut table)?;
    }
    let built = args.kernels.open_lab()?.build(arch, spec)?;
    for (program, before) in PEERS {
        if Host::this().find(Probe::Command(program)).is_none() {
            println!("{program}: not installed");
            continue;
        }
        for _ in 0..args.runs {
            let start = Instant::now();
            let mut peer = Command::new(program);
            peer.args(before).arg(&built.kernel.image).args(["--", "true"]);
            peer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if !peer.status()?.success() {
                println!("{program}: does not run `true` in this kernel here");
                break;
            }
            table.add(program, start.elapsed());
        }
    }
    table.print(BOOT);
    Ok(Ended::Well)
}

const BOOT: &str = "QEMU, kernel and init";

fn run_once(arch: &'static Arch, spec: &KernelSpec, args: &BenchArgs, table: &mut Table) -> Result<()> {
    let mut since = Instant::now();
    let mut lap = |what| table.add(what, std::mem::replace(&mut since, Instant::now()).elapsed());
    let lab = args.kernels.open_lab()?;
    let built = lab.build(arch, spec)?;
    lap("find what is built");
    let machine = lab.machine(&built, &args.machine.settings(), |_| Ok(()))?;
    lap("pack the image");
    let names = cases::all().iter().map(|case| case.name.clone()).collect();
    let plan = schedule::plan(&schedule::profile(&built.kernel.release), names, built.kernel.needs.factor());
    session::run(&Place::Machine(machine), &plan, &Losses::at_most(1), &mut |news| match news {
        News::Hello { .. } => lap(BOOT),
        News::Console(_) => lap("all cases, in one guest"),
        _ => {}
    })
}

/// Times by what they measure, in the order of first appearance.
#[derive(Debug, Default)]
struct Table(Vec<(&'static str, Vec<Duration>)>);

impl Table {
    fn add(&mut self, what: &'static str, time: Duration) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, times)) => times.push(time),
            None => self.0.push((what, vec![time])),
        }
    }

    fn print(&mut self, unit: &str) {
        let medians: Vec<_> = self.0.iter_mut().map(|(what, times)| (*what, median(times))).collect();
        let Some((_, one)) = medians.iter().find(|(what, _)| *what == unit) else { return };
        println!("medians of {} runs, and their ratio to: {unit}", self.0[0].1.len());
        for (what, time) in &medians {
            println!("{what:<26} {:>8.3} s {:>7.2}", time.as_secs_f32(), time.div_duration_f32(*one));
        }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
