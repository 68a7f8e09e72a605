//! `nlconform`: the suite on the system that it runs on, or on what an adapter reaches.

mod list;
mod output;
mod run;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "nlconform",
    version,
    about = "Does this netlink implementation behave as Linux netlink must?"
)]
enum Cli {
    /// Run the cases that the target can run
    Run(run::RunArgs),
    /// List the cases, with the requirements that they check
    List(list::ListArgs),
    /// Tell all about a requirement
    Explain(list::ExplainArgs),
}

fn main() -> ExitCode {
    let ended = match Cli::parse() {
        Cli::Run(args) => run::run(&args),
        Cli::List(args) => list::list(&args),
        Cli::Explain(args) => list::explain(&args),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("nlconform: {error}");
            ExitCode::from(2)
        }
    }
}
