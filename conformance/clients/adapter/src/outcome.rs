//! What the caller of the library learns of a call.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;

use crate::Attribute;

#[derive(Default, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub end: End,
    pub messages: Vec<Message>,
    pub notices: Vec<Notice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// How a call ended.
#[derive(Debug, Default, Serialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    #[default]
    Done,
    Error(Error),
    Interrupted,
    Overrun,
    Truncated,
    Foreign,
    Timeout,
    Library {
        words: String,
    },
    /// The library has no such call.
    Unsupported,
}

/// An error of the kernel, with what the library shows of its extended ack.
#[derive(Debug, Default, Serialize)]
pub struct Error {
    /// Positive.
    pub errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Vec<u8>>,
}

impl End {
    /// An error without an extended ack.
    pub fn errno(errno: i32) -> End {
        End::Error(Error { errno: Some(errno), ..Error::default() })
    }

    /// A system call that failed.
    pub fn system(error: &std::io::Error) -> End {
        const ENOBUFS: i32 = 105;
        match error.raw_os_error() {
            Some(ENOBUFS) => End::Overrun,
            Some(errno) => End::errno(errno),
            None => End::library(error),
        }
    }

    /// Any other failure, in the library's words, which may be many.
    pub fn library(error: &dyn Debug) -> End {
        End::Library { words: format!("{error:?}").chars().take(200).collect() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    Interrupted,
    Overrun,
    Warning(String),
}

/// A message, as far as the library shows it.
#[derive(Default, Serialize)]
pub struct Message {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<Attribute>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// A process event.
#[derive(Serialize)]
pub struct Process {
    pub what: &'static str,
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<u32>,
}

#[derive(Serialize)]
pub struct Family {
    pub id: u16,
    /// Nothing where the library does not list them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<String, u32>>,
}
