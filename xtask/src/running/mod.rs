//! The run of plans in guests: one plan over as many guests as it takes, many plans side by side, and
//! what is kept of them.

pub mod conversation;
pub mod guest;
pub mod kept;
pub mod results;
pub mod schedule;
pub mod session;
pub mod workers;
