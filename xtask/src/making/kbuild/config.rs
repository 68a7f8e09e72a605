//! Kernel configuration: fragments are merged, and Kconfig's result is checked symbol by
//! symbol, because it silently drops what it cannot set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::BuildOptions;
use nlconform::text;

use crate::vm::Arch;

/// The fragments that each kernel has, in kernel-configs/, besides that of its architecture.
const FRAGMENTS: [&str; 3] = ["base", "netlink", "virt"];
/// What the lab chooses where the user gives no whole configuration, and the compiler can do.
const CHOICES: &str = "choices";

/// Wanted symbols, without `CONFIG_`, and the fragment that wants each.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted(BTreeMap<String, Want>);

#[derive(Debug, PartialEq)]
struct Want {
    value: String,
    fragment: String,
}

impl Wanted {
    /// Merges the fragments of each kernel, that of its architecture, those of the variants and the user's.
    pub fn of(arch: &Arch, options: &BuildOptions) -> Result<Wanted> {
        let dir = crate::project_root().join("kernel-configs");
        let mut wanted = Wanted::default();
        let choices = options.base.is_none().then_some(CHOICES);
        let variants = options.variants.iter().map(String::as_str);
        for name in FRAGMENTS.into_iter().chain(choices).chain([arch.name]).chain(variants) {
            let path = dir.join(format!("{name}.config"));
            let text = fs::read_to_string(&path)
                .with_context(|| format!("unknown variant {name}: cannot read {}", path.display()))?;
            wanted.merge(name, &text)?;
        }
        for file in &options.files {
            let text =
                text::read(file).with_context(|| format!("cannot read --config {}", file.display()))?;
            wanted.merge(&title(file), &text)?;
        }
        Ok(wanted)
    }

    /// Adds a fragment.
    ///
    /// # Errors
    /// A line is not a setting, or another fragment wants another value.
    pub fn merge(&mut self, fragment: &str, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            let wrong = || format!("{fragment}.config, line {}", number + 1);
            let Some((symbol, value)) = setting(line).with_context(wrong)? else {
                continue;
            };
            let want = Want { value: value.to_owned(), fragment: fragment.to_owned() };
            if let Some(other) = self.0.insert(symbol.to_owned(), want)
                && other.value != value
            {
                bail!(
                    "{}: {symbol} is {value} here and {} in {}.config",
                    wrong(),
                    other.value,
                    other.fragment
                );
            }
        }
        Ok(())
    }

    /// Drops a symbol; returns whether it was wanted.
    pub fn remove(&mut self, symbol: &str) -> bool {
        self.0.remove(symbol).is_some()
    }

    /// Whether it is among them.
    pub fn wants(&self, symbol: &str) -> bool {
        self.0.contains_key(symbol)
    }

    /// The file for KCONFIG_ALLCONFIG.
    pub fn to_allconfig(&self) -> String {
        self.0
            .iter()
            .map(|(symbol, want)| match want.value.as_str() {
                "n" => format!("# CONFIG_{symbol} is not set\n"),
                value => format!("CONFIG_{symbol}={value}\n"),
            })
            .collect()
    }

    /// Checks that the text of a `.config` has each symbol as wanted, but for the lab's own choices.
    ///
    /// # Errors
    /// Lists each that it does not have, the fragment that wants it, and what `source`'s Kconfig files say
    /// about it.
    pub fn check(&self, config: &str, source: &Path) -> Result<()> {
        let actual = settings(config)?;
        let mut dropped = String::new();
        for (symbol, want) in self.0.iter().filter(|(_, want)| want.fragment != CHOICES) {
            let value = actual.get(symbol.as_str()).copied().unwrap_or("n");
            if value != want.value {
                dropped += &format!(
                    "\n  {symbol}: {}.config wants {}, Kconfig made it {value}; {}",
                    want.fragment,
                    want.value,
                    hint(symbol, source)
                );
            }
        }
        if !dropped.is_empty() {
            bail!(
                "Kconfig dropped what the configuration wants. Have the fragment set what each \
                 depends on, or list it under `without` in kernels.toml, with the reason:{dropped}"
            );
        }
        Ok(())
    }
}

