//! Downloads from a server on the loopback interface, well-behaved or not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::making::source::{Kernels, Source};

/// How the server answers one request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// In full, or from where the request's Range begins.
    Ranged,
    /// In full, whatever the Range.
    Full,
    /// As `Ranged`, but the connection ends after this many bytes.
    Cut(usize),
    Status(&'static str),
}

/// Answers as many requests as there are `answers`, and reports the Range of each.
fn serve(body: Vec<u8>, answers: &[Answer]) -> (String, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, ranges) = mpsc::channel();
    let answers = answers.to_vec();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let from = range_of_request(&stream);
            tell.send(from).unwrap();
            respond(&mut stream, &body, from, answer).unwrap();
        }
    });
    (address, ranges)
}

fn range_of_request(stream: &TcpStream) -> usize {
    BufReader::new(stream)
        .lines()
        .map(|line| line.unwrap().to_lowercase())
        .take_while(|line| !line.is_empty())
        .filter_map(|line| Some(line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse()))
        .fold(0, |_, from| from.unwrap())
}

fn respond(out: &mut TcpStream, body: &[u8], from: usize, answer: Answer) -> std::io::Result<()> {
    let (status, from, send) = match answer {
        Answer::Status(status) => {
            return write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
        _ if from >= body.len() => return respond(out, body, 0, Answer::Status("416 Too Far")),
        Answer::Ranged if from > 0 => ("206 Partial Content", from, body.len() - from),
        Answer::Cut(bytes) if from > 0 => ("206 Partial Content", from, bytes),
        Answer::Cut(bytes) => ("200 OK", 0, bytes),
        Answer::Ranged | Answer::Full => ("200 OK", 0, body.len()),
    };
    let (last, length) = (body.len() - 1, body.len() - from);
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n")?;
    write!(out, "Content-Range: bytes {from}-{last}/{}\r\n\r\n", body.len())?;
    out.write_all(&body[from..from + send])
}

/// A directory to download to, and a file with its SHA-256.
struct Download {
    dir: tempfile::TempDir,
    body: Vec<u8>,
    sha256: String,
}

impl Download {
    fn new() -> Download {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        fs::write(dir.path().join("body"), &body).unwrap();
        let sha256 = sha256(&dir.path().join("body")).unwrap();
        Download { dir, body, sha256 }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// Fetches from a server with these answers; returns where each request began, and the result.
    fn fetch(&self, answers: &[Answer]) -> (Vec<usize>, Result<()>) {
        let (address, ranges) = serve(self.body.clone(), answers);
        let step = Progress::new().step("downloading");
        let result = fetch(&format!("{address}/x"), &self.sha256, &self.file(), &step);
        (ranges.try_iter().collect(), result)
    }

    fn assert_whole(&self) {
        assert!(fs::read(self.file()).unwrap() == self.body);
    }
}

#[test]
fn a_whole_transfer_is_one_request() {
    let download = Download::new();
    let (ranges, result) = download.fetch(&[Answer::Ranged]);
    result.unwrap();
    assert_eq!(ranges, [0]);
    download.assert_whole();
}

#[test]
fn a_cut_transfer_is_told_of_and_resumed_by_the_next_run() {
    let download = Download::new();
    let (_, result) = download.fetch(&[Answer::Cut(100_000)]);
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("cut after 100000 of 300000 bytes: run again"), "{message}");

    let (ranges, result) = download.fetch(&[Answer::Ranged]);
    result.unwrap();
    assert_eq!(ranges, [100_000]);
    download.assert_whole();
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let download = Download::new();
    download.fetch(&[Answer::Cut(1000)]).1.unwrap_err();
    let (ranges, result) = download.fetch(&[Answer::Full]);
    result.unwrap();
    assert_eq!(ranges, [1000]);
    download.assert_whole();
}

#[test]
fn a_wrong_checksum_keeps_nothing() {
    let mut download = Download::new();
    download.sha256 = "0".repeat(64);
    let (_, result) = download.fetch(&[Answer::Ranged]);
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("and not 0000"), "{message}");
    assert!(!download.file().exists());
}

#[test]
fn a_damaged_part_is_replaced() {
    let download = Download::new();
    fs::write(download.file(), [0xff; 5000]).unwrap();
    let (ranges, result) = download.fetch(&[Answer::Ranged, Answer::Ranged]);
    result.unwrap();
    assert_eq!(ranges, [5000, 0]);
    download.assert_whole();
}

#[test]
fn a_whole_file_that_was_never_unpacked_is_not_sent_again() {
    let download = Download::new();
    fs::write(download.file(), &download.body).unwrap();
    download.fetch(&[Answer::Ranged]).1.unwrap();
    download.assert_whole();
}

#[test]
fn a_404_is_told_of() {
    let download = Download::new();
    let (_, result) = download.fetch(&[Answer::Status("404 Not Found")]);
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("/x answered 404 Not Found"), "{message}");
}

#[test]
fn no_network_is_told_of() {
    let download = Download::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let step = Progress::new().step("downloading");
    let result = fetch(&format!("http://{closed}/x"), "", &download.file(), &step);
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("is there a network?"), "{message}");
}

/// Obtains a kernel whose only source is this tarball, from a server with these answers.
fn obtain_tarball(cache: &Path, tarball: &[u8], answers: &[Answer]) -> Result<Source> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(&file, tarball)?;
    let (mirror, _ranges) = serve(tarball.to_vec(), answers);
    let kernels: Kernels = toml::from_str(&format!(
        "default = 'k'\nmirror = '{mirror}'\nreleases = ''\nkeyring = ''\nsuites = []\n[[kernel]]\nname = 'k'\n\
         tarball = {{ version = '6.1.9', sha256 = '{}' }}",
        sha256(file.path())?
    ))?;
    kernels.source(&kernels.get("k")?, &Cache::at(cache)?, &Progress::new())
}

fn tarball() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("linux-6.1.9");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("Kbuild"), "").unwrap();
    fs::write(tree.join("Makefile"), "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 9\nEXTRAVERSION =\n").unwrap();
    let archive = dir.path().join("tar.xz");
    let status =
        Command::new("tar").arg("-C").arg(dir.path()).arg("-cJf").arg(&archive).arg("linux-6.1.9").status();
    assert!(status.unwrap().success());
    fs::read(archive).unwrap()
}

#[test]
fn a_tarball_becomes_a_source_and_its_download_goes() {
    let cache = tempfile::tempdir().unwrap();
    let tarball = tarball();
    obtain_tarball(cache.path(), &tarball, &[Answer::Cut(100)]).unwrap_err();
    let source = obtain_tarball(cache.path(), &tarball, &[Answer::Ranged]).unwrap();
    assert_eq!(source.version, "6.1.9");
    assert!(source.identity.starts_with("kernel.org 6.1.9 sha256:"));
    assert!(source.dir.join("Kbuild").exists());
    assert!(!cache.path().join("downloads/linux-6.1.9/archive").exists());
}

#[test]
fn an_archive_without_a_kernel_is_no_source() {
    let cache = tempfile::tempdir().unwrap();
    let message = obtain_tarball(cache.path(), b"not a tarball", &[Answer::Ranged]).unwrap_err();
    assert!(message.to_string().contains("cannot unpack"), "{message:#}");
    let message = obtain_tarball(cache.path(), b"", &[Answer::Status("503 Busy")]).unwrap_err();
    assert!(message.to_string().contains("--kernel-src"), "{message:#}");
}
