//! The port: what an implementation must offer to be tested.
//!
//! A case sees two sides of a netlink bus. The user side is [`Target`] and [`Socket`]: raw sockets
//! that carry raw bytes, invalid ones included. The provider side is [`provider::Provider`]: what
//! kernel code may call. The [`adapters`](crate::adapters) implement the port.
//!
//! The traits are object safe and use plain data, so that an adapter can be a process in
//! another language.

pub mod capability;
pub mod process;
pub mod provider;
mod shorthand;

use std::time::Duration;

/// The error of a call, for implementors that do not depend on nix themselves.
pub use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::event::Identity;
use process::{Deed, Process};
use provider::{Provider, Unable};

/// What a byte of a buffer is that a call reports as filled and did not write: a value that no right
/// answer has by chance, as 0 often is.
pub const UNWRITTEN: u8 = 0xa5;

/// Sizes of the kernel, in bytes, that answers depend on. Those of its socket buffers (`struct sk_buff`) depend
/// on its pages, and on how `struct skb_shared_info` is rounded up to cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// `NLMSG_GOODSIZE`: what a buffer of a page has room for, or one of 8 KiB where pages are larger.
    pub goodsize: usize,
    /// What `SKB_WITH_OVERHEAD()` takes away from an allocation.
    pub overhead: usize,
    /// Its `unsigned long`, of which its bitmaps are made, and its pointers. Programs may have a smaller one.
    pub long: usize,
}

impl Default for Sizes {
    /// Those of 64-bit kernels with pages of 4 KiB and cache lines of 64 bytes, such as x86_64.
    fn default() -> Sizes {
        Sizes { goodsize: 3776, overhead: 320, long: 8 }
    }
}

/// An implementation under test.
///
/// The methods with a body are for what an implementation may lack: the capabilities of its
/// identity say so, too, and cases that need it are skipped.
pub trait Target: Sync {
    /// What it is, and what it offers.
    fn identity(&self) -> &Identity;

    /// The sizes that its answers depend on.
    fn sizes(&self) -> Sizes {
        Sizes::default()
    }

    /// `socket(AF_NETLINK, kind, protocol)` in the network namespace of the caller.
    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno>;

    /// A socket that another user opened and passed on: it carries that user's credentials, and
    /// their network namespace if they have one of their own.
    fn socket_of(&self, who: Who, _kind: i32, _protocol: i32) -> Result<Box<dyn Socket>, Unable> {
        lacks(format_args!("way to open a socket as {who:?}"))
    }

    /// A text file of the target, as the caller sees it, such as
    /// /proc/net/netlink.
    fn file(&self, path: &str) -> Result<String, Unable> {
        lacks(format_args!("file {path}"))
    }

    /// Runs `step`, and returns what the trace event of this name, such as `netlink:netlink_extack`,
    /// reported meanwhile, for the step or for anything else: one line per event.
    fn trace(&self, event: &str, _step: &mut dyn FnMut()) -> Result<Vec<String>, Unable> {
        lacks(format_args!("trace event {event}"))
    }

    /// Sees what passes over netlink in the caller's network namespace from now on.
    fn tap(&self) -> Result<Box<dyn Tap>, Unable> {
        lacks(format_args!("tap on netlink"))
    }

    /// Loads the target's connector sample (cn_test of samples/connector), which stays loaded
    /// until the returned guard is dropped.
    fn connector_sample(&self) -> Result<Box<dyn Sample>, Unable> {
        Err(Unable::Unsupported("the target has no connector sample".into()))
    }

    /// A new POSIX message queue, which is empty.
    fn message_queue(&self) -> Result<Box<dyn MessageQueue>, Unable> {
        lacks(format_args!("POSIX message queues"))
    }

    /// The provider side, if there is one. Each call returns a new one, with nothing registered yet.
    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        lacks(format_args!("provider side"))
    }

    /// Runs `step` while the `nth` memory allocation, counting from 1, that the target makes on behalf
    /// of the calling thread fails: those of the system calls that `step` makes. Returns whether there
    /// were that many, and one failed. A step that makes only such calls has the same count
    /// each time.
    fn failing(&self, _nth: u32, _step: &mut dyn FnMut()) -> Result<bool, Unable> {
        lacks(format_args!("way to make allocations fail"))
    }

    /// Runs `step` as another user and waits until it is done. What `step` opens lives in that
    /// task and ends with it; what the caller opened before can be used. The step's answer travels
    /// as JSON, because the task may be another process.
    fn run_as(&self, who: Who, _step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
        lacks(format_args!("way to act as {who:?}"))
    }

    /// Creates a child process that performs these actions, and waits until it and all tasks that it
    /// created have exited.
    fn process(&self, _deeds: &[Deed]) -> Result<Box<dyn Process>, Unable> {
        lacks(format_args!("processes"))
    }

    /// Takes over the loading of modules on demand, until the returned guard is dropped.
    fn module_requests(&self) -> Result<Box<dyn ModuleRequests>, Unable> {
        lacks(format_args!("loading of modules"))
    }
}

