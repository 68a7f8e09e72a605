//! The run of plans in guests: one plan over as many guests as it takes, many plans side by side, and
//! what is kept of them.

pub mod conversation;
pub mod guest;
pub mod kept;
pub mod results;
mod retrace;
pub mod schedule;
pub mod session;
mod unhex;
pub mod workers;
