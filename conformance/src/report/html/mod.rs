//! One HTML file that works without a network: the matrix, and behind each cell its evidence.

use serde::Serialize;

use super::matrix::{Cell, matrix};
use super::pretty::explain;
use super::{Record, counts, word};
use crate::event::{Report, Verdict};
use crate::spec::{Profile, Requirement};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What the page's script works on.
#[derive(Serialize)]
struct Data<'a> {
    suite: &'a str,
    started: &'a str,
    targets: Vec<TargetData<'a>>,
    requirements: Vec<RequirementData<'a>>,
}

#[derive(Serialize)]
struct TargetData<'a> {
    name: &'a str,
    platform: &'a str,
    profile: &'a str,
    counts: Vec<(&'static str, usize)>,
    errors: &'a [String],
}

#[derive(Serialize)]
struct RequirementData<'a> {
    id: &'a str,
    area: &'a str,
    level: &'static str,
    statement: &'a str,
    sources: &'a [String],
    unintended: Option<&'a str>,
    unchecked: Option<&'a str>,
    cells: Vec<CellData<'a>>,
}

#[derive(Serialize)]
struct CellData<'a> {
    standing: &'static str,
    /// The statement with the target's values.
    statement: String,
    cases: Vec<CaseData<'a>>,
}

#[derive(Serialize)]
struct CaseData<'a> {
    name: &'a str,
    verdict: &'static str,
    micros: u64,
    text: String,
}

/// The record as a page.
///
/// # Errors
/// When a profile of the record is none.
pub fn html(record: &Record) -> Result<String, String> {
    let profiles = record.runs.iter().map(|run| run.profile.parse()).collect::<Result<Vec<Profile>, _>>()?;
    let requirements = matrix(&record.runs)
        .into_iter()
        .map(|row| {
            let requirement = row.requirement;
            let cells = row.cells.iter().zip(&profiles);
            RequirementData {
                id: &requirement.id,
                area: area(requirement),
                level: requirement.level.word(),
                statement: &requirement.statement,
                sources: &requirement.sources,
                unintended: requirement.unintended.as_deref(),
                unchecked: requirement.unchecked.as_deref(),
                cells: cells.map(|(cell, profile)| cell_data(requirement, cell, *profile)).collect(),
            }
        })
        .collect();
    let targets = record.runs.iter().map(|run| TargetData {
        name: &run.target,
        platform: &run.platform,
        profile: &run.profile,
        counts: counts(&run.reports),
        errors: &run.errors,
    });
    let data =
        Data { suite: &record.suite, started: &record.started, targets: targets.collect(), requirements };
    let json = serde_json::to_string(&data).map_err(|error| error.to_string())?;
    // Inside of a script element only this could end it.
    let json = json.replace("</", "<\\/").replace("<!--", "<\\u0021--");
    Ok(PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT).replace("/*data*/", &json))
}

fn cell_data<'a>(requirement: &Requirement, cell: &Cell<'a>, profile: Profile) -> CellData<'a> {
    CellData {
        standing: cell.standing.word(),
        statement: requirement.statement(profile.version),
        cases: cell.reports.iter().map(|report| case_data(report)).collect(),
    }
}

fn case_data(report: &Report) -> CaseData<'_> {
    let text = match &report.verdict {
        Verdict::Skip { reason } => reason.clone(),
        Verdict::Pass => report.console.clone(),
        _ => explain(report),
    };
    CaseData { name: &report.case, verdict: word(&report.verdict), micros: report.micros, text }
}

/// The first part of an ID with the name that people know it by.
fn area(requirement: &Requirement) -> &'static str {
    match requirement.id.split('-').next() {
        Some("GENL") => "generic netlink",
        Some("CN") => "connector",
        Some("CNP") => "process events",
        _ => "AF_NETLINK",
    }
}
