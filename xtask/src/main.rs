//! `cargo xtask`: the lab's command line.

use std::process::{ExitCode, exit};
use std::{panic, thread};

use anyhow::Result;
use clap::Parser;
use nlconform::{spec, stdout};
use xtask::commands::{self, Ended};
use xtask::host::command::TOO_MANY;
use xtask::host::progress::say;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds kernels, boots them, and runs the cases inside")]
enum Cli {
    /// Run the suite
    Test(commands::test::TestArgs),
    /// Run the scenarios, which judge a client library
    Client(commands::client::ClientArgs),
    /// Write the page on client libraries
    ClientsPage(commands::clients_page::ClientsPageArgs),
    /// Show what changed between two runs, or differs between two kernels or architectures
    Diff(commands::diff::DiffArgs),
    /// Run a program in a guest
    Run(commands::run::RunArgs),
    /// Open a shell in a guest
    Shell(commands::shell::ShellArgs),
    /// Build kernels and their probes, and say where they are
    Build(commands::build::BuildArgs),
    /// Show what the cache holds, or remove some of it
    Cache(commands::cache::CacheArgs),
    /// Say what is fine and what is missing on this host
    Doctor(commands::doctor::DoctorArgs),
    /// Write the suite as one directory, which runs in a lab without Rust, this project or the network
    Export(commands::export::ExportArgs),
    /// Write the page on how another implementation differs
    Compat(commands::compat::CompatArgs),
    /// Write the page on kernels as distributions ship them
    ShippedPage(commands::shipped_page::ShippedPageArgs),
    /// Make one report of the results of several runs
    Report(commands::report::ReportArgs),
    /// Write the requirement book
    Book(commands::book::BookArgs),
    /// Put bugs back that Linux once had, and show which cases catch them
    History(commands::history::HistoryArgs),
    /// Make random sequences of calls, and show where a kernel differs from the reference implementation
    Explore(commands::explore::ExploreCommand),
    /// Show which lines and branches of the kernel's code the suite reaches
    Coverage(commands::coverage::CoverageArgs),
    /// Change the kernel's code in one place after the other, and show which changes no case sees
    Mutants(commands::mutants::MutantsArgs),
    /// Begin a new requirement and its case
    New(commands::new::NewArgs),
    /// Show where the time of a run goes
    Bench(commands::bench::BenchArgs),
    /// Write the Rust side of the probe's header, or check that it is current
    Abi(commands::abi::AbiArgs),
    /// Run the kernel's checkpatch.pl on the probe
    Checkpatch,
    /// Run the project's own tests
    Check,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    say_why_there_is_no_thread();
    stdout::end_where_unwritable("error");
    let ended = spec::check().map_err(anyhow::Error::msg).and_then(|()| obey(cli));

    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::from(1),
        // A shell's statuses fit into a byte.
        Ok(Ended::Status(status)) => ExitCode::from(status as u8),
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// A thread that cannot be started is a panic of the standard library: said in one line. What runs guests goes on to
/// write its results.
fn say_why_there_is_no_thread() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>();
        if !text.is_some_and(|text| text.starts_with("failed to spawn thread")) {
            return usual(info);
        }
        say(format_args!("error: cannot start a thread: {TOO_MANY}"));
        if thread::current().name() == Some("main") {
            exit(2);
        }
    }));
}

fn obey(cli: Cli) -> Result<Ended> {
    match cli {
        Cli::Test(args) => commands::test::test(args),
        Cli::Client(args) => commands::client::client(args),
        Cli::ClientsPage(args) => commands::clients_page::clients_page(&args),
        Cli::Diff(args) => commands::diff::compare(&args),
        Cli::Run(args) => commands::run::run_program(&args),
        Cli::Shell(args) => commands::shell::shell(&args),
        Cli::Build(args) => commands::build::build(&args),
        Cli::Cache(args) => commands::cache::cache(&args),
        Cli::Doctor(args) => commands::doctor::report(&args),
        Cli::Export(args) => commands::export::export(&args),
        Cli::Compat(args) => commands::compat::compat(&args),
        Cli::ShippedPage(args) => commands::shipped_page::shipped_page(&args),
        Cli::Report(args) => commands::report::report(&args),
        Cli::Book(args) => commands::book::book(&args),
        Cli::New(args) => commands::new::new(&args),
        Cli::Explore(args) => commands::explore::explore(&args),
        Cli::Coverage(args) => commands::coverage::coverage(&args),
        Cli::Mutants(args) => commands::mutants::mutants(&args),
        Cli::History(args) => commands::history::history(&args),
        Cli::Bench(args) => commands::bench::bench(&args),
        Cli::Abi(args) => commands::abi::abi(&args),
        Cli::Checkpatch => commands::checkpatch::checkpatch(),
        Cli::Check => commands::check::check(),
    }
}
