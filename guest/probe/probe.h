/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the files of the module. */
#ifndef NLPROBE_PROBE_H
#define NLPROBE_PROBE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "compat.h"

/* session.c: the state of one open file. */

struct nlprobe_session_log {
	/* Protects everything below. */
	struct mutex lock;
	struct list_head records;
	size_t size;
	u32 lost;
	bool closed;
	wait_queue_head_t filled;
};

/* Where blocked callbacks wait. Written under the lock of `queue`, also read without it. */
struct nlprobe_gate {
	wait_queue_head_t queue;
	u32 openings;
	u32 waiting;
	bool closed;
};

struct nlprobe_object;

struct nlprobe_session {
	struct kref ref;
	/* Protects `made` and `watching`. */
	struct mutex lock;
	/* By handle. */
	struct xarray objects;
	/* The same, newest first. */
	struct list_head made;
	struct nlprobe_session_log log;
	struct nlprobe_gate gate;
	struct notifier_block release_watch;
	bool watching;
	/* The inode number of the network namespace in which it began. */
	unsigned int watching_from;
	atomic_t releases;
};

struct nlprobe_session *nlprobe_session_open(void);
void nlprobe_session_close(struct nlprobe_session *session);
void nlprobe_session_put(struct nlprobe_session *session);
/* Makes the object reachable; returns its handle, or -ENOSPC. */
int nlprobe_session_add(struct nlprobe_session *session, struct nlprobe_object *object);
/* Blocks a callback until the gate opens or the file is closed, NLPROBE_MAX_WAIT ms at most. */
void nlprobe_gate_wait(struct nlprobe_gate *gate);
/* Lets all continue that wait. */
void nlprobe_gate_open(struct nlprobe_gate *gate);
/* How many callbacks wait, once there is one or `wait_ms` are over; -ERESTARTSYS after a signal. */
int nlprobe_gate_waiting(struct nlprobe_gate *gate, u32 wait_ms);

/* Objects. */

struct nlprobe_script {
	struct nlprobe_loaded_step *steps;
	u32 count;
	atomic_t calls[NLPROBE_ON_COUNT];
};

struct nlprobe_object_type {
	/* Unregisters it from the kernel, if it is still registered. */
	void (*undo)(struct nlprobe_object *object);
	void (*free)(struct nlprobe_object *object);
};

struct nlprobe_object {
	const struct nlprobe_object_type *type;
	struct nlprobe_session *session;
	/* In the session's list, then in that of objects that outlive their files. */
	struct list_head made;
	u32 handle;
	/* The kernel may have pointers to it. */
	bool exposed;
	struct nlprobe_script script;
};

/* The object with this handle and type, or NULL. It lives until the file is closed. */
struct nlprobe_object *nlprobe_session_find(struct nlprobe_session *session, u32 handle,
					    const struct nlprobe_object_type *type);
/* Frees all objects that outlived their files. */
void nlprobe_session_free_buried(void);

/*
 * The objects of one kind that the kernel may call for, in the order in which they came: callbacks
 * look theirs up under the lock, by what the core gives them.
 */
struct nlprobe_list {
	/* Protects `head`. */
	spinlock_t lock;
	struct list_head head;
};

void nlprobe_list_add(struct nlprobe_list *list, struct list_head *listed);
void nlprobe_list_del(struct nlprobe_list *list, struct list_head *listed);

/* call.c */

struct nlprobe_prepared_call {
	struct net *net;
	u32 context;
	u32 fail_nth;
};

typedef s64 (*nlprobe_call_fn)(void *data, gfp_t gfp);

int nlprobe_call_prepare(struct nlprobe_prepared_call *call, const struct nlprobe_call *arg,
			 bool may_be_atomic);
/* Makes the kernel call; ends the preparation and writes the results to `arg`. */
s64 nlprobe_call_make(struct nlprobe_prepared_call *call, struct nlprobe_call *arg,
		      nlprobe_call_fn fn, void *data);
/* Ends the preparation of a call that is not made. */
void nlprobe_call_drop(struct nlprobe_prepared_call *call);
/* Copies an array from user space: NULL if empty, else to be freed with kvfree(). */
void *nlprobe_fetch(const struct nlprobe_array *array, size_t size, u32 max);
/* The same for text, which gets a NUL; never NULL. */
char *nlprobe_fetch_text(const struct nlprobe_array *array, u32 max);

/* script.c and steps.c */

struct nlprobe_loaded_step {
	struct nlprobe_step how;
	char *bytes;
};

