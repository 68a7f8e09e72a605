/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctl ABI of /dev/nlprobe: kernel-side netlink calls on behalf of a process.
 *
 * An ioctl returns 0 if the kernel call was made; the call's return value is in a `result`
 * field. It fails with EINVAL if the arguments are malformed or would endanger the kernel, and
 * with EOPNOTSUPP if this kernel does not have it. Everything registered through an open file is
 * undone when the file is closed.
 *
 * Each structure has the same layout for 32-bit and 64-bit callers. Reserved fields are zero.
 */
#ifndef NLPROBE_H
#define NLPROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Incremented with every change of a structure or of a number below. */
#define NLPROBE_ABI 7

/* Limits of the arguments. */
#define NLPROBE_MAX_OBJECTS	2048
#define NLPROBE_MAX_OPS		512
#define NLPROBE_MAX_GROUPS	2048
#define NLPROBE_MAX_POLICIES	256
#define NLPROBE_MAX_ENTRIES	512
#define NLPROBE_MAX_STEPS	256
#define NLPROBE_MAX_BLOB	65536
/* Highest attribute type of a policy, and of a family or command without one. */
#define NLPROBE_MAX_POLICY_ATTR	4096
#define NLPROBE_MAX_ATTR	65535
/* The largest log entry, in bytes. */
#define NLPROBE_MAX_CAPTURE	65536
/* The most bytes that a helper is given to write to. */
#define NLPROBE_MAX_HELPER	256
/* The longest wait, in milliseconds. */
#define NLPROBE_MAX_WAIT	10000
#define NLPROBE_MAX_SLEEP	2000
/* Bytes of a family's or group's name, as GENL_NAMSIZ. */
#define NLPROBE_NAME		16
/* The longest name of a connector callback, in bytes; more than the connector keeps. */
#define NLPROBE_CN_NAME		64

/* `count` elements at `ptr`. */
struct nlprobe_array {
	__u64 ptr;
	__u32 count;
	__u32 reserved;
};

/* Bits of nlprobe_info.features: what this kernel has. */
enum {
	NLPROBE_HAS_SPLIT_OPS		= 1 << 0,
	NLPROBE_HAS_RESV_START_OP	= 1 << 1,
	NLPROBE_HAS_FAMILY_BIND		= 1 << 2,
	NLPROBE_HAS_FILTERED_MULTICAST	= 1 << 3,
	NLPROBE_HAS_UINT		= 1 << 4,
	NLPROBE_HAS_ERR_MSG_FMT		= 1 << 5,
	NLPROBE_HAS_MISS_ATTR		= 1 << 6,
	NLPROBE_HAS_FAIL_NTH		= 1 << 7,
	NLPROBE_HAS_CONNECTOR		= 1 << 8,
	NLPROBE_HAS_CONNECTOR_FILTER	= 1 << 9,
	/* Module parameter `faults` is set: NLPROBE_FAULT works. */
	NLPROBE_HAS_FAULTS		= 1 << 10,
	NLPROBE_HAS_NLATTR_HELPERS	= 1 << 11,
};

struct nlprobe_info {
	__u32 abi;
	__u32 features;
	/* NLMSG_GOODSIZE, and what SKB_WITH_OVERHEAD() takes away. */
	__u32 goodsize;
	__u32 overhead;
};

enum {
	NLPROBE_NET_OWN		= -1,	/* the caller's network namespace */
	NLPROBE_NET_INITIAL	= -2,	/* the initial one */
	/* from 0 on: a file descriptor of one */
};

enum {
	NLPROBE_CONTEXT_PROCESS,	/* in the caller's process */
	NLPROBE_CONTEXT_SOFTIRQ,	/* in a softirq, or with softirqs disabled; sends only */
	/* with interrupts off and a lock held that an interrupt takes, too; sends only */
	NLPROBE_CONTEXT_INTERRUPTS_OFF,
	NLPROBE_CONTEXT_COUNT,
};

