//! Runs the suite against the reference implementation. The arguments are those of libtest; the environment
//! variable `DEFECT` names a way to be wrong, `PROFILE` the Linux that it behaves as and is judged as.

use std::env;
use std::process::ExitCode;

use nlconform::inprocess;
use nlconform::spec::Profile;
use nlconform_reference::{Defect, Netlink, Setup};

fn main() -> ExitCode {
    let defect = env::var("DEFECT").ok().map(|name| Defect::named(&name)).transpose();
    let profile = env::var("PROFILE").map_or_else(|_| Ok(Profile::newest()), |name| name.parse());
    match (defect, profile) {
        (Ok(defect), Ok(profile)) => {
            let setup = Setup { defect, profile, ..Setup::default() };
            inprocess::main(move || Box::new(Netlink::with(setup)), profile)
        }
        (Err(why), _) | (_, Err(why)) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}