/* One call of a callback. Arguments that the callback does not have are NULL or 0. */
struct nlprobe_run {
	struct nlprobe_object *object;
	u32 on;
	int cmd;
	u32 subject;
	u32 portid;
	u32 seq;
	kuid_t uid;
	/* The request, and its parsed attributes. */
	const struct nlmsghdr *nlh;
	const void *message;
	u32 message_len;
	struct nlattr **attrs;
	u32 maxattr;
	struct netlink_ext_ack *extack;
	/* A family's request; for a dump NULL in versions that have none there. */
	struct genl_info *info;
	/* Those of the command, where the callback gets them. */
	const u8 *internal_flags;
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
	u32 captured_room;
};

int nlprobe_script_load(struct nlprobe_script *script, const struct nlprobe_array *array,
			u32 allowed_on);
void nlprobe_script_unload(struct nlprobe_script *script);
/* Runs the steps for this call and logs it; returns what the callback is to return. */
s64 nlprobe_script_run(struct nlprobe_run *run);
/* Waits until no callback runs. */
void nlprobe_script_drain(void);

/* Whether a step is allowed in its callback; -EOPNOTSUPP if the kernel lacks it. */
int nlprobe_step_check(const struct nlprobe_step *step);
/* Runs one step; returns whether it ends the call, with run->returned set. */
bool nlprobe_step_run(struct nlprobe_run *run, const struct nlprobe_loaded_step *step);
/* Adds to the bytes of the log entry. */
void nlprobe_run_capture(struct nlprobe_run *run, const void *data, u32 len);

/* helpers.c */

/* Whether this kernel has it. */
bool nlprobe_helper_exists(u32 helper);
void nlprobe_helper_run(struct nlprobe_run *run, const struct nlprobe_loaded_step *step,
			const struct nlattr *attr);

/* log.c */

void nlprobe_log_init(struct nlprobe_session_log *log);
/* Counts something that was lost for want of memory. */
void nlprobe_log_lose(struct nlprobe_session_log *log);
void nlprobe_log_close(struct nlprobe_session_log *log);
void nlprobe_log_add(struct nlprobe_session_log *log, const struct nlprobe_log_entry *entry,
		     const void *bytes);
int nlprobe_log_ioctl(struct nlprobe_session *session, void *arg);

/* message.c */

struct nlprobe_message {
	u16 type;
	u16 flags;
	u32 portid;
	u32 seq;
	const void *payload;
	u32 len;
};

/* Adds the headers; NULL if there is no room. */
struct nlmsghdr *nlprobe_message_begin(const struct nlprobe_object *object, struct sk_buff *skb,
				       const struct nlprobe_message *message);
/* Adds the whole message; -EMSGSIZE if there is no room. */
int nlprobe_message_put(const struct nlprobe_object *object, struct sk_buff *skb,
			const struct nlprobe_message *message);
/* A buffer with this message; an ERR_PTR() without memory. */
struct sk_buff *nlprobe_message_new(const struct nlprobe_object *object,
				    const struct nlprobe_message *message);
/* A buffer with these bytes and no header; an ERR_PTR() without memory. */
struct sk_buff *nlprobe_datagram_new(const void *bytes, u32 len);

/* policy.c */

struct nlprobe_policies {
	struct nlprobe_loaded_policy *items;
	u32 count;
};

int nlprobe_policies_load(struct nlprobe_policies *policies, const struct nlprobe_array *array);
void nlprobe_policies_unload(struct nlprobe_policies *policies);
/* The policy with this index, NULL for -1, an ERR_PTR() if it does not extend to `maxattr`. */
const struct nla_policy *nlprobe_policies_get(const struct nlprobe_policies *policies, s32 index,
					      u32 maxattr);

/* family.c, and ops.c for its commands, request.c and slot.c for its callbacks */

struct nlprobe_family_object {
	struct nlprobe_object object;
	struct genl_family genl;
	struct list_head listed;
	struct nlprobe_policies policies;
	struct genl_ops *full_ops;
	struct genl_small_ops *small_ops;
	struct genl_split_ops *split_ops;
	/* Copied, because the kernel's counts are useless if an array is missing. */
	u32 op_counts[NLPROBE_OPS_COUNT];
	struct genl_multicast_group *groups;
	/* Its place in slot.c, or -1. */
	int slot;
	bool registered;
};

extern const struct nlprobe_object_type nlprobe_family_type;

