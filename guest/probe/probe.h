/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the module share. */
#ifndef NLPROBE_PROBE_H
#define NLPROBE_PROBE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/wait.h>

#include "compat.h"

/* session.c: what belongs to one open file. */

struct log {
	struct mutex lock;
	struct list_head records;
	size_t size;
	u32 lost;
	bool closed;
	wait_queue_head_t filled;
};

/* Where blocked callbacks wait. Guarded by the lock of `queue`. */
struct gate {
	wait_queue_head_t queue;
	u32 openings;
	u32 waiting;
	bool closed;
};

struct object;

struct session {
	struct kref ref;
	struct mutex lock;
	struct object **objects;
	u32 count;
	struct log log;
	struct gate gate;
	struct notifier_block release_watch;
	bool watching;
	atomic_t releases;
};

struct session *session_open(void);
void session_close(struct session *session);
void session_put(struct session *session);
/* Makes the object reachable: its handle, or -ENOSPC. */
int session_add(struct session *session, struct object *object);
/* Lets a callback wait until the gate opens, and says how many do. */
void gate_wait(struct gate *gate);
void gate_open(struct gate *gate);
u32 gate_waiting(struct gate *gate, u32 wait_ms);

/* Objects. */

struct script {
	struct step *steps;
	u32 count;
	atomic_t calls[NLPROBE_ON_COUNT];
};

struct object_type {
	/* Takes back what the kernel was given, if it still has it. */
	void (*undo)(struct object *object);
	void (*free)(struct object *object);
};

struct object {
	const struct object_type *type;
	struct session *session;
	struct list_head buried;
	u32 handle;
	/* The kernel has had pointers to it. */
	bool exposed;
	struct script script;
};

/* The object with this handle and type, NULL if there is none. It lives until the file is closed. */
struct object *session_find(struct session *session, u32 handle, const struct object_type *type);
/* Frees all objects that outlived their files. */
void session_bury_all(void);

/* call.c */

struct call {
	struct net *net;
	u32 context;
	u32 fail_nth;
	u32 failed;
};

typedef s64 (*call_fn)(void *data, gfp_t gfp);

int call_prepare(struct call *call, const struct nlprobe_call *arg, bool may_be_atomic);
/* Makes the kernel call; ends the preparation and reports back into `arg`. */
s64 call_make(struct call *call, struct nlprobe_call *arg, call_fn fn, void *data);
/* Ends the preparation of a call that is not made. */
void call_drop(struct call *call);
/* Copies an array from user space: NULL when empty, else to be freed with kvfree(). */
void *fetch(const struct nlprobe_array *array, size_t size, u32 max);
/* The same for text, which gets a NUL; never NULL. */
char *fetch_text(const struct nlprobe_array *array, u32 max);

/* script.c and steps.c */

struct step {
	struct nlprobe_step how;
	char *bytes;
};

/* One call of a callback. What the callback was not given is NULL or 0. */
struct run {
	struct object *object;
	u32 on;
	int cmd;
	u32 subject;
	u32 portid;
	u32 seq;
	kuid_t uid;
	/* The request, and what came of parsing it. */
	const struct nlmsghdr *nlh;
	const void *message;
	u32 message_len;
	struct nlattr **attrs;
	u32 maxattr;
	struct netlink_ext_ack *extack;
	/* doit */
	struct genl_info *info;
	/* input: the request; dumpit: the buffer */
	struct sk_buff *skb;
	/* dumps */
	struct netlink_callback *cb;

	/* Set while the script runs. */
	u32 call;
	s64 returned;
	u64 entered_ns;
	u8 dump_state[sizeof_field(struct netlink_callback, ctx)];
	u8 *captured;
	u32 captured_len;
};

int script_load(struct script *script, const struct nlprobe_array *array, u32 allowed_on);
void script_unload(struct script *script);
/* Runs the steps for this call and logs it: what the callback is to return. */
s64 script_run(struct run *run);
/* Waits until no callback runs. */
void script_drain(void);

/* Whether a step may stand where it stands; -EOPNOTSUPP where the kernel lacks it. */
int step_check(const struct nlprobe_step *step);
/* Runs one step: whether it ends the call, with run->returned set. */
bool step_run(struct run *run, const struct step *step);
/* Adds to the bytes of the log entry. */
void run_capture(struct run *run, const void *data, u32 len);

/* log.c */

void log_init(struct log *log);
void log_close(struct log *log);
void log_add(struct log *log, const struct nlprobe_log_entry *entry, const void *bytes);
int log_ioctl(struct session *session, void *arg);

/* message.c */

struct message {
	u16 type;
	u16 flags;
	u32 portid;
	u32 seq;
	const void *payload;
	u32 len;
};

