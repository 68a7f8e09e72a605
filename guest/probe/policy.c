// SPDX-License-Identifier: GPL-2.0
/* Attribute policies: arrays of struct nla_policy, and what their entries point to. */
#include <linux/mm.h>
#include <linux/slab.h>

#include "probe.h"

/* What one entry points to; the kernel copies none of it. */
struct extra {
	union {
		struct netlink_range_validation range;
		struct netlink_range_validation_signed range_signed;
	};
	char *message;
};

struct nlprobe_loaded_policy {
	struct nla_policy *table;
	u32 maxattr;
	struct extra *extras;
	u32 count;
};

/* Functions for NLA_VALIDATE_FUNCTION: each fails with its errno and a message. */
#define EACH_ERRNO(DO) \
	DO(EPERM) DO(ENOENT) DO(EINTR) DO(EIO) DO(EAGAIN) DO(ENOMEM) DO(EACCES) DO(EFAULT) \
	DO(EBUSY) DO(EEXIST) DO(ENODEV) DO(EINVAL) DO(ENOSPC) DO(EDOM) DO(ERANGE) DO(ENODATA) \
	DO(EPROTO) DO(EBADMSG) DO(EOVERFLOW) DO(EMSGSIZE) DO(EOPNOTSUPP) DO(ENOBUFS)

#define REFUSAL(errno) \
static int refuse_##errno(const struct nlattr *attr, struct netlink_ext_ack *extack) \
{ \
	NL_SET_ERR_MSG_ATTR(extack, attr, "refused by a function"); \
	return -(errno); \
}

EACH_ERRNO(REFUSAL)

static const struct {
	int errno;
	int (*refuse)(const struct nlattr *attr, struct netlink_ext_ack *extack);
} refusals[] = {
#define ROW(errno) { errno, refuse_##errno },
	EACH_ERRNO(ROW)
};

/* The member of struct nla_policy's union for a kind, which limits the checks that it can have. */
enum { SIGNED = 1, UNSIGNED = 2, BYTES = 4, NEST = 8, REJECT = 16, BITFIELD = 32, PLAIN = 64 };
#define INTEGER (SIGNED | UNSIGNED)

static const struct {
	u8 type;
	u8 class;
	u32 needs;
} kinds[NLPROBE_KIND_COUNT] = {
	[NLPROBE_KIND_UNSPEC] = { NLA_UNSPEC, PLAIN },
	[NLPROBE_KIND_U8] = { NLA_U8, UNSIGNED },
	[NLPROBE_KIND_U16] = { NLA_U16, UNSIGNED },
	[NLPROBE_KIND_U32] = { NLA_U32, UNSIGNED },
	[NLPROBE_KIND_U64] = { NLA_U64, UNSIGNED },
	[NLPROBE_KIND_S8] = { NLA_S8, SIGNED },
	[NLPROBE_KIND_S16] = { NLA_S16, SIGNED },
	[NLPROBE_KIND_S32] = { NLA_S32, SIGNED },
	[NLPROBE_KIND_S64] = { NLA_S64, SIGNED },
	[NLPROBE_KIND_BE16] = { NLA_BE16, UNSIGNED },
	[NLPROBE_KIND_BE32] = { NLA_BE32, UNSIGNED },
	[NLPROBE_KIND_UINT] = { COMPAT_NLA_UINT, UNSIGNED, NLPROBE_HAS_UINT },
	[NLPROBE_KIND_SINT] = { COMPAT_NLA_SINT, SIGNED, NLPROBE_HAS_UINT },
	[NLPROBE_KIND_MSECS] = { NLA_MSECS, UNSIGNED },
	[NLPROBE_KIND_STRING] = { NLA_STRING, PLAIN },
	[NLPROBE_KIND_NUL_STRING] = { NLA_NUL_STRING, PLAIN },
	[NLPROBE_KIND_FLAG] = { NLA_FLAG, PLAIN },
	[NLPROBE_KIND_BINARY] = { NLA_BINARY, BYTES },
	[NLPROBE_KIND_NESTED] = { NLA_NESTED, NEST },
	[NLPROBE_KIND_NESTED_ARRAY] = { NLA_NESTED_ARRAY, NEST },
	[NLPROBE_KIND_BITFIELD32] = { NLA_BITFIELD32, BITFIELD },
	[NLPROBE_KIND_REJECT] = { NLA_REJECT, REJECT },
};