/* How a kernel call is made. */
struct nlprobe_call {
	/* Fails the n-th allocation of the callee, counting from 1; 0 fails none. */
	__u32 fail_nth;
	__s32 net;
	__u32 context;
	/* Out: 1 if that allocation was reached, and failed. */
	__u32 failed;
};

/* The callbacks, in steps and in log entries. */
enum {
	NLPROBE_ON_DOIT,
	NLPROBE_ON_DUMPIT,
	NLPROBE_ON_START,
	NLPROBE_ON_DONE,
	NLPROBE_ON_PRE_DOIT,
	NLPROBE_ON_POST_DOIT,
	NLPROBE_ON_BIND,
	NLPROBE_ON_UNBIND,
	NLPROBE_ON_INPUT,
	NLPROBE_ON_CONNECTOR,
	/*
	 * Not scripted, only logged. It returns whether the socket is of the network namespace in
	 * which the watching began (1), else of the initial one (2), else of another (3).
	 */
	NLPROBE_ON_RELEASE,
	/* The same: a send to a group (subject: its index) has left its message to its caller. */
	NLPROBE_ON_LEFT,
	NLPROBE_ON_COUNT,
};

/* What a step does, with its arguments a, b, c and its bytes. */
enum {
	NLPROBE_RETURN,		/* a: value (s64) */
	NLPROBE_ERR_MSG,	/* bytes: text */
	NLPROBE_ERR_MSG_FMT,	/* bytes: text */
	NLPROBE_BAD_ATTR,	/* a: attribute type */
	NLPROBE_COOKIE,		/* a: cookie */
	NLPROBE_MISS_ATTR,	/* a: attribute type; b: type of the nest, or ~0 */
	NLPROBE_REPLY,		/* a: command or type; b: nlmsg_flags; bytes: payload */
	NLPROBE_NOTIFY,		/* a: index of the group; b: command; bytes: payload */
	NLPROBE_PUT,		/* a: command or type; b: nlmsg_flags; bytes: payload */
	/* a: records in all; b: bytes of filler; c: 1 to end with -EMSGSIZE */
	NLPROBE_RECORDS,
	NLPROBE_DUMP_SEQ,	/* a: cb->seq */
	NLPROBE_ANSWER_FLAGS,	/* a: cb->answer_flags */
	NLPROBE_MIN_DUMP_ALLOC,	/* a: cb->min_dump_alloc */
	NLPROBE_START_DUMP,
	NLPROBE_CAPTURE,	/* a: NLPROBE_CAPTURE_*; b: attribute type */
	NLPROBE_BLOCK,
	NLPROBE_SLEEP,		/* a: milliseconds */
	/*
	 * bytes: a datagram; a, b, c: bits of those of its messages, from the first one on, that
	 * get nlmsg_type, nlmsg_seq and nlmsg_pid of the request
	 */
	NLPROBE_DATAGRAM,
	/*
	 * a: NLPROBE_HELPER_*; b: attribute type; c: the helper's own argument; bytes: what it
	 * compares with. Captures an s64, what it returned, and the bytes that it wrote.
	 */
	NLPROBE_HELPER,
	NLPROBE_ACK,		/* a: positive errno, or 0; netlink_ack() with NULL */
	NLPROBE_ACTION_COUNT,
};