/* Puts the headers: NULL when there is no room. */
struct nlmsghdr *message_begin(const struct object *object, struct sk_buff *skb,
			       const struct message *message);
/* Puts all of it: -EMSGSIZE when there is no room. */
int message_put(const struct object *object, struct sk_buff *skb, const struct message *message);
/* A buffer with this message: an ERR_PTR() when there is no memory. */
struct sk_buff *message_new(const struct object *object, const struct message *message);
/* A buffer with these bytes, no header before them: an ERR_PTR() when there is no memory. */
struct sk_buff *datagram_new(const void *bytes, u32 len);

/* policy.c */

struct policies {
	struct policy *items;
	u32 count;
};

int policies_load(struct policies *policies, const struct nlprobe_array *array);
void policies_unload(struct policies *policies);
/* The policy with this index, NULL for -1, an ERR_PTR() if it does not reach to `maxattr`. */
const struct nla_policy *policies_get(const struct policies *policies, s32 index, u32 maxattr);

/* family.c, and ops.c for its commands, request.c and slot.c for its callbacks */

struct family {
	struct object object;
	struct genl_family genl;
	struct list_head listed;
	struct policies policies;
	struct genl_ops *full_ops;
	struct genl_small_ops *small_ops;
	struct genl_split_ops *split_ops;
	/* Copied, because the kernel's counts tell nothing when an array is missing. */
	u32 op_counts[NLPROBE_OPS_COUNT];
	struct genl_multicast_group *groups;
	/* Its place in slot.c, or -1. */
	int slot;
	bool registered;
};

extern const struct object_type family_type;

static inline struct family *to_family(const struct object *object)
{
	return object->type == &family_type ? container_of(object, struct family, object) : NULL;
}

int ops_load(struct family *family, const struct nlprobe_family *arg);
/* Highest attribute type that the parsed attributes of this command are sure to cover. */
u32 ops_maxattr(const struct family *family, u8 cmd, bool dump);

/* The family that has this id, NULL if it is none of ours. */
struct family *family_find(int id);
int family_doit(struct sk_buff *skb, struct genl_info *info);
int family_pre_doit(const compat_pre_op *op, struct sk_buff *skb, struct genl_info *info);
void family_post_doit(const compat_pre_op *op, struct sk_buff *skb, struct genl_info *info);
/* A place for the callbacks that are not told their family: -EBUSY when there is none left. */
int slot_take(struct family *family);
void slot_give(struct family *family);
int family_ioctl(struct session *session, void *arg);
int family_register_ioctl(struct session *session, void *arg);
int family_unregister_ioctl(struct session *session, void *arg);

/* dump.c */

/* What a dump keeps in its callback's context. */
struct dump_state {
	u32 calls;
	u32 records;
};

int dump_start(struct netlink_callback *cb);
int dump_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int dump_done(struct netlink_callback *cb);
/* Starts a dump on behalf of a protocol's input. */
int dump_begin(struct run *run);
/* NLPROBE_RECORDS */
bool dump_records(struct run *run, u32 until, u32 size, bool emsgsize);

/* protocol.c */

struct protocol {
	struct object object;
	struct mutex lock;
	/* Guarded by `lock`; NULL before and after its life. */
	struct sock *sk;
	struct net *net;
	int number;
	struct list_head listed;
};

extern const struct object_type protocol_type;

static inline struct protocol *to_protocol(struct object *object)
{
	return object->type == &protocol_type ? container_of(object, struct protocol, object) : NULL;
}

int protocol_ioctl(struct session *session, void *arg);
int protocol_end_ioctl(struct session *session, void *arg);

/* connector.c */

int connector_ioctl(struct session *session, void *arg);
int connector_end_ioctl(struct session *session, void *arg);
int connector_send_ioctl(struct session *session, void *arg);

/* send.c */

int send_ioctl(struct session *session, void *arg);
/*
 * Around a call that is given the index of a group: whether the kernel frees the buffer when the
 * index is wrong depends on its version, so a second reference is held that tells.
 */
void send_hold(const struct family *family, u32 group, struct sk_buff *skb);
void send_settle(const struct family *family, u32 group, struct sk_buff *skb);
/* A filter of multicasts that skips the socket with the port ID that `data` points to, 0 each. */
int send_filter(struct sock *sk, struct sk_buff *skb, void *data);

/* watch.c */

int watch_init(void);
void watch_exit(void);
int watch_release_ioctl(struct session *session, void *arg);
int watch_tap_ioctl(struct session *session, void *arg);
void watch_close(struct session *session);

/* fault.c */

u32 fault_features(void);
int fault_ioctl(struct session *session, void *arg);

#endif
