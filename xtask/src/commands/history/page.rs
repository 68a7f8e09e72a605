//! docs/history.md: which case catches which of the bugs that Linux once had.

use std::fmt::Write;

use nlconform::event::Verdict;
use nlconform::report::word;

use super::{Bug, Found};

/// Cases that are named for one bug; the rest is counted.
const NAMED: usize = 2;

/// The page.
pub fn render(kernel: &str, bugs: &[&Bug], found: &[Found]) -> String {
    let caught = found.iter().filter(|found| !found.by.is_empty()).count();
    let mut page = format!(
        "# Bugs that Linux once had\n\n\
         Made by `cargo xtask history` on {kernel}. Each bug below was fixed in Linux long or not so long ago. \
         Its fix is undone by a patch of a few lines ([conformance/history](../conformance/history)), or, where \
         today's code has no place for the old bug, by its nearest equivalent. One kernel has all of them; \
         `nlbug=NAME` on its command line switches one on. The suite passes on it when none is. Some show only \
         on a variant of it, such as `debug`, which watches itself.\n\n\
         Of {} bugs {caught} are caught by a case.\n\n\
         | bug | fixed by | in | what users saw | put back as | caught by |\n| --- | --- | --- | --- | --- | --- |\n",
        bugs.len()
    );
    for (bug, found) in bugs.iter().zip(found) {
        let commit = bug.commit.as_ref().map(|commit| format!(" ({commit})")).unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {}{commit} | {}, {} | {} | {} | {} |",
            bug.name,
            cell(&bug.fix),
            bug.version,
            bug.year,
            cell(&bug.saw),
            cell(&bug.back),
            cell(&catchers(bug, found))
        );
    }
    page
}

fn catchers(bug: &Bug, found: &Found) -> String {
    let named = found.by.iter().take(NAMED).map(|report| match &report.verdict {
        Verdict::Fail(mismatch) => format!("`{}` [{}]", report.case, mismatch.requirement),
        verdict => format!("`{}` ({})", report.case, word(verdict)),
    });
    let mut named: Vec<_> = named.collect();
    if found.by.len() > NAMED {
        named.push(format!("and {} more", found.by.len() - NAMED));
    }
    let on = bug.variant.as_ref().map(|variant| format!(" on the variant `{variant}`")).unwrap_or_default();
    match (named.is_empty(), &bug.unseen) {
        (false, _) => named.join(", ") + &on,
        (true, Some(reason)) => format!("no case: {reason}"),
        (true, None) => "**no case**".to_owned(),
    }
}

/// What would end a cell does not.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
