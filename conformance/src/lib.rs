//! nlconform: does this netlink implementation behave as Linux netlink must?
//!
//! The library holds the requirements ([`spec`]), the cases that check them ([`cases`]), the bytes
//! they exchange ([`wire`]), the port to what is tested ([`port`]) and the schema in which a run is
//! requested and reported ([`event`]). It knows neither QEMU nor PID 1.

pub mod adapters;
pub mod cases;
pub mod client;
pub mod event;
#[cfg(feature = "runner")]
pub mod explore;
#[cfg(feature = "inprocess")]
pub mod inprocess;
pub mod isolate;
pub mod journal;
pub mod lend;
pub mod lines;
pub mod outcome;
pub mod port;
pub mod program;
#[cfg(feature = "runner")]
pub mod report;
pub mod run;
pub mod scene;
#[cfg(feature = "runner")]
pub mod selection;
pub mod signs;
pub mod spec;
pub mod splat;
#[cfg(feature = "runner")]
pub mod stdout;
pub mod text;
pub mod wire;
