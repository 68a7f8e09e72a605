//! One call of a callback.

use std::sync::Arc;

use nlconform::port::provider::On;

use super::attribute::Attributes;
use super::families::Family;
use super::kernel::Kernel;
use super::message::{Buffer, ExtAck, Request};
use super::progress::Progress;

/// One call of a callback: its arguments.
pub struct Run<'a> {
    /// The bus.
    pub kernel: &'a Kernel,
    /// The bus again, where a dump can be started.
    pub shared: Option<&'a Arc<Kernel>>,
    /// The callback.
    pub on: On,
    /// Command of a family.
    pub cmd: Option<u8>,
    /// The subject for the log.
    pub subject: u32,
    /// The request that it handles.
    pub request: Option<&'a Request>,
    /// The family.
    pub family: Option<&'a Family>,
    /// Number of the protocol.
    pub protocol: Option<i32>,
    /// The parsed attributes.
    pub attributes: Option<&'a Attributes>,
    /// The extended acknowledgement.
    pub extack: Option<&'a mut ExtAck>,
    /// The dump.
    pub progress: Option<&'a mut Progress>,
    /// What the dump fills.
    pub buffer: Option<&'a mut Buffer>,
    /// What was captured.
    pub captured: Vec<u8>,
    /// State of the dump when the call began: calls and records.
    pub state: [u32; 2],
}

impl<'a> Run<'a> {
    /// A call without a subject.
    pub fn new(kernel: &'a Kernel, on: On) -> Run<'a> {
        Run {
            kernel,
            shared: None,
            on,
            cmd: None,
            subject: 0,
            request: None,
            family: None,
            protocol: None,
            attributes: None,
            extack: None,
            progress: None,
            buffer: None,
            captured: Vec::new(),
            state: [0; 2],
        }
    }

    /// A call for a request.
    pub fn of_request(kernel: &'a Arc<Kernel>, on: On, request: &'a Request) -> Run<'a> {
        Run { request: Some(request), shared: Some(kernel), ..Run::new(kernel, on) }
    }
}
