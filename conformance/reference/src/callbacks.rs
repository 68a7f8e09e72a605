//! The connector's callbacks, by ID.

use std::sync::Arc;

use nix::errno::Errno;
use nlconform::port::provider::CbId;

use super::defect::Defect;
use super::session::{Object, Session};
use super::setup::Setup;

/// The callbacks, in the order in which they were added.
pub struct Callbacks {
    known: Vec<(CbId, Arc<Object>)>,
    setup: Setup,
}

impl Callbacks {
    /// None yet.
    pub fn new(setup: Setup) -> Callbacks {
        Callbacks { known: Vec::new(), setup }
    }

    /// Adds one for an ID that has none.
    pub fn add(&mut self, id: CbId, object: Arc<Object>) -> Result<(), Errno> {
        if self.of(id).is_some() {
            return Err(Errno::EINVAL);
        }
        self.known.push((id, object));
        Ok(())
    }

    /// Deletes that of an ID, if there is one.
    pub fn delete(&mut self, id: CbId) {
        if !self.setup.has(Defect::CallbackStays) {
            self.known.retain(|(known, _)| *known != id);
        }
    }

    /// Deletes those of a provider that is gone.
    pub fn delete_all(&mut self, session: &Arc<Session>) {
        self.known.retain(|(_, object)| !Arc::ptr_eq(&object.session, session));
    }

    /// The callback of an ID.
    pub fn of(&self, id: CbId) -> Option<&Arc<Object>> {
        let any_val = self.setup.has(Defect::CallbacksIgnoreVal);
        let same = |known: &CbId| known.idx == id.idx && (known.val == id.val || any_val);
        self.known.iter().find(|(known, _)| same(known)).map(|(_, object)| object)
    }
}
