//! `nlconform list` and `nlconform explain`.

use clap::Args;
use nlconform::cases;
use nlconform::event::Role;
use nlconform::selection::Selection;
use nlconform::spec::{self, Profile};

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
    for case in args.selection.cases(if args.client { Role::Client } else { Role::Target })? {
        println!("{}  {}", case.name, case.requirements.join(" "));
    }
    Ok(true)
}

/// Prints a requirement.
pub fn explain(args: &ExplainArgs) -> Result<bool, String> {
    let requirement = spec::find(&args.id)
        .ok_or_else(|| format!("unknown requirement {}; `nlconform list` shows those with cases", args.id))?;
    println!("{}, {}", requirement.id, requirement.level.word());
    println!("{}", requirement.statement(args.profile.version));
    if !requirement.holds_for(args.profile.version) {
        println!("It does not hold for {}.", args.profile);
    }
    for (name, values) in requirement.value_texts() {
        println!("{name}: {values}");
    }
    println!("source: {}", requirement.sources.join("; "));
    if !requirement.needs.is_empty() {
        println!("the library needs: {}", requirement.needs.join(", "));
    }
    for (word, text) in
        [("looks unintended", &requirement.unintended), ("not checked", &requirement.unchecked)]
    {
        if let Some(text) = text {
            println!("{word}: {text}");
        }
    }
    for case in cases::of(requirement.role())
        .iter()
        .filter(|case| case.requirements.contains(&requirement.id.as_str()))
    {
        println!("case: {}", case.name);
    }
    Ok(true)
}
