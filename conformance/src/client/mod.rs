//! The other side under test: a client library, driven through an adapter that speaks of intent.

mod library;
pub mod protocol;
mod words;

pub use library::{Adapter, Library};
