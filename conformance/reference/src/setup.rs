//! How a bus is to be.

use std::time::Duration;

use nlconform::adapters::linux::LINUX;
use nlconform::event::Identity;
use nlconform::spec::{self, FromValue, Profile, Version};

use super::defect::Defect;

/// By how much an answer, and an entry of the log, is late where they are.
pub const LATE: Duration = Duration::from_millis(3);

/// How a bus is to be.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// The Linux that it behaves as.
    pub profile: Profile,
    /// Its deliberate defect.
    pub defect: Option<Defect>,
    /// It treats the suite as somebody without privileges.
    pub unprivileged: bool,
    /// It answers requests some milliseconds after they were sent, in another thread, and logs callbacks as late.
    pub late: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { profile: Profile::newest(), defect: None, unprivileged: false, late: false }
    }
}

impl Setup {
    /// As the Linux of this identity, or as the newest where it is none.
    pub fn of(identity: &Identity) -> Setup {
        let version = Some(&identity.version).filter(|_| identity.name == LINUX);
        let version: Option<Version> = version.and_then(|text| text.parse().ok());
        Setup { profile: version.map_or_else(Profile::newest, Profile::nearest), ..Setup::default() }
    }

    /// Whether the bus has this defect.
    pub fn has(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether the bus behaves as a Linux of this version or a newer one.
    pub fn since(self, version: Version) -> bool {
        self.profile.version >= version
    }

    /// Whether a requirement holds for its profile.
    pub fn holds(self, id: &str) -> bool {
        spec::find(id).is_some_and(|requirement| requirement.holds_for(self.profile.version))
    }

    /// The value that a requirement has for its profile.
    ///
    /// # Panics
    /// There is no such requirement or value.
    pub fn value<T: FromValue>(self, id: &str, name: &str) -> T {
        let requirement = spec::find(id).ok_or_else(|| format!("there is no requirement {id}"));
        let value = requirement.and_then(|requirement| requirement.value(name, self.profile.version));
        value.unwrap_or_else(|why| panic!("{why}"))
    }
}
