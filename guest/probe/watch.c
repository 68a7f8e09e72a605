// SPDX-License-Identifier: GPL-2.0
/* Watching others: sockets that are released, and taps on interfaces. */
#include <linux/cred.h>
#include <linux/ktime.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "probe.h"

struct tap {
	struct netlink_tap tap;
	const struct nlprobe_session *session;
	struct list_head listed;
};

/* Of all files; protected by the RTNL, which also keeps their interfaces from going away. */
static LIST_HEAD(taps);

static int released(struct notifier_block *block, unsigned long event, void *data)
{
	struct nlprobe_session *session = container_of(block, struct nlprobe_session,
						       release_watch);
	const struct netlink_notify *notify = data;
	u64 now = ktime_get_ns();
	struct nlprobe_log_entry entry = {
		.on = NLPROBE_ON_RELEASE,
		.subject = notify->protocol,
		.portid = notify->portid,
		.tgid = task_tgid_nr(current),
		.uid = from_kuid(&init_user_ns, current_euid()),
		.entered_ns = now,
		.left_ns = now,
	};

	if (event != NETLINK_URELEASE)
		return NOTIFY_DONE;
	entry.call = atomic_inc_return(&session->releases);
	if (notify->net->ns.inum == session->watching_from)
		entry.returned = 1;
	else
		entry.returned = net_eq(notify->net, &init_net) ? 2 : 3;
	nlprobe_log_add(&session->log, &entry, NULL);
	return NOTIFY_DONE;
}

int nlprobe_watch_release_ioctl(struct nlprobe_session *session, void *arg)
{
	int err = 0;

	mutex_lock(&session->lock);
	if (!session->watching) {
		session->release_watch.notifier_call = released;
		session->watching_from = current->nsproxy->net_ns->ns.inum;
		err = netlink_register_notifier(&session->release_watch);
		session->watching = !err;
	}
	mutex_unlock(&session->lock);
	return err;
}

static struct tap *tap_find(const struct nlprobe_session *session, const struct net_device *dev)
{
	struct tap *tap;

	list_for_each_entry(tap, &taps, listed)
		if (tap->session == session && tap->tap.dev == dev)
			return tap;
	return NULL;
}

static struct tap *tap_new(const struct nlprobe_session *session, struct net_device *dev)
{
	struct tap *tap = kzalloc(sizeof(*tap), GFP_KERNEL);

	if (tap) {
		tap->session = session;
		tap->tap.dev = dev;
		tap->tap.module = THIS_MODULE;
		INIT_LIST_HEAD(&tap->listed);
	}
	return tap;
}

static int tap_delete(struct tap *tap)
{
	int err = netlink_remove_tap(&tap->tap);

	list_del(&tap->listed);
	kfree(tap);
	return err;
}

static int tap_add(struct tap *tap)
{
	int err = netlink_add_tap(&tap->tap);

	if (err)
		kfree(tap);
	else
		list_add(&tap->listed, &taps);
	return err;
}

int nlprobe_watch_tap_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_tap *in = arg;
	struct net_device *dev;
	struct tap *tap = NULL;
	int err = 0;

	if (in->add > 1)
		return -EINVAL;
	rtnl_lock();
	dev = __dev_get_by_index(current->nsproxy->net_ns, in->ifindex);
	if (!dev) {
		err = -EINVAL;
		goto out;
	}
	/* One that was never added is also passed to the kernel. */
	if (!in->add)
		tap = tap_find(session, dev);
	if (!tap)
		tap = tap_new(session, dev);
	if (!tap) {
		err = -ENOMEM;
		goto out;
	}
	in->result = in->add ? tap_add(tap) : tap_delete(tap);
out:
	rtnl_unlock();
	return err;
}

/* Removes the taps of this file, or on this interface. */
static void taps_delete(const struct nlprobe_session *session, const struct net_device *dev)
{
	struct tap *tap, *next;

	list_for_each_entry_safe(tap, next, &taps, listed)
		if (tap->session == session || tap->tap.dev == dev)
			tap_delete(tap);
}

static int device_changed(struct notifier_block *block, unsigned long event, void *data)
{
	if (event == NETDEV_UNREGISTER)
		taps_delete(NULL, netdev_notifier_info_to_dev(data));
	return NOTIFY_DONE;
}

static struct notifier_block device_watch = { .notifier_call = device_changed };

int nlprobe_watch_init(void)
{
	return register_netdevice_notifier(&device_watch);
}

void nlprobe_watch_exit(void)
{
	unregister_netdevice_notifier(&device_watch);
}

void nlprobe_watch_close(struct nlprobe_session *session)
{
	if (session->watching)
		netlink_unregister_notifier(&session->release_watch);
	rtnl_lock();
	taps_delete(session, NULL);
	rtnl_unlock();
}
