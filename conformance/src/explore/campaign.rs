//! Many sequences, one after the other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::generate::{Features, sequence};
use super::seen::{Observed, Seen};
use super::{Difference, Finding, Side, compare, compare::Compared, shrink_between};
use crate::wire::ack::Ack;
use crate::wire::genl::GENL_ID_CTRL;
use crate::wire::message::{Message, NLMSG_DONE, NLMSG_ERROR, NLMSG_MIN_TYPE};

/// How many shorter sequences are tried for one that differs, and for how long. A steady difference takes some
/// hundreds; one that comes and goes would be shortened without end, and some targets take long to start.
const MOST_TRIES: u32 = 2000;
const MOST_TIME: Duration = Duration::from_secs(60);

/// Which sequences, and when to stop.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Decides on the sequences.
    pub seed: u64,
    /// Number of the first one.
    pub first: u64,
    /// How many.
    pub sequences: u64,
    /// No new one after this time.
    pub time: Option<Duration>,
    /// Stops after this many kinds of differences.
    pub differences: usize,
    /// What sequences may use.
    pub features: Features,
}

/// What a campaign reports while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub enum News {
    /// Sequences are made of what both targets have.
    Began {
        /// That.
        features: Features,
    },
    /// Sequence number `number` is about to run.
    Started {
        /// Its number.
        number: u64,
        /// How many calls it has.
        calls: u64,
    },
    /// Sequence number `number` differs, and a shorter one is about to be tried.
    Shrinking {
        /// Its number.
        number: u64,
    },
    /// What a target has shown.
    Observed {
        /// Number of the sequence.
        number: u64,
        /// That.
        observed: Observed,
    },
    /// A sequence was compared only up to a call that one side cannot make.
    Cut {
        /// Its number.
        number: u64,
        /// Why not, as a fact about that side. Each is reported once.
        fact: String,
    },
    /// A kind of difference that was not seen before.
    Found(Box<Finding>),
    /// A difference that did not show when its sequence ran again.
    Unsteady(Box<Finding>),
    /// The end.
    Ended(Summary),
}

/// What came of a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Sequences that ran.
    pub sequences: u64,
    /// Their calls.
    pub calls: u64,
    /// Sequences that showed a difference, of any kind.
    pub differing: u64,
    /// Those of them that showed none when they ran again: it depends on what ran before, or on chance.
    pub unsteady: u64,
    /// Sequences that were compared only up to a call that one side cannot make.
    pub cut: u64,
    /// Time taken, in milliseconds.
    pub millis: u64,
}

impl Summary {
    /// Both together.
    pub fn plus(&self, other: &Summary) -> Summary {
        Summary {
            sequences: self.sequences.saturating_add(other.sequences),
            calls: self.calls.saturating_add(other.calls),
            differing: self.differing.saturating_add(other.differing),
            unsteady: self.unsteady.saturating_add(other.unsteady),
            cut: self.cut.saturating_add(other.cut),
            millis: self.millis.saturating_add(other.millis),
        }
    }
}

