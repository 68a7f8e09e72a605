//! A difference as a file that can be replayed, and as text.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use nix::libc::NETLINK_GENERIC;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::seen::{Observed, Seen};
use super::{Difference, difference, execute, nearest, words};
use crate::event::Exchange;
use crate::report::pretty;
use crate::spec::Profile;
use crate::text;
use crate::wire::explain;

/// A sequence on which two targets differ, and what they have shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The seed of the run, and the number of the sequence in it.
    pub seed: u64,
    /// See `seed`.
    pub number: u64,
    /// Calls of the sequence before it was shrunk.
    pub from: usize,
    /// The two targets.
    pub sides: [String; 2],
    /// The sequence.
    pub calls: Vec<Call>,
    /// What each target has shown.
    pub observed: Box<[Observed; 2]>,
}

impl Finding {
    /// Reads a file.
    ///
    /// # Errors
    /// There is none, or it holds something else.
    pub fn read(file: &Path) -> Result<Finding, String> {
        let text = text::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        serde_json::from_str(&text)
            .map_err(|error| format!("{} is not a sequence that explore kept: {error}", file.display()))
    }

    /// Writes a file into a folder; returns its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, String> {
        let file = folder.join(format!("{}-{}.json", self.seed, self.number));
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        text::write(&file, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        Ok(file)
    }

    /// Where the targets differ; nothing if they do not.
    pub fn difference(&self) -> Option<Difference> {
        difference(&self.calls, &self.observed[0], &self.observed[1])
    }

    /// The exchange up to the difference, and what each target has shown there.
    pub fn explain(&self, profile: Profile) -> String {
        let Some(difference) = self.difference() else {
            return format!("{} and {} show the same\n", self.sides[0], self.sides[1]);
        };
        let (calls, at) = (&self.calls, difference.at);
        let mut exchange: Vec<Exchange> =
            (0..at).filter_map(|at| self.step(at, self.observed[0].seen.get(at))).collect();
        let last = self.action(at);
        exchange.extend(
            calls
                .get(at)
                .and_then(|call| self.sent(call))
                .map(|sent| Exchange { action: last.clone(), ..sent }),
        );
        for ((side, observed), shown) in self.sides.iter().zip(self.observed.iter()).zip(&difference.shown) {
            exchange.push(match shown {
                Some(seen) => {
                    Exchange { action: format!("{last}, by {side}"), ..outcome(self.protocol(at), seen) }
                }
                None => plain(format!("{last}, by {side}"), trouble(observed)),
            });
        }
        let mut text = format!(
            "sequence {} of seed {}, shrunk from {} calls to {}\nexchange, in order:\n",
            self.number,
            self.seed,
            self.from,
            calls.len()
        );
        text += &pretty::exchange(&exchange);
        let about = |step: &Exchange| format!("{} {} {}", step.action, step.outcome, step.decoded.join(" "));
        let about: Vec<_> = exchange.iter().map(about).collect();
        text += "requirements that may be about this:\n";
        for line in nearest::nearest(&about.join(" "), profile) {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    /// In one line, where it differs, for a difference that did not show again.
    pub fn mention(&self) -> String {
        let (number, seed) = (self.number, self.seed);
        let Some(Difference { at, shown }) = self.difference() else {
            return format!("sequence {number} of seed {seed} shows no difference");
        };
        let of_side = |((side, observed), shown): ((&String, &Observed), &Option<Seen>)| {
            let shown = shown.as_ref().map_or_else(|| trouble(observed), words::seen);
            format!("by {side}: {shown}")
        };
        let sides: Vec<_> = self.sides.iter().zip(self.observed.iter()).zip(&shown).map(of_side).collect();
        format!(
            "sequence {number} of seed {seed} differed once and not again, in call {at}: {}; {}{}",
            self.action(at),
            sides.join("; "),
            first_byte(&shown).unwrap_or_default()
        )
    }

    /// A call, or the end, in words.
    fn action(&self, at: usize) -> String {
        self.calls.get(at).map_or_else(|| "everything closed, log".to_owned(), words::call)
    }

    /// A call that was made and what it has shown, on both.
    fn step(&self, at: usize, seen: Option<&Seen>) -> Option<Exchange> {
        let call = self.calls.get(at)?;
        let made = || plain(String::new(), "made".into());
        let shown = seen.map_or_else(made, |seen| outcome(self.protocol(at), seen));
        let action = words::call(call);
        Some(match self.sent(call) {
            Some(sent) => Exchange { action, outcome: shown.outcome, ..sent },
            None => Exchange { action, ..shown },
        })
    }

    /// The bytes that a call sends.
    fn sent(&self, call: &Call) -> Option<Exchange> {
        let (socket, messages) = match call {
            Call::Send { socket, messages, .. } => (socket, messages),
            Call::As { inner, .. } => return self.sent(inner),
            _ => return None,
        };
        let bytes = execute::datagram(messages, &super::names::family_number);
        Some(with_bytes(self.protocol_of(*socket), String::new(), &bytes))
    }

    fn protocol(&self, at: usize) -> i32 {
        let socket = self.calls.get(at).and_then(Call::socket);
        socket.map_or(NETLINK_GENERIC, |socket| self.protocol_of(socket))
    }

    fn protocol_of(&self, name: u8) -> i32 {
        let opened = self.calls.iter().find_map(|call| match call {
            Call::Open { socket, protocol, .. } if *socket == name => Some(*protocol),
            Call::Duplicate { socket, copy } if *copy == name => Some(self.protocol_of(*socket)),
            _ => None,
        });
        opened.unwrap_or(0)
    }
}

/// Why a side has shown nothing.
fn trouble(observed: &Observed) -> String {
    observed.trouble.clone().unwrap_or_else(|| "no trouble".into())
}

fn plain(action: String, outcome: String) -> Exchange {
    Exchange { action, outcome, bytes: String::new(), decoded: Vec::new() }
}

/// Where datagrams of one length differ.
fn first_byte(shown: &[Option<Seen>; 2]) -> Option<String> {
    let [Some(Seen::Received(one)), Some(Seen::Received(other))] = shown else { return None };
    let mut pairs = one.bytes.iter().zip(&other.bytes).enumerate();
    let (at, (one, other)) = pairs.find(|(_, (one, other))| one != other)?;
    Some(format!("; byte {at}: {one:#04x} and {other:#04x}"))
}

fn outcome(protocol: i32, seen: &Seen) -> Exchange {
    match seen {
        Seen::Received(incoming) => with_bytes(protocol, words::seen(seen), &incoming.bytes),
        other => plain(String::new(), words::seen(other)),
    }
}

fn with_bytes(protocol: i32, outcome: String, bytes: &[u8]) -> Exchange {
    let decoded = explain::datagram(protocol, bytes);
    Exchange { action: String::new(), outcome, bytes: hex::encode(bytes), decoded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Incoming;

    #[test]
    fn a_mention_says_where_datagrams_of_one_length_differ() {
        let received = |bytes: &[u8]| {
            let incoming = Incoming { bytes: bytes.to_vec(), returned: bytes.len(), ..Incoming::default() };
            Observed { seen: vec![Seen::Received(incoming)], trouble: None }
        };
        let finding = Finding {
            seed: 1,
            number: 2,
            from: 1,
            sides: ["one".into(), "other".into()],
            calls: vec![Call::Receive { socket: 0, room: 4, flags: 0 }],
            observed: Box::new([received(&[1, 2, 3, 4]), received(&[1, 2, 9, 4])]),
        };
        assert!(finding.mention().ends_with("byte 2: 0x03 and 0x09"), "{}", finding.mention());
    }
}