/// Refuses a variant that kernel-configs/ does not have.
///
/// # Errors
/// Names those that it has.
pub fn check_variant(name: &str) -> Result<()> {
    let known = variants()?;
    if !known.iter().any(|known| known == name) {
        bail!("unknown variant {name:?}; known variants: {}", known.join(", "));
    }
    Ok(())
}

/// The fragments in kernel-configs/ that a kernel can do without.
fn variants() -> Result<Vec<String>> {
    let dir = crate::project_root().join("kernel-configs");
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let fragments = files.filter_map(|file| {
        let name = file.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".config").map(str::to_owned)
    });
    let of_each = |name: &str| FRAGMENTS.contains(&name) || name == CHOICES || Arch::named(name).is_ok();
    let mut variants: Vec<_> = fragments.filter(|name| !of_each(name)).collect();
    variants.sort();
    Ok(variants)
}

/// What a file of the user's is called.
pub fn title(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The symbol and value of a line of a fragment or a `.config`; none in other comments.
fn setting(line: &str) -> Result<Option<(&str, &str)>> {
    let line = line.trim();
    if let Some(comment) = line.strip_prefix('#') {
        let symbol = comment.trim().strip_prefix("CONFIG_").and_then(|rest| rest.strip_suffix(" is not set"));
        return Ok(symbol.map(|symbol| (symbol, "n")));
    }
    if line.is_empty() {
        return Ok(None);
    }
    line.strip_prefix("CONFIG_")
        .and_then(|rest| rest.split_once('='))
        .map(Some)
        .with_context(|| format!("{line:?} is neither CONFIG_SYMBOL=value nor a comment"))
}

/// All symbols and values of a `.config`; the last line about a symbol counts.
pub fn settings(config: &str) -> Result<BTreeMap<&str, &str>> {
    let mut settings = BTreeMap::new();
    for line in config.lines() {
        settings.extend(setting(line)?);
    }
    Ok(settings)
}

/// The Kconfig files of a tree, with what they hold.
pub fn kconfigs(source: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    WalkDir::new(source)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("Kconfig"))
        .map(|entry| (entry.path().to_owned(), fs::read_to_string(entry.path()).unwrap_or_default()))
}

/// What the Kconfig files say about a symbol.
pub fn hint(symbol: &str, source: &Path) -> String {
    for (path, text) in kconfigs(source) {
        if let Some(dependencies) = dependencies(symbol, &text) {
            let file = path.strip_prefix(source).unwrap_or(&path);
            return match dependencies.is_empty() {
                true => {
                    format!("see {}: it has no prompt of its own, or stands below an `if`", file.display())
                }
                false => format!("it depends on {} ({})", dependencies.join(" && "), file.display()),
            };
        }
    }
    "no Kconfig file has it: it was renamed or removed in this version".to_owned()
}

