// SPDX-License-Identifier: GPL-2.0
/* Ways to break the kernel, to test that the lab survives. Off unless `faults` is set. */
#include <linux/irqflags.h>
#include <linux/moduleparam.h>

#include "probe.h"

static bool faults;
module_param(faults, bool, 0444);
MODULE_PARM_DESC(faults, "Let NLPROBE_FAULT break the kernel");

u32 nlprobe_fault_features(void)
{
	return faults ? NLPROBE_HAS_FAULTS : 0;
}

static void spin(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

int nlprobe_fault_ioctl(struct nlprobe_session *session, void *arg)
{
	const struct nlprobe_fault *fault = arg;

	if (!faults)
		return -EPERM;
	switch (fault->kind) {
	case NLPROBE_FAULT_PANIC:
		panic("nlprobe: as asked for");
	case NLPROBE_FAULT_OOPS:
		WRITE_ONCE(*(int *)NULL, 0);
		return 0;
	case NLPROBE_FAULT_SPIN:
		spin();
	}
	return -EINVAL;
}