/// The target does not have this.
fn lacks<T>(what: std::fmt::Arguments<'_>) -> Result<T, Unable> {
    Err(Unable::Unsupported(format!("the target has no {what}")))
}

/// The target's module requests (`request_module()`). The task that causes one waits until it is refused.
pub trait ModuleRequests: Send + Sync {
    /// Waits this long for a module request; returns whether there was one.
    fn wait(&self, time: Duration) -> bool;
    /// Refuses the requested module, and any other from now on, without further waiting.
    fn refuse(&self) -> Result<(), Unable>;
}

/// A tap on netlink. Not all protocols pass it (netlink_filter_tap() net/netlink/af_netlink.c).
pub trait Tap: Send + Sync {
    /// What has passed since the last call, in order.
    fn take(&self) -> Vec<Passed>;
}

/// A datagram that has passed a tap.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// Netlink protocol.
    pub protocol: i32,
    /// Its size, in bytes.
    pub size: usize,
    /// Its bytes, the first few thousand.
    pub bytes: Vec<u8>,
}

/// A POSIX message queue, of which a socket can be notified ([`Socket::notify`]). Dropping it closes it.
pub trait MessageQueue: Send + Sync {
    /// Its descriptor.
    fn descriptor(&self) -> i32;
    /// `mq_send()`.
    fn send(&self) -> Result<(), Errno>;
    /// `mq_notify()` by what is not a netlink socket.
    fn notify(&self, by: NotifyBy) -> Result<(), Errno>;
}

/// Who is to be notified of a message queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyBy {
    /// Nobody: the notification that was asked for is withdrawn.
    Nobody,
    /// A descriptor that is not open.
    NoDescriptor,
    /// A file that is not a socket.
    File,
    /// A socket of another address family.
    UnixSocket,
}

/// A loaded sample; dropping it unloads it.
pub trait Sample {}

/// The target is gone, or no longer responds. Carried by a panic, because the calls of the port
/// have only the errors of system calls; the case ends with the verdict `crash`.
#[derive(Debug)]
pub struct Died(pub String);

impl Died {
    /// Ends the case.
    pub fn now(why: String) -> ! {
        // Not a bug of the suite, so the panic hook must not print anything.
        std::panic::resume_unwind(Box::new(Died(why)))
    }
}

/// The target has no such call. Carried by a panic, as [`Died`] is; the case ends with the verdict `skip`.
#[derive(Debug)]
pub struct Inexpressible(pub String);

impl Inexpressible {
    /// Ends the case, for this reason: a fact about the target.
    pub fn now(fact: impl Into<String>) -> ! {
        std::panic::resume_unwind(Box::new(Inexpressible(fact.into())))
    }
}

/// The user on whose behalf something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The same user in another process.
    Process,
    /// A user without capabilities (UID and GID 65534), in the caller's namespaces.
    Nobody,
    /// A user whose only capability is `CAP_NET_ADMIN`, in the caller's namespaces.
    NetworkAdministrator,
    /// Root of a new user namespace, in the caller's network namespace.
    UserNamespaceRoot,
    /// Root of a new user namespace with a network namespace of its own.
    OwnNamespacesRoot,
    /// The same user in a new network namespace.
    OtherNet,
    /// The same user in a new PID namespace, as its first process.
    OtherPid,
}