/// The `depends on` lines of a symbol's entry; `None` if the file has no such entry.
fn dependencies<'a>(symbol: &str, kconfig: &'a str) -> Option<Vec<&'a str>> {
    let mut lines = kconfig.lines().skip_while(|line| {
        !["config", "menuconfig"]
            .iter()
            .any(|kind| line.trim().strip_prefix(kind).is_some_and(|rest| rest.trim() == symbol))
    });
    lines.next()?;
    let entry = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '\t']));
    Some(entry.filter_map(|line| line.trim().strip_prefix("depends on ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::making::kbuild::Base;
    use crate::vm::arch;

    fn wanted(fragment: &str) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.merge("test", fragment).unwrap();
        wanted
    }

    #[test]
    fn fragments_merge_into_one_sorted_file() {
        let mut wanted = wanted("# the net\nCONFIG_NET=y\n\n# CONFIG_INET is not set\n");
        wanted.merge("more", "CONFIG_NET=y\nCONFIG_CMDLINE=\"a=b\"").unwrap();
        assert_eq!(wanted.to_allconfig(), "CONFIG_CMDLINE=\"a=b\"\n# CONFIG_INET is not set\nCONFIG_NET=y\n");
    }

    #[test]
    fn two_fragments_that_differ_are_named() {
        let mut wanted = wanted("CONFIG_NET=y");
        let refused = wanted.merge("more", "\nCONFIG_NET=m").unwrap_err();
        assert_eq!(refused.to_string(), "more.config, line 2: NET is m here and y in test.config");
    }

    #[test]
    fn a_line_that_is_no_setting_is_refused() {
        let refused = Wanted::default().merge("test", "CONFIG_NET=y\nINET=y").unwrap_err();
        assert!(format!("{refused:#}").starts_with("test.config, line 2"), "{refused:#}");
    }

    #[test]
    fn a_dropped_symbol_is_named_with_its_fragment_and_its_dependencies() {
        let source = tempfile::tempdir().unwrap();
        fs::write(
            source.path().join("Kconfig.net"),
            "config NET_NS\n\tbool\n\nmenuconfig SAMPLES\n\tbool\n\tdepends on X\n\
             config GONE_NOT\n\tdepends on Y\n",
        )
        .unwrap();
        let refused = wanted("CONFIG_NET=y\nCONFIG_SAMPLES=y\nCONFIG_GONE=y")
            .check("CONFIG_NET=y\n# CONFIG_SAMPLES is not set\n", source.path())
            .unwrap_err()
            .to_string();
        assert!(!refused.contains(" NET:"), "{refused}");
        assert!(
            refused.contains("SAMPLES: test.config wants y, Kconfig made it n; it depends on X ("),
            "{refused}"
        );
        assert!(refused.contains("GONE: test.config wants y, Kconfig made it n; no Kconfig"));
    }

    #[test]
    fn a_symbol_wanted_off_may_be_absent() {
        let none = Path::new("/nonexistent");
        let off = wanted("# CONFIG_BLOCK is not set");
        assert!(off.check("", none).is_ok());
        assert!(off.check("CONFIG_BLOCK=y", none).is_err());
    }

    #[test]
    fn what_the_lab_only_chooses_may_be_dropped() {
        let mut wanted = Wanted::default();
        wanted.merge(CHOICES, "CONFIG_INIT_STACK_ALL_PATTERN=y").unwrap();
        assert!(wanted.check("", Path::new("/nonexistent")).is_ok());
    }

    #[test]
    fn a_file_of_the_users_is_merged_and_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.config");
        fs::write(&file, "CONFIG_DUMMY=y\n").unwrap();
        assert_eq!(title(&file), "mine");
        let of = |file: &Path| {
            let files = vec![file.to_owned()];
            Wanted::of(Arch::of_host(), &BuildOptions { files, ..BuildOptions::default() })
        };
        assert!(of(&file).unwrap().to_allconfig().contains("CONFIG_DUMMY=y\n"));
        fs::write(&file, "# CONFIG_NET is not set\n").unwrap();
        let refused = of(&file).unwrap_err().to_string();
        assert!(refused.contains("mine.config, line 1: NET is n here and y in netlink.config"), "{refused}");
        let folder = of(dir.path()).unwrap_err();
        assert!(folder.to_string().starts_with("cannot read --config /"), "{folder}");
    }

    #[test]
    fn the_projects_own_fragments_merge() {
        let of = |arch: &Arch, variants: &[&str], base: Option<Base>| {
            let variants = variants.iter().map(|&name| name.to_owned()).collect();
            Wanted::of(arch, &BuildOptions { variants, base, ..BuildOptions::default() })
        };
        let base = Base { path: "/x".into(), text: String::new() };
        for arch in arch::ALL {
            let all = of(arch, &["fault", "client"], None).unwrap();
            assert!(all.to_allconfig().contains("CONFIG_CONNECTOR=y\n"), "{}", arch.name);
            assert!(all.wants("NR_CPUS") && !of(arch, &[], Some(base.clone())).unwrap().wants("NR_CPUS"));
        }
        let unknown = of(Arch::of_host(), &["nosuch"], None).unwrap_err();
        assert!(format!("{unknown:#}").contains("unknown variant nosuch"));
    }
}
