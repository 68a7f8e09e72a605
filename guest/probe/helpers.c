// SPDX-License-Identifier: GPL-2.0
/*
 * Functions of lib/nlattr.c and include/net/netlink.h that no callback calls by itself, and what
 * they return and write.
 */
#include "probe.h"

/* What a helper does not write keeps this value. */
#define UNTOUCHED 0xa5

struct helper_result {
	s64 returned;
	/* Bytes that are captured. */
	u32 len;
	/* One more than a helper may write. */
	u8 bytes[NLPROBE_MAX_HELPER + 1];
};

static void duplicate_string(struct helper_result *result, const struct nlattr *attr)
{
	char *copy = nla_strdup(attr, GFP_KERNEL);

	if (!copy) {
		result->returned = -ENOMEM;
		return;
	}
	result->len = min_t(size_t, strlen(copy) + 1, sizeof(result->bytes));
	memcpy(result->bytes, copy, result->len);
	kfree(copy);
}

static s64 find(const struct nlattr *attr, u32 type)
{
	const struct nlattr *found = nla_find(nla_data(attr), nla_len(attr), type);

	return found ? (const u8 *)found - (const u8 *)nla_data(attr) : -ENOENT;
}

/* The type of an attribute that only aligns the next one. */
#define PAD 1

bool nlprobe_helper_exists(u32 helper)
{
	switch (helper) {
	case NLPROBE_HELPER_PUT_UINT:
	case NLPROBE_HELPER_PUT_SINT:
	case NLPROBE_HELPER_GET_UINT:
	case NLPROBE_HELPER_GET_SINT:
		return COMPAT_FEATURES & NLPROBE_HAS_UINT;
	default:
		return true;
	}
}

static s64 put_value(struct sk_buff *skb, u32 helper, const struct nlattr *attr)
{
	int type = nla_type(attr);
	u32 half[2];
	u64 value;

	if (nla_len(attr) != sizeof(value))
		return -EINVAL;
	memcpy(&value, nla_data(attr), sizeof(value));
	memcpy(half, nla_data(attr), sizeof(half));
	switch (helper) {
	case NLPROBE_HELPER_PUT_UINT:
		return compat_put_uint(skb, type, value);
	case NLPROBE_HELPER_PUT_SINT:
		return compat_put_sint(skb, type, value);
	case NLPROBE_HELPER_PUT_MSECS:
		return nla_put_msecs(skb, type, msecs_to_jiffies(value), PAD);
	case NLPROBE_HELPER_PUT_BITFIELD32:
		return nla_put_bitfield32(skb, type, half[0], half[1]);
	case NLPROBE_HELPER_PUT_NET16:
		return nla_put_net16(skb, type, cpu_to_be16(value));
	case NLPROBE_HELPER_PUT_NET32:
		return nla_put_net32(skb, type, cpu_to_be32(value));
	default:
		return nla_put_net64(skb, type, cpu_to_be64(value), PAD);
	}
}

/* Bytes of the value that a helper gets; 0 for other helpers. */
static u32 value_size(u32 helper, u32 len)
{
	switch (helper) {
	case NLPROBE_HELPER_GET_UINT:
	case NLPROBE_HELPER_GET_SINT:
		return len == sizeof(u32) ? sizeof(u32) : sizeof(u64);
	case NLPROBE_HELPER_GET_S8:
		return sizeof(s8);
	case NLPROBE_HELPER_GET_S16:
		return sizeof(s16);
	case NLPROBE_HELPER_GET_S32:
		return sizeof(s32);
	case NLPROBE_HELPER_GET_S64:
	case NLPROBE_HELPER_GET_U64:
	case NLPROBE_HELPER_GET_BE64:
	case NLPROBE_HELPER_GET_MSECS:
	case NLPROBE_HELPER_GET_BITFIELD32:
		return sizeof(u64);
	default:
		return 0;
	}
}

static s64 get_value(u32 helper, const struct nlattr *attr)
{
	struct nla_bitfield32 bits;

	if (nla_len(attr) != value_size(helper, nla_len(attr)))
		return -EINVAL;
	switch (helper) {
	case NLPROBE_HELPER_GET_UINT:
		return compat_get_uint(attr);
	case NLPROBE_HELPER_GET_SINT:
		return compat_get_sint(attr);
	case NLPROBE_HELPER_GET_S8:
		return nla_get_s8(attr);
	case NLPROBE_HELPER_GET_S16:
		return nla_get_s16(attr);
	case NLPROBE_HELPER_GET_S32:
		return nla_get_s32(attr);
	case NLPROBE_HELPER_GET_S64:
		return nla_get_s64(attr);
	case NLPROBE_HELPER_GET_U64:
		return nla_get_u64(attr);
	case NLPROBE_HELPER_GET_BE64:
		return be64_to_cpu(nla_get_be64(attr));
	case NLPROBE_HELPER_GET_MSECS:
		return jiffies_to_msecs(nla_get_msecs(attr));
	default:
		bits = nla_get_bitfield32(attr);
		return (u64)bits.selector << 32 | bits.value;
	}
}

