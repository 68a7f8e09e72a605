//! What changed since the last run, and what differs between targets.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::markup::{chip, details, escape, plural, targets};
use super::requirements::{Group, groups};
use super::{MANY, Section};
use crate::report::Record;
use crate::report::diff::diff;
use crate::report::matrix::{Row, Standing};
use crate::spec::Profile;

/// What changed since the last run, on targets that both had.
pub fn since(last: &Record, record: &Record) -> Section {
    let names: Vec<_> = record.runs.iter().map(|run| run.target.as_str()).collect();
    let mut changes: BTreeMap<(bool, String, &str, &str), Vec<usize>> = BTreeMap::new();
    let mut compared = 0;
    for (target, run) in record.runs.iter().enumerate() {
        // The same kernel, rebuilt, may have another patch level.
        let same = |old: &&crate::report::Run| old.target == run.target;
        let alike = |old: &&crate::report::Run| old.profile == run.profile && old.platform == run.platform;
        let Some(old) = last.runs.iter().find(same).or_else(|| last.runs.iter().find(alike)) else {
            continue;
        };
        compared += 1;
        for change in diff(old, run) {
            // A case that one of the two did not run is ignored.
            if let (Some(was), Some(is)) = (change.old, change.new) {
                changes.entry((!change.regression, change.case, was, is)).or_default().push(target);
            }
        }
    }
    let mut body =
        format!("<p>Since the run of {}", escape(&last.started.replace('T', " ").replace('Z', " UTC")));
    body.push_str(match (compared, changes.is_empty()) {
        (0, _) => ", which had none of these targets.</p>",
        (_, true) => ": nothing changed.</p>",
        _ => ":</p>",
    });
    let mut list = String::new();
    for ((_, case, was, is), on) in &changes {
        let on = if names.len() > 1 { format!("on {}", targets(on, &names)) } else { String::new() };
        let (was, is) = (chip(was), chip(is));
        let _ = write!(list, "<div class=\"row\">{was} → {is} <code>{}</code> {on}</div>", escape(case));
    }
    match changes.len() > MANY {
        true => body.push_str(&details("topic", false, &plural(changes.len(), "change"), &list)),
        false => body.push_str(&list),
    }
    Section { id: "new", title: "New since the last run", count: changes.len(), body }
}

/// Requirements whose outcome differs between targets, or that demand different things of them.
pub fn between(rows: &[Row<'_>], profiles: &[Profile], names: &[&str]) -> Section {
    // Requirements checked on some targets only are listed after those with different outcomes.
    let (mut outcomes, mut presence) = (Vec::new(), Vec::new());
    for row in rows {
        let mut groups = groups(row, profiles);
        groups.retain(|group| group.standing > Standing::Open);
        let settled: Vec<_> = groups.iter().filter(|group| group.standing >= Standing::Pass).collect();
        match (settled.len(), groups.len()) {
            (2.., _) => outcomes.push((row, groups)),
            (_, 2..) => presence.push((row, groups)),
            _ => {}
        }
    }
    let list = |rows: &[(&Row<'_>, Vec<Group>)]| -> String {
        rows.iter().map(|(row, groups)| one(row, groups, names)).collect()
    };
    let mut body = list(&outcomes);
    if outcomes.is_empty() {
        body.push_str("<p>Each requirement came out the same wherever it was checked.</p>");
    }
    if !presence.is_empty() {
        let summary = format!("{} checked on some targets only", plural(presence.len(), "requirement"));
        body.push_str(&details("topic", false, &summary, &list(&presence)));
    }
    Section { id: "differs", title: "Differs between targets", count: outcomes.len(), body }
}

fn one(row: &Row<'_>, groups: &[Group], names: &[&str]) -> String {
    let id = &row.requirement.id;
    let mut text = format!("<div class=\"row\"><a class=\"id\" href=\"#{id}\">{id}</a>");
    let several = groups.iter().any(|group| group.statement != groups[0].statement);
    if !several {
        let _ = write!(text, " {}", escape(&groups[0].statement));
    }
    for group in groups {
        let statement = if several { escape(&group.statement) } else { String::new() };
        let _ = write!(
            text,
            "<div class=\"group\">{} {} <span>{statement}</span></div>",
            chip(group.standing.word()),
            targets(&group.targets, names)
        );
    }
    text + "</div>"
}
