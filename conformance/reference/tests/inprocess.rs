//! The reference implementation passes each case that it offers what is needed for.

use std::process::ExitCode;

use nlconform::inprocess;
use nlconform::spec::Profile;
use nlconform_reference::Netlink;

fn main() -> ExitCode {
    inprocess::main(|| Box::new(Netlink::new(None)), Profile::newest())
}