/*
 * The kernel reads the union by the kind first: a check that stores something else there would be
 * taken for a pointer. Ranges on kinds without a size or a number only end in its WARN_ON().
 */
static const u8 checked_classes[NLPROBE_CHECK_COUNT] = {
	[NLPROBE_CHECK_NONE] = U8_MAX,
	[NLPROBE_CHECK_MIN] = INTEGER | BYTES,
	[NLPROBE_CHECK_MAX] = INTEGER | BYTES,
	[NLPROBE_CHECK_RANGE] = INTEGER | BYTES,
	[NLPROBE_CHECK_WIDE_RANGE] = UNSIGNED | BYTES,
	[NLPROBE_CHECK_WIDE_RANGE_SIGNED] = SIGNED,
	[NLPROBE_CHECK_MASK] = INTEGER | BITFIELD,
	[NLPROBE_CHECK_EXACT_LEN_WARN] = BYTES,
	[NLPROBE_CHECK_NESTED] = NEST,
	[NLPROBE_CHECK_MESSAGE] = REJECT,
	[NLPROBE_CHECK_FUNCTION] = INTEGER | BYTES | PLAIN,
};

static bool is_s16(u64 value)
{
	return (s64)value == (s16)value;
}

static int set_function(struct nla_policy *to, u64 errno)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (refusals[i].errno != errno)
			continue;
		to->validation_type = NLA_VALIDATE_FUNCTION;
		to->validate = refusals[i].refuse;
		return 0;
	}
	return -EINVAL;
}

static int set_nested(struct nla_policy *to, const struct nlprobe_policies *policies, u64 index)
{
	const struct nla_policy *table;

	if (index >= policies->count)
		return -EINVAL;
	table = nlprobe_policies_get(policies, index, to->len);
	if (IS_ERR(table))
		return PTR_ERR(table);
	to->nested_policy = table;
	return 0;
}

static int set_message(struct nla_policy *to, struct extra *extra,
		       const struct nlprobe_policy_entry *from)
{
	char *text = nlprobe_fetch_text(&from->text, PAGE_SIZE);

	if (IS_ERR(text))
		return PTR_ERR(text);
	extra->message = text;
	to->reject_message = text;
	return 0;
}

static int set_check(struct nla_policy *to, struct extra *extra,
		     const struct nlprobe_policy_entry *from,
		     const struct nlprobe_policies *policies)
{
	switch (from->check) {
	case NLPROBE_CHECK_MIN:
		to->validation_type = NLA_VALIDATE_MIN;
		to->min = from->a;
		return is_s16(from->a) ? 0 : -EINVAL;
	case NLPROBE_CHECK_MAX:
		to->validation_type = NLA_VALIDATE_MAX;
		to->max = from->a;
		return is_s16(from->a) ? 0 : -EINVAL;
	case NLPROBE_CHECK_RANGE:
		to->validation_type = NLA_VALIDATE_RANGE;
		to->min = from->a;
		to->max = from->b;
		return is_s16(from->a) && is_s16(from->b) ? 0 : -EINVAL;
	case NLPROBE_CHECK_WIDE_RANGE:
		extra->range.min = from->a;
		extra->range.max = from->b;
		to->validation_type = NLA_VALIDATE_RANGE_PTR;
		to->range = &extra->range;
		return 0;
	case NLPROBE_CHECK_WIDE_RANGE_SIGNED:
		extra->range_signed.min = from->a;
		extra->range_signed.max = from->b;
		to->validation_type = NLA_VALIDATE_RANGE_PTR;
		to->range_signed = &extra->range_signed;
		return 0;
	case NLPROBE_CHECK_MASK:
		if (from->a > U32_MAX)
			return -EINVAL;
		/* Both names of this place are const. */
		*(u32 *)&to->mask = from->a;
		if (from->kind != NLPROBE_KIND_BITFIELD32)
			to->validation_type = NLA_VALIDATE_MASK;
		return 0;
	case NLPROBE_CHECK_EXACT_LEN_WARN:
		/* Exactly `len` bytes: the length goes where the range is. */
		to->validation_type = NLA_VALIDATE_RANGE_WARN_TOO_LONG;
		to->min = from->len;
		to->max = from->len;
		to->len = 0;
		return from->len <= S16_MAX ? 0 : -EINVAL;
	case NLPROBE_CHECK_NESTED:
		return set_nested(to, policies, from->a);
	case NLPROBE_CHECK_MESSAGE:
		return set_message(to, extra, from);
	case NLPROBE_CHECK_FUNCTION:
		return set_function(to, from->a);
	}
	return 0;
}

