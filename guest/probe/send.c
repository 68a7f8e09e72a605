// SPDX-License-Identifier: GPL-2.0
/* Sends by a family or a protocol, and queries for listeners. */
#include <linux/cred.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <net/sock.h>

#include "probe.h"

/* One send. Everything is allocated beforehand, so that only the callee's allocations can fail. */
struct send {
	const struct nlprobe_send *arg;
	struct net *net;
	const struct genl_family *genl;
	/* Of a protocol, whose lock is held. */
	struct sock *sk;
	const struct nlprobe_object *object;
	struct nlprobe_message message;
	struct sk_buff *skb;
};

void nlprobe_send_hold(const struct nlprobe_family_object *family, u32 group, struct sk_buff *skb)
{
	if (group >= family->genl.n_mcgrps)
		skb_get(skb);
}

static void log_left(const struct nlprobe_family_object *family, u32 group)
{
	u64 now = ktime_get_ns();
	struct nlprobe_log_entry entry = {
		.on = NLPROBE_ON_LEFT,
		.handle = family->object.handle,
		.subject = group,
		.tgid = task_tgid_nr(current),
		.uid = from_kuid(&init_user_ns, current_euid()),
		.entered_ns = now,
		.left_ns = now,
	};

	nlprobe_log_add(&family->object.session->log, &entry, NULL);
}

void nlprobe_send_settle(const struct nlprobe_family_object *family, u32 group, struct sk_buff *skb)
{
	if (group < family->genl.n_mcgrps)
		return;
	/* Still two references: the callee did not drop its own. */
	if (skb_shared(skb)) {
		log_left(family, group);
		kfree_skb(skb);
	}
	kfree_skb(skb);
}

int nlprobe_send_filter(struct sock *sk, struct sk_buff *skb, void *data)
{
	u32 portid = *(u32 *)data;
	struct sockaddr_nl address;

	/* The port ID is in a private structure. The socket cannot go while messages are sent. */
	return !portid ||
	       (kernel_getsockname(sk->sk_socket, (struct sockaddr *)&address) >= 0 &&
		address.nl_pid == portid);
}

static s64 multicast(struct send *send, gfp_t gfp)
{
	const struct nlprobe_send *arg = send->arg;

	if (send->sk)
		return nlmsg_multicast(send->sk, send->skb, arg->portid, arg->group, gfp);
	return genlmsg_multicast_netns(send->genl, send->net, send->skb, arg->portid, arg->group,
				       gfp);
}

static s64 multicast_initial(struct send *send, gfp_t gfp)
{
	return genlmsg_multicast(send->genl, send->skb, send->arg->portid, send->arg->group, gfp);
}

static s64 multicast_all(struct send *send, gfp_t gfp)
{
	return genlmsg_multicast_allns(send->genl, send->skb, send->arg->portid, send->arg->group);
}

static s64 multicast_filtered(struct send *send, gfp_t gfp)
{
	u32 skip = send->arg->arg;

	return compat_multicast_filtered(send->genl, send->net, send->skb, send->arg->portid,
					 send->arg->group, gfp, nlprobe_send_filter, &skip);
}

static s64 unicast(struct send *send, gfp_t gfp)
{
	if (send->sk)
		return nlmsg_unicast(send->sk, send->skb, send->arg->portid);
	return genlmsg_unicast(send->net, send->skb, send->arg->portid);
}

static s64 notify(struct send *send, gfp_t gfp)
{
	const struct nlprobe_send *arg = send->arg;

	return nlmsg_notify(send->sk, send->skb, arg->portid, arg->group, arg->arg, gfp);
}

static s64 set_err(struct send *send, gfp_t gfp)
{
	const struct nlprobe_send *arg = send->arg;
	int code = -(int)arg->arg;

	if (send->sk)
		return netlink_set_err(send->sk, arg->portid, arg->group, code);
	return genl_set_err(send->genl, send->net, arg->portid, arg->group, code);
}

static s64 has_listeners(struct send *send, gfp_t gfp)
{
	if (send->sk)
		return netlink_has_listeners(send->sk, send->arg->group);
	return genl_has_listeners(send->genl, send->net, send->arg->group);
}

static s64 put_into(struct send *send, gfp_t gfp)
{
	return !!nlprobe_message_begin(send->object, send->skb, &send->message);
}

enum { NO_BUFFER, BUFFER, GROUP_BUFFER, ROOM };

enum { ANY, FAMILIES, PROTOCOLS };

/* For each verb: the call, the buffer that it needs, who can use it, and the maximum of `arg`. */
static const struct {
	s64 (*call)(struct send *send, gfp_t gfp);
	u8 buffer;
	u8 users;
	u32 needs;
	u32 arg;
} verbs[NLPROBE_VERB_COUNT] = {
	[NLPROBE_MULTICAST] = { multicast, GROUP_BUFFER },
	[NLPROBE_MULTICAST_INITIAL] = { multicast_initial, GROUP_BUFFER, FAMILIES },
	[NLPROBE_MULTICAST_ALL] = { multicast_all, GROUP_BUFFER, FAMILIES },
	[NLPROBE_MULTICAST_FILTERED] = { multicast_filtered, GROUP_BUFFER, FAMILIES,
					 NLPROBE_HAS_FILTERED_MULTICAST, U32_MAX },
	[NLPROBE_UNICAST] = { unicast, BUFFER },
	[NLPROBE_SET_ERR] = { set_err, NO_BUFFER, .arg = MAX_ERRNO },
	[NLPROBE_HAS_LISTENERS] = { has_listeners, NO_BUFFER },
	[NLPROBE_PUT_INTO] = { put_into, ROOM, FAMILIES, .arg = NLPROBE_MAX_BLOB },
	[NLPROBE_NLMSG_NOTIFY] = { notify, BUFFER, PROTOCOLS, .arg = 1 },
};

