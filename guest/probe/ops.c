// SPDX-License-Identifier: GPL-2.0
/* The commands of a family: one array for each of the three kinds of entries. */
#include <linux/mm.h>
#include <linux/slab.h>

#include "probe.h"

#define CAPS (GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP)
#define DO_CALLBACKS (NLPROBE_OP_DOIT | NLPROBE_OP_PRE_POST)
#define DUMP_CALLBACKS (NLPROBE_OP_DUMPIT | NLPROBE_OP_START | NLPROBE_OP_DONE)

/*
 * The policy of a command, once the core has used the family's for what is missing. It must extend
 * to the highest type that the core will then look up in it.
 */
static int effective_policy(const struct nlprobe_family_object *family, const struct nlprobe_op *op,
			    s32 family_policy)
{
	bool inherits = op->kind != NLPROBE_OPS_SPLIT;
	s32 index = op->policy == -1 && inherits ? family_policy : op->policy;
	u32 maxattr = op->maxattr || !inherits ? op->maxattr : family->genl.maxattr;
	const struct nla_policy *policy = nlprobe_policies_get(&family->policies, index, maxattr);

	if (IS_ERR(policy))
		return PTR_ERR(policy);
	if (!policy && maxattr && compat_reject_policy_is_short(&family->genl, op->cmd, !inherits))
		return -EINVAL;
	return 0;
}

static int full_load(struct nlprobe_family_object *family, const struct nlprobe_op *from)
{
	struct genl_ops *op = &family->full_ops[family->op_counts[NLPROBE_OPS_FULL]++];

	if (from->callbacks & NLPROBE_OP_PRE_POST)
		return -EINVAL;
	op->cmd = from->cmd;
	op->flags = from->flags;
	op->validate = from->validate;
	op->internal_flags = from->internal_flags;
	op->maxattr = from->maxattr;
	op->policy = nlprobe_policies_get(&family->policies, from->policy, from->maxattr);
	op->doit = from->callbacks & NLPROBE_OP_DOIT ? nlprobe_family_doit : NULL;
	op->dumpit = from->callbacks & NLPROBE_OP_DUMPIT ? nlprobe_dump_dumpit : NULL;
	op->start = from->callbacks & NLPROBE_OP_START ? nlprobe_dump_start : NULL;
	op->done = from->callbacks & NLPROBE_OP_DONE ? nlprobe_dump_done : NULL;
	return 0;
}

static int small_load(struct nlprobe_family_object *family, const struct nlprobe_op *from)
{
	struct genl_small_ops *op = &family->small_ops[family->op_counts[NLPROBE_OPS_SMALL]++];

	if (from->callbacks & ~(NLPROBE_OP_DOIT | NLPROBE_OP_DUMPIT) ||
	    from->policy != -1 || from->maxattr)
		return -EINVAL;
	op->cmd = from->cmd;
	op->flags = from->flags;
	op->validate = from->validate;
	op->internal_flags = from->internal_flags;
	op->doit = from->callbacks & NLPROBE_OP_DOIT ? nlprobe_family_doit : NULL;
	op->dumpit = from->callbacks & NLPROBE_OP_DUMPIT ? nlprobe_dump_dumpit : NULL;
	return 0;
}

static int split_load(struct nlprobe_family_object *family, const struct nlprobe_op *from,
		      bool alone)
{
	struct genl_split_ops *op = &family->split_ops[family->op_counts[NLPROBE_OPS_SPLIT]++];
	u8 caps = from->flags & CAPS;

	if (!(COMPAT_FEATURES & NLPROBE_HAS_SPLIT_OPS))
		return -EOPNOTSUPP;
	/* The core refuses an entry that is neither, but loops forever if it is the second one. */
	if (!caps && !alone)
		return -EINVAL;
	/* The core never checks that the handler promised by the flags exists. */
	if (caps == GENL_CMD_CAP_DO &&
	    (!(from->callbacks & NLPROBE_OP_DOIT) || from->callbacks & ~DO_CALLBACKS))
		return -EINVAL;
	if (caps == GENL_CMD_CAP_DUMP &&
	    (!(from->callbacks & NLPROBE_OP_DUMPIT) || from->callbacks & ~DUMP_CALLBACKS))
		return -EINVAL;
	op->cmd = from->cmd;
	op->flags = from->flags;
	op->validate = from->validate;
	op->internal_flags = from->internal_flags;
	op->maxattr = from->maxattr;
	op->policy = nlprobe_policies_get(&family->policies, from->policy, from->maxattr);
	/* The two sets of handlers share a union. */
	if (caps == GENL_CMD_CAP_DUMP) {
		op->dumpit = nlprobe_dump_dumpit;
		op->start = from->callbacks & NLPROBE_OP_START ? nlprobe_dump_start : NULL;
		op->done = from->callbacks & NLPROBE_OP_DONE ? nlprobe_dump_done : NULL;
	} else {
		op->doit = nlprobe_family_doit;
		if (from->callbacks & NLPROBE_OP_PRE_POST) {
			op->pre_doit = nlprobe_family_pre_doit;
			op->post_doit = nlprobe_family_post_doit;
		}
	}
	return 0;
}

