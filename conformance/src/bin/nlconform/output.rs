//! The formats of a report.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use nlconform::event::{Event, Report, Verdict};
use nlconform::report::pretty::explain;
use nlconform::report::{Record, counts, html, junit, ktap, markdown, word};

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
    to: Box<dyn Write>,
    /// The running case is named on standard error, so that it is known if the target dies with it.
    aloud: bool,
}

impl Output {
    /// Opens the file, or takes the standard output.
    pub fn open(format: Format, file: Option<&Path>) -> Result<Output, String> {
        let to: Box<dyn Write> = match file {
            Some(path) => {
                Box::new(File::create(path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => Box::new(io::stdout()),
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
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| format!("cannot write the report: {error}"))
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
