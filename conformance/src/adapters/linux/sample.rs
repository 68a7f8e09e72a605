//! The kernel's connector sample, samples/connector/cn_test.c, as a module.

use std::fs::File;
use std::path::Path;

use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

use crate::port::Sample;
use crate::port::provider::Unable;

/// Its path in the lab's guest.
const MODULE: &str = "/cn_test.ko";

/// Why it cannot be loaded, if it cannot.
pub fn missing() -> Option<String> {
    (!Path::new(MODULE).exists()).then(|| format!("there is no {MODULE}"))
}

/// The module, loaded.
pub struct Loaded(());

impl Loaded {
    /// Loads it.
    pub fn load() -> Result<Loaded, Unable> {
        let failed = |error: &dyn std::fmt::Display| Unable::Failed(format!("loading {MODULE}: {error}"));
        let file = File::open(MODULE).map_err(|error| failed(&error))?;
        finit_module(file, c"", ModuleInitFlags::empty()).map_err(|errno| failed(&errno))?;
        Ok(Loaded(()))
    }
}

impl Sample for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Only this case uses it.
        let _ = delete_module(c"cn_test", DeleteModuleFlags::empty());
    }
}
