//! Releases from a kernel.org on the loopback interface, whose list is signed well, badly, or by somebody else.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::host::content::sha256;
use crate::making::source::{Kernels, Source};

/// A GnuPG of the test's own. The keys are as old as they say, so that signatures can have expired.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Keys {
        let keys = Keys(tempfile::tempdir().unwrap());
        for name in ["pinned", "other"] {
            keys.gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never"]);
        }
        fs::write(keys.keyring(), keys.gpg(&["--export", "pinned"])).unwrap();
        keys
    }

    fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--quiet", "--faked-system-time", "20200101T000000!", "--homedir"]);
        let output =
            gpg.arg(self.0.path()).args(args).output().expect("these tests need gpg: the package gnupg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn keyring(&self) -> PathBuf {
        self.0.path().join("pinned.gpg")
    }

    fn sign(&self, text: &str, key: &str, lifetime: &str) -> String {
        let file = self.0.path().join("text");
        fs::write(&file, text).unwrap();
        let signed = self.gpg(&[
            "--local-user",
            key,
            "--default-sig-expire",
            lifetime,
            "--output",
            "-",
            "--clear-sign",
            file.to_str().unwrap(),
        ]);
        String::from_utf8(signed).unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

/// Serves these files by their paths, and nothing else. A file of which fewer bytes are sent than it has is cut.
fn serve(files: BTreeMap<String, (Vec<u8>, usize)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path =
                lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())).unwrap_or_default();
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let _ = match files.get(&path) {
                Some((body, sent)) => {
                    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())
                        .and_then(|()| stream.write_all(&body[..*sent]))
                }
                None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            };
        }
    });
    address
}

fn tarball() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("linux-6.6.10");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("Kbuild"), "").unwrap();
    fs::write(tree.join("Makefile"), "VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 10\nEXTRAVERSION =\n").unwrap();
    let archive = dir.path().join("tar.xz");
    let made =
        Command::new("tar").arg("-C").arg(dir.path()).arg("-cJf").arg(&archive).arg("linux-6.6.10").status();
    assert!(made.unwrap().success());
    fs::read(archive).unwrap()
}

/// A list as kernel.org has it, in which 6.6.10 is this tarball.
fn list(tarball: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), tarball).unwrap();
    let (hash, none) = (sha256(file.path()).unwrap(), "0".repeat(64));
    format!(
        "{none}  ChangeLog-6.6.9\n{none}  linux-6.6.tar.xz\n{none}  linux-6.6.9.tar.xz\n{hash}  linux-6.6.10.tar.xz\n\
         {none}  linux-6.6.10.tar.gz\n{none}  linux-6.60.tar.xz\n"
    )
}

/// kernel.org with this list and this tarball, of which so many bytes are sent.
fn kernels(keys: &Keys, list: Option<String>, tarball: &[u8], sent: usize) -> Kernels {
    let mut files = BTreeMap::new();
    if let Some(list) = list.map(String::into_bytes) {
        let length = list.len();
        files.insert("/v6.x/sha256sums.asc".to_owned(), (list, length));
    }
    files.insert("/v6.x/linux-6.6.10.tar.xz".to_owned(), (tarball.to_vec(), sent));
    let address = serve(files);
    let keyring = keys.keyring();
    toml::from_str(&format!(
        "default = 'k'\nmirror = '{address}'\nreleases = '{address}/releases.json'\nkeyring = '{}'\nsuites = []\n\
         [[kernel]]\nname = 'k'\n",
        keyring.display()
    ))
    .unwrap()
}

fn obtain(kernels: &Kernels, name: &str, cache: &Path) -> Result<Source> {
    kernels.source(&kernels.get(name)?, &Cache::at(cache)?, &Progress::new())
}

#[test]
fn the_newest_of_a_line_is_what_the_signed_list_says() {
    let (keys, tarball, cache) = (Keys::new(), tarball(), tempfile::tempdir().unwrap());
    let good = keys.sign(&list(&tarball), "pinned", "never");
    let kernels = kernels(&keys, Some(good), &tarball, tarball.len());
    let source = obtain(&kernels, "6.6", cache.path()).unwrap();
    assert_eq!(source.version, "6.6.10");
    assert!(source.identity.starts_with("kernel.org 6.6.10 sha256:"), "{}", source.identity);
    let refused = format!("{:#}", obtain(&kernels, "6.6.11", cache.path()).unwrap_err());
    assert!(refused.contains("has no linux-6.6.11.tar.xz"), "{refused}");
    let refused = format!("{:#}", obtain(&kernels, "6.7-rc1", cache.path()).unwrap_err());
    assert!(refused.contains("release candidate") && refused.contains("--kernel-src"), "{refused}");
}

