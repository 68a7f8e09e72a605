//! Debian's archive, through an apt of the lab's own: its lists, cache and sources lie in the lab's cache,
//! so it needs no root and changes nothing on the host. The mirror is the one that the host uses;
//! what it serves is verified with the stock archive keyring.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::host::cache::{Cache, Kind, Making};
use crate::host::content::sha256;
use crate::host::disk;
use crate::host::packages::{Host, NEEDS, Probe, Purpose};
use crate::host::progress::Progress;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/// The host's Debian mirrors.
#[derive(Debug, Default, PartialEq)]
struct Mirrors {
    archive: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    /// Reads the apt sources of both styles below `etc_apt`.
    fn of_host(etc_apt: &Path) -> Result<Mirrors> {
        let mut files = vec![etc_apt.join("sources.list")];
        if let Ok(parts) = fs::read_dir(etc_apt.join("sources.list.d")) {
            files.extend(parts.filter_map(|part| Some(part.ok()?.path())));
        }
        files.sort();
        let mut mirrors = Mirrors::default();
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => one_line(&text).for_each(|uri| mirrors.take(uri)),
                Some("sources") => deb822(&text).iter().for_each(|uri| mirrors.take(uri)),
                _ => {}
            }
        }
        if mirrors == Mirrors::default() {
            bail!("{} names no Debian mirror", etc_apt.display());
        }
        Ok(mirrors)
    }

    fn take(&mut self, uri: &str) {
        // Mirror lists (mirror+file:/etc/apt/mirrors/debian.list) are named for what they list.
        let holds = |name: &str| uri.split('/').any(|segment| segment.trim_end_matches(".list") == name);
        let place = if holds("debian-security") || uri.contains("//security.") {
            &mut self.security
        } else if holds("debian") {
            &mut self.archive
        } else {
            return;
        };
        place.get_or_insert_with(|| uri.trim_end_matches('/').to_owned());
    }

    /// The lines of a sources.list with these suites.
    fn lines(&self, suites: &[String]) -> Result<String> {
        let mut lines = String::new();
        for suite in suites {
            let mirror = match suite.ends_with("-security") {
                true => &self.security,
                false => &self.archive,
            };
            if let Some(mirror) = mirror {
                lines += &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
            }
        }
        if lines.is_empty() {
            bail!("the apt sources of this host name no mirror of {}", suites.join(", "));
        }
        Ok(lines)
    }
}

/// The URIs of the enabled `deb` lines with the component main that Debian's keys may have signed.
fn one_line(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        let in_main = words.skip(1).any(|component| component == "main");
        let signer = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        (in_main && is_debians(signer)).then_some(uri)
    })
}

/// The same of deb822 stanzas.
fn deb822(text: &str) -> Vec<String> {
    let mut uris = Vec::new();
    let text: String =
        text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    for stanza in text.split("\n\n") {
        // A line that begins with white space continues the field before.
        let stanza = stanza.replace("\n ", " ").replace("\n\t", " ");
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.trim().eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let has = |name: &str, wanted: &str| {
            field(name).is_some_and(|value| value.split_whitespace().any(|word| word == wanted))
        };
        if has("Types", "deb")
            && has("Components", "main")
            && !has("Enabled", "no")
            && is_debians(field("Signed-By"))
        {
            let listed = field("URIs").unwrap_or_default().split_whitespace();
            uris.extend(listed.map(str::to_owned));
        }
    }
    uris
}

/// Third parties name their own keys; Debian's are the default.
fn is_debians(signer: Option<&str>) -> bool {
    signer.is_none_or(|signer| signer.contains("debian-archive"))
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
fn unmet(told: &str) -> String {
    let needs = told.lines().filter(|line| line.contains("Depends:") && line.contains(" but "));
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

    fn mirrors(files: &[(&str, &str)]) -> Result<Mirrors> {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(etc.path().join(name), text).unwrap();
        }
        Mirrors::of_host(etc.path())
    }

    fn expected(archive: &str, security: &str) -> Mirrors {
        Mirrors { archive: Some(archive.to_owned()), security: Some(security.to_owned()) }
    }

    #[test]
    fn mirrors_are_read_from_one_line_sources() {
        let text = "# deb http://old.example/debian trixie main\n\
            deb-src http://src.example/debian trixie main\n\
            deb [arch=amd64 signed-by=/etc/k.gpg] https://third.example/debian trixie main\n\
            deb https://docker.example/linux/debian trixie stable\n\
            deb\t[arch=amd64]\thttp://one.example/debian/ trixie main contrib # near\n\
            deb http://security.example trixie-security main\n";
        assert_eq!(
            mirrors(&[("sources.list", text)]).unwrap(),
            expected("http://one.example/debian", "http://security.example")
        );
    }

    #[test]
    fn mirrors_are_read_from_deb822_sources() {
        let text = "Types: deb\nURIs: http://off.example/debian\nSuites: trixie\n\
            Components: main\nEnabled: no\n\n\
            Types: deb deb-src\n# a comment\nURIs:\n mirror+file:/etc/apt/mirrors/debian.list\n\
            Suites: trixie trixie-updates\nComponents: main\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
            types: deb\nuris: http://two.example/debian-security\nSuites: trixie-security\n\
            Components: main\n";
        assert_eq!(
            mirrors(&[("sources.list.d/debian.sources", text)]).unwrap(),
            expected("mirror+file:/etc/apt/mirrors/debian.list", "http://two.example/debian-security")
        );
    }

    #[test]
    fn a_file_that_apt_would_not_read_is_not_read() {
        let line = "deb http://off.example/debian trixie main";
        let refused = mirrors(&[("sources.list.d/debian.list.disabled", line)]);
        assert!(refused.unwrap_err().to_string().contains("no Debian mirror"));
    }

    #[test]
    fn suites_go_to_the_mirror_that_has_them() {
        let both = expected("http://a/debian", "http://s/debian-security");
        let suites = ["sid".to_owned(), "trixie-security".to_owned()];
        assert_eq!(
            both.lines(&suites).unwrap(),
            format!(
                "deb [signed-by={KEYRING}] http://a/debian sid main\n\
                 deb [signed-by={KEYRING}] http://s/debian-security trixie-security main\n"
            )
        );
        let archive_only = Mirrors { security: None, ..both };
        assert!(archive_only.lines(&suites[1..]).is_err());
    }

    #[test]
    fn candidates_and_dependencies_are_read_from_apts_tables() {
        let rows = " linux |   7.3-1 | http://m/debian trixie-backports/main amd64 Packages\nnonsense\n";
        let expected = Candidate { version: "7.3-1".into(), suite: "trixie-backports".into() };
        assert_eq!(candidates(rows), [expected]);
        let stanza = "Package: a\nDepends: linux-image-7.3 (= 7.3-1), kmod | x\nSize: 1\n";
        assert_eq!(depends(stanza), ["linux-image-7.3", "kmod"]);
        assert!(depends("Package: a\n").is_empty());
        let told = "Building tree...\n a : Depends: b (= 1) but it is not installable\n     Recommends: c but it is not\n";
        assert_eq!(unmet(told), "\n    a : Depends: b (= 1) but it is not installable");
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
    fn a_mirror_with_neither_is_told_of_with_both() {
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
