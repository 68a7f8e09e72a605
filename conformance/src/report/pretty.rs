//! A verdict as text, for readers who have never seen the case.

use std::fmt::Write;

use crate::event::{Exchange, Report, Verdict};

/// What went wrong in a case that neither passed nor was skipped.
pub fn explain(report: &Report) -> String {
    let mut text = String::new();
    match &report.verdict {
        Verdict::Fail(mismatch) => {
            let _ = writeln!(text, "{}: {}", mismatch.requirement, mismatch.statement);
            let _ = writeln!(text, "{}", mismatch.what);
            let _ = writeln!(text, "  expected  {}", mismatch.expected);
            let _ = writeln!(text, "  got       {}", mismatch.got);
        }
        Verdict::Broken { reason } => {
            let _ = writeln!(text, "broken: its preparation failed, so nothing was checked\n{reason}");
        }
        Verdict::Crash { reason } => {
            let _ = writeln!(text, "crash: {reason}");
        }
        Verdict::Timeout { after_ms } => {
            let _ = writeln!(text, "timeout: no verdict after {after_ms} ms");
        }
        Verdict::Pass | Verdict::Skip { .. } => {}
    }
    for stated in &report.requirements {
        let _ = writeln!(text, "{}: {}", stated.requirement, stated.statement);
    }
    if let Some(url) = &report.known {
        let _ = writeln!(text, "known: {url}");
    }
    if !report.exchange.is_empty() {
        text.push_str("exchange, in order:\n");
        text.push_str(&exchange(&report.exchange));
    }
    if !report.console.is_empty() {
        text.push_str("console\n");
        for line in report.console.lines() {
            let _ = writeln!(text, "  | {line}");
        }
    }
    text
}

/// The steps of an exchange, numbered.
pub fn exchange(steps: &[Exchange]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        explain_step(number + 1, step, &mut text);
    }
    text
}

fn explain_step(number: usize, step: &Exchange, text: &mut String) {
    let _ = writeln!(text, "  {number:>2}. {}: {}", step.action, step.outcome);
    for line in &step.decoded {
        let _ = writeln!(text, "        {line}");
    }
    rows_of(&step.bytes, text);
}

/// Bytes in rows of 16. What repeats the row before is shown as `*`, but for the last row, as hexdump has it.
fn rows_of(digits: &str, text: &mut String) {
    let digits: Vec<u8> = digits.bytes().filter(|digit| *digit != b' ').collect();
    let rows: Vec<&[u8]> = digits.chunks(32).collect();
    let repeats = |row: usize| row > 0 && row + 1 < rows.len() && rows[row] == rows[row - 1];
    for (number, row) in rows.iter().enumerate() {
        if repeats(number) {
            if !repeats(number - 1) {
                text.push_str("        *\n");
            }
            continue;
        }
        let pairs: Vec<_> = row.chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
        let _ = writeln!(text, "        {:04x}  {}", number * 16, pairs.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_apart_in_rows_of_sixteen() {
        let bytes = "14000000 ff030500 01000000 00000000 01010000".into();
        let step = Exchange { action: "send".into(), outcome: "ok".into(), bytes, decoded: vec![] };
        let mut text = String::new();
        explain_step(1, &step, &mut text);
        let rows =
            "        0000  14 00 00 00 ff 03 05 00 01 00 00 00 00 00 00 00\n        0010  01 01 00 00\n";
        assert_eq!(text, format!("   1. send: ok\n{rows}"));
    }

    #[test]
    fn rows_that_repeat_are_a_star() {
        let of = |rows: &[&str]| {
            let mut text = String::new();
            rows_of(&rows.iter().map(|row| row.repeat(16)).collect::<String>(), &mut text);
            let first = |line: &str| line.trim().chars().take(6).collect::<String>();
            text.lines().map(first).collect::<Vec<_>>()
        };
        assert_eq!(of(&["00", "00", "00", "00", "01"]), ["0000  ", "*", "0040  "]);
        assert_eq!(of(&["00", "00", "00"]), ["0000  ", "*", "0020  "]);
        assert_eq!(of(&["00", "00"]), ["0000  ", "0010  "]);
    }
}
