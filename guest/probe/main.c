// SPDX-License-Identifier: GPL-2.0
/*
 * nlprobe: makes kernel-side netlink calls on behalf of a process and reports the results.
 * This file holds the device and its ioctls. The module is mechanism only: it has no expectations.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/uaccess.h>

#include "probe.h"

static atomic_t open_files;

static bool expendable;
module_param(expendable, bool, 0444);
MODULE_PARM_DESC(expendable, "This machine may crash; without this the module refuses to load");

static int info_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_info *info = arg;

	info->abi = NLPROBE_ABI;
	info->features = COMPAT_FEATURES | nlprobe_fault_features();
	info->goodsize = NLMSG_GOODSIZE;
	info->overhead = PAGE_SIZE - SKB_WITH_OVERHEAD(PAGE_SIZE);
	return 0;
}

static int release_ioctl(struct nlprobe_session *session, void *arg)
{
	nlprobe_gate_open(&session->gate);
	return 0;
}

static int state_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_state *state = arg;
	int blocked;

	if (state->wait_ms > NLPROBE_MAX_WAIT || state->reserved)
		return -EINVAL;
	blocked = nlprobe_gate_waiting(&session->gate, state->wait_ms);
	if (blocked < 0)
		return blocked;
	state->blocked = blocked;
	state->references = max(compat_module_references() - atomic_read(&open_files), 0);
	return 0;
}

static const struct {
	unsigned int cmd;
	int (*handler)(struct nlprobe_session *session, void *arg);
} ioctls[] = {
	{ NLPROBE_INFO, info_ioctl },
	{ NLPROBE_FAMILY, nlprobe_family_ioctl },
	{ NLPROBE_REGISTER, nlprobe_family_register_ioctl },
	{ NLPROBE_UNREGISTER, nlprobe_family_unregister_ioctl },
	{ NLPROBE_PROTOCOL, nlprobe_protocol_ioctl },
	{ NLPROBE_PROTOCOL_END, nlprobe_protocol_end_ioctl },
	{ NLPROBE_SEND, nlprobe_send_ioctl },
	{ NLPROBE_CALLBACK, nlprobe_connector_ioctl },
	{ NLPROBE_CALLBACK_END, nlprobe_connector_end_ioctl },
	{ NLPROBE_CONNECTOR_SEND, nlprobe_connector_send_ioctl },
	{ NLPROBE_WATCH_RELEASE, nlprobe_watch_release_ioctl },
	{ NLPROBE_TAP, nlprobe_watch_tap_ioctl },
	{ NLPROBE_RELEASE, release_ioctl },
	{ NLPROBE_STATE, state_ioctl },
	{ NLPROBE_LOG, nlprobe_log_ioctl },
	{ NLPROBE_FAULT, nlprobe_fault_ioctl },
};

/* The largest argument. */
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
	struct nlprobe_session *session;

	/* Whatever the mode of the file: these calls give control of the kernel. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	session = nlprobe_session_open();
	if (IS_ERR(session))
		return PTR_ERR(session);
	atomic_inc(&open_files);
	file->private_data = session;
	return 0;
}

static int probe_release(struct inode *inode, struct file *file)
{
	nlprobe_session_close(file->private_data);
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
	int err;

	if (!expendable) {
		pr_err("nlprobe: lets root crash this kernel; load it with expendable=1 if that is acceptable\n");
		return -EPERM;
	}
	err = nlprobe_watch_init();
	if (err)
		return err;
	err = misc_register(&probe_device);
	if (err)
		nlprobe_watch_exit();
	return err;
}

static void __exit probe_exit(void)
{
	misc_deregister(&probe_device);
	nlprobe_watch_exit();
	/* A callback that started before its object was removed may still run. */
	nlprobe_script_drain();
	nlprobe_session_free_buried();
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The nlconform project");
MODULE_DESCRIPTION("Makes kernel-side netlink calls on behalf of a conformance test");
