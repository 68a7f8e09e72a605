//! `nlconform explore`.

use clap::Args;
use nlconform::explore::command::{ExploreArgs, Explored, Form, explore};

use crate::descendants::Descendants;

/// Arguments of `nlconform explore`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    explore: ExploreArgs,
    /// What is compared with this system: an adapter, a command that speaks the protocol of docs/adapter.md
    #[arg(long, value_name = "COMMAND")]
    adapter: String,
}

/// Makes random sequences of calls on this system and on the adapter's implementation; whether they never
/// differ.
pub fn run(args: &Arguments) -> Result<bool, String> {
    let descendants = Descendants::adopt()?;
    let adapter = Explored::adapter(&args.adapter)?;
    let well = explore(&args.explore, Form::Text, Explored::system(false), adapter)?;
    descendants.end()?;
    Ok(well)
}
