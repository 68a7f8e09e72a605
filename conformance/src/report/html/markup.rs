//! Small pieces of HTML.

/// Text as HTML has it, in elements and attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with its noun.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A verdict or standing as a coloured word.
pub fn chip(word: &str) -> String {
    format!("<span class=\"chip {word}\">{word}</span>")
}

/// Targets by their numbers: each by its name if they are few.
pub fn targets(meant: &[usize], names: &[&str]) -> String {
    const FEW: usize = 4;
    let list = || meant.iter().map(|number| escape(names[*number])).collect::<Vec<_>>().join(", ");
    match meant.len() {
        count if count == names.len() && count > 1 => format!("all {count} targets"),
        count if count <= FEW => list(),
        count => format!(
            "<details class=\"names\"><summary>{count} of {} targets</summary>{}</details>",
            names.len(),
            list()
        ),
    }
}

/// A part that opens on a click; `summary` is HTML.
pub fn details(class: &str, open: bool, summary: &str, body: &str) -> String {
    let open = if open { " open" } else { "" };
    format!("<details class=\"{class}\"{open}><summary>{summary}</summary>{body}</details>")
}
