//! The adapters of conformance/clients: installed and built as clients.toml there says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::packages;
use crate::host::progress::Progress;

/// The adapter of one library.
#[derive(Debug, Clone, Deserialize)]
pub struct Client {
    /// What it is asked for by.
    pub name: String,
    /// The library, for people.
    pub title: String,
    /// The language of the adapter.
    pub language: String,
    /// Debian packages that are needed to build and run it.
    #[serde(default)]
    debian: Vec<String>,
    /// Packages for a virtual environment of its own.
    #[serde(default)]
    pip: Vec<String>,
    /// What its program is built from: files and folders beside clients.toml.
    #[serde(default)]
    sources: Vec<String>,
    /// Shell command that builds it.
    build: Option<String>,
    /// Program and arguments.
    run: Vec<String>,
}

/// An adapter that can be started.
#[derive(Debug)]
pub struct Built {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Keeps it in the cache.
    pub entry: Entry,
}

#[derive(Deserialize)]
struct File {
    client: Vec<Client>,
}

/// The folder of the adapters.
fn folder() -> PathBuf {
    crate::project_root().join("conformance/clients")
}

impl Client {
    /// All of clients.toml.
    ///
    /// # Errors
    /// The file is wrong.
    pub fn all() -> Result<Vec<Client>> {
        let file = folder().join("clients.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(toml::from_str::<File>(&text).with_context(|| file.display().to_string())?.client)
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Client> {
        let all = Client::all()?;
        match all.iter().find(|client| client.name == name) {
            Some(client) => Ok(client.clone()),
            None => {
                let names: Vec<_> = all.iter().map(|client| client.name.as_str()).collect();
                bail!("unknown client {name:?}; known clients: {}", names.join(", "))
            }
        }
    }

    /// The file of what the library is known not to do right.
    pub fn known_file(&self) -> PathBuf {
        folder().join("known").join(&self.name).with_extension("toml")
    }

    /// Installs what the library needs, and builds the adapter or finds it in the cache.
    ///
    /// # Errors
    /// Something is missing and may not be installed, or the build fails.
    pub fn obtain(&self, cache: &Cache, progress: &Progress, allow_install: bool) -> Result<Built> {
        packages::ensure_debian(&self.debian, allow_install, progress)?;
        let label = format!("adapter {}", self.name);
        let key = Key::new().part("client", format!("{self:?}"));
        let key = self.sources.iter().try_fold(key, |key, source| key.files(&folder(), source))?;
        let key = format!("client-{}-{}", self.name, key.finish());
        let entry = cache.entry(Kind::Program, &key, &label, progress, |making| {
            let step = progress.step(format!("building the {label}"));
            if !self.pip.is_empty() {
                let packages = self.pip.join(" ");
                self.shell(
                    &format!("python3 -m venv $OUT/venv && $OUT/venv/bin/pip install -q {packages}"),
                    making,
                    "pip.log",
                    &step,
                )?;
            }
            if let Some(build) = &self.build {
                self.shell(build, making, "build.log", &step)?;
            }
            step.done();
            Ok(())
        })?;
        let here = folder().display().to_string();
        let out = entry.display().to_string();
        let argv = self.run.iter().map(|word| word.replace("$OUT", &out).replace("$HERE", &here)).collect();
        Ok(Built { argv, entry })
    }

    fn shell(
        &self,
        command: &str,
        making: &Making,
        log: &str,
        step: &crate::host::progress::Step,
    ) -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).env("OUT", &making.dir).env("HERE", folder());
        shell.env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(folder()).stdin(making.stdin()?);
        run_logged(&mut shell, &making.dir.join(log), step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_can_be_named_and_another_cannot() {
        for client in Client::all().unwrap() {
            assert_eq!(Client::named(&client.name).unwrap().title, client.title);
        }
        let refused = Client::named("nosuch").unwrap_err().to_string();
        assert!(refused.contains("known clients: raw, "), "{refused}");
    }

    #[test]
    fn the_workflow_has_each() {
        let workflow = crate::project_root().join(".github/workflows/clients.yml");
        let workflow = fs::read_to_string(workflow).unwrap();
        let (_, matrix) = workflow.split_once("        client:\n").unwrap();
        let listed: Vec<_> = matrix.lines().map_while(|line| line.trim().strip_prefix("- ")).collect();
        let all = Client::all().unwrap();
        assert_eq!(listed, all.iter().map(|client| client.name.as_str()).collect::<Vec<_>>());
    }
}