static bool sends_message(u32 verb)
{
	return verbs[verb].buffer == BUFFER || verbs[verb].buffer == GROUP_BUFFER;
}

static s64 call_send(void *data, gfp_t gfp)
{
	struct send *send = data;

	return verbs[send->arg->verb].call(send, gfp);
}

static int send_check(const struct nlprobe_send *arg, bool is_family)
{
	if (arg->raw > 1 || arg->verb >= NLPROBE_VERB_COUNT || arg->arg > verbs[arg->verb].arg)
		return -EINVAL;
	if (verbs[arg->verb].users == (is_family ? PROTOCOLS : FAMILIES))
		return -EINVAL;
	if (is_family && arg->type > U8_MAX)
		return -EINVAL;
	if (arg->raw && !sends_message(arg->verb))
		return -EINVAL;
	/* Port ID 0 is the kernel's: the message would come back as a request, with locks held. */
	if (arg->verb == NLPROBE_UNICAST && !arg->portid)
		return -EINVAL;
	if (arg->verb == NLPROBE_NLMSG_NOTIFY && arg->arg && !arg->portid)
		return -EINVAL;
	/* It would keep a message that is for nobody. */
	if (arg->verb == NLPROBE_NLMSG_NOTIFY && !arg->arg && !arg->group)
		return -EINVAL;
	return verbs[arg->verb].needs & ~COMPAT_FEATURES ? -EOPNOTSUPP : 0;
}

/* A buffer with exactly this much room: allocations are rounded up. */
static struct sk_buff *room_new(u32 room)
{
	struct sk_buff *skb = nlmsg_new(room, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	skb_reserve(skb, skb_tailroom(skb) - room);
	return skb;
}

static struct sk_buff *buffer_new(const struct send *send)
{
	switch (verbs[send->arg->verb].buffer) {
	case BUFFER:
	case GROUP_BUFFER:
		if (send->arg->raw)
			return nlprobe_datagram_new(send->message.payload, send->message.len);
		return nlprobe_message_new(send->object, &send->message);
	case ROOM:
		return room_new(send->arg->arg);
	default:
		return NULL;
	}
}

static s64 send_make(struct send *send, struct nlprobe_prepared_call *call,
		     struct nlprobe_send *arg)
{
	const struct nlprobe_family_object *family = nlprobe_to_family(send->object);
	u8 buffer = verbs[arg->verb].buffer;
	s64 result;

	send->net = call->net;
	if (family && buffer == GROUP_BUFFER)
		nlprobe_send_hold(family, arg->group, send->skb);
	result = nlprobe_call_make(call, &arg->call, call_send, send);
	if (family && buffer == GROUP_BUFFER)
		nlprobe_send_settle(family, arg->group, send->skb);
	if (buffer == ROOM)
		kfree_skb(send->skb);
	return result;
}

static int send_from(struct nlprobe_send *arg, struct send *send)
{
	struct nlprobe_prepared_call call;
	void *payload;
	int err = send_check(arg, !!send->genl);

	if (err)
		return err;
	payload = nlprobe_fetch(&arg->payload, 1, NLPROBE_MAX_BLOB);
	if (IS_ERR(payload))
		return PTR_ERR(payload);
	send->arg = arg;
	send->message = (struct nlprobe_message) {
		.type = arg->type,
		.flags = arg->flags,
		.seq = arg->seq,
		.payload = payload,
		.len = arg->payload.count,
	};
	err = nlprobe_call_prepare(&call, &arg->call, true);
	if (!err) {
		send->skb = buffer_new(send);
		if (IS_ERR(send->skb)) {
			err = PTR_ERR(send->skb);
			nlprobe_call_drop(&call);
		} else {
			arg->result = send_make(send, &call, arg);
		}
	}
	kvfree(payload);
	return err;
}

int nlprobe_send_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_send *in = arg;
	struct nlprobe_object *object = nlprobe_session_find(session, in->handle,
							     &nlprobe_family_type);
	struct send send = {};
	struct nlprobe_protocol_object *protocol;
	int err = -EINVAL;

	send.object = object;
	if (object) {
		send.genl = &nlprobe_to_family(object)->genl;
		return send_from(in, &send);
	}
	object = nlprobe_session_find(session, in->handle, &nlprobe_protocol_type);
	if (!object)
		return err;
	protocol = nlprobe_to_protocol(object);
	send.object = object;
	mutex_lock(&protocol->lock);
	send.sk = protocol->sk;
	if (send.sk)
		err = send_from(in, &send);
	mutex_unlock(&protocol->lock);
	return err;
}
