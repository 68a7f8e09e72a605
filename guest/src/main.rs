//! The init of the virtual machine: PID 1, and nearly the only program in it.
//!
//! It mounts, loads modules and the probe, says hello on the channel, does what the host asks for, and ends
//! the machine. Each case runs in a child of its own.

mod channel;
mod counters;
mod exec;
mod fault;
mod leaks;
mod machine;
mod suite;
mod whereabouts;
mod worker;

use std::process::ExitCode;

use anyhow::{Context, Result};
use nlconform::adapters::linux::Linux;
use nlconform::client::Library;
use nlconform::event::{Event, PROTOCOL, Request};
use nlconform::port::Target;

use channel::Channel;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this is the init of nlconform's virtual machine; it runs as process 1 only");
        return ExitCode::FAILURE;
    }
    if let Err(error) = work() {
        eprintln!("nlconform: {error:#}");
    }
    machine::end()
}

fn work() -> Result<()> {
    machine::mount_all()?;
    machine::set_up()?;
    machine::load_modules()?;
    let no_probe = machine::load_probe()?;
    if machine::wants_shell()? {
        return exec::shell();
    }
    let mut channel = Channel::open()?;
    let served = serve(&mut channel, no_probe.as_deref());
    if let Err(error) = &served {
        channel.say(&Event::Failed { error: format!("{error:#}") })?;
    }
    channel.say(&Event::Bye)?;
    channel.drain();
    served
}

/// Says hello and does what is asked for.
fn serve(channel: &mut Channel, no_probe: Option<&str>) -> Result<()> {
    let mut target = Linux::new();
    if let Some(reason) = no_probe {
        target.explain_missing_probe(reason);
    }
    channel.say(&Event::Hello { protocol: PROTOCOL, identity: target.identity().clone() })?;
    let line = channel.read_line().context("reading the request")?;
    match serde_json::from_str(&line).context("reading the request")? {
        Request::Run(plan) => match &plan.client {
            None => suite::run(&plan, &target, None, channel),
            Some(client) => {
                machine::mount_host(client)?;
                match Library::greet(client.clone()) {
                    Ok(library) => suite::run(&plan, &target, Some(&library), channel),
                    Err(error) => channel.say(&Event::Refused { error }),
                }
            }
        },
        Request::Exec(program) => {
            machine::mount_host(&program)?;
            exec::run(&program, channel)?;
            // A kernel without gcov has none.
            counters::send(channel)
        }
    }
}
