//! A whole configuration of the user's, into which the lab's fragments are merged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nlconform::text;

use super::config::{Wanted, hint, kconfigs, settings};

/// Files of the machine that the configuration comes from: the build has none, and makes keys of its own.
const KEYS: [&str; 3] = ["MODULE_SIG_KEY", "SYSTEM_REVOCATION_KEYS", "SYSTEM_TRUSTED_KEYS"];
/// What is named of a longer list.
const SHOWN: usize = 5;

/// A `.config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The file that it was read from.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

impl Base {
    /// Reads it.
    ///
    /// # Errors
    /// The file cannot be read, or is no `.config`.
    pub fn read(path: &Path) -> Result<Base> {
        let shown = path.display();
        let bytes = text::bytes(path).with_context(|| format!("cannot read --config-from {shown}"))?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            bail!("--config-from {shown} is compressed: `zcat {shown} > FILE` makes the file that is wanted");
        }
        let no_config = || format!("--config-from {shown} is not the .config of a kernel");
        let text = String::from_utf8(bytes).with_context(no_config)?;
        let set = settings(&text).with_context(no_config)?;
        if set.is_empty() {
            bail!("{}: it has no CONFIG_ line", no_config());
        }
        Ok(Base { path: path.to_owned(), text })
    }

    /// The `.config` that `make olddefconfig` completes: what is wanted comes last, and so counts.
    pub fn with(&self, wanted: &Wanted) -> String {
        let is_key = |line: &&str| {
            let symbol = line.trim().strip_prefix("CONFIG_").and_then(|rest| rest.split('=').next());
            symbol.is_some_and(|symbol| KEYS.contains(&symbol))
        };
        let own: String =
            self.text.lines().filter(|line| !is_key(line)).flat_map(|line| [line, "\n"]).collect();
        own + &wanted.to_allconfig()
    }

    /// Says in one line what the user's file sets and the finished `config` does not have, though the lab wants
    /// nothing else there; nothing if it has all. What nobody can set, such as the compiler's abilities, is left
    /// out.
    pub fn dropped(&self, wanted: &Wanted, config: &str, source: &Path) -> Result<Option<String>> {
        let actual = settings(config)?;
        let has = |symbol: &str, value: &str| {
            let actual = actual.get(symbol).copied().unwrap_or("n");
            actual == value || (value == "m" && actual == "y")
        };
        let mut lost: Vec<&str> = settings(&self.text)?
            .into_iter()
            .filter(|&(symbol, value)| value != "n" && value != "\"\"" && !has(symbol, value))
            .map(|(symbol, _)| symbol)
            .filter(|symbol| !wanted.wants(symbol))
            .collect();
        let fixed = without_prompt(source);
        lost.retain(|symbol| !fixed.contains(*symbol));
        if lost.is_empty() {
            return Ok(None);
        }
        let first = lost.iter().take(SHOWN).map(|symbol| format!("{symbol} ({})", hint(symbol, source)));
        let mut named = first.collect::<Vec<_>>().join("; ");
        if lost.len() > SHOWN {
            named += "; ...";
        }
        let count = lost.len();
        Ok(Some(format!("{count} options of {} are not in the configuration: {named}", self.path.display())))
    }
}

/// The symbols of a tree that have no prompt: only Kconfig itself sets them.
fn without_prompt(source: &Path) -> BTreeSet<String> {
    let (mut all, mut prompted) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in kconfigs(source) {
        let mut symbol = None;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match first {
                "config" | "menuconfig" => {
                    all.insert(second.to_owned());
                    symbol = Some(second.to_owned());
                }
                "bool" | "tristate" | "int" | "hex" | "string" | "prompt"
                    if second.starts_with(['"', '\'']) =>
                {
                    prompted.extend(symbol.clone());
                }
                "choice" | "comment" | "menu" => symbol = None,
                _ => {}
            }
        }
    }
    &all - &prompted
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn base(text: &str) -> Result<Base> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, text).unwrap();
        Base::read(&file)
    }

    fn wanted(text: &str) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.merge("test", text).unwrap();
        wanted
    }

    #[test]
    fn what_is_no_configuration_is_refused_in_one_line() {
        let refused = |text: &str| format!("{:#}", base(text).unwrap_err());
        assert!(refused("hello\n").contains("is not the .config of a kernel: \"hello\" is neither"));
        assert!(refused("# nothing\n\n").contains("has no CONFIG_ line"));
        let gone = format!("{:#}", Base::read(Path::new("/nonexistent")).unwrap_err());
        assert!(gone.starts_with("cannot read --config-from /nonexistent"), "{gone}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.gz");
        fs::write(&file, [0x1f, 0x8b, 8, 0]).unwrap();
        let compressed = Base::read(&file).unwrap_err().to_string();
        assert!(compressed.contains("zcat"), "{compressed}");
        fs::write(&file, [0x7f, b'E', b'L', b'F', 0xff, 0xfe]).unwrap();
        let binary = Base::read(&file).unwrap_err().to_string();
        assert!(binary.contains("is not the .config of a kernel"), "{binary}");
    }

    #[test]
    fn what_the_lab_wants_comes_last_and_keys_of_another_machine_are_left_out() {
        let base =
            base("CONFIG_SYSTEM_TRUSTED_KEYS=\"debian/x.pem\"\n# CONFIG_NET is not set\nCONFIG_XFRM=y\n");
        let config = base.unwrap().with(&wanted("CONFIG_NET=y"));
        assert_eq!(config, "# CONFIG_NET is not set\nCONFIG_XFRM=y\nCONFIG_NET=y\n");
    }

    #[test]
    fn what_is_dropped_is_counted_and_the_first_are_named() {
        let source = tempfile::tempdir().unwrap();
        let kconfig = "config XFRM\n\tbool \"xfrm\"\n\tdepends on INET\nconfig CC_OK\n\tdef_bool y\n\
                       config A\n\ttristate\n\tprompt \"a\"\nconfig NET\n\tbool \"net\"\n";
        fs::write(source.path().join("Kconfig"), kconfig).unwrap();
        let base = base(
            "CONFIG_XFRM=y\nCONFIG_CC_OK=y\nCONFIG_A=m\nCONFIG_NET=m\nCONFIG_OFF=\"\"\nCONFIG_GONE=7\n\
             # CONFIG_NO is not set\n",
        )
        .unwrap();
        let dropped = |config: &str| base.dropped(&wanted("CONFIG_NET=y"), config, source.path()).unwrap();
        let said = dropped("CONFIG_A=y\nCONFIG_NET=y\nCONFIG_GONE=8\n").unwrap();
        assert!(
            said.starts_with("2 options of ") && said.contains(": GONE (no Kconfig file has it"),
            "{said}"
        );
        assert!(said.ends_with("XFRM (it depends on INET (Kconfig))"), "{said}");
        assert_eq!(dropped("CONFIG_XFRM=y\nCONFIG_A=m\nCONFIG_NET=y\nCONFIG_GONE=7\n"), None);
        // An option with a prompt whose module becomes nothing.
        assert!(dropped("CONFIG_XFRM=y\nCONFIG_GONE=7\n").unwrap().contains(": A ("));
    }
}
