// SPDX-License-Identifier: GPL-2.0
/* Protocols: kernel sockets, and their callbacks. */
#include <linux/cred.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "probe.h"

/* Callbacks that a protocol's script can have steps for. */
#define SCRIPTED (BIT(NLPROBE_ON_INPUT) | BIT(NLPROBE_ON_BIND) | BIT(NLPROBE_ON_UNBIND) | \
		  BIT(NLPROBE_ON_START) | BIT(NLPROBE_ON_DUMPIT) | BIT(NLPROBE_ON_DONE))
#define FLAGS (NLPROBE_PROTOCOL_NONROOT_RECV | NLPROBE_PROTOCOL_NONROOT_SEND | \
	       NLPROBE_PROTOCOL_INPUT | NLPROBE_PROTOCOL_BIND | NLPROBE_PROTOCOL_NO_CFG)

/* Protocols with a kernel socket, and those that are about to get one. */
static struct nlprobe_list protocols = {
	.lock = __SPIN_LOCK_UNLOCKED(protocols.lock),
	.head = LIST_HEAD_INIT(protocols.head),
};

/* The callbacks get number and namespace, for which the core has at most one kernel socket. */
static struct nlprobe_protocol_object *protocol_find(int number, const struct net *net)
{
	struct nlprobe_protocol_object *protocol, *found = NULL;

	/* A protocol whose creation will be refused is listed after the one that is in its way. */
	spin_lock(&protocols.lock);
	list_for_each_entry(protocol, &protocols.head, listed) {
		if (protocol->number == number && net_eq(protocol->net, net)) {
			found = protocol;
			break;
		}
	}
	spin_unlock(&protocols.lock);
	return found;
}

static int protocol_message(struct sk_buff *skb, struct nlmsghdr *nlh,
			    struct netlink_ext_ack *extack)
{
	struct nlprobe_protocol_object *protocol = protocol_find(skb->sk->sk_protocol,
								 sock_net(skb->sk));
	struct nlprobe_run run = {
		.on = NLPROBE_ON_INPUT,
		.cmd = -1,
		.portid = NETLINK_CB(skb).portid,
		.seq = nlh->nlmsg_seq,
		.uid = NETLINK_CREDS(skb)->uid,
		.nlh = nlh,
		.message = nlh,
		.message_len = nlh->nlmsg_len,
		.extack = extack,
		.skb = skb,
	};

	/* The socket was released while the message was on its way. */
	if (!protocol)
		return -ECONNREFUSED;
	run.object = &protocol->object;
	return nlprobe_script_run(&run);
}

static void protocol_input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, protocol_message);
}

static int membership_run(int number, struct net *net, u32 on, int group)
{
	struct nlprobe_protocol_object *protocol = protocol_find(number, net);
	struct nlprobe_run run = {
		.on = on,
		.cmd = -1,
		.subject = group,
		.uid = current_euid(),
	};

	/* Sockets keep these functions after the kernel's is released. */
	if (!protocol)
		return 0;
	run.object = &protocol->object;
	return nlprobe_script_run(&run);
}

/* bind and unbind do not get the number, so each number has its own functions. */
#define EACH_NUMBER(DO) \
	DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) \
	DO(14) DO(15) DO(16) DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23) DO(24) DO(25) \
	DO(26) DO(27) DO(28) DO(29) DO(30) DO(31)

#define FUNCTIONS(number) \
static int bind_##number(struct net *net, int group) \
{ \
	return membership_run(number, net, NLPROBE_ON_BIND, group); \
} \
static void unbind_##number(struct net *net, int group) \
{ \
	membership_run(number, net, NLPROBE_ON_UNBIND, group); \
}

EACH_NUMBER(FUNCTIONS)

static const struct {
	int (*bind)(struct net *net, int group);
	void (*unbind)(struct net *net, int group);
} functions[MAX_LINKS] = {
#define ROW(number) { bind_##number, unbind_##number },
	EACH_NUMBER(ROW)
};

struct creation {
	struct nlprobe_protocol_object *protocol;
	struct netlink_kernel_cfg cfg;
	bool has_cfg;
};

static s64 call_create(void *data, gfp_t gfp)
{
	struct creation *creation = data;
	struct nlprobe_protocol_object *protocol = creation->protocol;

	lockdep_assert_held(&protocol->lock);
	protocol->sk = netlink_kernel_create(protocol->net, protocol->number,
					     creation->has_cfg ? &creation->cfg : NULL);
	return protocol->sk ? 0 : -ENOMEM;
}

