//! Process events: `struct proc_event` and requests for it (include/uapi/linux/cn_proc.h).

use super::connector::CnMsg;
use super::{u32_at, u64_at};

/// Group and id of the process events (`CN_IDX_PROC`, `CN_VAL_PROC`).
pub const CN_IDX_PROC: u32 = 1;
/// Bytes of `struct proc_event`.
pub const PROC_EVENT: usize = 40;

/// `PROC_CN_MCAST_LISTEN`.
pub const PROC_CN_MCAST_LISTEN: u32 = 1;
/// `PROC_CN_MCAST_IGNORE`.
pub const PROC_CN_MCAST_IGNORE: u32 = 2;

/// `PROC_EVENT_NONE`: an acknowledgement.
pub const PROC_EVENT_NONE: u32 = 0;
/// `PROC_EVENT_FORK`.
pub const PROC_EVENT_FORK: u32 = 0x1;
/// `PROC_EVENT_EXEC`.
pub const PROC_EVENT_EXEC: u32 = 0x2;
/// `PROC_EVENT_UID`.
pub const PROC_EVENT_UID: u32 = 0x4;
/// `PROC_EVENT_GID`.
pub const PROC_EVENT_GID: u32 = 0x40;
/// `PROC_EVENT_SID`.
pub const PROC_EVENT_SID: u32 = 0x80;
/// `PROC_EVENT_PTRACE`.
pub const PROC_EVENT_PTRACE: u32 = 0x100;
/// `PROC_EVENT_COMM`.
pub const PROC_EVENT_COMM: u32 = 0x200;
/// `PROC_EVENT_NONZERO_EXIT`: in a mask only.
pub const PROC_EVENT_NONZERO_EXIT: u32 = 0x2000_0000;
/// `PROC_EVENT_COREDUMP`.
pub const PROC_EVENT_COREDUMP: u32 = 0x4000_0000;
/// `PROC_EVENT_EXIT`.
pub const PROC_EVENT_EXIT: u32 = 0x8000_0000;

/// Every bit that a mask can have (`PROC_EVENT_ALL`).
pub const PROC_EVENT_ALL: u32 = PROC_EVENT_FORK
    | PROC_EVENT_EXEC
    | PROC_EVENT_UID
    | PROC_EVENT_GID
    | PROC_EVENT_SID
    | PROC_EVENT_PTRACE
    | PROC_EVENT_COMM
    | PROC_EVENT_NONZERO_EXIT
    | PROC_EVENT_COREDUMP
    | PROC_EVENT_EXIT;

/// A request to start or stop listening: an operation alone (`enum proc_cn_mcast_op`).
pub fn control(op: u32) -> CnMsg {
    CnMsg { data: op.to_ne_bytes().to_vec(), ..CnMsg::to(CN_IDX_PROC, CN_IDX_PROC) }
}

/// The same with a mask of the wanted events (`struct proc_input`).
pub fn control_with_mask(op: u32, mask: u32) -> CnMsg {
    CnMsg { data: [op.to_ne_bytes(), mask.to_ne_bytes()].concat(), ..CnMsg::to(CN_IDX_PROC, CN_IDX_PROC) }
}

/// A process event as in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the structure's own names")]
pub struct ProcEvent {
    pub what: u32,
    pub cpu: u32,
    pub timestamp_ns: u64,
    /// The 24 bytes whose meaning depends on `what`.
    pub data: Vec<u8>,
}

/// A task: its own ID, and that of its thread group (the process).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the structures' own names")]
pub struct Task {
    pub pid: u32,
    pub tgid: u32,
}

impl Task {
    /// No task.
    pub const NONE: Task = Task { pid: 0, tgid: 0 };

    /// The first thread of a process.
    pub const fn leader(pid: u32) -> Task {
        Task { pid, tgid: pid }
    }
}

/// The contents of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the structures' own names")]
pub enum Happening {
    Acknowledged { err: u32 },
    Fork { parent: Task, child: Task },
    Exec { task: Task },
    Uid { task: Task, real: u32, effective: u32 },
    Gid { task: Task, real: u32, effective: u32 },
    Sid { task: Task },
    Ptrace { task: Task, tracer: Task },
    Comm { task: Task, name: String },
    Coredump { task: Task, parent: Task },
    Exit { task: Task, code: u32, signal: u32, parent: Task },
    Other { what: u32 },
}

impl ProcEvent {
    /// Parses a proc_event. `None` if it is too short.
    pub fn decode(bytes: &[u8]) -> Option<ProcEvent> {
        Some(ProcEvent {
            what: u32_at(bytes, 0)?,
            cpu: u32_at(bytes, 4)?,
            timestamp_ns: u64_at(bytes, 8)?,
            data: bytes.get(16..PROC_EVENT)?.to_vec(),
        })
    }

    /// The contents.
    pub fn happening(&self) -> Happening {
        let (task, other) = (self.task(0), self.task(2));
        match self.what {
            PROC_EVENT_NONE => Happening::Acknowledged { err: self.word(0) },
            PROC_EVENT_FORK => Happening::Fork { parent: task, child: other },
            PROC_EVENT_EXEC => Happening::Exec { task },
            PROC_EVENT_UID => Happening::Uid { task, real: self.word(2), effective: self.word(3) },
            PROC_EVENT_GID => Happening::Gid { task, real: self.word(2), effective: self.word(3) },
            PROC_EVENT_SID => Happening::Sid { task },
            PROC_EVENT_PTRACE => Happening::Ptrace { task, tracer: other },
            PROC_EVENT_COMM => {
                let name = self.data.get(8..).unwrap_or_default();
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                Happening::Comm { task, name: String::from_utf8_lossy(name).into_owned() }
            }
            PROC_EVENT_COREDUMP => Happening::Coredump { task, parent: other },
            PROC_EVENT_EXIT => {
                Happening::Exit { task, code: self.word(2), signal: self.word(3), parent: self.task(4) }
            }
            what => Happening::Other { what },
        }
    }

    /// The task that it happened to; for a fork the new one. `None` for an acknowledgement.
    pub fn subject(&self) -> Option<Task> {
        match self.what {
            PROC_EVENT_NONE => None,
            PROC_EVENT_FORK => Some(self.task(2)),
            _ => Some(self.task(0)),
        }
    }

    /// The n-th u32 of the data.
    pub fn word(&self, n: usize) -> u32 {
        u32_at(&self.data, 4 * n).unwrap_or(0)
    }

    /// The task whose pid and tgid are the n-th u32 of the data and the next one.
    fn task(&self, n: usize) -> Task {
        Task { pid: self.word(n), tgid: self.word(n + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_read() {
        let words = [7, 6, 768, 17, 5, 4u32];
        let bytes = [&PROC_EVENT_EXIT.to_ne_bytes()[..], &1u32.to_ne_bytes(), &9u64.to_ne_bytes()].concat();
        let bytes = [bytes, words.iter().flat_map(|word| word.to_ne_bytes()).collect()].concat();
        let event = ProcEvent::decode(&bytes).unwrap();
        assert_eq!((event.cpu, event.timestamp_ns), (1, 9));
        let (task, parent) = (Task { pid: 7, tgid: 6 }, Task { pid: 5, tgid: 4 });
        assert_eq!(event.happening(), Happening::Exit { task, code: 768, signal: 17, parent });
        assert_eq!(ProcEvent::decode(&bytes[..39]), None);
    }
}
