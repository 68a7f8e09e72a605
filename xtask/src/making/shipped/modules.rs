//! The modules of a shipped kernel: which of them a guest needs, in the order in which they are loaded.
//!
//! What a module depends on is read from the module itself (`depends=` in its .modinfo): modules.dep, which
//! depmod(8) makes of just that, is not part of a package.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::host::command::unstarted;

/// What unpacks a module, by the last part of its name.
const UNPACKERS: [(&str, &str); 3] = [("gz", "gzip"), ("xz", "xz"), ("zst", "zstd")];

/// A directory lib/modules/RELEASE.
#[derive(Debug)]
pub struct ModuleTree {
    dir: PathBuf,
    /// The files, by the names of their modules.
    files: BTreeMap<String, PathBuf>,
    /// Names of what is no module because it is in the kernel.
    builtin: BTreeSet<String>,
}

/// A module as it is loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, such as `virtio_console`.
    pub name: String,
    /// The ELF file, unpacked.
    pub bytes: Vec<u8>,
}

impl ModuleTree {
    /// Lists the modules below `dir`. One in `updates` or `extra` replaces the kernel's own, as with
    /// depmod(8).
    ///
    /// # Errors
    /// The directory cannot be read, or has no list of what is built in.
    pub fn read(dir: &Path) -> Result<ModuleTree> {
        let list = dir.join("modules.builtin");
        let builtin = fs::read_to_string(&list).with_context(|| {
            format!(
                "{} holds no modules of a kernel: cannot read {} (a directory such as lib/modules/RELEASE is \
                 meant)",
                dir.display(),
                list.display()
            )
        })?;
        let builtin = builtin.lines().filter_map(|line| name(Path::new(line))).collect();
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        // `build` and `source` are links, and lead elsewhere.
        for file in WalkDir::new(dir).sort_by_file_name() {
            let path = file.with_context(|| format!("cannot read {}", dir.display()))?.into_path();
            let Some(name) = name(&path) else { continue };
            let is_own = |path: &Path| path.strip_prefix(dir).is_ok_and(|path| path.starts_with("kernel"));
            if files.get(&name).is_none_or(|known| is_own(known) || !is_own(&path)) {
                files.insert(name, path);
            }
        }
        Ok(ModuleTree { dir: dir.to_owned(), files, builtin })
    }

    /// Whether the kernel has it in one way or the other.
    pub fn has(&self, name: &str) -> bool {
        self.builtin.contains(name) || self.files.contains_key(name)
    }

    /// These modules and all that they depend on, each after what it needs. What is built in is left out.
    ///
    /// # Errors
    /// A module is neither there nor built in, cannot be unpacked, or depends on itself.
    pub fn load_order(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        for name in names {
            self.add(name, &mut Vec::new(), &mut order)?;
        }
        Ok(order)
    }