impl Campaign {
    /// Makes each sequence on both sides. Differences are shrunk; each kind is reported once.
    pub fn run(&self, one: &mut dyn Side, other: &mut dyn Side, tell: &mut dyn FnMut(News)) -> Summary {
        let start = Instant::now();
        tell(News::Began { features: self.features.clone() });
        let (mut kinds, mut cuts, mut summary) = (BTreeSet::new(), BTreeSet::new(), Summary::default());
        for number in self.first..self.first.saturating_add(self.sequences) {
            if self.time.is_some_and(|time| start.elapsed() > time) || kinds.len() >= self.differences {
                break;
            }
            let calls = sequence(self.seed, number, &self.features);
            tell(News::Started { number, calls: calls.len() as u64 });
            summary.sequences += 1;
            summary.calls += calls.len() as u64;
            let whole = calls.len();
            let (calls, compared) = without_known(calls, &kinds, one, other);
            let differs = calls.len() < whole || matches!(compared, Compared::Differ(..));
            summary.differing += u64::from(differs);
            let once = match compared {
                Compared::Same => continue,
                Compared::Cut(fact) => {
                    summary.cut += 1;
                    if cuts.insert(fact.clone()) {
                        tell(News::Cut { number, fact });
                    }
                    continue;
                }
                Compared::Differ(_, observed) => observed,
            };
            let sides = [one.name(), other.name()];
            let finding = |calls, observed| {
                Box::new(Finding { seed: self.seed, number, from: whole, sides, calls, observed })
            };
            let (mut tries, since) = (0, Instant::now());
            let shorter = match compare(&calls, one, other) {
                Compared::Differ(..) => shrink_between(calls.clone(), one, other, &mut || {
                    tries += 1;
                    tell(News::Shrinking { number });
                    tries <= MOST_TRIES && since.elapsed() < MOST_TIME
                }),
                _ => calls.clone(),
            };
            let Compared::Differ(difference, observed) = compare(&shorter, one, other) else {
                summary.unsteady += 1;
                tell(News::Unsteady(finding(calls, once)));
                continue;
            };
            if kinds.insert(kind(&shorter, &difference)) {
                tell(News::Found(finding(shorter, observed)));
            }
        }
        summary.millis = start.elapsed().as_millis() as u64;
        tell(News::Ended(summary));
        summary
    }
}

/// Makes the calls without those that show a known difference, which would hide what comes after them; returns
/// what is left and what came of it.
fn without_known(
    mut calls: Vec<Call>,
    known: &BTreeSet<String>,
    one: &mut dyn Side,
    other: &mut dyn Side,
) -> (Vec<Call>, Compared) {
    loop {
        match compare(&calls, one, other) {
            Compared::Differ(difference, _)
                if difference.at < calls.len() && known.contains(&kind(&calls, &difference)) =>
            {
                calls.remove(difference.at);
            }
            compared => return (calls, compared),
        }
    }
}

/// What makes two differences the same: the call, without its arguments, and what it showed, without details.
pub fn kind(calls: &[Call], difference: &Difference) -> String {
    let call = calls.get(difference.at).map(name_of);
    let shown = difference.shown.each_ref().map(|shown| shown.as_ref().map(shape));
    format!("{call:?} {shown:?}")
}

fn name_of(call: &Call) -> String {
    match call {
        Call::Set { level, option, .. } => format!("set {level}/{option}"),
        Call::Get { level, option, .. } => format!("get {level}/{option}"),
        Call::As { inner, .. } => format!("as {}", name_of(inner)),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

fn shape(seen: &Seen) -> String {
    match seen {
        Seen::Errno(errno) => format!("errno {errno}"),
        Seen::Returned(value) => format!("returned {value}"),
        Seen::Received(incoming) => {
            let message = Message::decode(&incoming.bytes).map(|(message, _)| shape_of(&message));
            format!("received {} {:x}", message.unwrap_or_default(), incoming.flags)
        }
        other => {
            let text = format!("{other:?}");
            text.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

/// Of control messages their status and what explains it, of the controller's its command. Types
/// above are numbers that a target chose.
fn shape_of(message: &Message) -> String {
    match message.kind {
        NLMSG_ERROR | NLMSG_DONE => {
            let ack = Ack::read(message).unwrap_or_default();
            format!("{} {} {:?} {:?}", message.kind, ack.status, ack.order, ack.message)
        }
        GENL_ID_CTRL => format!("{} {:?}", message.kind, message.payload.first()),
        kind @ ..NLMSG_MIN_TYPE => kind.to_string(),
        _ => "other".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::call::Value;

    #[test]
    fn an_option_that_is_set_and_one_that_is_read_are_two_kinds() {
        let set = Call::Set { socket: 0, level: 270, option: 1, value: Value::Bytes(vec![1, 0, 0, 0]) };
        let get = Call::Get { socket: 0, level: 270, option: 1, room: 4 };
        let of = |call| {
            let shown = [Seen::Errno(22), Seen::Ok].map(Some);
            kind(&[call], &Difference { at: 0, shown })
        };
        assert_ne!(of(set), of(get));
    }
}
