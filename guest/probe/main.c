// SPDX-License-Identifier: GPL-2.0
/*
 * nlprobe: makes kernel-side netlink calls on behalf of a process and reports what came of them.
 * This file holds the device and its ioctls. What is to be expected of a call is nobody's business
 * in here: the module is mechanism only.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/uaccess.h>

#include "probe.h"

static atomic_t open_files;

static int info_ioctl(struct session *session, void *arg)
{
	struct nlprobe_info *info = arg;

	info->abi = NLPROBE_ABI;
	info->features = COMPAT_FEATURES | fault_features();
	return 0;
}

static int release_ioctl(struct session *session, void *arg)
{
	gate_open(&session->gate);
	return 0;
}

static int state_ioctl(struct session *session, void *arg)
{
	struct nlprobe_state *state = arg;

	if (state->wait_ms > NLPROBE_MAX_WAIT || state->reserved)
		return -EINVAL;
	state->blocked = gate_waiting(&session->gate, state->wait_ms);
	state->references = max(compat_module_references() - atomic_read(&open_files), 0);
	return 0;
}

static const struct {
	unsigned int cmd;
	int (*handler)(struct session *session, void *arg);
} ioctls[] = {
	{ NLPROBE_INFO, info_ioctl },
	{ NLPROBE_FAMILY, family_ioctl },
	{ NLPROBE_REGISTER, family_register_ioctl },
	{ NLPROBE_UNREGISTER, family_unregister_ioctl },
	{ NLPROBE_PROTOCOL, protocol_ioctl },
	{ NLPROBE_PROTOCOL_END, protocol_end_ioctl },
	{ NLPROBE_SEND, send_ioctl },
	{ NLPROBE_CALLBACK, connector_ioctl },
	{ NLPROBE_CALLBACK_END, connector_end_ioctl },
	{ NLPROBE_CONNECTOR_SEND, connector_send_ioctl },
	{ NLPROBE_WATCH_RELEASE, watch_release_ioctl },
	{ NLPROBE_TAP, watch_tap_ioctl },
	{ NLPROBE_RELEASE, release_ioctl },
	{ NLPROBE_STATE, state_ioctl },
	{ NLPROBE_LOG, log_ioctl },
	{ NLPROBE_FAULT, fault_ioctl },
};

/* Room for the largest argument. */
union argument {
	struct nlprobe_info info;
	struct nlprobe_family family;
	struct nlprobe_protocol protocol;
	struct nlprobe_callback callback;
	struct nlprobe_connector_send connector_send;
	struct nlprobe_send send;
	struct nlprobe_tap tap;
	struct nlprobe_state state;
	struct nlprobe_log log;
	struct nlprobe_fault fault;
};

static long probe_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	union argument arg = {};
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(ioctls) && ioctls[i].cmd != cmd; i++)
		;
	if (i == ARRAY_SIZE(ioctls))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) &&
	    copy_from_user(&arg, (void __user *)user, _IOC_SIZE(cmd)))
		return -EFAULT;
	err = ioctls[i].handler(file->private_data, &arg);
	if (err)
		return err;
	if ((_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)user, &arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	return 0;
}

static int probe_open(struct inode *inode, struct file *file)
{
	struct session *session = session_open();

	if (IS_ERR(session))
		return PTR_ERR(session);
	atomic_inc(&open_files);
	file->private_data = session;
	return 0;
}

static int probe_release(struct inode *inode, struct file *file)
{
	session_close(file->private_data);
	atomic_dec(&open_files);
	return 0;
}

static const struct file_operations probe_operations = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.release = probe_release,
	.unlocked_ioctl = probe_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "nlprobe",
	.fops = &probe_operations,
};

static int __init probe_init(void)
{
	int err = watch_init();

	if (err)
		return err;
	err = misc_register(&probe_device);
	if (err)
		watch_exit();
	return err;
}

static void __exit probe_exit(void)
{
	misc_deregister(&probe_device);
	watch_exit();
	/* A callback that began before its object was taken back may still run. */
	script_drain();
	session_bury_all();
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Makes kernel-side netlink calls on behalf of a conformance test");
