// Made by `cargo xtask abi` from guest/probe/nlprobe.h. Do not edit.

use super::*;

constants! {
    u32 { NLPROBE_ABI = 7 }
    u32 { NLPROBE_MAX_OBJECTS = 2048 }
    u32 { NLPROBE_MAX_OPS = 512 }
    u32 { NLPROBE_MAX_GROUPS = 2048 }
    u32 { NLPROBE_MAX_POLICIES = 256 }
    u32 { NLPROBE_MAX_ENTRIES = 512 }
    u32 { NLPROBE_MAX_STEPS = 256 }
    u32 { NLPROBE_MAX_BLOB = 65536 }
    u32 { NLPROBE_MAX_POLICY_ATTR = 4096 }
    u32 { NLPROBE_MAX_ATTR = 65535 }
    u32 { NLPROBE_MAX_CAPTURE = 65536 }
    u32 { NLPROBE_MAX_HELPER = 256 }
    u32 { NLPROBE_MAX_WAIT = 10000 }
    u32 { NLPROBE_MAX_SLEEP = 2000 }
    u32 { NLPROBE_NAME = 16 }
    u32 { NLPROBE_CN_NAME = 64 }
    u32 {
        NLPROBE_HAS_SPLIT_OPS = 1 << 0,
        NLPROBE_HAS_RESV_START_OP = 1 << 1,
        NLPROBE_HAS_FAMILY_BIND = 1 << 2,
        NLPROBE_HAS_FILTERED_MULTICAST = 1 << 3,
        NLPROBE_HAS_UINT = 1 << 4,
        NLPROBE_HAS_ERR_MSG_FMT = 1 << 5,
        NLPROBE_HAS_MISS_ATTR = 1 << 6,
        NLPROBE_HAS_FAIL_NTH = 1 << 7,
        NLPROBE_HAS_CONNECTOR = 1 << 8,
        NLPROBE_HAS_CONNECTOR_FILTER = 1 << 9,
        NLPROBE_HAS_FAULTS = 1 << 10,
        NLPROBE_HAS_NLATTR_HELPERS = 1 << 11,
    }
    i32 {
        NLPROBE_NET_OWN = -1,
        NLPROBE_NET_INITIAL = -2,
    }
    u32 {
        NLPROBE_CONTEXT_PROCESS = 0,
        NLPROBE_CONTEXT_SOFTIRQ = 1,
        NLPROBE_CONTEXT_INTERRUPTS_OFF = 2,
        NLPROBE_CONTEXT_COUNT = 3,
    }
    u32 {
        NLPROBE_ON_DOIT = 0,
        NLPROBE_ON_DUMPIT = 1,
        NLPROBE_ON_START = 2,
        NLPROBE_ON_DONE = 3,
        NLPROBE_ON_PRE_DOIT = 4,
        NLPROBE_ON_POST_DOIT = 5,
        NLPROBE_ON_BIND = 6,
        NLPROBE_ON_UNBIND = 7,
        NLPROBE_ON_INPUT = 8,
        NLPROBE_ON_CONNECTOR = 9,
        NLPROBE_ON_RELEASE = 10,
        NLPROBE_ON_LEFT = 11,
        NLPROBE_ON_COUNT = 12,
    }
    u32 {
        NLPROBE_RETURN = 0,
        NLPROBE_ERR_MSG = 1,
        NLPROBE_ERR_MSG_FMT = 2,
        NLPROBE_BAD_ATTR = 3,
        NLPROBE_COOKIE = 4,
        NLPROBE_MISS_ATTR = 5,
        NLPROBE_REPLY = 6,
        NLPROBE_NOTIFY = 7,
        NLPROBE_PUT = 8,
        NLPROBE_RECORDS = 9,
        NLPROBE_DUMP_SEQ = 10,
        NLPROBE_ANSWER_FLAGS = 11,
        NLPROBE_MIN_DUMP_ALLOC = 12,
        NLPROBE_START_DUMP = 13,
        NLPROBE_CAPTURE = 14,
        NLPROBE_BLOCK = 15,
        NLPROBE_SLEEP = 16,
        NLPROBE_DATAGRAM = 17,
        NLPROBE_HELPER = 18,
        NLPROBE_ACK = 19,
        NLPROBE_ACTION_COUNT = 20,
    }
    u32 {
        NLPROBE_HELPER_STRSCPY = 0,
        NLPROBE_HELPER_STRDUP = 1,
        NLPROBE_HELPER_MEMCPY = 2,
        NLPROBE_HELPER_MEMCMP = 3,
        NLPROBE_HELPER_STRCMP = 4,
        NLPROBE_HELPER_FIND = 5,
        NLPROBE_HELPER_APPEND = 6,
        NLPROBE_HELPER_PUT_NOHDR = 7,
        NLPROBE_HELPER_RESERVE_NOHDR = 8,
        NLPROBE_HELPER_POLICY_LEN = 9,
        NLPROBE_HELPER_VALIDATE = 10,
        NLPROBE_HELPER_PUT = 11,
        NLPROBE_HELPER_PUT_64BIT = 12,
        NLPROBE_HELPER_RESERVE = 13,
        NLPROBE_HELPER_RESERVE_64BIT = 14,
        NLPROBE_HELPER_PARSE_MESSAGE = 15,
        NLPROBE_HELPER_PARSE_MESSAGE_DEPRECATED = 16,
        NLPROBE_HELPER_PARSE_NESTED = 17,
        NLPROBE_HELPER_PUT_UINT = 18,
        NLPROBE_HELPER_PUT_SINT = 19,
        NLPROBE_HELPER_PUT_MSECS = 20,
        NLPROBE_HELPER_PUT_BITFIELD32 = 21,
        NLPROBE_HELPER_PUT_NET16 = 22,
        NLPROBE_HELPER_PUT_NET32 = 23,
        NLPROBE_HELPER_PUT_NET64 = 24,
        NLPROBE_HELPER_GET_UINT = 25,
        NLPROBE_HELPER_GET_SINT = 26,
        NLPROBE_HELPER_GET_S8 = 27,
        NLPROBE_HELPER_GET_S16 = 28,
        NLPROBE_HELPER_GET_S32 = 29,
        NLPROBE_HELPER_GET_S64 = 30,
        NLPROBE_HELPER_GET_U64 = 31,
        NLPROBE_HELPER_GET_BE64 = 32,
        NLPROBE_HELPER_GET_MSECS = 33,
        NLPROBE_HELPER_GET_BITFIELD32 = 34,
        NLPROBE_HELPER_NEST = 35,
        NLPROBE_HELPER_NEST_NOFLAG = 36,
        NLPROBE_HELPER_CANCEL = 37,
        NLPROBE_HELPER_CANCEL_NULL = 38,
        NLPROBE_HELPER_PARSE_FAMILY = 39,
        NLPROBE_HELPER_PARSE_FAMILY_DEPRECATED = 40,
        NLPROBE_HELPER_COUNT = 41,
    }
    u32 {
        NLPROBE_CAPTURE_MESSAGE = 0,
        NLPROBE_CAPTURE_ATTR = 1,
        NLPROBE_CAPTURE_ATTRS_PRESENT = 2,
        NLPROBE_CAPTURE_USER_HEADER = 3,
        NLPROBE_CAPTURE_DUMP_STATE = 4,
        NLPROBE_CAPTURE_USER_POINTERS = 5,
        NLPROBE_CAPTURE_INTERNAL_FLAGS = 6,
        NLPROBE_CAPTURE_INFO = 7,
        NLPROBE_CAPTURE_COUNT = 8,
    }
    u32 {
        NLPROBE_KIND_UNSPEC = 0,
        NLPROBE_KIND_U8 = 1,
        NLPROBE_KIND_U16 = 2,
        NLPROBE_KIND_U32 = 3,
        NLPROBE_KIND_U64 = 4,
        NLPROBE_KIND_S8 = 5,
        NLPROBE_KIND_S16 = 6,
        NLPROBE_KIND_S32 = 7,
        NLPROBE_KIND_S64 = 8,
        NLPROBE_KIND_BE16 = 9,
        NLPROBE_KIND_BE32 = 10,
        NLPROBE_KIND_UINT = 11,
        NLPROBE_KIND_SINT = 12,
        NLPROBE_KIND_MSECS = 13,
        NLPROBE_KIND_STRING = 14,
        NLPROBE_KIND_NUL_STRING = 15,
        NLPROBE_KIND_FLAG = 16,
        NLPROBE_KIND_BINARY = 17,
        NLPROBE_KIND_NESTED = 18,
        NLPROBE_KIND_NESTED_ARRAY = 19,
        NLPROBE_KIND_BITFIELD32 = 20,
        NLPROBE_KIND_REJECT = 21,
        NLPROBE_KIND_COUNT = 22,
    }
    u32 {
        NLPROBE_CHECK_NONE = 0,
        NLPROBE_CHECK_MIN = 1,
        NLPROBE_CHECK_MAX = 2,
        NLPROBE_CHECK_RANGE = 3,
        NLPROBE_CHECK_WIDE_RANGE = 4,
        NLPROBE_CHECK_WIDE_RANGE_SIGNED = 5,
        NLPROBE_CHECK_MASK = 6,
        NLPROBE_CHECK_EXACT_LEN_WARN = 7,
        NLPROBE_CHECK_NESTED = 8,
        NLPROBE_CHECK_MESSAGE = 9,
        NLPROBE_CHECK_FUNCTION = 10,
        NLPROBE_CHECK_COUNT = 11,
    }
    u32 {
        NLPROBE_OPS_FULL = 0,
        NLPROBE_OPS_SMALL = 1,
        NLPROBE_OPS_SPLIT = 2,
        NLPROBE_OPS_COUNT = 3,
    }
    u32 {
        NLPROBE_OP_DOIT = 1 << 0,
        NLPROBE_OP_DUMPIT = 1 << 1,
        NLPROBE_OP_START = 1 << 2,
        NLPROBE_OP_DONE = 1 << 3,
        NLPROBE_OP_PRE_POST = 1 << 4,
    }
    u32 {
        NLPROBE_GROUP_NET_ADMIN = 1 << 0,
        NLPROBE_GROUP_SYS_ADMIN = 1 << 1,
    }
    u32 {
        NLPROBE_FAMILY_NETNSOK = 1 << 0,
        NLPROBE_FAMILY_PARALLEL_OPS = 1 << 1,
        NLPROBE_FAMILY_PRE_POST = 1 << 2,
        NLPROBE_FAMILY_BIND = 1 << 3,
    }
    u32 {
        NLPROBE_PROTOCOL_NONROOT_RECV = 1 << 0,
        NLPROBE_PROTOCOL_NONROOT_SEND = 1 << 1,
        NLPROBE_PROTOCOL_INPUT = 1 << 2,
        NLPROBE_PROTOCOL_BIND = 1 << 3,
        NLPROBE_PROTOCOL_NO_CFG = 1 << 4,
    }
    u32 { NLPROBE_MAX_PROTOCOL_GROUPS = 65536 }
    u32 {
        NLPROBE_MULTICAST = 0,
        NLPROBE_MULTICAST_INITIAL = 1,
        NLPROBE_MULTICAST_ALL = 2,
        NLPROBE_MULTICAST_FILTERED = 3,
        NLPROBE_UNICAST = 4,
        NLPROBE_SET_ERR = 5,
        NLPROBE_HAS_LISTENERS = 6,
        NLPROBE_PUT_INTO = 7,
        NLPROBE_NLMSG_NOTIFY = 8,
        NLPROBE_VERB_COUNT = 9,
    }
    u32 {
        NLPROBE_FAULT_PANIC = 0,
        NLPROBE_FAULT_OOPS = 1,
        NLPROBE_FAULT_SPIN = 2,
        NLPROBE_FAULT_COUNT = 3,
    }
    u32 { NLPROBE_IOC = 0xE9 }
}

