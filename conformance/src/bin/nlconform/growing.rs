//! results.json while a run goes on. Each verdict is in the file as soon as there is one, and the file is a whole
//! document at each moment, in which the case that runs counts as a crash: whatever ends the run, nothing that
//! finished is lost, and it is known what ran.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nlconform::event::{Report, Verdict};
use nlconform::report::{Record, Run};

use crate::steady;

/// A file of results that grows.
pub struct Growing {
    to: File,
    /// Where what is settled ends, in a file in which one can go back; nothing in a pipe.
    settled: Option<u64>,
    /// How far the file was ever written, in bytes.
    written: u64,
    /// What the document ends with after its reports.
    tail: String,
    /// What stands in the file after what is settled.
    ending: String,
    is_empty: bool,
}

impl Growing {
    /// Starts a document about a run that has just begun.
    pub fn start(to: File, record: &Record) -> io::Result<Growing> {
        let (head, tail) = around_reports(record)?;
        let settled = is_rewritable(&to)?.then(|| (&to).stream_position()).transpose()?;
        let written = settled.unwrap_or(0);
        let mut growing = Growing { to, settled, written, tail, ending: String::new(), is_empty: true };
        growing.add(&head, "")?;
        Ok(growing)
    }

    /// Goes on with the document in this file, which holds `record`. The file is replaced at once: whatever
    /// ends the run meanwhile, one or the other is there.
    pub fn resume(file: &Path, record: &Record) -> io::Result<Growing> {
        let mut name = file.as_os_str().to_owned();
        name.push(".new");
        let to = File::create(&name)?;
        let mut growing = Growing::start(to, record)?;
        for report in record.runs.iter().flat_map(|run| &run.reports) {
            growing.finished(report)?;
        }
        growing.to.sync_all()?;
        fs::rename(&name, file)?;
        Ok(growing)
    }

    /// A case is about to run.
    pub fn started(&mut self, case: &str) -> io::Result<()> {
        let reason = "the run ended while this case ran: the target died, or the run was killed".to_owned();
        let report = self.line(&Report::new(case, Verdict::Crash { reason }))?;
        self.add("", &report)?;
        // If the case takes the whole system down, the file is to outlive it. Not every file can be synchronized.
        if self.settled.is_some() {
            let _ = self.to.sync_data();
        }
        Ok(())
    }

    /// A case has its verdict.
    pub fn finished(&mut self, report: &Report) -> io::Result<()> {
        let line = self.line(report)?;
        self.is_empty = false;
        self.add(&line, "")
    }

    /// The run has ended, with what `record` has beside reports.
    pub fn end(mut self, record: &Record) -> io::Result<()> {
        self.tail = around_reports(record)?.1;
        let Some(at) = self.settled else {
            return steady::write_all(&mut self.to, self.tail.as_bytes());
        };
        self.add("", "")?;
        let end = at + self.tail.len() as u64;
        self.to.set_len(end)?;
        self.to.seek(SeekFrom::Start(end)).map(drop)
    }

    /// A report as a line, so that what is torn ends at a line.
    fn line(&self, report: &Report) -> io::Result<String> {
        let comma = if self.is_empty { "" } else { "," };
        Ok(format!("{comma}{}\n", serde_json::to_string(report)?))
    }

    /// Adds what is settled, then what is not, and ends the document.
    fn add(&mut self, settled: &str, open: &str) -> io::Result<()> {
        let Some(at) = self.settled else {
            return steady::write_all(&mut self.to, settled.as_bytes());
        };
        // In one piece, so that nobody finds a half of it. What is left of a longer end is blank.
        let ending = format!("{open}{}", self.tail);
        let mut text = format!("{settled}{ending}");
        let end = at + text.len() as u64;
        text.extend((end..self.written).map(|_| ' '));
        self.to.seek(SeekFrom::Start(at))?;
        if let Err(error) = steady::write_all(&mut self.to, text.as_bytes()) {
            self.restore(at)?;
            return Err(error);
        }
        self.ending = ending;
        self.written = self.written.max(end);
        self.settled = Some(at + settled.len() as u64);
        Ok(())
    }

    /// Takes back what was half written where the disk was full: the document ends as it did, which takes no more room.
    fn restore(&mut self, settled: u64) -> io::Result<()> {
        self.to.seek(SeekFrom::Start(settled))?;
        steady::write_all(&mut self.to, self.ending.as_bytes())?;
        self.to.set_len(settled + self.ending.len() as u64)
    }
}

/// The document before its reports, and after them.
fn around_reports(record: &Record) -> io::Result<(String, String)> {
    let runs = record.runs.iter().map(|run| Run { reports: Vec::new(), ..run.clone() }).collect();
    let text = serde_json::to_string(&Record { runs, ..record.clone() })?;
    // Within a string, the quotes would be escaped.
    let (head, tail) = text.split_once("\"reports\":[]").ok_or(io::ErrorKind::InvalidData)?;
    Ok((format!("{head}\"reports\":[\n"), format!("]{tail}")))
}

/// Whether one can go back in a file.
fn is_rewritable(file: &File) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    Ok(file.metadata()?.is_file() && !flags.contains(OFlag::O_APPEND))
}
