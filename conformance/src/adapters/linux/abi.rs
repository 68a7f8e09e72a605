//! The ioctl ABI of /dev/nlprobe: guest/probe/nlprobe.h in Rust, with the header's own names for
//! constants. It is whole, even where the adapter uses less: a test compares it with the header.
#![allow(dead_code)]

use std::marker::PhantomData;
use std::mem::size_of;

use nix::libc;
use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};

/// Constants of the header by their C types.
macro_rules! constants {
    ($($type:ty { $($name:ident = $value:expr),* $(,)? })*) => {
        $($(pub const $name: $type = $value;)*)*

        /// Name and value of each.
        #[cfg(test)]
        pub const CONSTANTS: &[(&str, i64)] = &[$($((stringify!($name), $name as i64)),*),*];
    };
}

constants! {
    u32 {
        NLPROBE_ABI = 3,
        NLPROBE_MAX_OBJECTS = 2048, NLPROBE_MAX_OPS = 512, NLPROBE_MAX_GROUPS = 2048,
        NLPROBE_MAX_POLICIES = 64, NLPROBE_MAX_ENTRIES = 512, NLPROBE_MAX_STEPS = 256,
        NLPROBE_MAX_BLOB = 65536, NLPROBE_MAX_POLICY_ATTR = 4096, NLPROBE_MAX_ATTR = 65535,
        NLPROBE_MAX_CAPTURE = 65536, NLPROBE_MAX_WAIT = 10000, NLPROBE_MAX_SLEEP = 2000,
        NLPROBE_MAX_PROTOCOL_GROUPS = 65536,
    }
    usize { NLPROBE_NAME = 16, NLPROBE_CN_NAME = 64 }
    // nlprobe_info.features
    u32 {
        NLPROBE_HAS_SPLIT_OPS = 1 << 0, NLPROBE_HAS_RESV_START_OP = 1 << 1,
        NLPROBE_HAS_FAMILY_BIND = 1 << 2, NLPROBE_HAS_SOCK_PRIV = 1 << 3,
        NLPROBE_HAS_FILTERED_MULTICAST = 1 << 4, NLPROBE_HAS_UINT = 1 << 5,
        NLPROBE_HAS_ERR_MSG_FMT = 1 << 6, NLPROBE_HAS_MISS_ATTR = 1 << 7,
        NLPROBE_HAS_FAIL_NTH = 1 << 8, NLPROBE_HAS_CONNECTOR = 1 << 9,
        NLPROBE_HAS_CONNECTOR_FILTER = 1 << 10, NLPROBE_HAS_FAULTS = 1 << 11,
    }
    // nlprobe_call
    i32 { NLPROBE_NET_OWN = -1, NLPROBE_NET_INITIAL = -2 }
    u32 { NLPROBE_PROCESS = 0, NLPROBE_SOFTIRQ = 1 }
    // nlprobe_step.on, nlprobe_log_entry.on
    u8 {
        NLPROBE_ON_DOIT = 0, NLPROBE_ON_DUMPIT = 1, NLPROBE_ON_START = 2, NLPROBE_ON_DONE = 3,
        NLPROBE_ON_PRE_DOIT = 4, NLPROBE_ON_POST_DOIT = 5, NLPROBE_ON_BIND = 6,
        NLPROBE_ON_UNBIND = 7, NLPROBE_ON_INPUT = 8, NLPROBE_ON_CONNECTOR = 9,
        NLPROBE_ON_RELEASE = 10, NLPROBE_ON_PRIV_INIT = 11, NLPROBE_ON_PRIV_DESTROY = 12,
        NLPROBE_ON_COUNT = 13,
    }
    // nlprobe_step.action
    u8 {
        NLPROBE_RETURN = 0, NLPROBE_ERR_MSG = 1, NLPROBE_ERR_MSG_FMT = 2, NLPROBE_BAD_ATTR = 3,
        NLPROBE_COOKIE = 4, NLPROBE_MISS_ATTR = 5, NLPROBE_REPLY = 6, NLPROBE_NOTIFY = 7,
        NLPROBE_PUT = 8, NLPROBE_RECORDS = 9, NLPROBE_DUMP_SEQ = 10, NLPROBE_ANSWER_FLAGS = 11,
        NLPROBE_MIN_DUMP_ALLOC = 12, NLPROBE_START_DUMP = 13, NLPROBE_CAPTURE = 14,
        NLPROBE_SOCK_PRIV = 15, NLPROBE_BLOCK = 16, NLPROBE_SLEEP = 17, NLPROBE_DATAGRAM = 18,
        NLPROBE_ACTION_COUNT = 19,
    }
    // nlprobe_step.a of NLPROBE_CAPTURE
    u64 {
        NLPROBE_CAPTURE_MESSAGE = 0, NLPROBE_CAPTURE_ATTR = 1, NLPROBE_CAPTURE_ATTRS_PRESENT = 2,
        NLPROBE_CAPTURE_USER_HEADER = 3, NLPROBE_CAPTURE_DUMP_STATE = 4,
        NLPROBE_CAPTURE_USER_POINTERS = 5, NLPROBE_CAPTURE_COUNT = 6,
    }
    // nlprobe_policy_entry.kind
    u8 {
        NLPROBE_UNSPEC = 0, NLPROBE_U8 = 1, NLPROBE_U16 = 2, NLPROBE_U32 = 3, NLPROBE_U64 = 4,
        NLPROBE_S8 = 5, NLPROBE_S16 = 6, NLPROBE_S32 = 7, NLPROBE_S64 = 8, NLPROBE_BE16 = 9,
        NLPROBE_BE32 = 10, NLPROBE_UINT = 11, NLPROBE_SINT = 12, NLPROBE_MSECS = 13,
        NLPROBE_STRING = 14, NLPROBE_NUL_STRING = 15, NLPROBE_FLAG = 16, NLPROBE_BINARY = 17,
        NLPROBE_NESTED = 18, NLPROBE_NESTED_ARRAY = 19, NLPROBE_BITFIELD32 = 20,
        NLPROBE_REJECT = 21, NLPROBE_KIND_COUNT = 22,
    }
    // nlprobe_policy_entry.check
    u8 {
        NLPROBE_CHECK_NONE = 0, NLPROBE_CHECK_MIN = 1, NLPROBE_CHECK_MAX = 2,
        NLPROBE_CHECK_RANGE = 3, NLPROBE_CHECK_WIDE_RANGE = 4,
        NLPROBE_CHECK_WIDE_RANGE_SIGNED = 5, NLPROBE_CHECK_MASK = 6,
        NLPROBE_CHECK_EXACT_LEN_WARN = 7, NLPROBE_CHECK_NESTED = 8, NLPROBE_CHECK_MESSAGE = 9,
        NLPROBE_CHECK_FUNCTION = 10, NLPROBE_CHECK_COUNT = 11,
    }
    // nlprobe_op.kind, nlprobe_op.callbacks
    u8 { NLPROBE_OPS_FULL = 0, NLPROBE_OPS_SMALL = 1, NLPROBE_OPS_SPLIT = 2, NLPROBE_OPS_COUNT = 3 }
    u8 {
        NLPROBE_OP_DOIT = 1 << 0, NLPROBE_OP_DUMPIT = 1 << 1, NLPROBE_OP_START = 1 << 2,
        NLPROBE_OP_DONE = 1 << 3, NLPROBE_OP_PRE_POST = 1 << 4,
    }
    // nlprobe_group.flags, nlprobe_family.flags, nlprobe_protocol.flags
    u32 { NLPROBE_GROUP_NET_ADMIN = 1 << 0, NLPROBE_GROUP_SYS_ADMIN = 1 << 1 }
    u32 {
        NLPROBE_FAMILY_NETNSOK = 1 << 0, NLPROBE_FAMILY_PARALLEL_OPS = 1 << 1,
        NLPROBE_FAMILY_PRE_POST = 1 << 2, NLPROBE_FAMILY_BIND = 1 << 3,
    }
    u32 {
        NLPROBE_PROTOCOL_NONROOT_RECV = 1 << 0, NLPROBE_PROTOCOL_NONROOT_SEND = 1 << 1,
        NLPROBE_PROTOCOL_INPUT = 1 << 2, NLPROBE_PROTOCOL_BIND = 1 << 3,
    }
    // nlprobe_send.verb
    u32 {
        NLPROBE_MULTICAST = 0, NLPROBE_MULTICAST_INITIAL = 1, NLPROBE_MULTICAST_ALL = 2,
        NLPROBE_MULTICAST_FILTERED = 3, NLPROBE_UNICAST = 4, NLPROBE_SET_ERR = 5,
        NLPROBE_HAS_LISTENERS = 6, NLPROBE_PUT_INTO = 7, NLPROBE_VERB_COUNT = 8,
    }
    // nlprobe_fault.kind
    u32 {
        NLPROBE_FAULT_PANIC = 0, NLPROBE_FAULT_OOPS = 1, NLPROBE_FAULT_SPIN = 2,
        NLPROBE_FAULT_COUNT = 3,
    }
}

