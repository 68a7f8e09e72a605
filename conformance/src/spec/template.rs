//! Statements with blanks for their values: `{errno}`, and `{carried?carries|does not carry}`.

/// A blank of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blank<'a> {
    /// The value that it stands for.
    pub name: &'a str,
    /// The words for true and for false, if it has some.
    pub words: Option<(&'a str, &'a str)>,
}

impl<'a> Blank<'a> {
    fn read(text: &'a str) -> Self {
        let Some((name, words)) = text.split_once('?') else { return Blank { name: text, words: None } };
        Blank { name, words: words.split_once('|') }
    }

    /// What stands there for this value.
    pub fn word(&self, value: String) -> String {
        match (self.words, value.as_str()) {
            (Some((yes, _)), "true") => yes.to_owned(),
            (Some((_, no)), "false") => no.to_owned(),
            _ => value,
        }
    }
}

/// The statement, with each blank replaced.
pub fn filled(statement: &str, replacement: impl Fn(Blank<'_>) -> String) -> String {
    let mut pieces = statement.split('{');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('}') {
            Some((blank, rest)) => text += &(replacement(Blank::read(blank)) + rest),
            None => text += &format!("{{{piece}"),
        }
    }
    text
}

/// The blanks of a statement, in order.
pub fn blanks(statement: &str) -> Vec<Blank<'_>> {
    let after_braces = statement.split('{').skip(1);
    after_braces.filter_map(|piece| Some(Blank::read(piece.split_once('}')?.0))).collect()
}
