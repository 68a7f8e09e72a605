// SPDX-License-Identifier: GPL-2.0
/*
 * bind and unbind do not get their family: each slot has its own functions, so that the function
 * identifies the family.
 */
#include <linux/cred.h>

#include "probe.h"

#define EACH_SLOT(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

/* Filled and emptied while no family in it is registered, so the callbacks need no lock. */
static struct nlprobe_family_object *families[8];

static s64 slot_run(int slot, u32 on, u32 subject)
{
	struct nlprobe_run run = {
		/* In use for as long as these functions can be called. */
		.object = &families[slot]->object,
		.on = on,
		.cmd = -1,
		.subject = subject,
		.uid = current_euid(),
	};

	return nlprobe_script_run(&run);
}

#define FUNCTIONS(slot) \
static int bind_##slot(int group) \
{ \
	return slot_run(slot, NLPROBE_ON_BIND, group); \
} \
static void unbind_##slot(int group) \
{ \
	slot_run(slot, NLPROBE_ON_UNBIND, group); \
}

EACH_SLOT(FUNCTIONS)

static const struct {
	int (*bind)(int group);
	void (*unbind)(int group);
} functions[] = {
#define ROW(slot) { bind_##slot, unbind_##slot },
	EACH_SLOT(ROW)
};

int nlprobe_slot_take(struct nlprobe_family_object *family)
{
	int slot;

	for (slot = 0; slot < ARRAY_SIZE(families) && families[slot]; slot++)
		;
	if (slot == ARRAY_SIZE(families))
		return -EBUSY;
	families[slot] = family;
	family->slot = slot;
	compat_set_bind(&family->genl, functions[slot].bind, functions[slot].unbind);
	return 0;
}

void nlprobe_slot_give(struct nlprobe_family_object *family)
{
	if (family->slot >= 0)
		families[family->slot] = NULL;
	family->slot = -1;
}
