//! A program that runs in a guest: any one, whose output is passed on, or one of the project that writes lines.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nlconform::event::{Event, Identity, Request};
use nlconform::lines::LONGEST;
use nlconform::program::Program;

use super::guest::{self, Guest, Silent};
use super::kept::Kept;
use super::session::News;
use super::unhex::unhex;
use crate::vm::Place;

/// How a program ended.
#[derive(Debug)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// With its guest.
    Lost {
        /// Why, in one line.
        why: String,
        /// What the console said last.
        console: String,
    },
}

/// Runs a program in a fresh guest. Each line that it writes goes to `line`, with what the guest says it is; a guest
/// from which none comes for `silence` is given up.
///
/// # Errors
/// The guest does not come up.
pub fn converse(
    place: &Place,
    program: Program,
    silence: Duration,
    tell: &mut dyn FnMut(News),
    line: &mut dyn FnMut(&Identity, &str) -> Result<()>,
) -> Result<(Identity, End)> {
    let Guest { mut vm, identity, .. } = match guest::start(place, tell)? {
        Ok(guest) => guest,
        Err(unready) => bail!("{}\n{}", unready.why, unready.console),
    };
    let mark = vm.console.mark();
    let deadline = || place.has_deadlines().then(|| Instant::now() + silence);
    let sent = vm.channel.send(&Request::Exec(program), deadline());
    let (mut text, mut status) = (String::new(), None);
    let silent = loop {
        match sent.clone().and_then(|()| vm.channel.receive(deadline())) {
            Ok(Event::Output { text: more }) => {
                text.push_str(&more);
                while let Some(end) = text.find('\n') {
                    line(&identity, &text[..end])?;
                    text.drain(..=end);
                }
                if text.len() > LONGEST {
                    break Silent::because(format!("the program wrote a line of more than {LONGEST} bytes"));
                }
            }
            Ok(Event::Exited { status: code }) => status = Some(code),
            // Nobody asks what a program reaches of a kernel that counts.
            Ok(Event::Counters { .. }) => {}
            Ok(Event::Failed { error }) => break Silent::because(error),
            Ok(Event::Bye) => {
                vm.end(false)?;
                let end = match status {
                    Some(status) => End::Exited(status),
                    None => End::Lost { why: "the program did not end".into(), console: vm.text() },
                };
                return Ok((identity, end));
            }
            other => break Silent::from(other),
        }
    };
    let (mut why, _) = silent.settle(&mut vm)?;
    if let Some(panic) = vm.console.panic_since(mark) {
        why = format!("{why}: {panic}");
    }
    Ok((identity, End::Lost { why, console: vm.console.since(mark, "") }))
}

/// Runs any program in a fresh guest, for as long as it takes. Its output goes to `output`, and coverage counters of the
/// kernel to `tell`. Returns its exit status.
///
/// # Errors
/// When the guest ends before the program has.
pub fn exec(
    place: &Place,
    program: Program,
    tell: &mut dyn FnMut(News),
    output: &mut dyn FnMut(&str),
) -> Result<i32> {
    let Guest { mut vm, .. } = match guest::start(place, tell)? {
        Ok(guest) => guest,
        Err(unready) => bail!("{}\n{}", unready.why, unready.console),
    };
    let sent = vm.channel.send(&Request::Exec(program), None);
    let (mut status, kept) = (None, Kept::default());
    let silent = loop {
        match sent.clone().and_then(|()| vm.channel.receive(None)) {
            Ok(Event::Output { text }) => output(&text),
            Ok(Event::Exited { status: code }) => status = Some(code),
            Ok(Event::Counters { file, bytes }) => {
                kept.take(vm.channel.size(), "counters")?;
                let bytes = unhex(&bytes).context("the guest sent counters that are not hexadecimal")?;
                tell(News::Counters { file, bytes });
            }
            Ok(Event::Failed { error }) => bail!("{error}"),
            Ok(Event::Bye) => break None,
            other => break Some(Silent::from(other)),
        }
    };
    let why = match silent {
        Some(silent) => silent.settle(&mut vm)?.0,
        None => "the guest did not report the program's exit status".to_owned(),
    };
    status.with_context(|| format!("{why}\n{}", vm.console.text()))
}