/* Functions of lib/nlattr.c and include/net/netlink.h that no callback calls by itself. */
enum {
	NLPROBE_HELPER_STRSCPY,		/* c: size of the buffer */
	NLPROBE_HELPER_STRDUP,
	NLPROBE_HELPER_MEMCPY,		/* c: size of the buffer */
	NLPROBE_HELPER_MEMCMP,
	NLPROBE_HELPER_STRCMP,
	NLPROBE_HELPER_FIND,		/* c: attribute type; returns its place, or -ENOENT */
	NLPROBE_HELPER_APPEND,		/* c: room of the buffer, here and below */
	NLPROBE_HELPER_PUT_NOHDR,
	NLPROBE_HELPER_RESERVE_NOHDR,
	NLPROBE_HELPER_POLICY_LEN,	/* c: entries of the family's policy */
	NLPROBE_HELPER_VALIDATE,	/* c: enum netlink_validation; by the family's policy */
	/* An attribute of the same type and with the same payload; c: room of the buffer. */
	NLPROBE_HELPER_PUT,
	NLPROBE_HELPER_PUT_64BIT,
	NLPROBE_HELPER_RESERVE,
	NLPROBE_HELPER_RESERVE_64BIT,
	/* Those of include/net/netlink.h, by the family's policy. */
	NLPROBE_HELPER_PARSE_MESSAGE,	/* a message with nlmsghdr; c: size of the next header */
	NLPROBE_HELPER_PARSE_MESSAGE_DEPRECATED,	/* the same */
	NLPROBE_HELPER_PARSE_NESTED,	/* the nest is the attribute in the payload */
	/*
	 * Those that put a value; the payload is the value in host byte order, of 8 bytes;
	 * c: room of the buffer.
	 */
	NLPROBE_HELPER_PUT_UINT,
	NLPROBE_HELPER_PUT_SINT,
	NLPROBE_HELPER_PUT_MSECS,	/* the value is in milliseconds */
	NLPROBE_HELPER_PUT_BITFIELD32,	/* value, then selector */
	NLPROBE_HELPER_PUT_NET16,	/* the lower bits of the value */
	NLPROBE_HELPER_PUT_NET32,
	NLPROBE_HELPER_PUT_NET64,
	/* Those that get a value, which is what is returned. */
	NLPROBE_HELPER_GET_UINT,
	NLPROBE_HELPER_GET_SINT,
	NLPROBE_HELPER_GET_S8,
	NLPROBE_HELPER_GET_S16,
	NLPROBE_HELPER_GET_S32,
	NLPROBE_HELPER_GET_S64,
	NLPROBE_HELPER_GET_U64,
	NLPROBE_HELPER_GET_BE64,
	NLPROBE_HELPER_GET_MSECS,	/* in milliseconds */
	NLPROBE_HELPER_GET_BITFIELD32,	/* the selector in the upper half */
	/*
	 * An attribute of type 1 without payload, and a nest of the given type with an attribute of
	 * type 1 that has the payload; without room for that the nest is cancelled. c: room.
	 */
	NLPROBE_HELPER_NEST,
	NLPROBE_HELPER_NEST_NOFLAG,
	/* Two messages with the payload, of which the second is cancelled; c: room. */
	NLPROBE_HELPER_CANCEL,
	/* One, and nothing (NULL) is cancelled in each way that there is. */
	NLPROBE_HELPER_CANCEL_NULL,
	/* genlmsg_parse() of a message of the family, by its policy. */
	NLPROBE_HELPER_PARSE_FAMILY,
	NLPROBE_HELPER_PARSE_FAMILY_DEPRECATED,
	NLPROBE_HELPER_COUNT,
};

enum {
	NLPROBE_CAPTURE_MESSAGE,
	NLPROBE_CAPTURE_ATTR,
	NLPROBE_CAPTURE_ATTRS_PRESENT,
	NLPROBE_CAPTURE_USER_HEADER,
	NLPROBE_CAPTURE_DUMP_STATE,
	NLPROBE_CAPTURE_USER_POINTERS,
	NLPROBE_CAPTURE_INTERNAL_FLAGS,
	NLPROBE_CAPTURE_INFO,
	NLPROBE_CAPTURE_COUNT,
};

struct nlprobe_step {
	__u8 on;
	__u8 action;
	/* Only for this command; -1 for all. */
	__s16 cmd;
	/* Only in this call, counting from 1; 0 in all. */
	__u32 call;
	__u64 a;
	__u64 b;
	__u64 c;
	struct nlprobe_array bytes;
};

