//! `nlconform list` and `nlconform explain`.

use std::fmt::Write;

use clap::Args;
use nlconform::cases::{self, Case};
use nlconform::event::Role;
use nlconform::selection::Selection;
use nlconform::spec::{self, Profile};

use crate::output::show;

/// Arguments of `nlconform list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// List the scenarios, which judge client libraries and are run by `cargo xtask client`
    #[arg(long)]
    client: bool,
}

/// Arguments of `nlconform explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Such as GENL-REG-007
    #[arg(value_name = "REQUIREMENT")]
    id: String,
    /// The profile whose values are shown
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::newest())]
    profile: Profile,
}

/// Prints a line for each case.
pub fn list(args: &ListArgs) -> Result<bool, String> {
    let cases = args.selection.cases(if args.client { Role::Client } else { Role::Target })?;
    let line = |case: &&Case| format!("{}  {}\n", case.name, case.requirements.join(" "));
    show(&cases.iter().map(line).collect::<String>())
}

/// Prints a requirement.
pub fn explain(args: &ExplainArgs) -> Result<bool, String> {
    let requirement = spec::find(&args.id)
        .ok_or_else(|| format!("unknown requirement {}; `nlconform list` shows those with cases", args.id))?;
    let mut text = String::new();
    let _ = writeln!(text, "{}, {}", requirement.id, requirement.level.word());
    let _ = writeln!(text, "{}", requirement.statement(args.profile.version));
    if !requirement.holds_for(args.profile.version) {
        let _ = writeln!(text, "It does not hold for {}.", args.profile);
    }
    for (name, values) in requirement.value_texts() {
        let _ = writeln!(text, "{name}: {values}");
    }
    let _ = writeln!(text, "source: {}", requirement.sources.join("; "));
    if !requirement.needs.is_empty() {
        let _ = writeln!(text, "the library needs: {}", requirement.needs.join(", "));
    }
    for (word, why) in
        [("looks unintended", &requirement.unintended), ("not checked", &requirement.unchecked)]
    {
        if let Some(why) = why {
            let _ = writeln!(text, "{word}: {why}");
        }
    }
    for case in cases::of(requirement.role())
        .iter()
        .filter(|case| case.requirements.contains(&requirement.id.as_str()))
    {
        let _ = writeln!(text, "case: {}", case.name);
    }
    show(&text)
}
