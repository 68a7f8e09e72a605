//! A user-space generic netlink bus, small but genuine, and how nlconform validates it: the example of
//! an implementation in Rust that is tested in its own `cargo test`.
//!
//! ```text
//! cargo run -p nlconform --features inprocess --example bus
//! cargo run -p nlconform --features inprocess --example bus -- genetlink::registration
//! DEFECT=AckMissing cargo run -p nlconform --features inprocess --example bus -- netlink::acks
//! ```
//!
//! The last one shows what a report looks like: the bus is then wrong on purpose, see [`Defect`].
//!
//! | file | holds |
//! |---|---|
//! | target.rs | the port: what nlconform sees of the bus |
//! | calls.rs, options.rs | the system calls on a socket |
//! | kernel.rs, socket.rs | protocols, ports, groups, queues |
//! | input.rs, dump.rs | requests, acknowledgements, dumps |
//! | families.rs, dispatch.rs | the families of generic netlink, and requests to them |
//! | controller.rs, advertise.rs | the controller |
//! | validate.rs, bounds.rs | attributes and their policies |
//! | provider.rs, script.rs, actions.rs | what a case's kernel code does |
//! | defect.rs | ways to be wrong |

mod actions;
mod advertise;
mod bounds;
mod calls;
mod controller;
mod credentials;
mod defect;
mod dispatch;
mod dump;
mod families;
mod input;
mod kernel;
mod message;
mod options;
mod provider;
mod route;
mod script;
mod socket;
mod target;
mod validate;

use std::process::ExitCode;

use nlconform::inprocess;
use nlconform::spec::Profile;

pub use defect::Defect;
pub use target::Netlink;

/// Runs the suite against the bus. The arguments are those of libtest.
pub fn main() -> ExitCode {
    let wanted = std::env::var("DEFECT").ok();
    let defect = match &wanted {
        None => None,
        Some(name) => match Defect::ALL.iter().find(|defect| format!("{defect:?}") == *name) {
            Some(defect) => Some(*defect),
            None => {
                eprintln!("there is no defect {name}; try one of {:?}", Defect::ALL);
                return ExitCode::from(2);
            }
        },
    };
    inprocess::main(move || Box::new(Netlink::new(defect)), Profile::newest())
}
