//! KVM that exists and does not work, in each way that was seen: simulated by scripts in front of the real
//! QEMU, which emulates where the script lets it. No case is lost, and QEMU's own messages are reported.

mod lab;
mod scripts;

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use nlconform::event::{Report, Verdict};
use xtask::host::cache::Cache;
use xtask::running::session::{Losses, News, run};
use xtask::vm::{Accel, Facts, Kvm, Machine, Place, Settings};

use lab::{Built, plan};

static BUILT: LazyLock<Built> = LazyLock::new(|| Built::of(None));

/// How each script begins: `real` runs QEMU, and emulates whatever it is asked for.
const PRELUDE: &str = r#"#!/usr/bin/env python3
import json, os, re, socket, sys, time
args = sys.argv[1:]
kvm = "kvm" in args
def real():
    tcg = ["max,erms=off,fsrm=off" if arg == "host" else "tcg" if arg == "kvm" else arg for arg in args]
    os.execv(REAL, [REAL] + tcg)
def fail(words):
    sys.stderr.write("qemu-system-x86_64: " + words + "\n")
    sys.stderr.flush()
if not kvm:
    real()
"#;

/// The outcome of two cases.
struct Outcome {
    error: Option<String>,
    reports: Vec<Report>,
    notes: Vec<String>,
    platforms: Vec<String>,
    consoles: Vec<String>,
    facts: Arc<Facts>,
}

impl Outcome {
    fn passed(&self) {
        assert_eq!(self.error, None);
        let verdicts: Vec<_> = self.reports.iter().map(|report| &report.verdict).collect();
        assert_eq!(verdicts, [&Verdict::Pass, &Verdict::Pass]);
    }

    /// The one note, and what is remembered, say why.
    fn gave_kvm_up(&self, why: &str) {
        self.passed();
        assert_eq!(self.platforms, ["TCG"]);
        let [note] = self.notes.as_slice() else { panic!("{:?}", self.notes) };
        assert!(note.contains(why) && !note.contains('\n'), "{note}");
        let Kvm::Fails(remembered) = self.facts.kvm() else { panic!("nothing is remembered") };
        assert!(remembered.contains(why), "{remembered}");
    }
}

/// Two cases under a QEMU that does this if asked for KVM.
fn under(script: &str, accel: Option<Accel>, cases: [&str; 2], kvm_timeout: Duration) -> Outcome {
    // One at a time: each guest is given time for a host with nothing else to do.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = tempfile::tempdir().unwrap();
    let facts = Arc::new(facts(dir.path(), script));
    let settings = Settings { accel, ..BUILT.machine.settings.clone() };
    let machine = Machine {
        settings,
        facts: Arc::clone(&facts),
        kvm_timeout,
        boot_timeout: LONG,
        ..BUILT.machine.clone()
    };
    let plan = plan(&cases, 60_000);
    let (mut reports, mut notes, mut platforms, mut consoles) = (vec![], vec![], vec![], vec![]);
    let done = run(&Place::Machine(machine), &plan, &Losses::at_most(100), &mut |news| match news {
        News::Hello { platform, .. } => platforms.push(platform),
        News::Note(note) => notes.push(note),
        News::Started { .. } => fs::write(dir.path().join("qemu-system-x86_64.started"), "").unwrap(),
        News::Finished(report) => reports.push(report),
        News::Console(text) => consoles.push(text),
        News::Counters { .. } => {}
    });
    let error = done.err().map(|error| format!("{error:#}"));
    Outcome { error, reports, notes, platforms, consoles, facts }
}

fn facts(dir: &Path, script: &str) -> Facts {
    let real = BUILT.machine.facts.qemu.display();
    let qemu = dir.join("qemu-system-x86_64");
    scripts::write(&qemu, &(PRELUDE.replace("REAL", &format!("{:?}", real.to_string())) + script));
    let facts = Facts::of_qemu(BUILT.machine.arch, &qemu, &Cache::at(&dir.join("cache")).unwrap()).unwrap();
    // The script plays a KVM on hosts that have none, too.
    facts.try_kvm_anew();
    facts
}

const PASS: [&str; 2] = ["fault::pass"; 2];
/// More than any guest takes to come up.
const LONG: Duration = Duration::from_secs(600);

