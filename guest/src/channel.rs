//! The channel to the host: JSON lines over a virtio-serial port.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::libc;
use nlconform::event::Event;

/// The name of the ports' driver in /proc/devices once it has found their device.
const DRIVER: &str = "virtio-portsdev";
/// Time limit for the port to appear.
const PORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The port, open for reading and writing.
pub struct Channel {
    port: BufReader<File>,
    queued: Vec<u8>,
}

impl Channel {
    /// Finds the port and opens it.
    pub fn open() -> Result<Channel> {
        let device = find()?;
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&device)
            .with_context(|| format!("opening the channel {}", device.display()))?;
        Ok(Channel { port: BufReader::new(port), queued: Vec::new() })
    }

    /// Writes one event, after the queued ones.
    pub fn say(&mut self, event: &Event) -> Result<()> {
        self.queue(event)?;
        self.flush()
    }

    /// Queues an event, to be written with the next one.
    pub fn queue(&mut self, event: &Event) -> Result<()> {
        serde_json::to_writer(&mut self.queued, event)?;
        self.queued.push(b'\n');
        Ok(())
    }

    /// Writes what is queued.
    pub fn flush(&mut self) -> Result<()> {
        let queued = std::mem::take(&mut self.queued);
        self.write(&queued)
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.port.get_mut().write_all(bytes).context("writing to the channel")
    }

    /// Reads one line.
    pub fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.port.read_line(&mut line)? == 0 {
            bail!("the host has closed the channel");
        }
        Ok(line)
    }

    /// The port for another writer of whole lines.
    pub fn share(&self) -> Result<File> {
        self.port.get_ref().try_clone().context("sharing the channel")
    }

    /// Waits until the host has read everything that was written.
    pub fn drain(&mut self) {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open. The port is not a terminal on every kernel; an error is then
        // harmless, because a write returns when the host has the bytes.
        unsafe { libc::fsync(self.port.get_ref().as_raw_fd()) };
    }
}

/// The driver exists from the start; the port appears on a message from the host, which may come after
/// the init has started. There is one port: the host gives the machine no other, and without sysfs
/// a port's name is unknown.
fn find() -> Result<PathBuf> {
    if !fs::read_to_string("/proc/devices").context("reading /proc/devices")?.contains(DRIVER) {
        bail!(
            "no virtio-serial: the kernel needs CONFIG_VIRTIO_CONSOLE and CONFIG_VIRTIO_PCI, built in or as modules \
             that the lab is given (--kernel-root DIR, or --modules DIR with --kernel-image)"
        );
    }
    let deadline = Instant::now() + PORT_TIMEOUT;
    while Instant::now() < deadline {
        for device in fs::read_dir("/dev")? {
            let device = device?;
            if device.file_name().as_encoded_bytes().starts_with(b"vport") {
                return Ok(device.path());
            }
        }
        sleep(Duration::from_millis(1));
    }
    bail!("no virtio-serial port appears in /dev: does the kernel have CONFIG_DEVTMPFS?")
}
