//! QEMU's own channel (QMP): it reports at once if QEMU pauses a guest that it cannot run any further.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::lines::Lines;

/// States in which a guest does not continue by itself (qapi/run-state.json). A debugger or a monitor
/// pauses a guest, too, and continues it.
const DEAD: [&str; 3] = ["internal-error", "io-error", "guest-panicked"];

/// Time for an answer of the monitor, which a busy host may keep waiting.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(2);

/// The lab's end of the channel, which a thread listens to.
#[derive(Debug)]
pub struct Qmp {
    socket: UnixStream,
    paused: Arc<OnceLock<String>>,
    texts: mpsc::Receiver<String>,
}

/// A line from QEMU, as far as it is relevant.
#[derive(Debug, Deserialize)]
struct Message {
    event: Option<String>,
    #[serde(rename = "return")]
    answer: Option<Answer>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    /// Of the monitor.
    Text(String),
    /// Of a query.
    Status { status: Option<String> },
}

impl Qmp {
    /// Listens to QEMU until it is gone. If it pauses the guest for good, `guest`, the socket of
    /// the guest's channel, is shut down, so that nothing waits for the guest any longer.
    pub fn listen(socket: UnixStream, guest: UnixStream) -> Result<Qmp> {
        let (sender, texts) = mpsc::channel();
        let mut qmp = Qmp { socket: socket.try_clone()?, paused: Arc::default(), texts };
        qmp.execute("qmp_capabilities")?;
        let paused = Arc::clone(&qmp.paused);
        let mut lines = Lines::new(socket);
        thread::spawn(move || {
            while let Ok(line) = lines.next(None) {
                let Ok(message) = serde_json::from_slice::<Message>(&line) else { continue };
                if message.event.as_deref() == Some("STOP") {
                    let _ = execute(lines.socket(), "query-status");
                }
                match message.answer {
                    Some(Answer::Status { status: Some(status) }) if DEAD.contains(&status.as_str()) => {
                        let _ = paused.set(status);
                        let _ = guest.shutdown(std::net::Shutdown::Both);
                    }
                    Some(Answer::Text(text)) => drop(sender.send(text)),
                    _ => {}
                }
            }
        });
        Ok(qmp)
    }

    /// Sends a command without arguments; its answer is not waited for.
    pub fn execute(&mut self, command: &str) -> Result<()> {
        execute(&mut self.socket, command)
    }

    /// What QEMU's monitor answers to this command; nothing if it does not in a moment.
    pub fn monitor(&mut self, command: &str) -> Option<String> {
        let arguments = serde_json::json!({ "command-line": command });
        let line = serde_json::json!({ "execute": "human-monitor-command", "arguments": arguments });
        self.socket.write_all(format!("{line}\n").as_bytes()).ok()?;
        self.texts.recv_timeout(MONITOR_TIMEOUT).ok()
    }

    /// The state in which QEMU has paused the guest for good, if it has.
    pub fn paused(&self) -> Option<&str> {
        self.paused.get().map(String::as_str)
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // The thread has the socket, too, and would wait forever for a program that stays.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn execute(socket: &mut UnixStream, command: &str) -> Result<()> {
    Ok(socket.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes())?)
}
