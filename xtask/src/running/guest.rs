//! A guest that comes up: under the chosen accelerator, else under KVM where that works.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nlconform::event::{Event, Identity, PROTOCOL, Role, check_version};

use super::session::News;
use crate::vm::facts::kvm_fails;
use crate::vm::{Accel, Ended, Kvm, Machine, Place, Settings, Silence, Vm};

/// Time from the start of a sandbox to its first message.
const SANDBOX_TIMEOUT: Duration = Duration::from_secs(60);
/// The same of a machine under chosen KVM, where it is half a second if KVM works.
const CHOSEN_KVM_TIMEOUT: Duration = Duration::from_secs(20);

/// A guest that has said hello.
#[derive(Debug)]
pub struct Guest {
    /// Its machine.
    pub vm: Vm,
    /// Its identity.
    pub identity: Identity,
    /// What it runs on, as one word.
    pub platform: String,
}

/// A guest that did not come up.
#[derive(Debug)]
pub struct Unready {
    /// Why.
    pub why: String,
    /// Whether its kernel panicked.
    pub panicked: bool,
    /// The output of its console.
    pub console: String,
}

/// A guest that no longer responds as it should.
#[derive(Debug)]
pub struct Silent {
    /// Why it was given up.
    pub why: String,
    /// Whether a deadline passed.
    pub deadline: bool,
    /// Whether it closed its channel.
    pub closed: bool,
}

impl From<Result<Event, Silence>> for Silent {
    fn from(received: Result<Event, Silence>) -> Silent {
        match received {
            // It may be as long as a line.
            Ok(event) => {
                let event: String = format!("{event:?}").chars().take(200).collect();
                Silent::because(format!("the guest sent {event} out of turn"))
            }
            Err(silence) => silence.into(),
        }
    }
}

impl From<Silence> for Silent {
    fn from(silence: Silence) -> Silent {
        match silence {
            Silence::Closed => Silent { closed: true, ..Silent::because("the guest ended") },
            Silence::Deadline => {
                Silent { deadline: true, ..Silent::because("the guest did nothing in time") }
            }
            Silence::Garbled(why) => Silent::because(why),
        }
    }
}

impl Silent {
    /// For this reason.
    pub fn because(why: impl Into<String>) -> Silent {
        Silent { why: why.into(), deadline: false, closed: false }
    }

    /// Ends the guest; returns why it is gone, in one line with QEMU's own message.
    ///
    /// # Errors
    /// Its process cannot be waited for.
    pub fn settle(&self, vm: &mut Vm) -> Result<(String, Ended)> {
        let ended = vm.end(self.closed)?;
        let mut why = self.why.clone();
        if ended.by_itself || ended.was_paused {
            why = format!("{why}; {}", ended.how);
        }
        let words = ended.gist();
        if !words.is_empty() {
            why = format!("{why}: {words}");
        }
        Ok((why, ended))
    }
}

/// Starts a guest and waits for its first message. If no accelerator was chosen, a guest that does
/// not come up under KVM is replaced by one under TCG; `tell` gets the reason.
///
/// # Errors
/// QEMU cannot be started at all, or KVM was chosen and does not work.
pub fn start(place: &Place, tell: &mut dyn FnMut(News)) -> Result<Result<Guest, Unready>> {
    match place {
        Place::Machine(machine) if machine.facts.accel(machine.settings.accel)? == Accel::Kvm => {
            if machine.settings.gdb {
                settle_accel(machine, tell)?;
            }
            under_kvm(machine, tell)
        }
        Place::Machine(machine) => boot(place, machine.boot_timeout),
        Place::Sandbox(_) => boot(place, SANDBOX_TIMEOUT),
    }
}

fn under_kvm(machine: &Machine, tell: &mut dyn FnMut(News)) -> Result<Result<Guest, Unready>> {
    let chosen = machine.settings.accel.is_some();
    let with = |accel| {
        let settings = Settings { accel: Some(accel), ..machine.settings.clone() };
        Place::Machine(Machine { settings, ..machine.clone() })
    };
    let time = if chosen { CHOSEN_KVM_TIMEOUT } else { machine.kvm_timeout };
    let unready = match boot(&with(Accel::Kvm), time)? {
        Ok(guest) => {
            machine.facts.believe_in_kvm();
            return Ok(Ok(guest));
        }
        // A kernel that gets as far as a panic runs, and reports itself what is wrong.
        Err(unready) if chosen && unready.panicked => return Ok(Err(unready)),
        Err(unready) if chosen => bail!("{}\n{}", kvm_fails(&unready.why), unready.console),
        Err(unready) => unready,
    };
    let why = unready.why;
    Ok(match boot(&with(Accel::Tcg), machine.boot_timeout)? {
        Ok(guest) => {
            let lasting = machine.facts.give_kvm_up(&why);
            tell(News::Console(unready.console));
            tell(News::Note(match lasting {
                true => format!("KVM does not work here, guests run under TCG, which is slower: {why}"),
                false => format!("a guest did not come up under KVM, one under TCG replaced it: {why}"),
            }));
            Ok(guest)
        }
        // It is the kernel, and not KVM.
        Err(emulated) => Err(Unready { why: format!("{}; under KVM: {why}", emulated.why), ..emulated }),
    })
}

/// Finds out whether KVM works before starting an unwatched guest: one that is left to a debugger, or
/// to a terminal.
///
/// # Errors
/// KVM was chosen and does not work.
pub fn settle_accel(machine: &Machine, tell: &mut dyn FnMut(News)) -> Result<()> {
    if machine.facts.kvm() == Kvm::Untried && machine.facts.accel(machine.settings.accel)? == Accel::Kvm {
        // Whether its kernel comes up at all will be seen soon enough.
        let settings = Settings { gdb: false, ..machine.settings.clone() };
        let _ = under_kvm(&Machine { settings, ..machine.clone() }, tell)?;
    }
    Ok(())
}

fn boot(place: &Place, time: Duration) -> Result<Result<Guest, Unready>> {
    let platform = place.platform();
    let mut vm = place.start()?;
    let deadline = place.has_deadlines().then(|| Instant::now() + time);
    let silent = match vm.channel.receive(deadline) {
        Ok(Event::Hello { protocol, identity }) => {
            match check_version(protocol, PROTOCOL).and_then(|()| identity.check(Role::Target)) {
                Ok(()) => return Ok(Ok(Guest { vm, identity, platform })),
                Err(why) => Silent::because(format!("the guest's greeting: {why}")),
            }
        }
        Ok(Event::Failed { error }) => Silent::because(error),
        Err(Silence::Deadline) => Silent {
            deadline: true,
            ..Silent::because(format!("the guest did not come up within {} s", time.as_secs()))
        },
        other => other.into(),
    };
    let (why, _) = silent.settle(&mut vm)?;
    let panic = vm.console.panic_since(vm.console.start());
    let panicked = panic.is_some();
    let why = [Some(why), panic].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Ok(Err(Unready { why, panicked, console: vm.text() }))
}
