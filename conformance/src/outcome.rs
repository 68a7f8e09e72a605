//! Outcomes of cases, and the expectations that lead to them.

use std::fmt::{Debug, Display};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::port::provider::Unable;
use crate::wire::ack::Ack;
use crate::wire::explain;

/// How a case ends.
pub type Outcome = Result<(), Failure>;

/// Why a case ended early.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Failure {
    /// An expectation did not hold.
    Mismatch {
        /// The requirement that it belongs to, if it is not the case's first.
        requirement: Option<String>,
        /// What was checked.
        what: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A preparatory call failed with this errno.
    Unexpected(i32),
    /// The case's own preparation failed.
    Broken(String),
    /// The target lacks something that the case needs.
    Skip(String),
    /// What is under test died; how.
    Crash(String),
    /// What is under test hangs: it gave no answer for so many milliseconds.
    Timeout(u64),
}

impl From<Errno> for Failure {
    /// The exchange shows which call failed.
    fn from(errno: Errno) -> Self {
        Failure::Unexpected(errno as i32)
    }
}

impl From<Unable> for Failure {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Unsupported(fact) => Failure::Skip(fact),
            Unable::Failed(error) => Failure::Broken(error),
        }
    }
}

/// The case's preparation failed for this reason.
pub fn broken<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Broken(reason.into()))
}

/// What was found is not what was expected.
pub fn mismatch<T>(what: &str, expected: impl Display, got: impl Display) -> Result<T, Failure> {
    Err(Failure::Mismatch {
        requirement: None,
        what: what.into(),
        expected: expected.to_string(),
        got: got.to_string(),
    })
}

/// `got` must equal `expected`.
pub fn expect_eq<T, U>(what: &str, got: T, expected: U) -> Outcome
where
    T: PartialEq<U> + Debug,
    U: Debug,
{
    if got == expected {
        return Ok(());
    }
    mismatch(what, format_args!("{expected:?}"), format_args!("{got:?}"))
}

/// `got` must be these bytes.
pub fn expect_bytes(what: &str, got: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) -> Outcome {
    let (got, expected) = (got.as_ref(), expected.as_ref());
    if got == expected {
        return Ok(());
    }
    let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    mismatch(what, window(expected, same), window(got, same))
}

/// The bytes around the one at `interesting`, in hexadecimal.
fn window(bytes: &[u8], interesting: usize) -> String {
    const SHOWN: usize = 48;
    let from = if bytes.len() <= SHOWN { 0 } else { interesting.saturating_sub(SHOWN / 2) / 4 * 4 };
    let shown = &bytes[from.min(bytes.len())..bytes.len().min(from + SHOWN)];
    match (from, bytes.len() - shown.len()) {
        (_, 0) => format!("{} bytes: {}", bytes.len(), explain::hex(shown)),
        _ => format!("{} bytes, from {from} on: {}", bytes.len(), explain::hex(shown)),
    }
}

/// `got` must be empty.
pub fn expect_empty<T: Debug>(what: &str, got: impl AsRef<[T]>) -> Outcome {
    match got.as_ref() {
        [] => Ok(()),
        some => mismatch(what, "none", format_args!("{some:?}")),
    }
}

/// `holds` must be true; `expected` says in words what was expected.
pub fn expect(what: &str, holds: bool, expected: &str, got: impl Debug) -> Outcome {
    if holds { Ok(()) } else { mismatch(what, expected, format_args!("{got:?}")) }
}

/// The answer must be this errno.
pub fn expect_errno(what: &str, got: impl Status, expected: Errno) -> Outcome {
    expect_result(what, got, Err(expected))
}

/// The answer must be success.
pub fn expect_ok(what: &str, got: impl Status) -> Outcome {
    expect_result(what, got, Ok(()))
}

/// The answer must be this one.
pub fn expect_result(what: &str, got: impl Status, expected: Result<(), Errno>) -> Outcome {
    let got = got.status();
    let wanted = expected.map_or_else(|errno| -i64::from(errno as i32), |()| 0);
    if got == wanted { Ok(()) } else { mismatch(what, explain::errno(wanted), explain::errno(got)) }
}

/// Anything that has a status by the kernel's convention.
pub trait Status {
    /// 0 for success, else a negative errno, or another number from the kernel.
    fn status(&self) -> i64;
}

impl<T> Status for Result<T, Errno> {
    fn status(&self) -> i64 {
        match self {
            Ok(_) => 0,
            // Its number is 0, which is no error.
            Err(Errno::UnknownErrno) => explain::NAMELESS,
            Err(errno) => -i64::from(*errno as i32),
        }
    }
}

impl Status for i64 {
    fn status(&self) -> i64 {
        *self
    }
}

impl Status for Ack {
    fn status(&self) -> i64 {
        self.status.into()
    }
}

impl<A: Status> Status for &A {
    fn status(&self) -> i64 {
        (*self).status()
    }
}

/// Attributes a failure to one of the case's further requirements.
pub trait Under {
    /// See [`Under`].
    fn under(self, requirement: &str) -> Self;
}

impl<T> Under for Result<T, Failure> {
    fn under(mut self, id: &str) -> Self {
        if let Err(Failure::Mismatch { requirement, .. }) = &mut self {
            *requirement = Some(id.into());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(got: &[u8], expected: &[u8]) -> (String, String) {
        match expect_bytes("bytes", got, expected) {
            Err(Failure::Mismatch { expected, got, .. }) => (expected, got),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_errno_without_a_name_is_no_success() {
        let nameless: Result<(), _> = Err(Errno::from_raw(524));
        let Err(Failure::Mismatch { got, .. }) = expect_ok("call", nameless) else { panic!("it passed") };
        assert_eq!(got, "an errno without a name");
    }

    #[test]
    fn bytes_are_shown_where_they_differ() {
        assert_eq!(expect_bytes("bytes", [1, 2], [1, 2]), Ok(()));
        assert_eq!(found(b"", &[1, 2]), ("2 bytes: 0102".into(), "0 bytes: ".into()));
        let (mut one, two) = (vec![0; 1000], vec![0; 1000]);
        one[999] = 0xff;
        let (expected, got) = found(&one, &two);
        assert!(expected.starts_with("1000 bytes, from 972 on: 00000000 "), "{expected}");
        assert!(got.ends_with(" 000000ff"), "{got}");
    }
}
