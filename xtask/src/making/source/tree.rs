//! A kernel developer's tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::vm::Arch;

/// The canonical path of a kernel's tree.
///
/// # Errors
/// `dir` contains no kernel source.
pub fn find(dir: &Path) -> Result<PathBuf> {
    let tree = dir.canonicalize().with_context(|| format!("cannot read --kernel-src {}", dir.display()))?;
    if !tree.join("Kbuild").exists() || !tree.join("Kconfig").exists() {
        bail!("{} contains no kernel source: it has no Kbuild and no Kconfig", tree.display());
    }
    Ok(tree)
}

/// The canonical path of a tree that kbuild can build elsewhere, for this architecture.
///
/// # Errors
/// `dir` contains no kernel source, or was configured or built in place: kbuild refuses such a
/// tree.
pub fn check(dir: &Path, arch: &Arch) -> Result<PathBuf> {
    let tree = find(dir)?;
    // The files that kbuild's own `outputmakefile` rule checks for.
    let generated = format!("arch/{}/include/generated", arch.folder);
    for sign in [".config", "include/config", &generated] {
        if tree.join(sign).exists() {
            bail!(
                "{} was configured or built in place (it has {sign}), and kbuild then builds nowhere else. Either \
                 add --copy-tree, which builds a copy of its files as they are, or clean it with `make -C {0} \
                 mrproper`, which also removes its .config",
                tree.display()
            );
        }
    }
    Ok(tree)
}

/// The version in a tree's Makefile.
///
/// # Errors
/// It has none, or says no version.
pub fn version(tree: &Path) -> Result<String> {
    let path = tree.join("Makefile");
    let makefile = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let field = |name: &str| {
        makefile.lines().find_map(|line| {
            let (field, value) = line.split_once('=')?;
            (field.trim() == name).then_some(value.trim())
        })
    };
    let parts = ["VERSION", "PATCHLEVEL", "SUBLEVEL"].map(field);
    let [Some(version), Some(patchlevel), Some(sublevel)] = parts else {
        bail!("{} has no kernel version", path.display());
    };
    let extra = field("EXTRAVERSION").unwrap_or_default();
    Ok(format!("{version}.{patchlevel}.{sublevel}{extra}"))
}
