//! Debian's archive, through an apt of the lab's own: its lists, cache and sources lie in the lab's cache,
//! so it needs no root and changes nothing on the host. The mirror is the one that the host uses;
//! what it serves is verified with the stock archive keyring.

mod mirrors;

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Error, Result, anyhow, bail};

use self::mirrors::Mirrors;
use crate::host::cache::{Cache, Kind, Making};
use crate::host::content::sha256;
use crate::host::disk;
use crate::host::packages::{Host, NEEDS, Probe, Purpose};
use crate::host::progress::Progress;

/// Has `use_it` use an apt that knows these suites and has read their lists: those of the host's architecture,
/// and of a `foreign` one, by Debian's name for it.
///
/// # Errors
/// Those of `use_it`; or the host lacks apt, or a mirror.
pub fn with_suites(
    suites: &[String],
    foreign: Option<&str>,
    cache: &Cache,
    progress: &Progress,
    use_it: impl FnOnce(&PrivateApt<'_>) -> Result<()>,
) -> Result<()> {
    let host = Host::this();
    for need in NEEDS.iter().filter(|need| need.purpose == Purpose::DebianSource) {
        if host.find(need.probe).is_none() {
            bail!("this host lacks Debian's package {}", need.package);
        }
    }
    let lines = Mirrors::of_host(Path::new("/etc/apt"))?.lines(suites)?;
    cache.updated(Kind::Download, "apt", "Debian package lists", progress, |place| {
        let apt = PrivateApt::set_up(place, &host, &lines, foreign)?;
        apt.update(progress)?;
        use_it(&apt)
    })?;
    Ok(())
}

/// An apt with its own state.
pub struct PrivateApt<'a> {
    place: &'a Making,
    host: &'a Host,
    config: PathBuf,
    /// What reading the lists has said: one suite of several may fail, and the candidates show whether that
    /// matters.
    said: RefCell<String>,
}

/// A version of a package that a suite lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: String,
    /// The suite.
    pub suite: String,
}