static inline struct nlprobe_family_object *nlprobe_to_family(const struct nlprobe_object *object)
{
	if (object->type != &nlprobe_family_type)
		return NULL;
	return container_of(object, struct nlprobe_family_object, object);
}

int nlprobe_ops_load(struct nlprobe_family_object *family, const struct nlprobe_family *arg);
/* Highest attribute type that the parsed attributes of this command are sure to cover. */
u32 nlprobe_ops_maxattr(const struct nlprobe_family_object *family, u8 cmd, bool dump);

/* What callbacks of a request keep for each other: user_ptr, and where there is one all of ctx. */
static inline u8 *nlprobe_info_state(struct genl_info *info)
{
	return (u8 *)info + offsetof(struct genl_info, user_ptr);
}

#define NLPROBE_INFO_STATE \
	(offsetof(struct genl_info, extack) - offsetof(struct genl_info, user_ptr))

/* As families do that keep something there between callbacks: the next request must not find it. */
static inline void nlprobe_leave_state(struct genl_info *info)
{
	memset(nlprobe_info_state(info), 0x5a, NLPROBE_INFO_STATE);
}

/* The family with this ID, NULL if it is not ours. */
struct nlprobe_family_object *nlprobe_family_find(int id);
int nlprobe_family_doit(struct sk_buff *skb, struct genl_info *info);
int nlprobe_family_pre_doit(const struct compat_pre_op *op, struct sk_buff *skb,
			    struct genl_info *info);
void nlprobe_family_post_doit(const struct compat_pre_op *op, struct sk_buff *skb,
			      struct genl_info *info);
/* A slot for the callbacks that do not get their family; -EBUSY if there is none left. */
int nlprobe_slot_take(struct nlprobe_family_object *family);
void nlprobe_slot_give(struct nlprobe_family_object *family);
int nlprobe_family_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_family_register_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_family_unregister_ioctl(struct nlprobe_session *session, void *arg);

/* dump.c */

/* What a dump keeps in its callback's context. */
struct nlprobe_dump_state {
	u32 calls;
	u32 records;
};

int nlprobe_dump_start(struct netlink_callback *cb);
int nlprobe_dump_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int nlprobe_dump_done(struct netlink_callback *cb);
/* Starts a dump on behalf of a protocol's input. */
int nlprobe_dump_begin(struct nlprobe_run *run);
/* NLPROBE_RECORDS */
bool nlprobe_dump_records(struct nlprobe_run *run, u32 until, u32 size, bool emsgsize);

/* protocol.c */

struct nlprobe_protocol_object {
	struct nlprobe_object object;
	/* Protects `sk`, and is held while it is used. */
	struct mutex lock;
	/* NULL before creation and after release. */
	struct sock *sk;
	struct net *net;
	int number;
	struct list_head listed;
};

extern const struct nlprobe_object_type nlprobe_protocol_type;

static inline struct nlprobe_protocol_object *nlprobe_to_protocol(struct nlprobe_object *object)
{
	if (object->type != &nlprobe_protocol_type)
		return NULL;
	return container_of(object, struct nlprobe_protocol_object, object);
}

int nlprobe_protocol_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_protocol_end_ioctl(struct nlprobe_session *session, void *arg);

/* connector.c */

int nlprobe_connector_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_connector_end_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_connector_send_ioctl(struct nlprobe_session *session, void *arg);

/* send.c */

int nlprobe_send_ioctl(struct nlprobe_session *session, void *arg);
/*
 * Around a call with the index of a group: whether the kernel frees the buffer if the
 * index is wrong depends on its version, so a second reference is held to find out.
 */
void nlprobe_send_hold(const struct nlprobe_family_object *family, u32 group, struct sk_buff *skb);
void nlprobe_send_settle(const struct nlprobe_family_object *family, u32 group,
			 struct sk_buff *skb);
/* A filter of multicasts that skips the socket with the port ID at `data`, 0 for all. */
int nlprobe_send_filter(struct sock *sk, struct sk_buff *skb, void *data);

/* watch.c */

int nlprobe_watch_init(void);
void nlprobe_watch_exit(void);
int nlprobe_watch_release_ioctl(struct nlprobe_session *session, void *arg);
int nlprobe_watch_tap_ioctl(struct nlprobe_session *session, void *arg);
void nlprobe_watch_close(struct nlprobe_session *session);

/* fault.c */

u32 nlprobe_fault_features(void);
int nlprobe_fault_ioctl(struct nlprobe_session *session, void *arg);

#endif