/* Payload types of a policy. */
enum {
	NLPROBE_KIND_UNSPEC,
	NLPROBE_KIND_U8,
	NLPROBE_KIND_U16,
	NLPROBE_KIND_U32,
	NLPROBE_KIND_U64,
	NLPROBE_KIND_S8,
	NLPROBE_KIND_S16,
	NLPROBE_KIND_S32,
	NLPROBE_KIND_S64,
	NLPROBE_KIND_BE16,
	NLPROBE_KIND_BE32,
	NLPROBE_KIND_UINT,
	NLPROBE_KIND_SINT,
	NLPROBE_KIND_MSECS,
	NLPROBE_KIND_STRING,
	NLPROBE_KIND_NUL_STRING,
	NLPROBE_KIND_FLAG,
	NLPROBE_KIND_BINARY,
	NLPROBE_KIND_NESTED,
	NLPROBE_KIND_NESTED_ARRAY,
	NLPROBE_KIND_BITFIELD32,
	NLPROBE_KIND_REJECT,
	NLPROBE_KIND_COUNT,
};

/* The check of a policy entry beyond the type, with its arguments a and b. */
enum {
	NLPROBE_CHECK_NONE,
	NLPROBE_CHECK_MIN,		/* a: s16 */
	NLPROBE_CHECK_MAX,		/* a: s16 */
	NLPROBE_CHECK_RANGE,		/* a, b: s16 */
	NLPROBE_CHECK_WIDE_RANGE,	/* a, b: u64 */
	NLPROBE_CHECK_WIDE_RANGE_SIGNED,/* a, b: s64 */
	NLPROBE_CHECK_MASK,		/* a: u32 */
	NLPROBE_CHECK_EXACT_LEN_WARN,
	NLPROBE_CHECK_NESTED,		/* a: index of a policy */
	NLPROBE_CHECK_MESSAGE,		/* text */
	NLPROBE_CHECK_FUNCTION,		/* a: positive errno; see the table in policy.c */
	NLPROBE_CHECK_COUNT,
};

struct nlprobe_policy_entry {
	__u16 attr;
	__u16 len;
	__u8 kind;
	__u8 check;
	__u16 reserved;
	__u64 a;
	__u64 b;
	struct nlprobe_array text;
};

struct nlprobe_policy {
	struct nlprobe_array entries;
	/* The highest attribute type that may be looked up in it. */
	__u32 maxattr;
	__u32 strict_start_type;
};

enum {
	NLPROBE_OPS_FULL,
	NLPROBE_OPS_SMALL,
	NLPROBE_OPS_SPLIT,
	NLPROBE_OPS_COUNT,
};

/* Bits of nlprobe_op.callbacks. */
enum {
	NLPROBE_OP_DOIT		= 1 << 0,
	NLPROBE_OP_DUMPIT	= 1 << 1,
	NLPROBE_OP_START	= 1 << 2,
	NLPROBE_OP_DONE		= 1 << 3,
	NLPROBE_OP_PRE_POST	= 1 << 4,
};

struct nlprobe_op {
	__u8 kind;
	__u8 cmd;
	__u8 flags;
	__u8 validate;
	__u8 internal_flags;
	__u8 callbacks;
	__u16 reserved;
	__u32 maxattr;
	/* Index of a policy, or -1. */
	__s32 policy;
};

enum {
	NLPROBE_GROUP_NET_ADMIN	= 1 << 0,
	NLPROBE_GROUP_SYS_ADMIN	= 1 << 1,
};

struct nlprobe_group {
	char name[NLPROBE_NAME];
	__u32 flags;
};

/* A family, and the result of registering or unregistering it. */
struct nlprobe_registration {
	struct nlprobe_call call;
	__s64 result;
	/* In for a family that exists, out for a new one. */
	__u32 handle;
	/* Out: genl_family.id and .mcgrp_offset. */
	__u32 id;
	__u32 first_group;
	__u32 reserved;
};