impl<'a> PrivateApt<'a> {
    fn set_up(
        place: &'a Making,
        host: &'a Host,
        sources: &str,
        foreign: Option<&str>,
    ) -> Result<PrivateApt<'a>> {
        let dir = &place.dir;
        // apt adds the host's own.
        let foreign = foreign.map(|name| format!("APT::Architectures {{ \"{name}\"; }};\n"));
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let root = dir.display();
        let config = dir.join("apt.conf");
        fs::write(dir.join("sources.list"), sources)?;
        fs::write(dir.join("state/status"), "")?;
        // The lists of other suites are kept: another kernel needs them. The sandbox user could not
        // enter the cache. The host's hooks are for the host's own updates.
        fs::write(
            &config,
            format!(
                "Dir::State \"{root}/state\";\n\
                 Dir::State::status \"{root}/state/status\";\n\
                 Dir::Cache \"{root}/cache\";\n\
                 Dir::Etc::sourcelist \"{root}/sources.list\";\n\
                 Dir::Etc::sourceparts \"-\";\n\
                 Dir::Etc::preferences \"-\";\n\
                 Dir::Etc::preferencesparts \"-\";\n\
                 Acquire::Languages \"none\";\n\
                 APT::Get::List-Cleanup \"0\";\n\
                 APT::Sandbox::User \"root\";\n\
                 #clear APT::Update::Pre-Invoke;\n\
                 #clear APT::Update::Post-Invoke;\n\
                 #clear APT::Update::Post-Invoke-Success;\n{}",
                foreign.unwrap_or_default()
            ),
        )?;
        Ok(PrivateApt { place, host, config, said: RefCell::default() })
    }

    /// Reads the lists of the suites.
    fn update(&self, progress: &Progress) -> Result<()> {
        if disk::free(&self.place.dir)? < ROOM_FOR_LISTS {
            return Err(NoRoom(self.place.dir.clone()).into());
        }
        let step = progress.step("reading Debian's package lists");
        let update = self.run("apt-get", &["update"])?;
        *self.said.borrow_mut() = if update.stderr.is_empty() { String::new() } else { said(&update) };
        step.done();
        Ok(())
    }

    /// The versions of a package that the suites list, newest first as apt orders them.
    ///
    /// # Errors
    /// There is none.
    pub fn candidates(&self, package: &str) -> Result<Vec<Candidate>> {
        let madison = self.run("apt-cache", &["madison", package])?;
        let candidates = candidates(&String::from_utf8_lossy(&madison.stdout));
        if candidates.is_empty() {
            let said = self.said.borrow();
            let why = if said.is_empty() { String::new() } else { format!(": {said}") };
            bail!("no suite that was looked into has {package}{why}");
        }
        Ok(candidates)
    }

    /// The names of the packages that this version of a package depends on.
    ///
    /// # Errors
    /// apt-cache cannot be run.
    pub fn depends(&self, package: &str, version: &str) -> Result<Vec<String>> {
        let shown = self.run("apt-cache", &["show", &format!("{package}={version}")])?;
        Ok(depends(&String::from_utf8_lossy(&shown.stdout)))
    }

    /// Downloads the newest available version: a mirror may list what it does not have yet.
    /// Returns the file, and what it is.
    ///
    /// # Errors
    /// No version is to be had, and why not of each; or [`NoRoom`].
    pub fn download(&self, package: &str, progress: &Progress) -> Result<(PathBuf, String)> {
        let mut failures = String::new();
        let mut versions: Vec<_> =
            self.candidates(package)?.into_iter().map(|candidate| candidate.version).collect();
        versions.dedup();
        for version in versions {
            let step = progress.step(format!("downloading {package} {version}"));
            let download = self.run("apt-get", &["download", &format!("{package}={version}")])?;
            if download.status.success() {
                let deb = self.downloaded(&format!("{package}_{version}_"))?;
                let identity = format!("{package} {version} sha256:{}", sha256(&deb)?);
                step.done();
                return Ok((deb, identity));
            }
            let failed = failed(&download, &self.place.dir);
            if failed.is::<NoRoom>() {
                return Err(failed);
            }
            failures += &format!("\n  {package} {version}: {failed}");
        }
        bail!("the mirror has no version of {package} that it lists:{failures}")
    }

    /// Downloads packages, each as `NAME` or `NAME=VERSION`, and all that they depend on, to `archives`.
    /// Backports come from `suite` only if that is named: apt leaves them alone otherwise.
    ///
    /// # Errors
    /// In apt's words: something is not to be had.
    pub fn download_all(&self, packages: &[String], suite: &str, archives: &Path) -> Result<()> {
        fs::create_dir_all(archives.join("partial"))?;
        let place = format!("Dir::Cache::archives={}", archives.display());
        let mut args = vec!["install", "--yes", "--download-only", "--no-install-recommends", "-o", &place];
        if suite.ends_with("-backports") {
            args.extend(["--target-release", suite]);
        }
        args.extend(packages.iter().map(String::as_str));
        let install = self.run("apt-get", &args)?;
        match install.status.success() {
            true => Ok(()),
            false => Err(match failed(&install, archives) {
                full if full.is::<NoRoom>() => full,
                other => anyhow!("{other}{}", unmet(&String::from_utf8_lossy(&install.stdout))),
            }),
        }
    }

    /// Downloads packages, named as above, to `archives` without what they depend on.
    ///
    /// # Errors
    /// In apt's words: one is not to be had.
    pub fn download_alone(&self, packages: &[String], archives: &Path) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        let mut command = self.command("apt-get")?;
        let output = command.arg("download").args(packages).current_dir(archives).output();
        let output = output.context("cannot run apt-get")?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(&output, archives)),
        }
    }

    fn downloaded(&self, prefix: &str) -> Result<PathBuf> {
        fs::read_dir(&self.place.dir)?
            .filter_map(|file| Some(file.ok()?.path()))
            .find(|file| {
                file.extension().is_some_and(|extension| extension == "deb")
                    && file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
            })
            .context("apt-get download succeeded without a file")
    }

    fn run(&self, program: &'static str, args: &[&str]) -> Result<Output> {
        let mut command = self.command(program)?;
        command.args(args).output().with_context(|| format!("cannot run {program}"))
    }

    fn command(&self, program: &'static str) -> Result<Command> {
        let path = self.host.find(Probe::Command(program));
        let mut command = Command::new(path.unwrap_or_else(|| program.into()));
        command.arg("--config-file").arg(&self.config).arg("-q").env("LC_ALL", "C");
        command.current_dir(&self.place.dir).stdin(self.place.stdin()?);
        Ok(command)
    }
}

/// The rows of `apt-cache madison`: package | version | mirror suite/component architecture Packages.
fn candidates(madison: &str) -> Vec<Candidate> {
    let row = |line: &str| {
        let mut columns = line.split('|').skip(1);
        let version = columns.next()?.trim().to_owned();
        let suite = columns.next()?.split_whitespace().nth(1)?.split('/').next()?.to_owned();
        Some(Candidate { version, suite })
    };
    madison.lines().filter_map(row).collect()
}

/// The first names in the field Depends of a stanza: `a (= 1), b | c` are `a` and `b`.
fn depends(stanza: &str) -> Vec<String> {
    let field = stanza.lines().find_map(|line| line.strip_prefix("Depends:")).unwrap_or_default();
    field.split(',').filter_map(|entry| Some(entry.split_whitespace().next()?.to_owned())).collect()
}

/// What apt-get says on its standard output that a package needs and the suites do not have.
fn unmet(said: &str) -> String {
    let needs = said.lines().filter(|line| line.contains("Depends:") && line.contains(" but "));
    needs.map(|line| format!("\n    {}", line.trim())).collect()
}

/// What apt needs for the lists of some suites, in bytes. On a full disk it neither gets them nor ends.
const ROOM_FOR_LISTS: u64 = 64 << 20;

