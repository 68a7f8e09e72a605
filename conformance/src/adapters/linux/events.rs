//! Trace events, through tracefs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::port::provider::Unable;

/// The directory of trace instances.
pub const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// A trace instance, which is removed when this is dropped.
struct Buffer(PathBuf);

impl Buffer {
    fn new() -> io::Result<Buffer> {
        let path = Path::new(INSTANCES).join(format!("nlconform-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Buffer(path))
    }

    fn enable(&self, event: &str, on: bool) -> io::Result<()> {
        let file = self.0.join("events").join(event.replace(':', "/")).join("enable");
        fs::write(file, if on { "1" } else { "0" })
    }

    fn lines(&self) -> io::Result<Vec<String>> {
        let text = fs::read_to_string(self.0.join("trace"))?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `step` and returns the lines of the events meanwhile.
pub fn trace(event: &str, step: &mut dyn FnMut()) -> Result<Vec<String>, Unable> {
    let failed = |error: io::Error| Unable::Failed(format!("tracing {event}: {error}"));
    let buffer = Buffer::new().map_err(failed)?;
    buffer.enable(event, true).map_err(failed)?;
    step();
    buffer.enable(event, false).map_err(failed)?;
    buffer.lines().map_err(failed)
}