static int op_load(struct nlprobe_family_object *family, const struct nlprobe_op *op,
		   s32 family_policy, bool alone)
{
	int err;

	if (op->reserved || op->callbacks & ~(DO_CALLBACKS | DUMP_CALLBACKS) ||
	    op->maxattr > NLPROBE_MAX_ATTR)
		return -EINVAL;
	/* An entry's own policy, then with what it gets from the family. */
	if (IS_ERR(nlprobe_policies_get(&family->policies, op->policy, op->maxattr)))
		return -EINVAL;
	err = effective_policy(family, op, family_policy);
	if (err)
		return err;
	if (op->kind == NLPROBE_OPS_FULL)
		return full_load(family, op);
	if (op->kind == NLPROBE_OPS_SMALL)
		return small_load(family, op);
	return split_load(family, op, alone);
}

/* After the last entry of a family's split_ops: a core that reads so far finds another command. */
static const struct genl_split_ops beyond = {
	.cmd = U8_MAX,
	.internal_flags = U8_MAX,
	.flags = GENL_CMD_CAP_DUMP,
	.dumpit = nlprobe_dump_dumpit,
};

static int arrays_alloc(struct nlprobe_family_object *family, const struct nlprobe_op *ops,
			u32 count)
{
	u32 counts[NLPROBE_OPS_COUNT] = {};
	u32 i;

	for (i = 0; i < count; i++) {
		if (ops[i].kind >= NLPROBE_OPS_COUNT)
			return -EINVAL;
		/* The kernel counts in a byte. */
		if (++counts[ops[i].kind] > U8_MAX)
			return -EINVAL;
	}
	family->full_ops = kvcalloc(counts[NLPROBE_OPS_FULL] + 1, sizeof(*family->full_ops),
				    GFP_KERNEL);
	family->small_ops = kvcalloc(counts[NLPROBE_OPS_SMALL] + 1, sizeof(*family->small_ops),
				     GFP_KERNEL);
	family->split_ops = kvcalloc(counts[NLPROBE_OPS_SPLIT] + 1, sizeof(*family->split_ops),
				     GFP_KERNEL);
	if (!family->full_ops || !family->small_ops || !family->split_ops)
		return -ENOMEM;
	family->split_ops[counts[NLPROBE_OPS_SPLIT]] = beyond;
	return 0;
}

static void arrays_give(struct nlprobe_family_object *family, u32 missing)
{
	struct genl_family *genl = &family->genl;

	genl->n_ops = family->op_counts[NLPROBE_OPS_FULL];
	genl->ops = missing == NLPROBE_OPS_FULL ? NULL : family->full_ops;
	genl->n_small_ops = family->op_counts[NLPROBE_OPS_SMALL];
	genl->small_ops = missing == NLPROBE_OPS_SMALL ? NULL : family->small_ops;
	compat_set_split_ops(genl, missing == NLPROBE_OPS_SPLIT ? NULL : family->split_ops,
			     family->op_counts[NLPROBE_OPS_SPLIT]);
}

int nlprobe_ops_load(struct nlprobe_family_object *family, const struct nlprobe_family *arg)
{
	struct nlprobe_op *ops;
	int err;
	u32 i;

	if (arg->missing_array > NLPROBE_OPS_COUNT)
		return -EINVAL;
	ops = nlprobe_fetch(&arg->ops, sizeof(*ops), NLPROBE_MAX_OPS);
	if (IS_ERR(ops))
		return PTR_ERR(ops);
	err = arrays_alloc(family, ops, arg->ops.count);
	for (i = 0; i < arg->ops.count && !err; i++)
		err = op_load(family, &ops[i], arg->policy, arg->ops.count == 1);
	kvfree(ops);
	if (!err)
		arrays_give(family, arg->missing_array);
	return err;
}

static u32 covered(const struct nlprobe_family_object *family, u8 cmd,
		   const struct nla_policy *policy, u32 maxattr)
{
	/* Then some versions parse no further than type 1. */
	if (!policy && compat_rejects_without_policy(&family->genl, cmd))
		return min(maxattr, 1U);
	return maxattr;
}

u32 nlprobe_ops_maxattr(const struct nlprobe_family_object *family, u8 cmd, bool dump)
{
	const struct genl_family *genl = &family->genl;
	u8 cap = dump ? GENL_CMD_CAP_DUMP : GENL_CMD_CAP_DO;
	u32 i;

	/* In the order in which the core looks them up. */
	for (i = 0; i < family->op_counts[NLPROBE_OPS_FULL]; i++) {
		const struct genl_ops *op = &family->full_ops[i];

		if (op->cmd == cmd)
			return covered(family, cmd, op->policy ?: genl->policy,
				       op->maxattr ?: genl->maxattr);
	}
	for (i = 0; i < family->op_counts[NLPROBE_OPS_SMALL]; i++)
		if (family->small_ops[i].cmd == cmd)
			return covered(family, cmd, genl->policy, genl->maxattr);
	for (i = 0; i < family->op_counts[NLPROBE_OPS_SPLIT]; i++) {
		const struct genl_split_ops *op = &family->split_ops[i];

		if (op->cmd == cmd && op->flags & cap)
			return covered(family, cmd, op->policy, op->maxattr);
	}
	return 0;
}