    fn add(&self, name: &str, waiting: &mut Vec<String>, order: &mut Vec<Module>) -> Result<()> {
        if self.builtin.contains(name) || order.iter().any(|module| module.name == name) {
            return Ok(());
        }
        if waiting.iter().any(|known| known == name) {
            bail!("the modules {} and {name} of {} need each other", waiting.join(", "), self.dir.display());
        }
        let file = self.files.get(name).with_context(|| {
            let needed = waiting.last().map(|by| format!(", which {by} needs")).unwrap_or_default();
            format!(
                "the kernel of {} has no {name}{needed}: neither built in nor as a module",
                self.dir.display()
            )
        })?;
        let bytes = unpacked(file)?;
        waiting.push(name.to_owned());
        for needed in depends(&bytes).with_context(|| format!("{} is not a module", file.display()))? {
            self.add(&needed, waiting, order)?;
        }
        waiting.pop();
        order.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// The module that a file holds: the kernel takes `-` and `_` for the same.
fn name(file: &Path) -> Option<String> {
    let (name, rest) = file.file_name()?.to_str()?.split_once(".ko")?;
    let packed = rest.strip_prefix('.').is_some_and(|rest| UNPACKERS.iter().any(|(known, _)| *known == rest));
    (rest.is_empty() || packed).then(|| name.replace('-', "_"))
}

/// The content of a module's file.
fn unpacked(file: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", file.display());
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let Some((_, program)) = UNPACKERS.iter().find(|(known, _)| *known == extension) else {
        return fs::read(file).with_context(unreadable);
    };
    let packed = fs::File::open(file).with_context(unreadable)?;
    let output = Command::new(program)
        .args(["-d", "-c"])
        .stdin(packed)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| unstarted(program, error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cannot unpack {}: {}", file.display(), said.lines().next().unwrap_or("it is damaged"));
    }
    Ok(output.stdout)
}

/// The names after `depends=` in a module's .modinfo; nothing when the file has none, and is no module.
fn depends(module: &[u8]) -> Option<Vec<String>> {
    const FIELD: &[u8] = b"\0depends=";
    let at = module.windows(FIELD.len()).position(|window| window == FIELD)?;
    let rest = &module[at + FIELD.len()..];
    let names = str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()?;
    Some(names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::packages::{self, Purpose};
    use crate::host::progress::Progress;

    /// A tree with these files: a path, and what the module there depends on.
    fn tree(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("modules.builtin"), "kernel/drivers/virtio/virtio-ring.ko\n").unwrap();
        for (path, depends) in modules {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let plain = format!("\x7fELF\0license=GPL\0depends={depends}\0intree=Y\0of {path}");
            fs::write(&file, plain).unwrap();
            let packer = match file.extension().unwrap().to_str().unwrap() {
                "ko" => continue,
                "gz" => "gzip",
                "zst" => "zstd",
                packer => packer,
            };
            let packed =
                Command::new(packer).arg("-c").stdin(fs::File::open(&file).unwrap()).output().unwrap();
            assert!(packed.status.success());
            fs::write(&file, packed.stdout).unwrap();
        }
        dir
    }

    fn names(tree: &ModuleTree, wanted: &[&str]) -> Vec<String> {
        tree.load_order(wanted).unwrap().into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        packages::ensure(&packages::needs_of(&[Purpose::Shipped]), true, &Progress::new()).unwrap();
        let dir = tree(&[
            ("kernel/a/virtio_pci.ko.xz", "virtio-pci-modern,virtio_ring"),
            ("kernel/a/virtio-pci-modern.ko.gz", ""),
            ("kernel/b/virtio_console.ko.zst", "virtio_pci"),
            ("kernel/b/unrelated.ko", "nothing_known"),
        ]);
        let tree = ModuleTree::read(dir.path()).unwrap();
        assert_eq!(
            names(&tree, &["virtio_console", "virtio_pci"]),
            ["virtio_pci_modern", "virtio_pci", "virtio_console"]
        );
        assert!(names(&tree, &["virtio_ring"]).is_empty(), "it is built in");
        assert!(tree.has("virtio_ring") && tree.has("virtio_pci_modern") && !tree.has("nothing_known"));
        let modules = tree.load_order(&["virtio_pci_modern"]).unwrap();
        assert!(modules[0].bytes.starts_with(b"\x7fELF"), "unpacked");
    }

    #[test]
    fn an_update_replaces_the_kernels_own() {
        let dir = tree(&[
            ("extra/dkms/nlmon.ko", ""),
            ("kernel/net/nlmon.ko", ""),
            ("kernel/net/x.ko", ""),
            ("updates/x.ko", ""),
        ]);
        let tree = ModuleTree::read(dir.path()).unwrap();
        let of = |name: &str| String::from_utf8(tree.load_order(&[name]).unwrap().remove(0).bytes).unwrap();
        assert!(of("nlmon").ends_with("of extra/dkms/nlmon.ko"));
        assert!(of("x").ends_with("of updates/x.ko"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_needs_it() {
        let dir = tree(&[
            ("kernel/a.ko", "b"),
            ("kernel/b.ko", "gone"),
            ("kernel/c.ko", "d"),
            ("kernel/d.ko", "c"),
        ]);
        let tree = ModuleTree::read(dir.path()).unwrap();
        let refusal = |name: &str| format!("{:#}", tree.load_order(&[name]).unwrap_err());
        assert!(refusal("a").contains("has no gone, which b needs: neither built in nor as a module"));
        assert!(refusal("virtio_console").contains("has no virtio_console: neither"));
        assert!(refusal("c").contains("need each other"), "{}", refusal("c"));
    }

    #[test]
    fn a_damaged_module_and_a_directory_without_any_are_refused() {
        let dir = tree(&[("kernel/a.ko", "")]);
        fs::write(dir.path().join("kernel/cut.ko.xz"), "\u{fffd}7zXZ").unwrap();
        fs::write(dir.path().join("kernel/text.ko"), "hello").unwrap();
        let tree = ModuleTree::read(dir.path()).unwrap();
        let refusal = |name: &str| format!("{:#}", tree.load_order(&[name]).unwrap_err());
        assert!(refusal("cut").contains("cannot unpack"), "{}", refusal("cut"));
        assert!(refusal("text").contains("is not a module"));
        let empty = tempfile::tempdir().unwrap();
        let refused = format!("{:#}", ModuleTree::read(empty.path()).unwrap_err());
        assert!(refused.contains("holds no modules of a kernel") && refused.contains("lib/modules/RELEASE"));
    }
}
