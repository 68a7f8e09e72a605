//! A kernel in a root directory: the host's own, an unpacked package's, or what `make install` and
//! `make modules_install` have written.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Shipped;
use crate::making::kbuild::{BuildDir, release};
use crate::vm::Arch;

/// Where images are: a directory below the root, and how their names begin. Distributions differ.
const BOOT: &str = "boot";
/// Where modules are, before and after Debian merged /usr.
const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];
/// Where headers are, in front of the release: Debian's, and those of Fedora and its like.
const HEADERS: [&str; 2] = ["usr/src/linux-headers-", "usr/src/kernels/"];

/// The kernel in `root` with this release, else the newest, with what belongs to it.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn find(arch: &Arch, root: &Path, wanted: Option<&str>) -> Result<Shipped> {
    let root = root.canonicalize().with_context(|| format!("cannot read {}", root.display()))?;
    let mut images: Vec<(String, PathBuf)> = Vec::new();
    let mut unreadable = None;
    for image in images_in(&root) {
        match release::of_image(arch, &image) {
            Ok(release) => images.push((release, image)),
            Err(error) => unreadable = Some(error),
        }
    }
    images.sort_by(|(a, _), (b, _)| by_version(a, b));
    let running = images.iter().position(|(release, _)| Some(release.as_str()) == wanted);
    let at = running.or(images.len().checked_sub(1));
    let Some(at) = at else {
        return Err(match unreadable {
            Some(error) => error.context(format!("no kernel of {} can be used", root.display())),
            None => anyhow::anyhow!(
                "there is no kernel: neither {} nor {}",
                root.join("boot/vmlinuz-*").display(),
                root.join("lib/modules/*/vmlinuz").display()
            ),
        });
    };
    let (release, image) = images.swap_remove(at);
    let modules = MODULES.iter().map(|dir| root.join(dir).join(&release)).find(|dir| dir.is_dir());
    let headers = headers(&root, &release, modules.as_deref())?;
    Ok(Shipped { release, image, modules, headers, fixed: None, entry: None })
}

fn images_in(root: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_image = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            let name = name.strip_prefix("vmlinuz").or_else(|| name.strip_prefix("vmlinux"));
            name.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let of_modules = MODULES.iter().flat_map(|dir| list(&root.join(dir))).map(|dir| dir.join("vmlinuz"));
    let mut images: Vec<_> = list(&root.join(BOOT)).into_iter().filter(is_image).chain(of_modules).collect();
    images.retain(|image| image.is_file());
    images
}

/// Where modules can be built for it. Headers below a root that is not the host's are built in under that
/// root, because their Makefiles name each other by absolute paths.
fn headers(root: &Path, release: &str, modules: Option<&Path>) -> Result<Option<BuildDir>> {
    let is_host = root == Path::new("/");
    let own = HEADERS.iter().map(|start| root.join(format!("{start}{release}")));
    if let Some(dir) = own.into_iter().find(|dir| dir.join("Makefile").exists()) {
        release::check(&dir, release)?;
        return Ok(Some(BuildDir { dir, root: (!is_host).then(|| root.to_owned()) }));
    }
    // What `make modules_install` leaves leads to the tree that was built; a package's to nowhere, or to
    // headers of the host that are of another kernel by the same name.
    let Some(dir) = modules.and_then(|modules| modules.join("build").canonicalize().ok()) else {
        return Ok(None);
    };
    Ok(release::check(&dir, release).is_ok().then_some(BuildDir { dir, root: None }))
}

