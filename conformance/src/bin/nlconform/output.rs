//! The formats of a report.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nlconform::event::{Event, Report, Verdict};
use nlconform::report::alike::Alike;
use nlconform::report::pretty::explain;
use nlconform::report::{Record, counts, html, junit, ktap, markdown, word};
use nlconform::{stdout, text};

use crate::growing::Growing;
use crate::steady;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people
    Pretty,
    /// JSON lines, one per event
    Json,
    /// One JSON document: results.json
    Results,
    /// JUnit XML
    Junit,
    /// KTAP
    Ktap,
    /// TAP 13, as the kernel's selftests print it
    Tap,
    /// Markdown
    Markdown,
    /// One HTML file
    Html,
}

/// The destination of a report, and its format.
pub struct Output {
    format: Format,
    to: Destination,
    /// The running case is named on standard error, so that it is known if the target dies with it.
    aloud: bool,
}

enum Destination {
    /// Lines are written as they come.
    Lines(File),
    /// A document that is written at the end, into a file.
    Document(PathBuf),
    /// A document that grows.
    Growing(Growing),
}

impl Output {
    /// Opens the file, or takes the standard output, for a report on a run that is about to begin.
    pub fn open(format: Format, file: Option<&Path>, record: &Record) -> Result<Output, String> {
        let to = match (format, file) {
            (Format::Results, _) => {
                Destination::Growing(Growing::start(destination(file)?, record).map_err(unwritten)?)
            }
            (Format::Junit | Format::Markdown | Format::Html, Some(path)) => {
                // Better now than after the run.
                writable(path)?;
                Destination::Document(path.to_owned())
            }
            _ => Destination::Lines(destination(file)?),
        };
        let streams = matches!(format, Format::Pretty | Format::Json);
        Ok(Output { format, to, aloud: !streams || file.is_some() })
    }

    /// Goes on in this file of results, which has what `record` has.
    pub fn resume(file: &Path, record: &Record) -> Result<Output, String> {
        let growing = Growing::resume(file, record);
        let growing = growing.map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Output { format: Format::Results, to: Destination::Growing(growing), aloud: true })
    }

    /// Takes one event; written at once, whatever comes next.
    pub fn event(&mut self, event: &Event) -> Result<(), String> {
        let written = match (&mut self.to, event) {
            (Destination::Growing(growing), Event::Started { case }) => growing.started(case),
            (Destination::Growing(growing), Event::Finished(report)) => growing.finished(report),
            (Destination::Growing(_) | Destination::Document(_), _) => Ok(()),
            (Destination::Lines(file), event) => {
                steady::write_all(file, streamed(self.format, event)?.as_bytes())
            }
        };
        written.map_err(unwritten)?;
        if let (true, Event::Started { case }) = (self.aloud, event) {
            eprintln!("{case}");
        }
        Ok(())
    }

    /// Completes the report.
    pub fn finish(self, record: &Record) -> Result<(), String> {
        let written = match self.to {
            Destination::Growing(growing) => growing.end(record),
            Destination::Document(file) => return whole(&file, &ending(self.format, record)?),
            Destination::Lines(mut file) => {
                steady::write_all(&mut file, ending(self.format, record)?.as_bytes())
            }
        };
        written.map_err(unwritten)
    }
}

/// Writes a report on runs that are over.
pub fn write(format: Format, file: Option<&Path>, record: &Record) -> Result<(), String> {
    let text = match format {
        Format::Pretty => summary(record),
        Format::Json => {
            return Err("events are written by a run only; --format results has what they say".into());
        }
        format => ending(format, record)?,
    };
    match file {
        Some(path) => whole(path, &text),
        None => show(&text).map(drop),
    }
}

fn whole(path: &Path, text: &str) -> Result<(), String> {
    text::write(path, text).map_err(|error| unwritable(path, error))
}

/// Writes text for people. A reader that goes away has seen enough.
pub fn show(text: &str) -> Result<bool, String> {
    match steady::write_all(&mut destination(None)?, text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(stdout::unwritable(error)),
        _ => Ok(true),
    }
}

fn destination(file: Option<&Path>) -> Result<File, String> {
    match file {
        Some(path) => File::create(path).map_err(|error| unwritable(path, error)),
        // Not through the buffer of `Stdout`, which loses what it cannot write at once.
        None => io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(unwritten),
    }
}

/// Whether a file can be written, without a change of what it holds.
fn writable(path: &Path) -> Result<(), String> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn unwritten(error: io::Error) -> String {
    format!("cannot write the report: {error}")
}

/// What is written of an event as it comes.
fn streamed(format: Format, event: &Event) -> Result<String, String> {
    Ok(match (format, event) {
        (Format::Json, event) => serde_json::to_string(event).map_err(|error| error.to_string())? + "\n",
        (Format::Pretty, Event::Started { case }) => format!("{case} ... "),
        (Format::Pretty, Event::Finished(report)) => line(report),
        _ => String::new(),
    })
}

/// What is written at the end.
fn ending(format: Format, record: &Record) -> Result<String, String> {
    Ok(match format {
        Format::Json => serde_json::to_string(&Event::Bye).map_err(|error| error.to_string())? + "\n",
        Format::Pretty => summary(record),
        Format::Results => serde_json::to_string(record).map_err(|error| error.to_string())?,
        Format::Junit => junit::junit(record)?,
        Format::Ktap => ktap::ktap(record),
        Format::Tap => ktap::tap(record),
        Format::Markdown => markdown::markdown(record),
        Format::Html => html::html(record, None)?,
    })
}

fn line(report: &Report) -> String {
    match (&report.verdict, &report.known) {
        (Verdict::Skip { reason }, _) => format!("skip ({reason})\n"),
        (verdict, Some(url)) => format!("{}, known: {url}\n", word(verdict)),
        (verdict, None) => format!("{}\n", word(verdict)),
    }
}

/// Each cause with a report in full, then what went wrong outside of the cases, and the counts.
fn summary(record: &Record) -> String {
    let mut text = String::from("\n");
    for run in &record.runs {
        for group in Alike::groups(&run.reports) {
            text += &format!("---- {} ----\n{}", group.reports[0].case, explain(group.reports[0]));
            if group.reports.len() > 1 {
                text += &format!("{}\n", group.heading());
                group.reports.iter().for_each(|report| text += &format!("  {}\n", report.case));
            }
            text.push('\n');
        }
        run.errors.iter().for_each(|error| text += &format!("error: {error}\n"));
        run.surprises.iter().for_each(|surprise| text += &format!("unexpected: {surprise}\n"));
        let told: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        text += &format!("{}, expected: {}: {}\n", run.target, run.profile, told.join(", "));
    }
    text
}
