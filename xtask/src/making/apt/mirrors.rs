//! The Debian mirrors that the host's apt uses, read of its sources: of `sources.list` and of deb822 files.
//! `apt-get indextargets` prints both in one form, but only those whose lists the host has read, and an image of a
//! container comes without lists.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The host's Debian mirrors.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mirrors {
    archive: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    /// Reads the apt sources of both styles below `etc_apt`.
    pub(super) fn of_host(etc_apt: &Path) -> Result<Mirrors> {
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
                Some("list") => text.lines().filter_map(one_line).for_each(|source| mirrors.take(&source)),
                Some("sources") => {
                    let stanzas = stanzas(&text);
                    stanzas.iter().filter_map(|text| deb822(text)).for_each(|source| mirrors.take(&source));
                }
                _ => {}
            }
        }
        if mirrors == Mirrors::default() {
            bail!("{} names no Debian mirror", etc_apt.display());
        }
        Ok(mirrors)
    }

    fn take(&mut self, source: &Source<'_>) {
        if !source.is_debians() {
            return;
        }
        for uri in &source.uris {
            // Mirror lists (mirror+file:/etc/apt/mirrors/debian.list) are named for what they list.
            let holds = |name: &str| uri.split('/').any(|part| part.trim_end_matches(".list") == name);
            let place = if holds("debian-security") || uri.contains("//security.") {
                &mut self.security
            } else if holds("debian") {
                &mut self.archive
            } else {
                continue;
            };
            place.get_or_insert_with(|| uri.trim_end_matches('/').to_owned());
        }
    }

    /// The lines of a sources.list with these suites.
    pub(super) fn lines(&self, suites: &[String]) -> Result<String> {
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

/// A source of packages, as apt's files have it.
struct Source<'t> {
    uris: Vec<&'t str>,
    components: Vec<&'t str>,
    /// The key that it names.
    signer: Option<&'t str>,
}

impl Source<'_> {
    /// Whether it has what the lab looks for, signed by Debian. Third parties name their own keys; Debian's are the
    /// default.
    fn is_debians(&self) -> bool {
        self.components.contains(&"main")
            && self.signer.is_none_or(|signer| signer.contains("debian-archive"))
    }
}

/// What a line `deb [OPTIONS] URI SUITE COMPONENTS` says.
fn one_line(line: &str) -> Option<Source<'_>> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uris = vec![words.next()?];
    let components = words.skip(1).collect();
    let signer = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source { uris, components, signer })
}

/// A deb822 file as its stanzas, each field in one line.
fn stanzas(text: &str) -> Vec<String> {
    let text: String =
        text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    // A line that begins with white space continues the field before.
    text.split("\n\n").map(|stanza| stanza.replace("\n ", " ").replace("\n\t", " ")).collect()
}

/// What a stanza says; nothing if it is not for binary packages, or not enabled.
fn deb822(stanza: &str) -> Option<Source<'_>> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    if !words("Types").contains(&"deb") || words("Enabled").contains(&"no") {
        return None;
    }
    Some(Source { uris: words("URIs"), components: words("Components"), signer: field("Signed-By") })
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
}