/// Data that the kernel reads and writes as bytes.
///
/// # Safety
/// Each pattern of bytes must be a valid value, and the type must have no padding.
pub unsafe trait Plain: Copy + Default {
    /// The bytes of this value.
    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = size_of::<Self>();
        // SAFETY: there is no padding, and whatever is written is a valid value.
        unsafe { std::slice::from_raw_parts_mut((&raw mut *self).cast(), len) }
    }

    /// The value at the beginning of these bytes, if they are enough.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut value = Self::default();
        value.bytes_mut().copy_from_slice(bytes.get(..size_of::<Self>())?);
        Some(value)
    }
}

/// Structures of the header. Their fields are integers, bytes, and structures of these.
macro_rules! structures {
    ($($c_name:ident as $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            #[repr(C)]
            #[derive(Debug, Clone, Copy, Default, PartialEq)]
            pub struct $name { $(pub $field: $type),* }

            const _: () = assert!(0 $(+ size_of::<$type>())* == size_of::<$name>());

            // SAFETY: integers take each pattern of bytes; there is no padding, as asserted above.
            unsafe impl Plain for $name {}
        )*

        /// Each structure: its C name, its size, and its fields with their offsets and sizes.
        #[cfg(test)]
        pub const LAYOUTS: &[(&str, usize, &[(&str, usize, usize)])] = &[
            $((stringify!($c_name), size_of::<$name>(), &[
                $((stringify!($field), std::mem::offset_of!($name, $field), size_of::<$type>())),*
            ])),*
        ];
    };
}

