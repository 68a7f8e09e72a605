//! An implementation in any language, behind a child process that speaks JSON lines.
//!
//! What the adapter does wrong costs the case that ran: it ends with [`Died`].

mod process;
pub mod protocol;
mod provider;
mod socket;

use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use serde::de::DeserializeOwned;

use crate::event::Identity;
use crate::port;
use crate::port::process::Deed;
use crate::port::provider::{Provider, Unable};
use crate::port::{Died, PARALLEL_CALLS, Socket, Target, Who};
use process::Process;
use protocol::{Call, Hello, Told, VERSION};

/// The implementation that an adapter reaches.
pub struct Adapter {
    argv: Vec<String>,
    identity: Identity,
    link: OnceLock<Link>,
}

/// The way to a running adapter, shared by all that lives in it.
#[derive(Debug, Clone)]
struct Link(Arc<Process>);

impl Adapter {
    /// Starts the adapter for a moment, to learn what it is. Each process that runs a case then has
    /// one of its own.
    ///
    /// # Errors
    /// In words, when it does not start, or does not answer as it must.
    pub fn new(argv: Vec<String>) -> Result<Adapter, String> {
        match Process::start(&argv, false)?.ask(&Call::Hello { version: VERSION })? {
            Told::Ok(value) => {
                let hello: Hello =
                    serde_json::from_value(value).map_err(|error| format!("hello: {error}"))?;
                if hello.version > VERSION {
                    return Err(format!(
                        "the adapter speaks version {}, this nlconform only up to {VERSION}",
                        hello.version
                    ));
                }
                Ok(Adapter { argv, identity: hello.identity, link: OnceLock::new() })
            }
            other => Err(format!("the adapter answered {other:?} to hello")),
        }
    }

    fn link(&self) -> &Link {
        self.link.get_or_init(|| {
            let parallel = matches!(self.identity.capabilities.get(PARALLEL_CALLS), Some(None));
            let process = Process::start(&self.argv, parallel).unwrap_or_else(|why| Died::now(why));
            let link = Link(Arc::new(process));
            // The version has been settled; the adapter may count on being greeted.
            link.told(&Call::Hello { version: VERSION });
            link
        })
    }
}

impl Link {
    fn told(&self, call: &Call) -> Told {
        self.0.ask(call).unwrap_or_else(|why| Died::now(why))
    }

    /// A call that answers as a system call does.
    fn system_call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Errno> {
        match self.told(call) {
            Told::Ok(value) => Ok(read(call, value)),
            Told::Errno(number) => Err(Errno::from_raw(number)),
            Told::Unsupported(_) => Err(Errno::ENOSYS),
            Told::Failed(why) => Died::now(format!("the adapter failed at {call:?}: {why}")),
        }
    }

    /// A call of the provider side.
    fn provider_call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Unable> {
        match self.told(call) {
            Told::Ok(value) => Ok(read(call, value)),
            Told::Errno(number) => Err(Unable::Failed(format!("{call:?}: {:?}", Errno::from_raw(number)))),
            Told::Unsupported(fact) => Err(Unable::Unsupported(fact)),
            Told::Failed(why) => Err(Unable::Failed(why)),
        }
    }

    /// A call whose answer nobody waits for any more.
    fn farewell(&self, call: &Call) {
        let _ = self.0.ask(call);
    }
}

fn read<T: DeserializeOwned>(call: &Call, value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| {
        Died::now(format!("the adapter's answer to {call:?} is of the wrong form: {error}"))
    })
}

impl Target for Adapter {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno> {
        let id = self.link().system_call(&Call::Socket { kind, protocol })?;
        Ok(Box::new(socket::AdapterSocket { link: self.link().clone(), id }))
    }

    fn socket_of(&self, who: Who, _kind: i32, _protocol: i32) -> Result<Box<dyn Socket>, Unable> {
        Err(no_other_task(format_args!("open a socket as {who:?}")))
    }

    fn file(&self, path: &str) -> Result<String, Unable> {
        self.link().provider_call(&Call::File { path: path.to_owned() })
    }

    fn trace(&self, event: &str, _step: &mut dyn FnMut()) -> Result<Vec<String>, Unable> {
        Err(Unable::Unsupported(format!("an adapter does not trace events such as {event}")))
    }

    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        self.link().provider_call::<()>(&Call::Provide)?;
        Ok(Box::new(provider::AdapterProvider { link: self.link().clone() }))
    }

    fn failing(&self, _nth: u32, _step: &mut dyn FnMut()) -> Result<bool, Unable> {
        Err(Unable::Unsupported("an adapter does not count what is allocated for system calls".into()))
    }

    fn run_as(&self, who: Who, _step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
        Err(no_other_task(format_args!("act as {who:?}")))
    }

    fn process(&self, _deeds: &[Deed]) -> Result<Box<dyn port::process::Process>, Unable> {
        Err(no_other_task(format_args!("make processes")))
    }

    fn module_requests(&self) -> Result<Box<dyn port::ModuleRequests>, Unable> {
        Err(no_other_task(format_args!("load modules")))
    }
}

/// What would have to be done in a process that is not the adapter's.
fn no_other_task(what: std::fmt::Arguments<'_>) -> Unable {
    Unable::Unsupported(format!("an adapter does not {what}"))
}