static int entry_load(struct nlprobe_loaded_policy *policy, struct extra *extra,
		      const struct nlprobe_policy_entry *from, u32 strict_start_type,
		      const struct nlprobe_policies *policies)
{
	struct nla_policy *to;

	if (from->attr > policy->maxattr || from->kind >= NLPROBE_KIND_COUNT ||
	    from->check >= NLPROBE_CHECK_COUNT || from->reserved ||
	    !(checked_classes[from->check] & kinds[from->kind].class))
		return -EINVAL;
	if (kinds[from->kind].needs & ~COMPAT_FEATURES)
		return -EOPNOTSUPP;
	/* The union of entry 0 then holds that type, which must not be used as a pointer. */
	if (!from->attr && strict_start_type &&
	    (from->check || kinds[from->kind].class & (NEST | REJECT)))
		return -EINVAL;
	to = &policy->table[from->attr];
	/* A second entry would leave the union of the first one. */
	if (to->type || to->validation_type || to->len)
		return -EINVAL;
	to->type = kinds[from->kind].type;
	to->len = from->len;
	return set_check(to, extra, from, policies);
}

/* Allocates the array, with every type NLA_UNSPEC: nests may refer to it before it is filled. */
static int policy_alloc(struct nlprobe_loaded_policy *policy, const struct nlprobe_policy *from)
{
	if (from->maxattr > NLPROBE_MAX_POLICY_ATTR || from->strict_start_type > U16_MAX ||
	    from->entries.count > NLPROBE_MAX_ENTRIES)
		return -EINVAL;
	policy->table = kvcalloc(from->maxattr + 1, sizeof(*policy->table), GFP_KERNEL);
	if (!policy->table)
		return -ENOMEM;
	policy->maxattr = from->maxattr;
	if (!from->entries.count)
		return 0;
	policy->extras = kvcalloc(from->entries.count, sizeof(*policy->extras), GFP_KERNEL);
	if (!policy->extras)
		return -ENOMEM;
	policy->count = from->entries.count;
	return 0;
}

static int policy_fill(struct nlprobe_loaded_policy *policy, const struct nlprobe_policy *from,
		       const struct nlprobe_policies *policies)
{
	struct nlprobe_policy_entry *entries;
	int err = 0;
	u32 i;

	entries = nlprobe_fetch(&from->entries, sizeof(*entries), NLPROBE_MAX_ENTRIES);
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	for (i = 0; i < policy->count && !err; i++)
		err = entry_load(policy, &policy->extras[i], &entries[i], from->strict_start_type,
				 policies);
	kvfree(entries);
	if (from->strict_start_type)
		policy->table[0].strict_start_type = from->strict_start_type;
	return err;
}

int nlprobe_policies_load(struct nlprobe_policies *policies, const struct nlprobe_array *array)
{
	struct nlprobe_policy *from = nlprobe_fetch(array, sizeof(*from), NLPROBE_MAX_POLICIES);
	int err = 0;
	u32 i;

	if (IS_ERR_OR_NULL(from))
		return PTR_ERR_OR_ZERO(from);
	policies->items = kvcalloc(array->count, sizeof(*policies->items), GFP_KERNEL);
	if (policies->items)
		policies->count = array->count;
	else
		err = -ENOMEM;
	for (i = 0; i < policies->count && !err; i++)
		err = policy_alloc(&policies->items[i], &from[i]);
	for (i = 0; i < policies->count && !err; i++)
		err = policy_fill(&policies->items[i], &from[i], policies);
	kvfree(from);
	/* What was loaded is freed with the family. */
	return err;
}

void nlprobe_policies_unload(struct nlprobe_policies *policies)
{
	u32 i, j;

	for (i = 0; i < policies->count; i++) {
		struct nlprobe_loaded_policy *policy = &policies->items[i];

		for (j = 0; j < policy->count; j++)
			kvfree(policy->extras[j].message);
		kvfree(policy->extras);
		kvfree(policy->table);
	}
	kvfree(policies->items);
}

const struct nla_policy *nlprobe_policies_get(const struct nlprobe_policies *policies, s32 index,
					      u32 maxattr)
{
	if (index == -1)
		return NULL;
	if (index < 0 || index >= policies->count || maxattr > policies->items[index].maxattr)
		return ERR_PTR(-EINVAL);
	return policies->items[index].table;
}