structures! {
    nlprobe_array as Array { ptr: u64, count: u32, reserved: u32 }
    nlprobe_info as Info { abi: u32, features: u32 }
    nlprobe_call as Call { fail_nth: u32, net: i32, context: u32, failed: u32 }
    nlprobe_step as Step {
        on: u8, action: u8, cmd: i16, call: u32, a: u64, b: u64, c: u64, bytes: Array,
    }
    nlprobe_policy_entry as PolicyEntry {
        attr: u16, len: u16, kind: u8, check: u8, reserved: u16, a: u64, b: u64, text: Array,
    }
    nlprobe_policy as Policy { entries: Array, maxattr: u32, strict_start_type: u32 }
    nlprobe_op as Op {
        kind: u8, cmd: u8, flags: u8, validate: u8, internal_flags: u8, callbacks: u8, reserved: u16,
        maxattr: u32, policy: i32,
    }
    nlprobe_group as Group { name: [u8; NLPROBE_NAME], flags: u32 }
    nlprobe_registration as Registration {
        call: Call, result: i64, handle: u32, id: u32, first_group: u32, reserved: u32,
    }
    nlprobe_family as Family {
        registration: Registration, name: [u8; NLPROBE_NAME], id: u32, hdrsize: u32, version: u32,
        maxattr: u32, policy: i32, flags: u32, resv_start_op: u32, sock_priv_size: u32,
        missing_array: u32, reserved: u32, ops: Array, groups: Array, policies: Array, script: Array,
    }
    nlprobe_protocol as Protocol {
        call: Call, result: i64, handle: u32, protocol: i32, groups: u32, flags: u32, script: Array,
    }
    nlprobe_cb_id as CbId { idx: u32, val: u32 }
    nlprobe_callback as Callback {
        call: Call, result: i64, handle: u32, id: CbId, reserved: u32, name: Array,
        script: Array,
    }
    nlprobe_connector_send as ConnectorSend {
        call: Call, result: i64, id: CbId, seq: u32, ack: u32, len: u16, flags: u16, portid: u32,
        group: u32, filter: u32, skip: u32, reserved: u32, payload: Array,
    }
    nlprobe_send as Send {
        call: Call, result: i64, handle: u32, verb: u32, arg: u32, group: u32, portid: u32, seq: u32,
        r#type: u16, flags: u16, raw: u32, payload: Array,
    }
    nlprobe_tap as Tap { result: i64, ifindex: u32, add: u32 }
    nlprobe_state as State { wait_ms: u32, blocked: u32, references: u32, reserved: u32 }
    nlprobe_log_entry as LogEntry {
        on: u32, handle: u32, subject: u32, portid: u32, seq: u32, call: u32, returned: i64, tgid: u32,
        uid: u32, entered_ns: u64, left_ns: u64, len: u32, reserved: u32,
    }
    nlprobe_log as Log { buffer: Array, wait_ms: u32, used: u32, lost: u32, reserved: u32 }
    nlprobe_fault as Fault { kind: u32 }
}

// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: no bytes at all.
unsafe impl Plain for () {}

/// The `type` of the ioctl numbers.
pub const MAGIC: u8 = b'n';

/// An ioctl that takes a `T`.
pub struct Ioctl<T> {
    pub name: &'static str,
    pub code: libc::Ioctl,
    argument: PhantomData<T>,
}

impl<T> Ioctl<T> {
    const fn new(name: &'static str, code: libc::Ioctl) -> Self {
        Ioctl { name, code, argument: PhantomData }
    }

    const fn plain(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_none!(MAGIC, nr))
    }

    const fn read(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_read!(MAGIC, nr, size_of::<T>()))
    }

    const fn write(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_write!(MAGIC, nr, size_of::<T>()))
    }

    const fn both(name: &'static str, nr: u8) -> Self {
        Self::new(name, request_code_readwrite!(MAGIC, nr, size_of::<T>()))
    }
}

macro_rules! ioctls {
    ($($name:ident: $type:ty = $direction:ident $nr:literal;)*) => {
        $(pub const $name: Ioctl<$type> = Ioctl::$direction(stringify!($name), $nr);)*

        /// Name and number of each.
        pub const IOCTLS: &[(&str, libc::Ioctl)] = &[$((stringify!($name), $name.code)),*];
    };
}

ioctls! {
    NLPROBE_INFO: Info = read 0x40;
    NLPROBE_FAMILY: Family = both 0x41;
    NLPROBE_REGISTER: Registration = both 0x42;
    NLPROBE_UNREGISTER: Registration = both 0x43;
    NLPROBE_PROTOCOL: Protocol = both 0x44;
    NLPROBE_PROTOCOL_END: u32 = write 0x45;
    NLPROBE_SEND: Send = both 0x46;
    NLPROBE_CALLBACK: Callback = both 0x47;
    NLPROBE_CALLBACK_END: CbId = write 0x48;
    NLPROBE_CONNECTOR_SEND: ConnectorSend = both 0x49;
    NLPROBE_WATCH_RELEASE: () = plain 0x4a;
    NLPROBE_TAP: Tap = both 0x4b;
    NLPROBE_RELEASE: () = plain 0x4c;
    NLPROBE_STATE: State = both 0x4d;
    NLPROBE_LOG: Log = both 0x4e;
    NLPROBE_FAULT: Fault = write 0x4f;
}

#[cfg(test)]
#[path = "abi_tests.rs"]
mod tests;