/// QEMU stays, says by QMP that it has paused the guest, and why on its standard error.
const PAUSE: &str = r#"
fd = int(re.search(r"id=qmp,fd=(\d+)", " ".join(args)).group(1))
qmp = socket.socket(fileno=fd)
qmp.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
fail("KVM internal error. Suberror: 1\nemulation failure\nEAX=00000000 EBX=00000000")
qmp.sendall(b'{"event": "STOP"}\n')
for line in qmp.makefile("rb"):
    if json.loads(line)["execute"] == "query-status":
        answer = {"return": {"status": "internal-error", "running": False}}
    else:
        answer = {"return": {}}
    qmp.sendall(json.dumps(answer).encode() + b"\n")
"#;

#[test]
fn a_qemu_that_aborts_at_once() {
    let abort = "fail('error: failed to set MSR 0x10a to 0x0')\nos.abort()\n";
    let outcome = under(abort, None, PASS, LONG);
    outcome.gave_kvm_up("its process was killed by signal 6: error: failed to set MSR 0x10a to 0x0");
    // Chosen, it is an error that says the same, and what to do.
    let chosen = under(abort, Some(Accel::Kvm), PASS, LONG);
    let error = chosen.error.expect("no guest comes up");
    for told in ["KVM does not work here", "failed to set MSR 0x10a", "Leave out --accel"] {
        assert!(error.contains(told), "{error}");
    }
    assert!(chosen.reports.is_empty());
}

#[test]
fn a_qemu_that_pauses_its_guest() {
    let outcome = under(PAUSE, None, PASS, LONG);
    outcome
        .gave_kvm_up("QEMU paused it (internal-error): KVM internal error. Suberror: 1; emulation failure");
    assert!(outcome.consoles[0].contains("EAX=0000"), "the log has all of QEMU's words");
}

#[test]
fn a_qemu_that_spins_in_silence() {
    let outcome = under("time.sleep(1000)\n", None, PASS, Duration::from_secs(2));
    outcome.gave_kvm_up("the guest did not come up within 2 s");
}

#[test]
fn a_qemu_whose_standard_error_is_flooded() {
    // More than a pipe holds, before the guest starts.
    let flood = "for n in range(20000): fail('warning %d of a host feature' % n)\nreal()\n";
    let outcome = under(flood, None, PASS, LONG);
    outcome.passed();
    assert_eq!(outcome.platforms, ["KVM"]);
    assert_eq!(outcome.facts.kvm(), Kvm::Works);
    let log = &outcome.consoles[0];
    assert!(log.contains("warning 19999 of") && log.lines().count() < 5000, "{}", log.len());
}

#[test]
fn a_kvm_that_fails_in_the_middle_costs_its_case() {
    // The first guest dies while a case sleeps.
    let die = r#"
died, started = sys.argv[0] + ".died", sys.argv[0] + ".started"
if os.path.exists(died):
    real()
open(died, "w").close()
qemu = os.getpid()
if os.fork():
    real()
while not os.path.exists(started):
    time.sleep(0.01)
fail("error: kvm run failed Bad address")
os.kill(qemu, 6)
"#;
    let outcome = under(die, None, ["fault::sleep", "fault::pass"], LONG);
    assert_eq!(outcome.error, None);
    let [lost, after] = outcome.reports.as_slice() else { panic!("{:?}", outcome.reports) };
    let Verdict::Crash { reason } = &lost.verdict else { panic!("{lost:?}") };
    assert!(reason.contains("killed by signal 6: error: kvm run failed Bad address"), "{reason}");
    assert_eq!(after.verdict, Verdict::Pass);
    assert_eq!(outcome.platforms, ["KVM", "KVM"]);
    assert_eq!(outcome.facts.kvm(), Kvm::Works, "a guest had come up under it");
}

#[test]
fn a_qemu_that_hangs_when_it_is_asked_for_its_boards() {
    let dir = tempfile::tempdir().unwrap();
    let qemu = dir.path().join("qemu");
    scripts::write(&qemu, "#!/bin/sh\nsleep 1000\n");
    let error = Facts::of_qemu(BUILT.machine.arch, &qemu, &Cache::at(&dir.path().join("cache")).unwrap())
        .unwrap_err();
    assert!(format!("{error:#}").contains("did not end within 20 s"), "{error:#}");
}
