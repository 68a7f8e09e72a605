//! The files of the kernel that the suite is about: kernel-configs/tested.toml.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Where it is, below the kernel's tree.
    pub path: String,
    /// Beginnings of the names of the cases that are about it, the likeliest to see a change of it first.
    pub cases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: Vec<Tested>,
}

/// All of them.
pub fn files() -> &'static [Tested] {
    static FILES: LazyLock<Vec<Tested>> = LazyLock::new(|| {
        let text = include_str!("../../../../kernel-configs/tested.toml");
        toml::from_str::<File>(text).expect("tested.toml is tested").file
    });
    &FILES
}

impl Tested {
    /// Its name in kbuild, without `.o`.
    pub fn object(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use nlconform::cases;

    use super::*;

    #[test]
    fn each_file_has_its_object_and_cases() {
        assert!(!files().is_empty());
        for file in files() {
            assert!(file.path.ends_with(&format!("/{}.c", file.object())), "{}", file.path);
            for area in &file.cases {
                assert!(cases::all().iter().any(|case| case.name.starts_with(area)), "{area}");
            }
        }
    }
}
