//! The other side under test: a client library, driven through an adapter that speaks of intent.

pub mod protocol;