/* Bits of nlprobe_family.flags. */
enum {
	NLPROBE_FAMILY_NETNSOK		= 1 << 0,
	NLPROBE_FAMILY_PARALLEL_OPS	= 1 << 1,
	NLPROBE_FAMILY_PRE_POST		= 1 << 2,
	NLPROBE_FAMILY_BIND		= 1 << 3,
};

/* A new family, registered at once. */
struct nlprobe_family {
	struct nlprobe_registration registration;
	char name[NLPROBE_NAME];
	__u32 id;
	__u32 hdrsize;
	__u32 version;
	__u32 maxattr;
	/* Index of the family-wide policy, or -1. */
	__s32 policy;
	__u32 flags;
	/* Ignored if the kernel does not have it; every command is then below it. */
	__u32 resv_start_op;
	/* The array of ops that has a count but is left NULL, or NLPROBE_OPS_COUNT. */
	__u32 missing_array;
	struct nlprobe_array ops;
	struct nlprobe_array groups;
	struct nlprobe_array policies;
	struct nlprobe_array script;
};

/* Bits of nlprobe_protocol.flags. */
enum {
	NLPROBE_PROTOCOL_NONROOT_RECV	= 1 << 0,
	NLPROBE_PROTOCOL_NONROOT_SEND	= 1 << 1,
	NLPROBE_PROTOCOL_INPUT		= 1 << 2,
	NLPROBE_PROTOCOL_BIND		= 1 << 3,
	/* No netlink_kernel_cfg at all, but NULL; then no other flag, and 0 groups. */
	NLPROBE_PROTOCOL_NO_CFG		= 1 << 4,
};

/* The most groups that a protocol can ask for. */
#define NLPROBE_MAX_PROTOCOL_GROUPS 65536

/* A new protocol; result is -ENOMEM for NULL. */
struct nlprobe_protocol {
	struct nlprobe_call call;
	__s64 result;
	__u32 handle;
	__s32 protocol;
	__u32 groups;
	__u32 flags;
	struct nlprobe_array script;
};

struct nlprobe_cb_id {
	__u32 idx;
	__u32 val;
};

/* A new connector callback. */
struct nlprobe_callback {
	struct nlprobe_call call;
	__s64 result;
	__u32 handle;
	struct nlprobe_cb_id id;
	__u32 reserved;
	/* Text. */
	struct nlprobe_array name;
	struct nlprobe_array script;
};

/* cn_netlink_send_mult() */
struct nlprobe_connector_send {
	struct nlprobe_call call;
	__s64 result;
	struct nlprobe_cb_id id;
	__u32 seq;
	__u32 ack;
	__u16 len;
	__u16 flags;
	__u32 portid;
	__u32 group;
	/* With a filter that skips the socket with port ID `skip`, 0 for all. */
	__u32 filter;
	__u32 skip;
	__u32 reserved;
	struct nlprobe_array payload;
};

enum {
	NLPROBE_MULTICAST,
	NLPROBE_MULTICAST_INITIAL,
	NLPROBE_MULTICAST_ALL,
	NLPROBE_MULTICAST_FILTERED,	/* arg: port ID that is skipped, 0 for all */
	NLPROBE_UNICAST,
	NLPROBE_SET_ERR,		/* arg: positive errno */
	NLPROBE_HAS_LISTENERS,
	NLPROBE_PUT_INTO,		/* arg: size of the buffer */
	/* nlmsg_notify() of a protocol; arg: 1 if it is reported to portid, too */
	NLPROBE_NLMSG_NOTIFY,
	NLPROBE_VERB_COUNT,
};

/* A send by a family or a protocol. */
struct nlprobe_send {
	struct nlprobe_call call;
	__s64 result;
	__u32 handle;
	__u32 verb;
	__u32 arg;
	__u32 group;
	__u32 portid;
	__u32 seq;
	__u16 type;
	__u16 flags;
	/* 1: the payload is the whole datagram; type, flags and seq are not used. */
	__u32 raw;
	struct nlprobe_array payload;
};