/* Releases the kernel socket. */
static void protocol_release(struct nlprobe_protocol_object *protocol)
{
	lockdep_assert_held(&protocol->lock);
	netlink_kernel_release(protocol->sk);
	protocol->sk = NULL;
	nlprobe_list_del(&protocols, &protocol->listed);
	put_net(protocol->net);
}

static void protocol_create(struct nlprobe_protocol_object *protocol, struct nlprobe_protocol *arg,
			    struct nlprobe_prepared_call *call)
{
	struct creation creation = {
		.protocol = protocol,
		.has_cfg = !(arg->flags & NLPROBE_PROTOCOL_NO_CFG),
		.cfg = {
			.groups = arg->groups,
			.flags = (arg->flags & NLPROBE_PROTOCOL_NONROOT_RECV ?
				  NL_CFG_F_NONROOT_RECV : 0) |
				 (arg->flags & NLPROBE_PROTOCOL_NONROOT_SEND ?
				  NL_CFG_F_NONROOT_SEND : 0),
			.input = arg->flags & NLPROBE_PROTOCOL_INPUT ? protocol_input : NULL,
		},
	};

	/* The core refuses other numbers. */
	if (arg->flags & NLPROBE_PROTOCOL_BIND && protocol->number >= 0 &&
	    protocol->number < MAX_LINKS) {
		creation.cfg.bind = functions[protocol->number].bind;
		creation.cfg.unbind = functions[protocol->number].unbind;
	}

	mutex_lock(&protocol->lock);
	/* A kernel socket does not hold its namespace. */
	protocol->net = get_net(call->net);
	nlprobe_list_add(&protocols, &protocol->listed);
	/* Even if it will be refused: a callback of another one may just have found it. */
	protocol->object.exposed = true;
	arg->result = nlprobe_call_make(call, &arg->call, call_create, &creation);
	if (!protocol->sk) {
		nlprobe_list_del(&protocols, &protocol->listed);
		put_net(protocol->net);
	}
	mutex_unlock(&protocol->lock);
	arg->handle = protocol->object.handle;
}

static void protocol_undo(struct nlprobe_object *object)
{
	struct nlprobe_protocol_object *protocol = nlprobe_to_protocol(object);

	mutex_lock(&protocol->lock);
	if (protocol->sk)
		protocol_release(protocol);
	mutex_unlock(&protocol->lock);
}

static void protocol_free(struct nlprobe_object *object)
{
	nlprobe_script_unload(&object->script);
	kfree(nlprobe_to_protocol(object));
}

const struct nlprobe_object_type nlprobe_protocol_type = {
	.undo = protocol_undo,
	.free = protocol_free,
};

int nlprobe_protocol_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_protocol *in = arg;
	struct nlprobe_protocol_object *protocol;
	struct nlprobe_prepared_call call;
	int err;

	if (in->groups > NLPROBE_MAX_PROTOCOL_GROUPS || in->flags & ~FLAGS)
		return -EINVAL;
	if (in->flags & NLPROBE_PROTOCOL_NO_CFG &&
	    (in->groups || in->flags != NLPROBE_PROTOCOL_NO_CFG))
		return -EINVAL;
	err = nlprobe_call_prepare(&call, &in->call, false);
	if (err)
		return err;
	protocol = kzalloc(sizeof(*protocol), GFP_KERNEL);
	if (!protocol) {
		nlprobe_call_drop(&call);
		return -ENOMEM;
	}
	protocol->object.type = &nlprobe_protocol_type;
	protocol->number = in->protocol;
	mutex_init(&protocol->lock);
	err = nlprobe_script_load(&protocol->object.script, &in->script, SCRIPTED);
	if (!err)
		err = nlprobe_session_add(session, &protocol->object);
	if (err) {
		nlprobe_call_drop(&call);
		protocol_free(&protocol->object);
		return err;
	}
	protocol_create(protocol, in, &call);
	return 0;
}

int nlprobe_protocol_end_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_object *object = nlprobe_session_find(session, *(u32 *)arg,
							     &nlprobe_protocol_type);
	struct nlprobe_protocol_object *protocol;
	int err = -EINVAL;

	if (!object)
		return err;
	protocol = nlprobe_to_protocol(object);
	mutex_lock(&protocol->lock);
	if (protocol->sk) {
		protocol_release(protocol);
		err = 0;
	}
	mutex_unlock(&protocol->lock);
	return err;
}