/// A netlink socket. Each call is one system call, without retries; dropping it closes it.
///
/// Addresses are the raw bytes of a `sockaddr_nl`, so that short and invalid ones can be passed. A call, or
/// an argument, that the implementation cannot express ends the case as skipped: [`Inexpressible::now`].
pub trait Socket: Send + Sync {
    /// `bind()`.
    fn bind(&self, address: &[u8]) -> Result<(), Errno>;
    /// `connect()`.
    fn connect(&self, address: &[u8]) -> Result<(), Errno>;
    /// `getsockname()` with a buffer of `room` bytes: what is in it, up to the length reported, and that
    /// length. Bytes that were not written are [`UNWRITTEN`].
    fn name(&self, room: usize) -> Result<(Vec<u8>, usize), Errno>;
    /// `getpeername()`, like [`Socket::name`].
    fn peer(&self, room: usize) -> Result<(Vec<u8>, usize), Errno>;
    /// `setsockopt()`.
    fn set_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno>;
    /// `getsockopt()` with a buffer of `room` bytes: what is in it, up to the length reported, and that
    /// length. Bytes that were not written are [`UNWRITTEN`].
    fn option(&self, level: i32, option: i32, room: usize) -> Result<(Vec<u8>, usize), Errno>;
    /// Attaches a socket filter (`SO_ATTACH_FILTER`) that returns `keep` for each datagram: 0 drops it.
    fn attach_filter(&self, _keep: u32) -> Result<(), Errno> {
        Inexpressible::now("the target has no socket filters")
    }
    /// Attaches a socket filter (`SO_ATTACH_FILTER`) that runs this program.
    fn attach_program(&self, _program: &[Instruction]) -> Result<(), Errno> {
        Inexpressible::now("the target has no socket filters that run a program")
    }
    /// `sendmsg()`: the number of bytes sent.
    fn send(&self, outgoing: &Outgoing) -> Result<usize, Errno>;
    /// `sendmsg()` by a task that, while it waits, receives signals that it catches and that restart
    /// nothing.
    fn send_interrupted(&self, _outgoing: &Outgoing) -> Result<usize, Errno> {
        Inexpressible::now("the target has no signals")
    }
    /// The same with signals that restart what they interrupt (`SA_RESTART`); fails with `ETIME` if that has
    /// not ended after some seconds.
    fn send_restarted(&self, _outgoing: &Outgoing) -> Result<usize, Errno> {
        Inexpressible::now("the target has no signals that restart a call")
    }
    /// `recvmsg()`.
    fn receive(&self, how: &Receive) -> Result<Incoming, Errno>;
    /// `recvmsg()` while signals come, as with [`Socket::send_interrupted`].
    fn receive_interrupted(&self, _how: &Receive) -> Result<Incoming, Errno> {
        Inexpressible::now("the target has no signals")
    }
    /// `recvmsg()` while signals come, as with [`Socket::send_restarted`].
    fn receive_restarted(&self, _how: &Receive) -> Result<Incoming, Errno> {
        Inexpressible::now("the target has no signals that restart a call")
    }
    /// `poll()` for `events`: the events that are set, 0 after the timeout.
    fn poll(&self, events: i16, timeout: Duration) -> Result<i16, Errno>;
    /// Watches the socket from now on: for `POLLIN` and `POLLERR`, edge-triggered (`EPOLLET`).
    fn edges(&self) -> Result<Box<dyn Edges>, Errno> {
        Inexpressible::now("the target has no edge-triggered polling")
    }
    /// `mq_notify()` with `SIGEV_THREAD`: a [`MessageQueue`] with this descriptor is to notify the socket, with
    /// these bytes (do_mq_notify() ipc/mqueue.c).
    fn notify(&self, _queue: i32, _cookie: &[u8; 32]) -> Result<(), Errno> {
        Inexpressible::now("the target has no POSIX message queues")
    }
    /// One of the calls that netlink does not support. If it succeeds, it has no other effect.
    fn refused(&self, call: Refused) -> Result<(), Errno>;
    /// A second descriptor of the same socket (`dup()`).
    fn duplicate(&self) -> Result<Box<dyn Socket>, Errno>;
    /// Its inode number, which /proc/net/netlink and sock_diag show.
    fn inode(&self) -> Result<u64, Errno> {
        Inexpressible::now("the sockets of the target have no inodes")
    }
}

/// Who watches a socket (`epoll`).
pub trait Edges {
    /// `epoll_wait()`: the events of the next edge, 0 after the timeout. A socket that has something to receive when
    /// it is first watched has an edge for it.
    fn next(&self, timeout: Duration) -> Result<i16, Errno>;
}

/// An instruction of a socket filter (`struct sock_filter`, classic BPF).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does: `BPF_LD | BPF_W | BPF_ABS` and the like.
    pub code: u16,
    /// Instructions that a jump leaves out when its condition holds.
    pub jt: u8,
    /// Instructions that it leaves out when it does not.
    pub jf: u8,
    /// A constant.
    pub k: u32,
}

/// System calls that a netlink socket does not support, and arguments that it does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the system calls' own names")]
pub enum Refused {
    Listen,
    Accept,
    Shutdown,
    Mmap,
    /// `ioctl(FIONREAD)`.
    Fionread,
    /// `socketpair()` of the socket's protocol.
    Socketpair,
    /// `setsockopt()` of this `SOL_NETLINK` option with 4 bytes that the caller cannot read.
    UnreadableValue(i32),
    /// `getsockopt()` of this `SOL_NETLINK` option with a length of -1.
    NegativeRoom(i32),
    /// `getsockopt()` of this `SOL_NETLINK` option with a length of 4 that cannot be written back.
    ReadOnlyLength(i32),
    /// `getsockopt()` of this `SOL_NETLINK` option into 4 bytes that the caller cannot write.
    UnwritableValue(i32),
    /// A send to the kernel of 16 bytes that the caller cannot read.
    UnreadableDatagram,
    /// A receive into 16 bytes that the caller cannot write.
    UnwritableBuffer,
}

/// A datagram to send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outgoing {
    /// The payload.
    pub bytes: Vec<u8>,
    /// `msg_name`, if one is given.
    pub to: Option<Vec<u8>>,
    /// `MSG_*`.
    pub flags: i32,
    /// Control messages.
    pub control: Vec<Control>,
}

/// How to receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receive {
    /// Size of the buffer for the payload.
    pub room: usize,
    /// `MSG_*`.
    pub flags: i32,
}

/// The result of one receive call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Incoming {
    /// The payload, as much as fitted.
    pub bytes: Vec<u8>,
    /// The call's return value; with `MSG_TRUNC` it can exceed the buffer.
    pub returned: usize,
    /// `msg_name`.
    pub from: Vec<u8>,
    /// `msg_flags`.
    pub flags: i32,
    /// Control messages.
    pub control: Vec<Control>,
}

/// One control message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "cmsghdr's own names")]
pub struct Control {
    pub level: i32,
    pub kind: i32,
    pub data: Vec<u8>,
}
