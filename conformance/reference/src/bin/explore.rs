//! Random sequences of calls, made on the reference implementation, which is the model, and on this system or
//! what an adapter gives access to. `cargo xtask explore` runs it in guests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use nlconform::event::Identity;
use nlconform::explore::command::{ExploreArgs, Explored, Form, TargetArgs, explore, observe_each};
use nlconform::stdout;
use nlconform_reference::{Defect, Netlink, Setup};

/// A third of the explorer's instructions were in the allocator of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(name = "explore", about = "Where does this netlink implementation differ from the reference?")]
struct Args {
    #[command(flatten)]
    explore: ExploreArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Give the reference implementation this defect
    #[arg(long, value_name = "NAME", value_parser = Defect::named)]
    defect: Option<Defect>,
    /// Explore an intact reference implementation
    #[arg(long, conflicts_with = "adapter")]
    itself: bool,
    /// Write a line of JSON for each sequence and each difference
    #[arg(long)]
    json: bool,
    /// Only show what the target makes of each sequence of a file
    #[arg(long, value_name = "FILE", hide = true)]
    each: Option<PathBuf>,
}

/// The model of a target.
fn model(defect: Option<Defect>, of: &Identity) -> Explored {
    let setup = Setup { defect, ..Setup::of(of) };
    Explored::fresh("the reference", move || Box::new(Netlink::with(setup)))
}

fn main() -> ExitCode {
    stdout::end_where_unwritable("explore");
    let args = Args::parse();
    let target = match args.itself {
        true => Ok(Explored::fresh("an intact reference", || Box::new(Netlink::new(None)))),
        false => args.target.open(),
    };
    let form = if args.json { Form::Json } else { Form::Text };
    let ended = target.and_then(|target| match &args.each {
        Some(file) => observe_each(file, target).map(|()| true),
        None => explore(&args.explore, form, model(args.defect, &target.identity), target),
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("explore: {error}");
            ExitCode::from(2)
        }
    }
}
