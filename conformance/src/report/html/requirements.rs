//! Each requirement, folded by topic, with its outcome on each target.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Section;
use super::markup::{chip, details, escape, plural, targets};
use crate::report::matrix::{Row, Standing};
use crate::spec::{self, Profile};

/// Targets on which a requirement has the same outcome and the same text.
pub struct Group {
    /// Its outcome there.
    pub standing: Standing,
    /// Its text there, with the values of the version.
    pub statement: String,
    /// Numbers of the targets.
    pub targets: Vec<usize>,
}

/// The groups of a requirement, worst first.
pub fn groups(row: &Row<'_>, profiles: &[Profile]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (target, (cell, profile)) in row.cells.iter().zip(profiles).enumerate() {
        let statement = row.requirement.statement(profile.version);
        let same = |group: &&mut Group| group.standing == cell.standing && group.statement == statement;
        match groups.iter_mut().find(same) {
            Some(group) => group.targets.push(target),
            None => groups.push(Group { standing: cell.standing, statement, targets: vec![target] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.standing));
    groups
}

/// All of them.
pub fn by_topic(rows: &[Row<'_>], profiles: &[Profile], names: &[&str]) -> Section {
    let mut body = String::new();
    let mut rest = rows;
    for topic in spec::topics() {
        let is_of_topic = |row: &&Row<'_>| topic.requirements.iter().any(|one| one.id == row.requirement.id);
        let (of_topic, others) = rest.split_at(rest.iter().take_while(is_of_topic).count());
        rest = others;
        // Topics on the other side of the bus have no row.
        if of_topic.is_empty() {
            continue;
        }
        let mut counts: BTreeMap<std::cmp::Reverse<Standing>, usize> = BTreeMap::new();
        let mut entries = String::new();
        for row in of_topic {
            let worst = row.cells.iter().map(|cell| cell.standing).max().unwrap_or(Standing::Open);
            *counts.entry(std::cmp::Reverse(worst)).or_default() += 1;
            entries.push_str(&entry(row, &groups(row, profiles), names));
        }
        let counts: Vec<_> =
            counts.iter().map(|(standing, count)| format!("{} {}", count, chip(standing.0.word()))).collect();
        let summary = format!("{} <span class=\"counts\">{}</span>", escape(&topic.title), counts.join(" "));
        body.push_str(&details("topic", false, &summary, &entries));
    }
    Section { id: "requirements", title: "Requirements", count: rows.len(), body }
}

fn entry(row: &Row<'_>, groups: &[Group], names: &[&str]) -> String {
    let requirement = row.requirement;
    let id = &requirement.id;
    let one_text = groups.iter().all(|group| group.statement == groups[0].statement);
    let statement = if one_text && !groups.is_empty() {
        groups[0].statement.clone()
    } else {
        requirement.named_statement()
    };
    let mut text = format!(
        "<div class=\"row requirement\" id=\"{id}\"><a class=\"id\" href=\"#{id}\">{id}</a> \
         <span class=\"level\">{}</span> {}",
        requirement.level.word(),
        escape(&statement)
    );
    for (word, note) in
        [("Looks unintended", &requirement.unintended), ("Not checked", &requirement.unchecked)]
    {
        if let Some(note) = note {
            let _ = write!(text, "<div class=\"note\">{word}: {}</div>", escape(note));
        }
    }
    for group in groups {
        let on = if names.len() > 1 { targets(&group.targets, names) } else { String::new() };
        let _ = write!(text, "<div class=\"group\">{} {on}</div>", chip(group.standing.word()));
    }
    let mut cases: Vec<_> =
        row.cells.iter().flat_map(|cell| &cell.reports).map(|report| &report.case).collect();
    cases.sort();
    cases.dedup();
    let list: String = cases.iter().map(|case| format!("<li><code>{}</code></li>", escape(case))).collect();
    let summary = format!("{}; {}", plural(cases.len(), "case"), escape(&requirement.sources.join("; ")));
    text + &details("cases", false, &summary, &format!("<ul>{list}</ul>")) + "</div>"
}