struct nlprobe_tap {
	__s64 result;
	__u32 ifindex;
	/* 1 adds, 0 removes. */
	__u32 add;
};

/* The state of the probe itself. */
struct nlprobe_state {
	/* Waits this many milliseconds for a first blocked callback. */
	__u32 wait_ms;
	/* Out: callbacks that wait in NLPROBE_BLOCK. */
	__u32 blocked;
	/* Out: references to the module, less those of open files. */
	__u32 references;
	__u32 reserved;
};

/* Followed by `len` bytes, and by padding to a multiple of 8. */
struct nlprobe_log_entry {
	__u32 on;
	__u32 handle;
	__u32 subject;
	__u32 portid;
	__u32 seq;
	__u32 call;
	__s64 returned;
	__u32 tgid;
	__u32 uid;
	__u64 entered_ns;
	__u64 left_ns;
	__u32 len;
	__u32 reserved;
};

/* Copies as many whole entries as fit, oldest first. */
struct nlprobe_log {
	/* Bytes. */
	struct nlprobe_array buffer;
	/* Waits this many milliseconds for a first entry. */
	__u32 wait_ms;
	/* Out: bytes copied. */
	__u32 used;
	/* Out: entries and captures lost for want of memory since the last call. */
	__u32 lost;
	__u32 reserved;
};

enum {
	NLPROBE_FAULT_PANIC,
	NLPROBE_FAULT_OOPS,
	NLPROBE_FAULT_SPIN,	/* forever, with interrupts off */
	NLPROBE_FAULT_COUNT,
};

struct nlprobe_fault {
	__u32 kind;
};

/* Not in Documentation/userspace-api/ioctl/ioctl-number.rst of any version. */
#define NLPROBE_IOC 0xE9

#define NLPROBE_INFO		_IOR(NLPROBE_IOC, 0x00, struct nlprobe_info)
#define NLPROBE_FAMILY		_IOWR(NLPROBE_IOC, 0x01, struct nlprobe_family)
#define NLPROBE_REGISTER	_IOWR(NLPROBE_IOC, 0x02, struct nlprobe_registration)
#define NLPROBE_UNREGISTER	_IOWR(NLPROBE_IOC, 0x03, struct nlprobe_registration)
#define NLPROBE_PROTOCOL	_IOWR(NLPROBE_IOC, 0x04, struct nlprobe_protocol)
#define NLPROBE_PROTOCOL_END	_IOW(NLPROBE_IOC, 0x05, __u32)
#define NLPROBE_SEND		_IOWR(NLPROBE_IOC, 0x06, struct nlprobe_send)
#define NLPROBE_CALLBACK	_IOWR(NLPROBE_IOC, 0x07, struct nlprobe_callback)
#define NLPROBE_CALLBACK_END	_IOW(NLPROBE_IOC, 0x08, struct nlprobe_cb_id)
#define NLPROBE_CONNECTOR_SEND	_IOWR(NLPROBE_IOC, 0x09, struct nlprobe_connector_send)
#define NLPROBE_WATCH_RELEASE	_IO(NLPROBE_IOC, 0x0a)
#define NLPROBE_TAP		_IOWR(NLPROBE_IOC, 0x0b, struct nlprobe_tap)
#define NLPROBE_RELEASE		_IO(NLPROBE_IOC, 0x0c)
#define NLPROBE_STATE		_IOWR(NLPROBE_IOC, 0x0d, struct nlprobe_state)
#define NLPROBE_LOG		_IOWR(NLPROBE_IOC, 0x0e, struct nlprobe_log)
#define NLPROBE_FAULT		_IOW(NLPROBE_IOC, 0x0f, struct nlprobe_fault)

#endif
