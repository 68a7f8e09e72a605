//! `nlconform`: the suite on the system that it runs on, or through an adapter.

mod descendants;
mod explore;
mod growing;
mod init;
mod interrupt;
mod known;
mod list;
mod output;
mod report;
mod run;
mod serve;
mod steady;

use std::process::ExitCode;

use clap::Parser;
use nlconform::{spec, stdout};

#[derive(Parser)]
#[command(
    name = "nlconform",
    version,
    about = "Does this netlink implementation behave as Linux netlink must?"
)]
enum Cli {
    /// Run the cases that the target can run
    Run(run::RunArgs),
    /// Make random sequences of calls, and show where an adapter's implementation differs from this system
    Explore(explore::Arguments),
    /// List the cases, with the requirements that they check
    List(list::ListArgs),
    /// Write a report on runs that are over, in any format
    Report(report::ReportArgs),
    /// Write, or bring up to date, a list of known differences
    Known(known::KnownArgs),
    /// Run the cases that a driver requests: the request on standard input, events on standard output
    Serve,
    /// Explain a requirement
    Explain(list::ExplainArgs),
}

fn main() -> ExitCode {
    stdout::end_where_unwritable("nlconform");
    if !init::is_init() {
        return work(Cli::parse());
    }
    let status = match Cli::try_parse_from(init::arguments()) {
        Ok(cli) => work(cli),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(2)
        }
    };
    init::end();
    status
}

fn work(cli: Cli) -> ExitCode {
    let ended = spec::check().and_then(|()| match cli {
        Cli::Run(args) => run::run(&args),
        Cli::Explore(args) => explore::run(&args),
        Cli::List(args) => list::list(&args),
        Cli::Report(args) => report::report(&args),
        Cli::Known(args) => known::known(&args),
        Cli::Serve => serve::serve(),
        Cli::Explain(args) => list::explain(&args),
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("nlconform: {error}");
            ExitCode::from(2)
        }
    }
}
