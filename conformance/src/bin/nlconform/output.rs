//! The formats of a report.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use clap::ValueEnum;
use nlconform::event::{Event, Report, Verdict};
use nlconform::report::pretty::explain;
use nlconform::report::{Record, counts, html, junit, ktap, markdown, word};

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
    /// Markdown
    Markdown,
    /// One HTML file
    Html,
}

/// The destination of a report, and its format.
pub struct Output {
    format: Format,
    to: File,
    /// The running case is named on standard error, so that it is known if the target dies with it.
    aloud: bool,
}

impl Output {
    /// Opens the file, or takes the standard output.
    pub fn open(format: Format, file: Option<&Path>) -> Result<Output, String> {
        let to = match file {
            Some(path) => File::create(path).map_err(|error| format!("{}: {error}", path.display()))?,
            // Not through the buffer of `Stdout`, which loses what it cannot write at once.
            None => io::stdout().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?.into(),
        };
        let streams = matches!(format, Format::Pretty | Format::Json);
        Ok(Output { format, to, aloud: !streams || file.is_some() })
    }

    /// Takes one event; written at once, whatever comes next.
    pub fn event(&mut self, event: &Event) -> Result<(), String> {
        if let (true, Event::Started { case }) = (self.aloud, event) {
            eprintln!("{case}");
        }
        let text = match (self.format, event) {
            (Format::Json, event) => serde_json::to_string(event).map_err(|error| error.to_string())? + "\n",
            (Format::Pretty, Event::Started { case }) => format!("{case} ... "),
            (Format::Pretty, Event::Finished(report)) => line(report),
            _ => return Ok(()),
        };
        self.write(&text)
    }

    /// Completes the report.
    pub fn finish(mut self, record: &Record) -> Result<(), String> {
        let text = match self.format {
            Format::Json => serde_json::to_string(&Event::Bye).map_err(|error| error.to_string())? + "\n",
            Format::Pretty => summary(record),
            Format::Results => serde_json::to_string(record).map_err(|error| error.to_string())?,
            Format::Junit => junit::junit(record)?,
            Format::Ktap => ktap::ktap(record),
            Format::Markdown => markdown::markdown(record),
            Format::Html => html::html(record, None)?,
        };
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        steady::write_all(&mut self.to, text.as_bytes())
            .map_err(|error| format!("cannot write the report: {error}"))
    }
}

fn line(report: &Report) -> String {
    match (&report.verdict, &report.known) {
        (Verdict::Skip { reason }, _) => format!("skip ({reason})\n"),
        (verdict, Some(url)) => format!("{}, known: {url}\n", word(verdict)),
        (verdict, None) => format!("{}\n", word(verdict)),
    }
}

fn summary(record: &Record) -> String {
    let mut text = String::from("\n");
    for run in &record.runs {
        for report in run.reports.iter().filter(|report| !nlconform::report::is_well(report)) {
            text += &format!("---- {} ----\n{}\n", report.case, explain(report));
        }
        for surprise in &run.surprises {
            text += &format!("unexpected: {surprise}\n");
        }
        let told: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        text += &format!("{}, expected: {}: {}\n", run.target, run.profile, told.join(", "));
    }
    text
}
