// SPDX-License-Identifier: GPL-2.0
/* Callbacks for requests to a family's commands. Those for dumps are in dump.c. */
#include "probe.h"

static s64 request_run(u32 on, struct sk_buff *skb, struct genl_info *info,
		       const struct compat_pre_op *op)
{
	/* Not all versions pass the family; the core keeps it registered as long as this runs. */
	struct nlprobe_family_object *family = nlprobe_family_find(info->nlhdr->nlmsg_type);
	u8 cmd = info->genlhdr->cmd;
	struct nlprobe_run run = {
		.on = on,
		.cmd = cmd,
		.subject = cmd,
		.portid = info->snd_portid,
		.seq = info->snd_seq,
		.uid = NETLINK_CREDS(skb)->uid,
		.nlh = info->nlhdr,
		.message = info->nlhdr,
		.message_len = info->nlhdr->nlmsg_len,
		.attrs = info->attrs,
		.extack = info->extack,
		.info = info,
		.internal_flags = op ? &op->internal_flags : NULL,
		.skb = skb,
	};
	s64 returned;

	if (WARN_ON_ONCE(!family))
		return -ENOENT;
	run.object = &family->object;
	run.maxattr = nlprobe_ops_maxattr(family, cmd, false);
	returned = nlprobe_script_run(&run);
	nlprobe_leave_state(info);
	return returned;
}

int nlprobe_family_doit(struct sk_buff *skb, struct genl_info *info)
{
	return request_run(NLPROBE_ON_DOIT, skb, info, NULL);
}

int nlprobe_family_pre_doit(const struct compat_pre_op *op, struct sk_buff *skb,
			    struct genl_info *info)
{
	return request_run(NLPROBE_ON_PRE_DOIT, skb, info, op);
}

void nlprobe_family_post_doit(const struct compat_pre_op *op, struct sk_buff *skb,
			      struct genl_info *info)
{
	request_run(NLPROBE_ON_POST_DOIT, skb, info, op);
}
