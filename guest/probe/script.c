// SPDX-License-Identifier: GPL-2.0
/* Scripts: the steps that a callback runs each time it is called. steps.c has the steps. */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/wait_bit.h>

#include "probe.h"

/* The limit for the bytes of all steps of one script. */
#define SCRIPT_ROOM (4 * NLPROBE_MAX_BLOB)

/* Running callbacks, of all files. */
static atomic_t running;

void nlprobe_script_unload(struct nlprobe_script *script)
{
	u32 i;

	for (i = 0; i < script->count; i++)
		kvfree(script->steps[i].bytes);
	kvfree(script->steps);
}

static int step_load(struct nlprobe_loaded_step *step, const struct nlprobe_step *how,
		     u32 allowed_on)
{
	int err;

	if (how->on >= NLPROBE_ON_COUNT || !(BIT(how->on) & allowed_on) ||
	    how->cmd < -1 || how->cmd > U8_MAX)
		return -EINVAL;
	err = nlprobe_step_check(how);
	if (err)
		return err;
	step->how = *how;
	step->bytes = nlprobe_fetch_text(&how->bytes, NLPROBE_MAX_BLOB);
	if (IS_ERR(step->bytes)) {
		err = PTR_ERR(step->bytes);
		step->bytes = NULL;
	}
	return err;
}

int nlprobe_script_load(struct nlprobe_script *script, const struct nlprobe_array *array,
			u32 allowed_on)
{
	struct nlprobe_step *steps = nlprobe_fetch(array, sizeof(*steps), NLPROBE_MAX_STEPS);
	u32 room = SCRIPT_ROOM;
	int err = 0;
	u32 i;

	if (IS_ERR_OR_NULL(steps))
		return PTR_ERR_OR_ZERO(steps);
	script->steps = kvcalloc(array->count, sizeof(*script->steps), GFP_KERNEL);
	if (!script->steps)
		err = -ENOMEM;
	else
		script->count = array->count;
	for (i = 0; i < script->count && !err; i++) {
		if (steps[i].bytes.count > room) {
			err = -EINVAL;
			break;
		}
		room -= steps[i].bytes.count;
		err = step_load(&script->steps[i], &steps[i], allowed_on);
	}
	kvfree(steps);
	/* What was loaded is freed with the object. */
	return err;
}

/* Makes room for this many more bytes, and at least doubles the buffer. */
static bool capture_grow(struct nlprobe_run *run, u32 len)
{
	u32 room = 2 * run->captured_len + len;
	u8 *grown = kvmalloc(room, GFP_KERNEL);

	if (!grown)
		return false;
	memcpy(grown, run->captured, run->captured_len);
	kvfree(run->captured);
	run->captured = grown;
	run->captured_room = room;
	return true;
}

void nlprobe_run_capture(struct nlprobe_run *run, const void *data, u32 len)
{
	len = min(len, NLPROBE_MAX_CAPTURE - run->captured_len);
	if (len > run->captured_room - run->captured_len && !capture_grow(run, len)) {
		nlprobe_log_lose(&run->object->session->log);
		return;
	}
	memcpy(run->captured + run->captured_len, data, len);
	run->captured_len += len;
}

static void run_enter(struct nlprobe_run *run)
{
	struct nlprobe_script *script = &run->object->script;

	run->entered_ns = ktime_get_ns();
	if (run->cb)
		memcpy(run->dump_state, run->cb->ctx, sizeof(run->dump_state));
	if (run->on == NLPROBE_ON_DUMPIT)
		run->call = ++((struct nlprobe_dump_state *)run->cb->ctx)->calls;
	else
		run->call = atomic_inc_return(&script->calls[run->on]);
}

static void run_leave(struct nlprobe_run *run)
{
	struct nlprobe_log_entry entry = {
		.on = run->on,
		.handle = run->object->handle,
		.subject = run->subject,
		.portid = run->portid,
		.seq = run->seq,
		.call = run->call,
		.returned = run->returned,
		.tgid = task_tgid_nr(current),
		.uid = from_kuid(&init_user_ns, run->uid),
		.entered_ns = run->entered_ns,
		.left_ns = ktime_get_ns(),
		.len = run->captured_len,
	};

	nlprobe_log_add(&run->object->session->log, &entry, run->captured);
	kvfree(run->captured);
}

static void run_steps(struct nlprobe_run *run)
{
	const struct nlprobe_script *script = &run->object->script;
	u32 i;

	for (i = 0; i < script->count; i++) {
		const struct nlprobe_loaded_step *step = &script->steps[i];

		if (step->how.on != run->on ||
		    (step->how.cmd >= 0 && step->how.cmd != run->cmd) ||
		    (step->how.call && step->how.call != run->call))
			continue;
		if (nlprobe_step_run(run, step))
			return;
	}
	run->returned = run->on == NLPROBE_ON_DUMPIT ? run->skb->len : 0;
}

s64 nlprobe_script_run(struct nlprobe_run *run)
{
	/* Only the kernel's own allocations are to fail. */
	unsigned int fail_nth = compat_swap_fail_nth(0);

	atomic_inc(&running);
	run_enter(run);
	run_steps(run);
	run_leave(run);
	if (atomic_dec_and_test(&running))
		wake_up_var(&running);
	compat_swap_fail_nth(fail_nth);
	return run->returned;
}

void nlprobe_script_drain(void)
{
	/* Some instructions of this module before and after are not counted. */
	synchronize_rcu_tasks();
	wait_var_event(&running, !atomic_read(&running));
	synchronize_rcu_tasks();
}
