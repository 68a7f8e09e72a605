//! What passed in a case that has cost its guest: such a guest can no longer say it, so another one is asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use nlconform::event::{Event, Exchange, Plan, Request};

use super::guest::{self, Guest, Silent};
use super::session::GRACE;
use crate::vm::Place;

/// Most steps that are kept of a case.
const STEPS: usize = 60;
/// Most bytes that are kept of them.
const STEPS_SIZE: usize = 8 << 20;

/// What passes in a case that costs its guest, up to there: seen in another guest, which sends each step as it
/// passes. Nothing if the case ends well in that one.
///
/// # Errors
/// The lab cannot start a guest.
pub fn retrace(place: &Place, plan: &Plan, case: &str) -> Result<Vec<Exchange>> {
    let Ok(Guest { mut vm, .. }) = guest::start(place, &mut |_| {})? else { return Ok(Vec::new()) };
    let plan = Plan { cases: vec![case.to_owned()], steps: true, counters: false, ..plan.clone() };
    let time = Duration::from_millis(plan.deadline_ms) + GRACE;
    // However many steps it sends. An adapter's start may take as long as its scenario.
    let end = Instant::now() + 2 * time;
    let deadline = || place.has_deadlines().then(|| end.min(Instant::now() + time));
    let (mut steps, mut sizes) = (VecDeque::new(), VecDeque::new());
    let sent = vm.channel.send(&Request::Run(plan), deadline());
    let silent = loop {
        match sent.clone().and_then(|()| vm.channel.receive(deadline())) {
            Ok(Event::Step(step)) => {
                steps.push_back(step);
                sizes.push_back(vm.channel.size());
                while steps.len() > STEPS || sizes.iter().sum::<usize>() > STEPS_SIZE {
                    steps.pop_front();
                    sizes.pop_front();
                }
            }
            Ok(Event::Hello { .. } | Event::Started { .. }) => {}
            Ok(Event::Finished(_)) => {
                steps.clear();
                break Silent::because("it is not needed any more");
            }
            other => break other.into(),
        }
    };
    silent.settle(&mut vm)?;
    if !steps.is_empty() {
        steps.push_front(Exchange {
            action: "another run of the case, until its guest was lost, too".into(),
            outcome: String::new(),
            bytes: String::new(),
            decoded: Vec::new(),
        });
    }
    Ok(steps.into())
}
