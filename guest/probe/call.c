// SPDX-License-Identifier: GPL-2.0
/* Makes kernel calls in the requested context, and copies their arguments from user space. */
#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>

#include "probe.h"

int nlprobe_call_prepare(struct nlprobe_prepared_call *call, const struct nlprobe_call *arg,
			 bool may_be_atomic)
{
	if (arg->context >= NLPROBE_CONTEXT_COUNT || arg->failed)
		return -EINVAL;
	/* The kernel counts the allocations of a task; a softirq has none. */
	if (arg->context != NLPROBE_CONTEXT_PROCESS && (!may_be_atomic || arg->fail_nth))
		return -EINVAL;
	if (arg->fail_nth && !(COMPAT_FEATURES & NLPROBE_HAS_FAIL_NTH))
		return -EOPNOTSUPP;

	call->context = arg->context;
	call->fail_nth = arg->fail_nth;
	if (arg->net == NLPROBE_NET_OWN)
		call->net = get_net(current->nsproxy->net_ns);
	else if (arg->net == NLPROBE_NET_INITIAL)
		call->net = get_net(&init_net);
	else if (arg->net >= 0)
		call->net = get_net_ns_by_fd(arg->net);
	else
		return -EINVAL;
	return PTR_ERR_OR_ZERO(call->net);
}

void nlprobe_call_drop(struct nlprobe_prepared_call *call)
{
	put_net(call->net);
}

struct softirq_job {
	struct work_struct work;
	nlprobe_call_fn fn;
	void *data;
	s64 result;
};

static void softirq_run(struct work_struct *work)
{
	struct softirq_job *job = container_of(work, struct softirq_job, work);

	job->result = job->fn(job->data, GFP_ATOMIC);
}

static s64 softirq_call(nlprobe_call_fn fn, void *data)
{
	struct softirq_job job = { .fn = fn, .data = data };

	compat_run_in_bh(softirq_run, &job.work);
	return job.result;
}

/* Makes lockdep see what must not happen while a lock is held that interrupts take. */
static DEFINE_SPINLOCK(interrupts_lock);

static void take_in_interrupt(struct irq_work *work)
{
	spin_lock(&interrupts_lock);
	spin_unlock(&interrupts_lock);
}

static s64 interrupts_off_call(nlprobe_call_fn fn, void *data)
{
	struct irq_work interrupt;
	unsigned long flags;
	s64 result;

	init_irq_work(&interrupt, take_in_interrupt);
	irq_work_queue(&interrupt);
	irq_work_sync(&interrupt);
	spin_lock_irqsave(&interrupts_lock, flags);
	result = fn(data, GFP_ATOMIC);
	spin_unlock_irqrestore(&interrupts_lock, flags);
	return result;
}

s64 nlprobe_call_make(struct nlprobe_prepared_call *call, struct nlprobe_call *arg,
		      nlprobe_call_fn fn, void *data)
{
	s64 result;

	if (call->context == NLPROBE_CONTEXT_SOFTIRQ) {
		result = softirq_call(fn, data);
	} else if (call->context == NLPROBE_CONTEXT_INTERRUPTS_OFF) {
		result = interrupts_off_call(fn, data);
	} else if (call->fail_nth) {
		unsigned int before = compat_swap_fail_nth(call->fail_nth);

		result = fn(data, GFP_KERNEL);
		/* It counts down, and is 0 once an allocation has failed. */
		arg->failed = !compat_swap_fail_nth(before);
	} else {
		result = fn(data, GFP_KERNEL);
	}
	nlprobe_call_drop(call);
	return result;
}

void *nlprobe_fetch(const struct nlprobe_array *array, size_t size, u32 max)
{
	if (array->count > max || array->reserved)
		return ERR_PTR(-EINVAL);
	if (!array->count)
		return NULL;
	return vmemdup_user(u64_to_user_ptr(array->ptr), size * array->count);
}

char *nlprobe_fetch_text(const struct nlprobe_array *array, u32 max)
{
	char *text;

	if (array->count > max || array->reserved)
		return ERR_PTR(-EINVAL);
	text = kvmalloc(array->count + 1, GFP_KERNEL);
	if (!text)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(text, u64_to_user_ptr(array->ptr), array->count)) {
		kvfree(text);
		return ERR_PTR(-EFAULT);
	}
	text[array->count] = 0;
	return text;
}
