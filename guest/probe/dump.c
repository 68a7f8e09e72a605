// SPDX-License-Identifier: GPL-2.0
/* Dumps: of a family's command, and those that a protocol's input starts. */
#include "probe.h"

static s64 dump_run(struct nlprobe_object *object, u32 on, struct sk_buff *skb,
		    struct netlink_callback *cb)
{
	const struct nlprobe_family_object *family = nlprobe_to_family(object);
	struct nlprobe_run run = {
		.object = object,
		.on = on,
		.cmd = -1,
		.portid = NETLINK_CB(cb->skb).portid,
		.seq = cb->nlh->nlmsg_seq,
		.uid = NETLINK_CREDS(cb->skb)->uid,
		.nlh = cb->nlh,
		.message = cb->nlh,
		.message_len = cb->nlh->nlmsg_len,
		.extack = cb->extack,
		.skb = skb,
		.cb = cb,
	};

	BUILD_BUG_ON(sizeof(struct nlprobe_dump_state) > sizeof(cb->ctx));
	if (family) {
		const struct genlmsghdr *header = nlmsg_data(cb->nlh);

		run.cmd = header->cmd;
		run.subject = header->cmd;
		run.attrs = compat_dump_attrs(cb);
		run.info = compat_dump_genl_info(cb);
		run.internal_flags = &genl_dumpit_info(cb)->op.internal_flags;
		run.maxattr = nlprobe_ops_maxattr(family, header->cmd, true);
	}
	return nlprobe_script_run(&run);
}

/* The family may be unregistered by now; its memory stays, see session.c. */
static struct nlprobe_object *family_object(struct netlink_callback *cb)
{
	/* The probe's own, which newer kernels declare as const. */
	struct genl_family *genl = (struct genl_family *)compat_dump_family(cb);

	return &container_of(genl, struct nlprobe_family_object, genl)->object;
}

int nlprobe_dump_start(struct netlink_callback *cb)
{
	return dump_run(family_object(cb), NLPROBE_ON_START, NULL, cb);
}

int nlprobe_dump_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return dump_run(family_object(cb), NLPROBE_ON_DUMPIT, skb, cb);
}

int nlprobe_dump_done(struct netlink_callback *cb)
{
	struct genl_info *info = compat_dump_genl_info(cb);
	s64 returned = dump_run(family_object(cb), NLPROBE_ON_DONE, NULL, cb);

	if (info)
		nlprobe_leave_state(info);
	return returned;
}

static int protocol_start(struct netlink_callback *cb)
{
	return dump_run(cb->data, NLPROBE_ON_START, NULL, cb);
}

static int protocol_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return dump_run(cb->data, NLPROBE_ON_DUMPIT, skb, cb);
}

static int protocol_done(struct netlink_callback *cb)
{
	return dump_run(cb->data, NLPROBE_ON_DONE, NULL, cb);
}

int nlprobe_dump_begin(struct nlprobe_run *run)
{
	struct netlink_dump_control control = {
		.start = protocol_start,
		.dump = protocol_dumpit,
		.done = protocol_done,
		.data = run->object,
	};

	return netlink_dump_start(run->skb->sk, run->skb, run->nlh, &control);
}

/* Adds one record; -EMSGSIZE if there is no room. */
static int record_put(struct nlprobe_run *run, u32 number, u32 size)
{
	struct nlprobe_message message = {
		.type = nlprobe_to_family(run->object) ? run->cmd : run->nlh->nlmsg_type,
		.flags = NLM_F_MULTI,
		.portid = run->portid,
		.seq = run->seq,
	};
	struct nlmsghdr *nlh = nlprobe_message_begin(run->object, run->skb, &message);
	struct nlattr *filler;

	if (!nlh)
		return -EMSGSIZE;
	if (nlprobe_to_family(run->object))
		genl_dump_check_consistent(run->cb, genlmsg_data(nlmsg_data(nlh)));
	else
		nl_dump_check_consistent(run->cb, nlh);
	if (nla_put_u32(run->skb, 1, number))
		goto full;
	filler = nla_reserve(run->skb, 2, size);
	if (!filler)
		goto full;
	memset(nla_data(filler), 0, size);
	nlmsg_end(run->skb, nlh);
	return 0;

full:
	nlmsg_cancel(run->skb, nlh);
	return -EMSGSIZE;
}

bool nlprobe_dump_records(struct nlprobe_run *run, u32 until, u32 size, bool emsgsize)
{
	struct nlprobe_dump_state *state = (struct nlprobe_dump_state *)run->cb->ctx;

	for (; state->records < until; state->records++) {
		if (record_put(run, state->records, size)) {
			/* A length of 0 would end the dump as if it were complete. */
			run->returned = !emsgsize && run->skb->len ? (s64)run->skb->len : -EMSGSIZE;
			return true;
		}
	}
	return false;
}
