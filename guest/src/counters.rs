//! The coverage counters of a kernel that was built with gcov.

use std::fs;
use std::path::Path;

use anyhow::Result;
use nlconform::event::Event;
use nlconform::wire::explain::hex;

use crate::channel::Channel;

/// Below it, each object file's counters have the path of that file on the machine that built it.
const ROOT: &str = "/sys/kernel/debug/gcov";

/// Sends them all; a kernel without gcov has none.
pub fn send(channel: &mut Channel) -> Result<()> {
    send_below(Path::new(ROOT), channel)
}

fn send_below(dir: &Path, channel: &mut Channel) -> Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            send_below(&path, channel)?;
        } else if path.extension().is_some_and(|extension| extension == "gcda") {
            let file = Path::new("/").join(path.strip_prefix(ROOT)?).display().to_string();
            channel.say(&Event::Counters { file, bytes: hex(&fs::read(&path)?) })?;
        }
    }
    Ok(())
}
