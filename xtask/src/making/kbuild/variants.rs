//! What variants of a kernel need beside their fragments: kernel-configs/variants.toml.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::tested;

/// What a variant, or several, need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// Memory of a guest in MiB, at least.
    pub memory: u32,
    /// Processors of a guest, unless the user says how many.
    pub smp: Option<u32>,
    /// How many times as long as on a plain kernel a guest may take to come up, and a case to end.
    pub slower: Option<u32>,
    /// Variables for the kernel's build, as `NAME=value`.
    pub make: Vec<String>,
    /// One more for each file that is tested; `{object}` stands for its object.
    each_object: Option<String>,
}

impl Needs {
    /// What these variants need together. One that the file does not name needs nothing.
    pub fn of_variants(variants: &[String]) -> Result<Needs> {
        let path = crate::project_root().join("kernel-configs/variants.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let known: BTreeMap<String, Needs> =
            toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        Ok(variants.iter().filter_map(|name| known.get(name)).fold(Needs::default(), Needs::and))
    }

    /// The factor for deadlines.
    pub fn factor(&self) -> u32 {
        self.slower.unwrap_or(1)
    }

    fn and(mut self, other: &Needs) -> Needs {
        self.memory = self.memory.max(other.memory);
        self.smp = self.smp.max(other.smp);
        self.slower = self.slower.max(other.slower);
        self.make.extend_from_slice(&other.make);
        if let Some(variable) = &other.each_object {
            self.make.extend(tested::files().iter().map(|file| variable.replace("{object}", file.object())));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_of_several_variants_add_up() {
        let needs = |names: &[&str]| {
            Needs::of_variants(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(needs(&["fault"]), Needs::default());
        let both = needs(&["coverage", "fault", "debug"]);
        let debug = needs(&["debug"]);
        assert!(debug.memory > 0 && debug.factor() > 1, "{debug:?}");
        assert_eq!((both.memory, both.smp, both.factor()), (debug.memory, Some(2), debug.factor()));
        assert_eq!(needs(&["fault"]).factor(), 1);
        assert!(both.make.contains(&"GCOV_PROFILE_genetlink.o=y".to_owned()));
    }

    #[test]
    fn each_variant_of_the_file_has_a_fragment() {
        let folder = crate::project_root().join("kernel-configs");
        let text = fs::read_to_string(folder.join("variants.toml")).unwrap();
        let known: BTreeMap<String, Needs> = toml::from_str(&text).unwrap();
        for name in known.keys() {
            assert!(folder.join(name).with_extension("config").exists(), "{name}");
        }
    }
}
