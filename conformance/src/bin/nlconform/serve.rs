//! `nlconform serve`: what the init does in the lab's virtual machines, for drivers that start a program
//! on the target instead.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nlconform::adapters::linux::Linux;
use nlconform::cases;
use nlconform::event::{Event, PROTOCOL, Report, Request, Verdict};
use nlconform::port::Target;
use nlconform::run::run_isolated;

use crate::steady;

/// Says hello, reads one request, and does it.
pub fn serve() -> Result<bool, String> {
    let target = Linux::new();
    say(&Event::Hello { protocol: PROTOCOL, identity: target.identity().clone() })?;
    let line = steady::read_line(&mut io::stdin().lock())
        .map_err(|error| format!("reading the request: {error}"))?;
    let plan = match serde_json::from_slice(&line).map_err(|error| format!("reading the request: {error}"))? {
        Request::Run(plan) => plan,
        Request::Exec(_) => return Err("this program runs cases only".to_owned()),
    };
    let profile = plan.profile.parse()?;
    for name in &plan.cases {
        say(&Event::Started { case: name.clone() })?;
        let report = match cases::find(name) {
            Some(case) => run_isolated(case, &target, profile, Duration::from_millis(plan.deadline_ms)),
            None => Report::new(name, Verdict::Broken { reason: "this program has no such case".to_owned() }),
        };
        say(&Event::Finished(report))?;
    }
    say(&Event::Bye)?;
    Ok(true)
}

fn say(event: &Event) -> Result<(), String> {
    let line = serde_json::to_string(event).map_err(|error| error.to_string())? + "\n";
    // Not through the buffer of `Stdout`, which loses what it cannot write at once.
    let mut out =
        io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(|error| error.to_string())?;
    steady::write_all(&mut out, line.as_bytes()).map_err(|error| format!("writing an event: {error}"))
}
