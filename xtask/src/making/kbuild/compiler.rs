//! What compiles kernels and modules.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::host::command::{in_english, unstarted};
use crate::host::packages::{Host, Probe};
use crate::vm::Arch;

/// A compiler, with the linker and the tools that go with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compiler {
    /// gcc and binutils.
    #[default]
    Gcc,
    /// clang, lld and LLVM's tools, for all architectures: kbuild's `LLVM=1`.
    Llvm,
}

impl Compiler {
    /// What compiled the kernel of a build directory, or of headers: modules must be compiled by the same.
    pub fn of_build(dir: &Path) -> Compiler {
        let is_clang = |file: &str| {
            let config = fs::read_to_string(dir.join(file)).unwrap_or_default();
            config.lines().any(|line| line == "CONFIG_CC_IS_CLANG=y")
        };
        match is_clang("include/config/auto.conf") || is_clang(".config") {
            true => Compiler::Llvm,
            false => Compiler::Gcc,
        }
    }

    /// Its words on make's command line.
    pub fn words(self) -> Vec<String> {
        match self {
            Compiler::Gcc => Vec::new(),
            Compiler::Llvm => vec!["LLVM=1".to_owned()],
        }
    }

    /// The same for what ccache may keep, on a host that has it.
    pub fn cached_words(self, arch: &Arch, host: &Host) -> Vec<String> {
        let mut words = self.words();
        if host.find(Probe::Command("ccache")).is_some() {
            words.push(format!("CC=ccache {}", self.tools(arch)[0]));
        }
        words
    }

    /// The compiler and the linker.
    fn tools(self, arch: &Arch) -> [String; 2] {
        match self {
            Compiler::Gcc => ["gcc", "ld"].map(|tool| arch.tool(tool)),
            Compiler::Llvm => ["clang", "ld.lld"].map(str::to_owned),
        }
    }

    /// The identity of the compiler and the linker.
    ///
    /// # Errors
    /// One of them cannot be run.
    pub fn identity(self, arch: &Arch) -> Result<Vec<u8>> {
        let mut versions = Vec::new();
        for tool in self.tools(arch) {
            let output = in_english(&mut Command::new(&tool))
                .arg("--version")
                .output()
                .map_err(|error| unstarted(&tool, error))?;
            versions.extend(output.stdout);
        }
        Ok(versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_says_what_compiled_it_in_its_configuration_or_in_its_headers() {
        let dir = tempfile::tempdir().unwrap();
        let of = || Compiler::of_build(dir.path());
        assert_eq!(of(), Compiler::Gcc);
        fs::write(dir.path().join(".config"), "# CONFIG_CC_IS_CLANG is not set\n").unwrap();
        assert_eq!(of(), Compiler::Gcc);
        fs::write(dir.path().join(".config"), "CONFIG_NET=y\nCONFIG_CC_IS_CLANG=y\n").unwrap();
        assert_eq!(of(), Compiler::Llvm);
        // Headers of a distribution may have no .config.
        fs::remove_file(dir.path().join(".config")).unwrap();
        fs::create_dir_all(dir.path().join("include/config")).unwrap();
        fs::write(dir.path().join("include/config/auto.conf"), "CONFIG_CC_IS_CLANG=y\n").unwrap();
        assert_eq!(of(), Compiler::Llvm);
    }

    #[test]
    fn ccache_is_used_where_it_is() {
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let with = Host::fake(with.path(), false, &[("ccache", "")]);
        let without = Host::fake(without.path(), false, &[("gcc", "")]);
        let arch = Arch::of_host();
        assert_eq!(Compiler::Gcc.cached_words(arch, &with), ["CC=ccache gcc"]);
        assert_eq!(Compiler::Llvm.cached_words(arch, &with), ["LLVM=1", "CC=ccache clang"]);
        assert_eq!(Compiler::Llvm.cached_words(arch, &without), ["LLVM=1"]);
        assert!(Compiler::Gcc.cached_words(arch, &without).is_empty());
        let foreign = Arch::named(if arch.name == "s390x" { "aarch64" } else { "s390x" }).unwrap();
        let words = Compiler::Gcc.cached_words(foreign, &with);
        assert_eq!(words, [format!("CC=ccache {}gcc", foreign.tools)]);
    }
}
