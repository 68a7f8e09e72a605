//! Runs the suite against the reference implementation. The arguments are those of libtest; the environment
//! variable `DEFECT` names a way to be wrong.

use std::process::ExitCode;

use nlconform::inprocess;
use nlconform::spec::Profile;
use nlconform_reference::{Defect, Netlink};

fn main() -> ExitCode {
    let wanted = std::env::var("DEFECT").ok();
    let defect = match &wanted {
        None => None,
        Some(name) => match Defect::ALL.iter().find(|defect| format!("{defect:?}") == *name) {
            Some(defect) => Some(*defect),
            None => {
                eprintln!("there is no defect {name}; try one of {:?}", Defect::ALL);
                return ExitCode::from(2);
            }
        },
    };
    inprocess::main(move || Box::new(Netlink::new(defect)), Profile::newest())
}
