// SPDX-License-Identifier: GPL-2.0
/* Families: built from their descriptions, registered and unregistered. */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "probe.h"

/* Callbacks that a family's script can have steps for. */
#define SCRIPTED (BIT(NLPROBE_ON_DOIT) | BIT(NLPROBE_ON_DUMPIT) | BIT(NLPROBE_ON_START) | \
		  BIT(NLPROBE_ON_DONE) | BIT(NLPROBE_ON_PRE_DOIT) | BIT(NLPROBE_ON_POST_DOIT) | \
		  BIT(NLPROBE_ON_BIND) | BIT(NLPROBE_ON_UNBIND))
#define FLAGS (NLPROBE_FAMILY_NETNSOK | NLPROBE_FAMILY_PARALLEL_OPS | NLPROBE_FAMILY_PRE_POST | \
	       NLPROBE_FAMILY_BIND)

/* Held while families come and go, but never taken in a callback: the core waits for those. */
static DEFINE_MUTEX(registry);
/* Families that are registered, or are about to be; protected by their lock, too. */
static struct nlprobe_list families = {
	.lock = __SPIN_LOCK_UNLOCKED(families.lock),
	.head = LIST_HEAD_INIT(families.head),
};

/* IDs that a family of this module has had. */
static DECLARE_BITMAP(used_ids, GENL_MAX_ID + 1);

struct nlprobe_family_object *nlprobe_family_find(int id)
{
	struct nlprobe_family_object *family, *found = NULL;

	/* A family that is being registered still has the ID that it asked for, and is last. */
	spin_lock(&families.lock);
	list_for_each_entry(family, &families.head, listed) {
		if (family->genl.id == id) {
			found = family;
			break;
		}
	}
	spin_unlock(&families.lock);
	return found;
}

static s64 call_register(void *data, gfp_t gfp)
{
	struct nlprobe_family_object *family = data;
	int err;

	lockdep_assert_held(&registry);
	/* Its name is in use, by itself. */
	if (family->registered)
		return genl_register_family(&family->genl);

	/* A request can arrive before the call returns. */
	nlprobe_list_add(&families, &family->listed);
	err = genl_register_family(&family->genl);
	if (err) {
		nlprobe_list_del(&families, &family->listed);
		return err;
	}
	family->object.exposed = true;
	set_bit(family->genl.id, used_ids);
	family->registered = true;
	return 0;
}

static s64 call_unregister(void *data, gfp_t gfp)
{
	struct nlprobe_family_object *family = data;
	int err;

	lockdep_assert_held(&registry);
	if (!family->registered)
		return genl_unregister_family(&family->genl);

	err = genl_unregister_family(&family->genl);
	family->registered = false;
	nlprobe_list_del(&families, &family->listed);
	return err;
}

/*
 * The core checks only the ID, and would unregister whichever family has it now. It allocates
 * IDs cyclically, so an ID that was ours once and is no longer is unused.
 */
static bool may_unregister(const struct nlprobe_family_object *family)
{
	int id = family->genl.id;

	lockdep_assert_held(&registry);
	return family->registered || id < GENL_MIN_ID || id > GENL_MAX_ID ||
	       (test_bit(id, used_ids) && !nlprobe_family_find(id));
}

static void family_undo(struct nlprobe_object *object)
{
	struct nlprobe_family_object *family = nlprobe_to_family(object);

	mutex_lock(&registry);
	if (family->registered)
		call_unregister(family, GFP_KERNEL);
	nlprobe_slot_give(family);
	mutex_unlock(&registry);
}

static void family_free(struct nlprobe_object *object)
{
	struct nlprobe_family_object *family = nlprobe_to_family(object);

	nlprobe_script_unload(&object->script);
	nlprobe_policies_unload(&family->policies);
	kvfree(family->full_ops);
	kvfree(family->small_ops);
	kvfree(family->split_ops);
	kvfree(family->groups);
	kfree(family);
}

const struct nlprobe_object_type nlprobe_family_type = { .undo = family_undo, .free = family_free };

static int groups_load(struct nlprobe_family_object *family, const struct nlprobe_array *array)
{
	struct nlprobe_group *groups;
	u32 i;

	/* The kernel counts in a byte. */
	groups = nlprobe_fetch(array, sizeof(*groups), U8_MAX);
	if (IS_ERR_OR_NULL(groups))
		return PTR_ERR_OR_ZERO(groups);
	family->groups = kvcalloc(array->count, sizeof(*family->groups), GFP_KERNEL);
	if (!family->groups) {
		kvfree(groups);
		return -ENOMEM;
	}
	for (i = 0; i < array->count; i++) {
		memcpy(family->groups[i].name, groups[i].name, sizeof(groups[i].name));
		compat_set_group_flags(&family->groups[i],
				       groups[i].flags & NLPROBE_GROUP_NET_ADMIN,
				       groups[i].flags & NLPROBE_GROUP_SYS_ADMIN);
	}
	kvfree(groups);
	family->genl.mcgrps = family->groups;
	family->genl.n_mcgrps = array->count;
	return 0;
}

/* Families with these names have one group with a fixed ID; with two, the core hits a BUG_ON(). */
static bool is_single_group(const char *name)
{
	return !strcmp(name, "NET_DM") || !strcmp(name, "VFS_DQUOT") || !strcmp(name, "pmcraid");
}

