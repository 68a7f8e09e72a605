//! The kernel connector.

mod groups;
mod kernel;
mod process;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [kernel::cases(), groups::cases(), process::cases()].into_iter().flatten().collect()
}
