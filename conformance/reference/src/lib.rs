//! The reference implementation: AF_NETLINK, generic netlink and the connector as nlconform specifies them,
//! in user space and in Rust. The suite's own tests run against it, intact and with each [`Defect`].
//!
//! ```text
//! cargo run -p nlconform-reference
//! cargo run -p nlconform-reference -- genetlink::registration
//! DEFECT=AckMissing cargo run -p nlconform-reference -- netlink::acks
//! PROFILE=linux-6.1 cargo run -p nlconform-reference
//! ```
//!
//! With `DEFECT` one sees what a report looks like: the implementation then has a deliberate defect. With `PROFILE`
//! it behaves as that Linux, and is judged by what that one does.
//!
//! Each file uses only those above it:
//!
//! | file | holds |
//! |---|---|
//! | defect.rs, setup.rs | ways to be wrong; the Linux that it behaves as |
//! | credentials.rs | who acts, and what that one may do |
//! | session.rs | what a provider has registered, and the log of its callbacks |
//! | message.rs | requests, extended acknowledgements and buffers |
//! | attribute.rs, bounds.rs, validate.rs | attributes and their policies |
//! | progress.rs | how far a dump is |
//! | socket.rs, families.rs, callbacks.rs | one socket; the families of generic netlink; the connector's callbacks |
//! | kernel.rs | protocols, ports, groups, queues |
//! | advertise.rs, tlvs.rs, acks.rs | policies and acknowledgements on the wire |
//! | dump.rs | dumps |
//! | run.rs, actions.rs, script.rs | what a case's kernel code does when it is called |
//! | connector.rs | the connector |
//! | route.rs, options.rs, controller.rs | NETLINK_ROUTE; socket options; the controller |
//! | dispatch.rs, input.rs, late.rs | requests: to families, of all protocols, in another thread |
//! | calls.rs, transfer.rs | the system calls on a socket |
//! | provider.rs, target.rs | the port: both sides as nlconform sees them |

mod acks;
mod actions;
mod advertise;
mod attribute;
mod bounds;
mod callbacks;
mod calls;
mod connector;
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
mod progress;
mod provider;
mod route;
mod run;
mod script;
mod session;
mod setup;
mod socket;
mod target;
mod tlvs;
mod transfer;
mod validate;

pub use defect::Defect;
pub use setup::Setup;
pub use target::Netlink;
