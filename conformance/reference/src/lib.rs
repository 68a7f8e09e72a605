//! The reference implementation: AF_NETLINK, generic netlink and the connector as nlconform specifies them,
//! in user space and in Rust. The suite's own tests run against it, intact and with each [`Defect`].
//!
//! ```text
//! cargo run -p nlconform-reference
//! cargo run -p nlconform-reference -- genetlink::registration
//! DEFECT=AckMissing cargo run -p nlconform-reference -- netlink::acks
//! ```
//!
//! The last one shows what a report looks like: the implementation then has a deliberate defect.
//!
//! | file | holds |
//! |---|---|
//! | target.rs | the port: what nlconform sees of the bus |
//! | calls.rs, transfer.rs, options.rs | the system calls on a socket |
//! | kernel.rs, socket.rs | protocols, ports, groups, queues |
//! | late.rs | requests that are answered in another thread |
//! | input.rs, dump.rs | requests, acknowledgements, dumps |
//! | families.rs, dispatch.rs | the families of generic netlink, and requests to them |
//! | controller.rs, advertise.rs | the controller |
//! | validate.rs, bounds.rs | attributes and their policies |
//! | provider.rs, script.rs, actions.rs | what a case's kernel code does |
//! | setup.rs, defect.rs | the Linux that it behaves as, ways to be wrong |

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
mod late;
mod message;
mod options;
mod provider;
mod route;
mod script;
mod setup;
mod socket;
mod target;
mod transfer;
mod validate;

pub use defect::Defect;
pub use setup::Setup;
pub use target::Netlink;
