//! An implementation in any language, reached through a child process that speaks JSON lines.
//!
//! If the adapter misbehaves, only the running case is lost: it ends with [`Died`].

pub mod protocol;
mod provider;
mod socket;

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use serde::de::DeserializeOwned;

use crate::event::{Identity, Role, check_version};
use crate::lines::{ANSWER_GRACE, Process, Silence};
use crate::port::capability::Capability;
use crate::port::provider::{Provider, Unable};
use crate::port::{Died, Inexpressible, Socket, Target};
use protocol::{Answer, Call, Hello, OUT_OF_REACH, Told, VERSION};

/// The time that an adapter has, unless more is given, from its start to its answer to hello: an interpreter with its
/// modules.
pub const START: Duration = Duration::from_secs(10);

/// The implementation that an adapter gives access to.
pub struct Adapter {
    argv: Vec<String>,
    identity: Identity,
    start: Duration,
    link: OnceLock<Link>,
}

/// The connection to a running adapter, shared by the objects that live in it.
#[derive(Debug, Clone)]
struct Link(Arc<Process<Answer>>);

impl Adapter {
    /// Starts the adapter briefly, to learn what it is. Each process that runs a case then starts
    /// its own. Each time it has `time` to say hello.
    ///
    /// # Errors
    /// A sentence, if it does not start or does not answer as it must.
    pub fn new(argv: Vec<String>, time: Duration) -> Result<Adapter, String> {
        let process = start(&argv, false)?;
        match greet(&process, time)? {
            Told::Ok(value) => {
                let Hello { version, mut identity }: Hello =
                    serde_json::from_value(value).map_err(|error| format!("hello: {error}"))?;
                check_version(version, VERSION)
                    .and_then(|()| identity.check(Role::Target))
                    .map_err(|why| format!("the adapter's greeting: {why}"))?;
                let capabilities = &mut identity.capabilities;
                if let Some(name) = capabilities.keys().find(|name| Capability::named(name).is_none()) {
                    return Err(format!(
                        "the adapter names a capability {name:?}, which docs/adapter.md does not know"
                    ));
                }
                // The implementation may have it: the adapter's own reason, if there is one, is better.
                for beyond in OUT_OF_REACH {
                    let fact = capabilities.entry(beyond.to_string()).or_default();
                    fact.get_or_insert_with(|| "the adapter protocol has no call for it".into());
                }
                Ok(Adapter { argv, identity, start: time, link: OnceLock::new() })
            }
            other => Err(format!("unexpected answer to hello: {other:?}")),
        }
    }

    fn link(&self) -> &Link {
        self.link.get_or_init(|| {
            let parallel = self.identity.lacks(Capability::ParallelCalls).is_none();
            let process = start(&self.argv, parallel).unwrap_or_else(|why| Died::now(why));
            // The version is settled already, but an adapter may rely on `hello`.
            greet(&process, self.start).unwrap_or_else(|why| Died::now(why));
            Link(Arc::new(process))
        })
    }
}

fn start(argv: &[String], parallel: bool) -> Result<Process<Answer>, String> {
    let (program, args) = argv.split_first().ok_or("an adapter is a program and its arguments")?;
    Process::start(Command::new(program).args(args), parallel)
}

/// Says hello, which the adapter has `time` to answer.
///
/// # Errors
/// What the adapter did instead, and what it was to do.
fn greet(process: &Process<Answer>, time: Duration) -> Result<Told, String> {
    let hello = Call::Hello { version: VERSION };
    match process.ask(&hello, time) {
        Ok(answer) => Ok(answer.told),
        Err(Silence::Late) => Err(format!(
            "the adapter did not say hello within {} s: it is to read the line \
             {{\"seq\":1,\"call\":\"hello\",\"version\":{VERSION}}} from its standard input, and to answer it with one \
             line on its standard output, flushed; docs/adapter.md has the lines, and what gives a slow start more time",
            time.as_secs_f32()
        )),
        Err(silence) => Err(instead(&silence, &hello)),
    }
}

/// Asks, and waits for as long as the call has.
///
/// # Errors
/// What the adapter did instead, and at which call.
fn ask(process: &Process<Answer>, call: &Call) -> Result<Told, String> {
    let time = Duration::from_millis(call.waits_ms()) + ANSWER_GRACE;
    let answer = process.ask(call, time).map_err(|silence| match silence {
        Silence::Late => format!("{silence}: nothing came within {} s of {}", time.as_secs(), call.name()),
        silence => instead(&silence, call),
    })?;
    Ok(answer.told)
}

fn instead(silence: &Silence, call: &Call) -> String {
    match silence {
        Silence::Ended(_) => format!("{silence} instead of answering {}", call.name()),
        silence => silence.to_string(),
    }
}

impl Link {
    fn told(&self, call: &Call) -> Told {
        ask(&self.0, call).unwrap_or_else(|why| Died::now(why))
    }

    /// A call with the result of a system call.
    fn system_call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Errno> {
        match self.told(call) {
            Told::Ok(value) => Ok(read(call, value)),
            Told::Errno(number) => Err(Errno::from_raw(number)),
            Told::Unsupported(fact) => Inexpressible::now(fact),
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

    /// A call whose answer is ignored.
    fn farewell(&self, call: &Call) {
        let _ = ask(&self.0, call);
    }
}

fn read<T: DeserializeOwned>(call: &Call, value: serde_json::Value) -> T {
    serde_json::from_value(value)
        .unwrap_or_else(|error| Died::now(format!("malformed answer to {call:?}: {error}")))
}

impl Target for Adapter {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno> {
        let id = self.link().system_call(&Call::Socket { kind, protocol })?;
        Ok(Box::new(socket::AdapterSocket { link: self.link().clone(), id }))
    }

    fn file(&self, path: &str) -> Result<String, Unable> {
        self.link().provider_call(&Call::File { path: path.to_owned() })
    }

    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        self.link().provider_call::<()>(&Call::Provide)?;
        Ok(Box::new(provider::AdapterProvider { link: self.link().clone() }))
    }
}