#[test]
fn a_list_that_cannot_be_trusted_is_not_used() {
    let (keys, tarball) = (Keys::new(), tarball());
    let text = list(&tarball);
    let good = keys.sign(&text, "pinned", "never");
    let lists = [
        (good.replacen("linux-6.6.9", "linux-6.6.8", 1), "its signature is bad"),
        (keys.sign(&text, "other", "never"), "not signed by the key that kernel-configs/keys pins"),
        (keys.sign(&text, "pinned", "1d"), "its signature has expired"),
        (text.clone(), "it has no signature"),
        // What stands beside the signed text counts for nothing.
        (format!("{}\n{}", text, keys.sign("", "pinned", "never")), "has no linux-6.6.10.tar.xz"),
    ];
    for (list, why) in lists {
        let cache = tempfile::tempdir().unwrap();
        let kernels = kernels(&keys, Some(list), &tarball, tarball.len());
        let refused = format!("{:#}", obtain(&kernels, "6.6.10", cache.path()).unwrap_err());
        assert!(refused.contains(why), "{why}: {refused}");
    }
}

#[test]
fn what_is_missing_cut_or_changed_is_said() {
    let (keys, tarball, cache) = (Keys::new(), tarball(), tempfile::tempdir().unwrap());
    let none = kernels(&keys, None, &tarball, tarball.len());
    let refused = format!("{:#}", obtain(&none, "6.6.10", cache.path()).unwrap_err());
    assert!(refused.contains("sha256sums.asc answered 404"), "{refused}");

    let good = keys.sign(&list(&tarball), "pinned", "never");
    let cut = kernels(&keys, Some(good.clone()), &tarball, 20);
    let refused = format!("{:#}", obtain(&cut, "6.6.10", cache.path()).unwrap_err());
    assert!(refused.contains("was cut after 20 of"), "{refused}");

    let mut other = tarball.clone();
    other.push(0);
    let changed = kernels(&keys, Some(good), &other, other.len());
    let cache = tempfile::tempdir().unwrap();
    let refused = format!("{:#}", obtain(&changed, "6.6.10", cache.path()).unwrap_err());
    assert!(refused.contains("nothing of it was kept"), "{refused}");
}

#[test]
fn monikers_stand_for_what_is_current() {
    let json = r#"{"latest_stable": {"version": "7.3.4"}, "releases": [
        {"moniker": "mainline", "version": "7.4-rc2", "iseol": false, "source": null},
        {"moniker": "stable", "version": "7.3.4", "iseol": false},
        {"moniker": "stable", "version": "7.1.9", "iseol": true},
        {"moniker": "longterm", "version": "6.18.60", "iseol": false},
        {"moniker": "longterm", "version": "6.12.118", "iseol": false}]}"#;
    let address = serve([("/releases.json".to_owned(), (json.into(), json.len()))].into());
    let expanded = |names: &[&str], file: &str| {
        expand(names.iter().map(|&name| name.to_owned()).collect(), &format!("{address}/{file}"))
    };
    let names = expanded(&["stable", "6.6", "longterm", "mainline"], "releases.json").unwrap();
    assert_eq!(names, ["7.3.4", "6.6", "6.18.60", "6.12.118", "7.4-rc2"]);
    assert_eq!(expanded(&["6.6"], "nothing is asked for").unwrap(), ["6.6"]);
    let refused = format!("{:#}", expanded(&["stable"], "gone.json").unwrap_err());
    assert!(refused.contains("answered 404"), "{refused}");
}

#[test]
fn numbers_of_releases_are_told_from_other_names() {
    for number in ["6.6", "6.18.3", "7.4-rc1", "4.19.325"] {
        assert!(is_number(number), "{number}");
    }
    for name in ["6", "k", "6.x", "6.6.1.2", "6.6-", "7.4-rc", "6.6 ", "../6.6"] {
        assert!(!is_number(name), "{name}");
    }
}

#[test]
fn the_pinned_key_is_kernel_orgs() {
    let kernels = Kernels::load().unwrap();
    let shown = Command::new("gpg")
        .args(["--batch", "--with-colons", "--show-keys"])
        .arg(crate::project_root().join("kernel-configs").join(kernels.keyring))
        .output()
        .expect("these tests need gpg: the package gnupg");
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("fpr:::::::::B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1:"), "{shown}");
    assert_eq!(
        shown.matches("\npub:").count() + usize::from(shown.starts_with("pub:")),
        1,
        "one key: {shown}"
    );
}