structures! {
    nlprobe_array as Array {
        ptr: u64,
        count: u32,
        reserved: u32,
    }
    nlprobe_info as Info {
        abi: u32,
        features: u32,
        goodsize: u32,
        overhead: u32,
    }
    nlprobe_call as Call {
        fail_nth: u32,
        net: i32,
        context: u32,
        failed: u32,
    }
    nlprobe_step as Step {
        on: u8,
        action: u8,
        cmd: i16,
        call: u32,
        a: u64,
        b: u64,
        c: u64,
        bytes: Array,
    }
    nlprobe_policy_entry as PolicyEntry {
        attr: u16,
        len: u16,
        kind: u8,
        check: u8,
        reserved: u16,
        a: u64,
        b: u64,
        text: Array,
    }
    nlprobe_policy as Policy {
        entries: Array,
        maxattr: u32,
        strict_start_type: u32,
    }
    nlprobe_op as Op {
        kind: u8,
        cmd: u8,
        flags: u8,
        validate: u8,
        internal_flags: u8,
        callbacks: u8,
        reserved: u16,
        maxattr: u32,
        policy: i32,
    }
    nlprobe_group as Group {
        name: [u8; NLPROBE_NAME as usize],
        flags: u32,
    }
    nlprobe_registration as Registration {
        call: Call,
        result: i64,
        handle: u32,
        id: u32,
        first_group: u32,
        reserved: u32,
    }
    nlprobe_family as Family {
        registration: Registration,
        name: [u8; NLPROBE_NAME as usize],
        id: u32,
        hdrsize: u32,
        version: u32,
        maxattr: u32,
        policy: i32,
        flags: u32,
        resv_start_op: u32,
        missing_array: u32,
        ops: Array,
        groups: Array,
        policies: Array,
        script: Array,
    }
    nlprobe_protocol as Protocol {
        call: Call,
        result: i64,
        handle: u32,
        protocol: i32,
        groups: u32,
        flags: u32,
        script: Array,
    }
    nlprobe_cb_id as CbId {
        idx: u32,
        val: u32,
    }
    nlprobe_callback as Callback {
        call: Call,
        result: i64,
        handle: u32,
        id: CbId,
        reserved: u32,
        name: Array,
        script: Array,
    }
    nlprobe_connector_send as ConnectorSend {
        call: Call,
        result: i64,
        id: CbId,
        seq: u32,
        ack: u32,
        len: u16,
        flags: u16,
        portid: u32,
        group: u32,
        filter: u32,
        skip: u32,
        reserved: u32,
        payload: Array,
    }
    nlprobe_send as Send {
        call: Call,
        result: i64,
        handle: u32,
        verb: u32,
        arg: u32,
        group: u32,
        portid: u32,
        seq: u32,
        r#type: u16,
        flags: u16,
        raw: u32,
        payload: Array,
    }
    nlprobe_tap as Tap {
        result: i64,
        ifindex: u32,
        add: u32,
    }
    nlprobe_state as State {
        wait_ms: u32,
        blocked: u32,
        references: u32,
        reserved: u32,
    }
    nlprobe_log_entry as LogEntry {
        on: u32,
        handle: u32,
        subject: u32,
        portid: u32,
        seq: u32,
        call: u32,
        returned: i64,
        tgid: u32,
        uid: u32,
        entered_ns: u64,
        left_ns: u64,
        len: u32,
        reserved: u32,
    }
    nlprobe_log as Log {
        buffer: Array,
        wait_ms: u32,
        used: u32,
        lost: u32,
        reserved: u32,
    }
    nlprobe_fault as Fault {
        kind: u32,
    }
}

ioctls! {
    NLPROBE_INFO: Info = read 0x00;
    NLPROBE_FAMILY: Family = both 0x01;
    NLPROBE_REGISTER: Registration = both 0x02;
    NLPROBE_UNREGISTER: Registration = both 0x03;
    NLPROBE_PROTOCOL: Protocol = both 0x04;
    NLPROBE_PROTOCOL_END: u32 = write 0x05;
    NLPROBE_SEND: Send = both 0x06;
    NLPROBE_CALLBACK: Callback = both 0x07;
    NLPROBE_CALLBACK_END: CbId = write 0x08;
    NLPROBE_CONNECTOR_SEND: ConnectorSend = both 0x09;
    NLPROBE_WATCH_RELEASE: () = none 0x0a;
    NLPROBE_TAP: Tap = both 0x0b;
    NLPROBE_RELEASE: () = none 0x0c;
    NLPROBE_STATE: State = both 0x0d;
    NLPROBE_LOG: Log = both 0x0e;
    NLPROBE_FAULT: Fault = write 0x0f;
}
