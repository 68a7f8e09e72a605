// SPDX-License-Identifier: GPL-2.0
/* The connector: callbacks, and sends. */
#include <linux/mm.h>
#include <linux/slab.h>

#include "probe.h"

struct nlprobe_callback_object {
	struct nlprobe_object object;
	struct cb_id id;
	struct list_head listed;
	/* Registered with the connector; protected by `registry`. */
	bool added;
};

/* Held while callbacks are added and deleted. */
static DEFINE_MUTEX(registry);
/* Callbacks that are registered with the connector, or are about to be. */
static struct nlprobe_list callbacks = {
	.lock = __SPIN_LOCK_UNLOCKED(callbacks.lock),
	.head = LIST_HEAD_INIT(callbacks.head),
};

static const struct nlprobe_object_type callback_type;

static struct nlprobe_callback_object *to_callback(struct nlprobe_object *object)
{
	return container_of(object, struct nlprobe_callback_object, object);
}

static struct nlprobe_callback_object *callback_find(const struct cb_id *id)
{
	struct nlprobe_callback_object *callback, *found = NULL;

	/* A callback that will be refused is listed after the one whose ID it asks for. */
	spin_lock(&callbacks.lock);
	list_for_each_entry(callback, &callbacks.head, listed) {
		if (callback->id.idx == id->idx && callback->id.val == id->val) {
			found = callback;
			break;
		}
	}
	spin_unlock(&callbacks.lock);
	return found;
}

/* The connector does not wait for this: it may still run long after its callback was deleted. */
static void connector_input(struct cn_msg *msg, struct netlink_skb_parms *parms)
{
	struct nlprobe_callback_object *callback = callback_find(&msg->id);
	struct nlprobe_run run = {
		.on = NLPROBE_ON_CONNECTOR,
		.cmd = -1,
		.portid = parms->portid,
		.seq = msg->seq,
		.uid = parms->creds.uid,
		.message = msg,
		.message_len = sizeof(*msg) + msg->len,
	};

	/* It may have been deleted while the message was on its way. */
	if (!callback)
		return;
	run.object = &callback->object;
	nlprobe_script_run(&run);
}

struct addition {
	struct nlprobe_callback_object *callback;
	const char *name;
};

static s64 call_add(void *data, gfp_t gfp)
{
	struct addition *addition = data;

	return compat_cn_add_callback(&addition->callback->id, addition->name, connector_input);
}

static void callback_delete(struct nlprobe_callback_object *callback)
{
	lockdep_assert_held(&registry);
	compat_cn_del_callback(&callback->id);
	nlprobe_list_del(&callbacks, &callback->listed);
	callback->added = false;
}

static void callback_undo(struct nlprobe_object *object)
{
	struct nlprobe_callback_object *callback = to_callback(object);

	mutex_lock(&registry);
	if (callback->added)
		callback_delete(callback);
	mutex_unlock(&registry);
}

static void callback_free(struct nlprobe_object *object)
{
	nlprobe_script_unload(&object->script);
	kfree(to_callback(object));
}

static const struct nlprobe_object_type callback_type = {
	.undo = callback_undo,
	.free = callback_free,
};

static void callback_add(struct nlprobe_callback_object *callback, struct nlprobe_callback *arg,
			 const char *name, struct nlprobe_prepared_call *call)
{
	struct addition addition = { .callback = callback, .name = name };

	mutex_lock(&registry);
	/* A message can arrive before the call returns. */
	nlprobe_list_add(&callbacks, &callback->listed);
	/* Even if it will be refused: a call for another one may just have found it. */
	callback->object.exposed = true;
	arg->result = nlprobe_call_make(call, &arg->call, call_add, &addition);
	callback->added = !arg->result;
	if (!callback->added)
		nlprobe_list_del(&callbacks, &callback->listed);
	mutex_unlock(&registry);
	arg->handle = callback->object.handle;
}