static s64 put_nest(struct sk_buff *skb, u32 helper, const struct nlattr *attr)
{
	struct nlattr *nest;

	if (nla_put_flag(skb, PAD))
		return -EMSGSIZE;
	if (helper == NLPROBE_HELPER_NEST)
		nest = nla_nest_start(skb, nla_type(attr));
	else
		nest = nla_nest_start_noflag(skb, nla_type(attr));
	if (!nest)
		return -EMSGSIZE;
	if (nla_put(skb, PAD, nla_len(attr), nla_data(attr))) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static struct nlmsghdr *put_message(struct sk_buff *skb, const struct nlattr *attr)
{
	struct nlmsghdr *nlh = nlmsg_put(skb, 0, 0, NLMSG_MIN_TYPE, nla_len(attr), 0);

	if (nlh)
		memcpy(nlmsg_data(nlh), nla_data(attr), nla_len(attr));
	return nlh;
}

static s64 put_and_cancel(struct sk_buff *skb, u32 helper, const struct nlattr *attr)
{
	struct nlmsghdr *second;

	if (!put_message(skb, attr))
		return -EMSGSIZE;
	if (helper == NLPROBE_HELPER_CANCEL_NULL) {
		nlmsg_cancel(skb, NULL);
		genlmsg_cancel(skb, NULL);
		nla_nest_cancel(skb, NULL);
		return 0;
	}
	second = put_message(skb, attr);
	if (!second)
		return -EMSGSIZE;
	nlmsg_cancel(skb, second);
	return 0;
}

static s64 put(struct sk_buff *skb, u32 helper, const struct nlattr *attr)
{
	int type = nla_type(attr), len = nla_len(attr);
	const void *data = nla_data(attr);
	const void *reserved;

	switch (helper) {
	case NLPROBE_HELPER_APPEND:
		return nla_append(skb, len, data);
	case NLPROBE_HELPER_PUT_NOHDR:
		return nla_put_nohdr(skb, len, data);
	case NLPROBE_HELPER_PUT:
		return nla_put(skb, type, len, data);
	case NLPROBE_HELPER_PUT_64BIT:
		return nla_put_64bit(skb, type, len, data, PAD);
	case NLPROBE_HELPER_PUT_UINT:
	case NLPROBE_HELPER_PUT_SINT:
	case NLPROBE_HELPER_PUT_MSECS:
	case NLPROBE_HELPER_PUT_BITFIELD32:
	case NLPROBE_HELPER_PUT_NET16:
	case NLPROBE_HELPER_PUT_NET32:
	case NLPROBE_HELPER_PUT_NET64:
		return put_value(skb, helper, attr);
	case NLPROBE_HELPER_NEST:
	case NLPROBE_HELPER_NEST_NOFLAG:
		return put_nest(skb, helper, attr);
	case NLPROBE_HELPER_CANCEL:
	case NLPROBE_HELPER_CANCEL_NULL:
		return put_and_cancel(skb, helper, attr);
	case NLPROBE_HELPER_RESERVE_NOHDR:
		reserved = nla_reserve_nohdr(skb, len);
		break;
	case NLPROBE_HELPER_RESERVE:
		reserved = nla_reserve(skb, type, len);
		break;
	default:
		reserved = nla_reserve_64bit(skb, type, len, PAD);
	}
	return reserved ? 0 : -EMSGSIZE;
}

/* Has a helper write to a buffer that has exactly this room. */
static void put_into(struct helper_result *result, u32 helper, const struct nlattr *attr, u32 room)
{
	struct sk_buff *skb = alloc_skb(room, GFP_KERNEL);

	if (!skb) {
		result->returned = -ENOMEM;
		return;
	}
	memset(skb->data, UNTOUCHED, skb_tailroom(skb));
	skb_reserve(skb, skb_tailroom(skb) - room);
	result->returned = put(skb, helper, attr);
	result->len = min_t(u32, skb->len, sizeof(result->bytes));
	memcpy(result->bytes, skb->data, result->len);
	kfree_skb(skb);
}

static s64 validate(const struct genl_family *genl, const struct nlattr *attr, u32 how)
{
	return __nla_validate(nla_data(attr), nla_len(attr), genl->maxattr, genl->policy, how,
			      NULL);
}

static s64 parse(const struct genl_family *genl, const struct nlattr *attr, u32 helper, u32 hdrlen)
{
	const void *data = nla_data(attr);
	const struct nlmsghdr *nlh = data;
	struct nlattr **tb;
	s64 returned;

	if (helper == NLPROBE_HELPER_PARSE_NESTED ? !nla_ok(data, nla_len(attr))
						  : !nlmsg_ok(nlh, nla_len(attr)))
		return -EBADMSG;
	tb = kmalloc_array(genl->maxattr + 1, sizeof(*tb), GFP_KERNEL);
	if (!tb)
		return -ENOMEM;
	if (helper == NLPROBE_HELPER_PARSE_NESTED)
		returned = nla_parse_nested(tb, genl->maxattr, data, genl->policy, NULL);
	else if (helper == NLPROBE_HELPER_PARSE_MESSAGE)
		returned = nlmsg_parse(nlh, hdrlen, tb, genl->maxattr, genl->policy, NULL);
	else if (helper == NLPROBE_HELPER_PARSE_FAMILY)
		returned = genlmsg_parse(nlh, genl, tb, genl->maxattr, genl->policy, NULL);
	else if (helper == NLPROBE_HELPER_PARSE_FAMILY_DEPRECATED)
		returned = genlmsg_parse_deprecated(nlh, genl, tb, genl->maxattr, genl->policy,
						    NULL);
	else
		returned = nlmsg_parse_deprecated(nlh, hdrlen, tb, genl->maxattr, genl->policy,
						  NULL);
	kfree(tb);
	return returned;
}

static void call_helper(struct helper_result *result, const struct genl_family *genl,
			const struct nlattr *attr, const struct nlprobe_loaded_step *step)
{
	u32 argument = step->how.c;

	switch (step->how.a) {
	case NLPROBE_HELPER_STRSCPY:
		result->returned = compat_nla_strscpy(result->bytes, attr, argument);
		result->len = argument + 1;
		break;
	case NLPROBE_HELPER_STRDUP:
		duplicate_string(result, attr);
		break;
	case NLPROBE_HELPER_MEMCPY:
		result->returned = nla_memcpy(result->bytes, attr, argument);
		result->len = argument + 1;
		break;
	case NLPROBE_HELPER_MEMCMP:
		result->returned = nla_memcmp(attr, step->bytes, step->how.bytes.count);
		break;
	case NLPROBE_HELPER_STRCMP:
		result->returned = nla_strcmp(attr, step->bytes);
		break;
	case NLPROBE_HELPER_FIND:
		result->returned = find(attr, argument);
		break;
	case NLPROBE_HELPER_POLICY_LEN:
		argument = min(argument, genl->maxattr + 1);
		result->returned = nla_policy_len(genl->policy, genl->policy ? argument : 0);
		break;
	case NLPROBE_HELPER_VALIDATE:
		result->returned = validate(genl, attr, argument);
		break;
	case NLPROBE_HELPER_PARSE_MESSAGE:
	case NLPROBE_HELPER_PARSE_MESSAGE_DEPRECATED:
	case NLPROBE_HELPER_PARSE_NESTED:
	case NLPROBE_HELPER_PARSE_FAMILY:
	case NLPROBE_HELPER_PARSE_FAMILY_DEPRECATED:
		result->returned = parse(genl, attr, step->how.a, argument);
		break;
	case NLPROBE_HELPER_GET_UINT ... NLPROBE_HELPER_GET_BITFIELD32:
		result->returned = get_value(step->how.a, attr);
		break;
	default:
		put_into(result, step->how.a, attr, argument);
	}
}

void nlprobe_helper_run(struct nlprobe_run *run, const struct nlprobe_loaded_step *step,
			const struct nlattr *attr)
{
	struct helper_result *result = kmalloc(sizeof(*result), GFP_KERNEL);

	if (!result) {
		nlprobe_log_lose(&run->object->session->log);
		return;
	}
	memset(result, UNTOUCHED, sizeof(*result));
	result->returned = attr ? 0 : -EINVAL;
	result->len = 0;
	if (attr)
		call_helper(result, &nlprobe_to_family(run->object)->genl, attr, step);
	nlprobe_run_capture(run, &result->returned, sizeof(result->returned));
	nlprobe_run_capture(run, result->bytes, result->len);
	kfree(result);
}