static int family_check(const struct nlprobe_family *arg)
{
	if (arg->registration.reserved || arg->flags & ~FLAGS ||
	    strnlen(arg->name, sizeof(arg->name)) == sizeof(arg->name) ||
	    arg->hdrsize > NLPROBE_MAX_BLOB || arg->maxattr > NLPROBE_MAX_ATTR ||
	    arg->resv_start_op > U8_MAX ||
	    (is_single_group(arg->name) && arg->groups.count > 1))
		return -EINVAL;
	if (arg->flags & NLPROBE_FAMILY_BIND && !(COMPAT_FEATURES & NLPROBE_HAS_FAMILY_BIND))
		return -EOPNOTSUPP;
	return 0;
}

static int family_load(struct nlprobe_family_object *family, const struct nlprobe_family *arg)
{
	struct genl_family *genl = &family->genl;
	const struct nla_policy *policy;
	int err;

	memcpy(genl->name, arg->name, sizeof(genl->name));
	genl->id = arg->id;
	genl->hdrsize = arg->hdrsize;
	genl->version = arg->version;
	genl->maxattr = arg->maxattr;
	genl->netnsok = !!(arg->flags & NLPROBE_FAMILY_NETNSOK);
	genl->parallel_ops = !!(arg->flags & NLPROBE_FAMILY_PARALLEL_OPS);
	genl->module = THIS_MODULE;
	compat_set_resv_start_op(genl, arg->resv_start_op);
	if (arg->flags & NLPROBE_FAMILY_PRE_POST) {
		genl->pre_doit = nlprobe_family_pre_doit;
		genl->post_doit = nlprobe_family_post_doit;
	}

	err = nlprobe_policies_load(&family->policies, &arg->policies);
	if (err)
		return err;
	policy = nlprobe_policies_get(&family->policies, arg->policy, arg->maxattr);
	if (IS_ERR(policy))
		return PTR_ERR(policy);
	genl->policy = policy;
	err = nlprobe_ops_load(family, arg);
	if (err)
		return err;
	err = groups_load(family, &arg->groups);
	if (err)
		return err;
	return nlprobe_script_load(&family->object.script, &arg->script, SCRIPTED);
}

static struct nlprobe_family_object *family_new(struct nlprobe_session *session,
						const struct nlprobe_family *arg)
{
	struct nlprobe_family_object *family;
	int err = family_check(arg);

	if (err)
		return ERR_PTR(err);
	family = kzalloc(sizeof(*family), GFP_KERNEL);
	if (!family)
		return ERR_PTR(-ENOMEM);
	family->object.type = &nlprobe_family_type;
	family->slot = -1;
	err = family_load(family, arg);
	if (!err && arg->flags & NLPROBE_FAMILY_BIND)
		err = nlprobe_slot_take(family);
	if (!err)
		err = nlprobe_session_add(session, &family->object);
	if (err) {
		nlprobe_slot_give(family);
		family_free(&family->object);
		return ERR_PTR(err);
	}
	return family;
}

static void report(struct nlprobe_registration *registration,
		   const struct nlprobe_family_object *family)
{
	registration->handle = family->object.handle;
	registration->id = family->genl.id;
	registration->first_group = family->genl.mcgrp_offset;
}

static void family_register(struct nlprobe_family_object *family,
			    struct nlprobe_registration *registration,
			    struct nlprobe_prepared_call *call)
{
	registration->result = nlprobe_call_make(call, &registration->call, call_register, family);
	report(registration, family);
}

int nlprobe_family_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_family *in = arg;
	struct nlprobe_family_object *family;
	struct nlprobe_prepared_call call;
	int err = nlprobe_call_prepare(&call, &in->registration.call, false);

	if (err)
		return err;
	mutex_lock(&registry);
	family = family_new(session, in);
	if (IS_ERR(family)) {
		err = PTR_ERR(family);
		nlprobe_call_drop(&call);
	} else {
		family_register(family, &in->registration, &call);
	}
	mutex_unlock(&registry);
	return err;
}

/* The family of a registration, and the call to make with it. */
static struct nlprobe_family_object *family_prepare(struct nlprobe_session *session,
						    const struct nlprobe_registration *registration,
						    struct nlprobe_prepared_call *call)
{
	struct nlprobe_object *object = nlprobe_session_find(session, registration->handle,
							     &nlprobe_family_type);
	int err;

	if (!object || registration->reserved)
		return ERR_PTR(-EINVAL);
	err = nlprobe_call_prepare(call, &registration->call, false);
	return err ? ERR_PTR(err) : nlprobe_to_family(object);
}

int nlprobe_family_register_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_registration *registration = arg;
	struct nlprobe_prepared_call call;
	struct nlprobe_family_object *family = family_prepare(session, registration, &call);

	if (IS_ERR(family))
		return PTR_ERR(family);
	mutex_lock(&registry);
	family_register(family, registration, &call);
	mutex_unlock(&registry);
	return 0;
}

int nlprobe_family_unregister_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_registration *registration = arg;
	struct nlprobe_prepared_call call;
	struct nlprobe_family_object *family = family_prepare(session, registration, &call);
	int err = 0;

	if (IS_ERR(family))
		return PTR_ERR(family);
	mutex_lock(&registry);
	if (may_unregister(family)) {
		registration->result = nlprobe_call_make(&call, &registration->call,
							 call_unregister, family);
		report(registration, family);
	} else {
		err = -EINVAL;
		nlprobe_call_drop(&call);
	}
	mutex_unlock(&registry);
	return err;
}