int nlprobe_connector_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_callback *in = arg;
	struct nlprobe_callback_object *callback;
	struct nlprobe_prepared_call call;
	char *name;
	int err;

	if (in->reserved)
		return -EINVAL;
	if (!(COMPAT_FEATURES & NLPROBE_HAS_CONNECTOR))
		return -EOPNOTSUPP;
	name = nlprobe_fetch_text(&in->name, NLPROBE_CN_NAME);
	if (IS_ERR(name))
		return PTR_ERR(name);
	err = nlprobe_call_prepare(&call, &in->call, false);
	if (err)
		goto free_name;
	callback = kzalloc(sizeof(*callback), GFP_KERNEL);
	if (!callback) {
		err = -ENOMEM;
		goto drop_call;
	}
	callback->object.type = &callback_type;
	callback->id.idx = in->id.idx;
	callback->id.val = in->id.val;
	err = nlprobe_script_load(&callback->object.script, &in->script, BIT(NLPROBE_ON_CONNECTOR));
	if (!err)
		err = nlprobe_session_add(session, &callback->object);
	if (err) {
		callback_free(&callback->object);
		goto drop_call;
	}
	callback_add(callback, in, name, &call);
	kvfree(name);
	return 0;

drop_call:
	nlprobe_call_drop(&call);
free_name:
	kvfree(name);
	return err;
}

int nlprobe_connector_end_ioctl(struct nlprobe_session *session, void *arg)
{
	const struct nlprobe_cb_id *in = arg;
	struct cb_id id = { .idx = in->idx, .val = in->val };
	struct nlprobe_callback_object *callback;
	int err = 0;

	if (!(COMPAT_FEATURES & NLPROBE_HAS_CONNECTOR))
		return -EOPNOTSUPP;
	mutex_lock(&registry);
	callback = callback_find(&id);
	if (callback)
		callback_delete(callback);
	else if (id.idx && id.idx < CN_NETLINK_USERS)
		/* It can be the kernel's own, which would be lost for good. */
		err = -EINVAL;
	else
		compat_cn_del_callback(&id);
	mutex_unlock(&registry);
	return err;
}

struct connector_call {
	const struct nlprobe_connector_send *arg;
	struct cn_msg *msg;
	u32 skip;
};

static s64 call_send(void *data, gfp_t gfp)
{
	struct connector_call *send = data;
	const struct nlprobe_connector_send *arg = send->arg;

	return compat_cn_send(send->msg, arg->payload.count, arg->portid, arg->group, gfp,
			      arg->filter ? nlprobe_send_filter : NULL, &send->skip);
}

int nlprobe_connector_send_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_connector_send *in = arg;
	struct connector_call send = { .arg = in, .skip = in->skip };
	struct nlprobe_prepared_call call;
	void *payload;
	int err;

	if (in->filter > 1 || in->reserved)
		return -EINVAL;
	if (!(COMPAT_FEATURES & NLPROBE_HAS_CONNECTOR) ||
	    (in->filter && !(COMPAT_FEATURES & NLPROBE_HAS_CONNECTOR_FILTER)))
		return -EOPNOTSUPP;
	/* cn_netlink_send_mult() takes the size in 16 bits. */
	payload = nlprobe_fetch(&in->payload, 1, U16_MAX);
	if (IS_ERR(payload))
		return PTR_ERR(payload);
	send.msg = kvmalloc(sizeof(*send.msg) + in->payload.count, GFP_KERNEL);
	err = send.msg ? nlprobe_call_prepare(&call, &in->call, true) : -ENOMEM;
	if (!err) {
		send.msg->id.idx = in->id.idx;
		send.msg->id.val = in->id.val;
		send.msg->seq = in->seq;
		send.msg->ack = in->ack;
		send.msg->len = in->len;
		send.msg->flags = in->flags;
		memcpy(send.msg->data, payload, in->payload.count);
		in->result = nlprobe_call_make(&call, &in->call, call_send, &send);
	}
	kvfree(send.msg);
	kvfree(payload);
	return err;
}