/// Orders releases: by numbers where both have one, else by characters.
fn by_version(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (number_a, number_b) = (digits(a), digits(b));
        let order = match number_a.is_empty() || number_b.is_empty() {
            true => match (a.chars().next(), b.chars().next()) {
                (None, None) => return Ordering::Equal,
                // A release candidate is older than the release.
                (x, y) => rank(x).cmp(&rank(y)),
            },
            false => {
                let value = |digits: &str| digits.parse::<u64>().unwrap_or(u64::MAX);
                value(number_a).cmp(&value(number_b))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
        let step = |text: &str, number: &str| number.len().max(text.chars().next().map_or(0, char::len_utf8));
        (a, b) = (&a[step(a, number_a)..], &b[step(b, number_b)..]);
    }
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

/// `-rc1` comes before the end, and `.1` after it.
fn rank(next: Option<char>) -> u32 {
    match next {
        Some('-') => 0,
        None => 1,
        Some(other) => 2 + u32::from(other),
    }
}

/// The kernel that runs here, else the newest in /boot.
///
/// # Errors
/// The host has neither.
pub fn of_host(arch: &Arch) -> Result<Shipped> {
    let running = nix::sys::utsname::uname().context("cannot ask for the running kernel")?;
    let running = running.release().to_string_lossy().into_owned();
    match find(arch, Path::new("/"), Some(&running)) {
        Ok(found) => Ok(found),
        Err(error) => bail!(
            "this host has no kernel to test ({running} runs, as in a container or a virtual machine whose \
             kernel is elsewhere): {error:#}. --kernel deb:linux-image-{} fetches Debian's",
            arch.debian
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86() -> &'static Arch {
        Arch::named("x86_64").unwrap()
    }

    /// Puts a bzImage of this release at this place.
    fn put(root: &Path, at: &str, release: &str) {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        bytes[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        bytes[0x300 + release.len()] = b' ';
        let file = root.join(at);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    #[test]
    fn the_wanted_release_is_taken_else_the_newest() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "boot/vmlinuz-6.1.0-9-amd64", "6.1.0-9-amd64");
        put(root.path(), "boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64");
        put(root.path(), "lib/modules/5.14.0/vmlinuz", "5.14.0");
        fs::write(root.path().join("boot/vmlinuz.old.txt"), "").unwrap();
        let found = |wanted| find(x86(), root.path(), wanted).unwrap();
        assert_eq!(found(None).release, "6.1.0-10-amd64");
        assert_eq!(
            found(Some("5.14.0")).modules.unwrap(),
            root.path().canonicalize().unwrap().join("lib/modules/5.14.0")
        );
        let other = found(Some("4.19"));
        assert_eq!(
            (other.release.as_str(), other.modules, other.headers.is_none()),
            ("6.1.0-10-amd64", None, true)
        );
    }

    #[test]
    fn headers_are_taken_only_if_they_are_this_kernels() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "boot/vmlinuz-6.1", "6.1");
        let dir = root.path().join("usr/src/linux-headers-6.1");
        fs::create_dir_all(dir.join("include/generated")).unwrap();
        fs::write(dir.join("Makefile"), "").unwrap();
        fs::write(dir.join("include/generated/utsrelease.h"), "#define UTS_RELEASE \"6.1\"\n").unwrap();
        let headers = find(x86(), root.path(), None).unwrap().headers.unwrap();
        assert_eq!(headers.root, Some(root.path().canonicalize().unwrap()));
        fs::write(dir.join("include/generated/utsrelease.h"), "#define UTS_RELEASE \"6.2\"\n").unwrap();
        let refused = format!("{:#}", find(x86(), root.path(), None).unwrap_err());
        assert!(refused.contains("builds modules for 6.2"), "{refused}");
    }

    #[test]
    fn a_root_without_a_kernel_says_where_it_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let refusal = || format!("{:#}", find(x86(), root.path(), None).unwrap_err());
        assert!(refusal().contains("there is no kernel:") && refusal().contains("/boot/vmlinuz-*"));
        fs::create_dir(root.path().join("boot")).unwrap();
        fs::write(root.path().join("boot/vmlinuz-1"), "hello").unwrap();
        assert!(refusal().contains("is not the image of a kernel for x86_64"), "{}", refusal());
        let nowhere = format!("{:#}", find(x86(), Path::new("/nonexistent"), None).unwrap_err());
        assert!(nowhere.contains("cannot read /nonexistent"), "{nowhere}");
    }

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        let ordered =
            ["5.10.0-9-amd64", "5.10.0-10-amd64", "6.12-rc1", "6.12", "6.12.9", "6.12.10+deb13-amd64"];
        for pair in ordered.windows(2) {
            assert_eq!(by_version(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(by_version("6.1", "6.1"), Ordering::Equal);
    }
}