/// The disk has no room for what apt downloads: no other version, and no other place that it comes from, helps.
#[derive(Debug)]
pub struct NoRoom(PathBuf);

impl std::error::Error for NoRoom {}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.0.display();
        write!(
            f,
            "the disk is full: make room for what is downloaded to {dir}, or set NLCONFORM_CACHE to a directory that has it"
        )
    }
}

/// Why apt failed to download to a directory. If that is because the disk is full, what it got so far is removed.
fn failed(output: &Output, dir: &Path) -> Error {
    if !String::from_utf8_lossy(&output.stderr).contains("No space left on device") {
        return anyhow!("{}", said(output));
    }
    let folders = [dir.to_owned(), dir.join("partial")];
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    for file in files.map(|file| file.path()) {
        if file.extension().is_some_and(|extension| extension == "deb") {
            let _ = fs::remove_file(file);
        }
    }
    NoRoom(dir.to_owned()).into()
}

/// The errors of an apt command, else its last line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("E:")).collect();
    match errors.is_empty() {
        true => text.lines().last().unwrap_or("apt said nothing").to_owned(),
        false => errors.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_and_dependencies_are_read_from_apts_tables() {
        let rows = " linux |   7.3-1 | http://m/debian trixie-backports/main amd64 Packages\nnonsense\n";
        let expected = Candidate { version: "7.3-1".into(), suite: "trixie-backports".into() };
        assert_eq!(candidates(rows), [expected]);
        let stanza = "Package: a\nDepends: linux-image-7.3 (= 7.3-1), kmod | x\nSize: 1\n";
        assert_eq!(depends(stanza), ["linux-image-7.3", "kmod"]);
        assert!(depends("Package: a\n").is_empty());
        let said = "Building tree...\n a : Depends: b (= 1) but it is not installable\n     Recommends: c but it is not\n";
        assert_eq!(unmet(said), "\n    a : Depends: b (= 1) but it is not installable");
    }

    /// The result of `download` with an apt that lists two versions, and has those in `$have`.
    fn download(have: &str) -> Result<(PathBuf, String)> {
        let dir = tempfile::tempdir().unwrap();
        let madison = "echo ' linux | 2-1 | http://a sid/main amd64 Packages'\n\
            echo ' linux | 2-1 | http://b sid/main amd64 Packages'\n\
            echo ' linux | 1-1 | http://a sid/main amd64 Packages'";
        let get = format!(
            "for last; do :; done; case $last in update) exit 0;; esac\n\
             for version in {have}; do case $last in linux=$version)\n\
             echo tree > linux_${{version}}_all.deb; exit 0;; esac; done\n\
             case {have} in full) : > linux_2-1_all.deb; echo 'E: write (28: No space left on device)' >&2; exit 100;; esac\n\
             echo 'E: Failed to fetch: 404  Not Found' >&2; exit 100"
        );
        let programs = [("apt-get", get.as_str()), ("apt-cache", madison)];
        let host = Host::fake(dir.path(), false, &programs);
        let cache = Cache::at(&dir.path().join("cache")).unwrap();
        let progress = Progress::new();
        let mut got = None;
        cache.updated(Kind::Download, "apt", "lists", &progress, |place| {
            // The remains of a killed run.
            fs::write(place.dir.join("linux_0-1_all.deb"), "")?;
            let apt = PrivateApt::set_up(place, &host, "", None)?;
            apt.update(&progress)?;
            got = Some(apt.download("linux", &progress)?);
            Ok(())
        })?;
        Ok(got.unwrap())
    }

    #[test]
    fn the_newest_version_is_taken() {
        let (deb, identity) = download("1-1 2-1").unwrap();
        assert!(deb.ends_with("linux_2-1_all.deb"), "{deb:?}");
        assert!(identity.starts_with("linux 2-1 sha256:"), "{identity}");
    }

    #[test]
    fn a_mirror_that_lags_gives_the_version_before() {
        let (deb, identity) = download("1-1").unwrap();
        assert!(deb.ends_with("linux_1-1_all.deb"), "{deb:?}");
        assert!(identity.starts_with("linux 1-1 sha256:"), "{identity}");
    }

    #[test]
    fn a_mirror_with_neither_is_named_with_both() {
        let message = format!("{:#}", download("none").unwrap_err());
        for word in ["linux 2-1: E:", "linux 1-1: E:", "404"] {
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_full_disk_ends_it_and_nothing_half_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("half.deb"), "x").unwrap();
        let output = Command::new("sh")
            .args(["-c", "echo 'E: write (28: No space left on device)' >&2; exit 100"])
            .output()
            .unwrap();
        let full = failed(&output, dir.path());
        assert!(full.is::<NoRoom>(), "{full}");
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
        let message = format!("{:#}", download("full").unwrap_err());
        assert!(message.starts_with("the disk is full: make room") && !message.contains('\n'), "{message}");
    }
}
