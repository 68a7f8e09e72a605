// SPDX-License-Identifier: GPL-2.0
/* What each step does, and in which callbacks it is allowed. */
#include <linux/delay.h>

#include "probe.h"

#define IN(on) BIT(NLPROBE_ON_##on)
#define IN_REQUEST (IN(DOIT) | IN(PRE_DOIT) | IN(POST_DOIT))
#define ANYWHERE U32_MAX

static bool end_call(struct nlprobe_run *run, s64 value)
{
	run->returned = value;
	return true;
}

/* Ends a dumpit whose buffer is full. A length of 0 would end the dump as if it were complete. */
static bool end_full(struct nlprobe_run *run)
{
	return end_call(run, run->skb->len ? (s64)run->skb->len : -EMSGSIZE);
}

static bool do_return(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	return end_call(run, step->how.a);
}

static bool do_err_msg(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	compat_set_err_msg(run->extack, step->bytes);
	return false;
}

static bool do_err_msg_fmt(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	compat_set_err_msg_fmt(run->extack, step->bytes);
	return false;
}

static struct nlattr *attribute(const struct nlprobe_run *run, u64 type)
{
	return run->attrs && type <= run->maxattr ? run->attrs[type] : NULL;
}

static bool do_bad_attr(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	NL_SET_BAD_ATTR(run->extack, attribute(run, step->how.a));
	return false;
}

static bool do_cookie(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	nl_set_extack_cookie_u64(run->extack, step->how.a);
	return false;
}

static bool do_miss_attr(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	compat_set_miss_attr(run->extack, attribute(run, step->how.b), step->how.a);
	return false;
}

static struct nlprobe_message step_message(const struct nlprobe_run *run,
					   const struct nlprobe_loaded_step *step)
{
	return (struct nlprobe_message) {
		.type = step->how.a,
		.flags = step->how.b,
		.portid = run->portid,
		.seq = run->seq,
		.payload = step->bytes,
		.len = step->how.bytes.count,
	};
}

/* Sends the buffer to the requester. */
static bool answer(struct nlprobe_run *run, struct sk_buff *skb)
{
	int err;

	if (run->info)
		err = genlmsg_unicast(genl_info_net(run->info), skb, run->portid);
	else
		err = nlmsg_unicast(run->cb ? run->cb->skb->sk : run->skb->sk, skb, run->portid);
	return err < 0 && end_call(run, err);
}

static bool do_reply(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	struct nlprobe_message message = step_message(run, step);
	struct sk_buff *skb;

	/* Port ID 0 is the kernel's: the reply would come back as a request. */
	if (!run->portid)
		return end_call(run, -EINVAL);
	skb = nlprobe_message_new(run->object, &message);
	return IS_ERR(skb) ? end_call(run, PTR_ERR(skb)) : answer(run, skb);
}

/* Fills in what was unknown when the script was written. */
static void complete_headers(const struct nlprobe_run *run, const struct nlprobe_loaded_step *step,
			     void *bytes)
{
	struct nlmsghdr *nlh = bytes;
	int left = step->how.bytes.count;
	u64 bit;

	for (bit = 1; bit && nlmsg_ok(nlh, left); bit <<= 1) {
		if (step->how.a & bit)
			nlh->nlmsg_type = run->nlh->nlmsg_type;
		if (step->how.b & bit)
			nlh->nlmsg_seq = run->seq;
		if (step->how.c & bit)
			nlh->nlmsg_pid = run->portid;
		nlh = nlmsg_next(nlh, &left);
	}
}

/* A dump's buffer may hold something already, and more may follow. */
static bool put_datagram(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	u32 len = step->how.bytes.count;
	void *bytes;

	if (skb_tailroom(run->skb) < NLMSG_ALIGN(len))
		return end_full(run);
	bytes = skb_put_data(run->skb, step->bytes, len);
	complete_headers(run, step, bytes);
	skb_put_zero(run->skb, NLMSG_ALIGN(len) - len);
	return false;
}

static bool do_datagram(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	struct sk_buff *skb;

	if (run->on == NLPROBE_ON_DUMPIT)
		return put_datagram(run, step);
	/* As in do_reply(). */
	if (!run->portid)
		return end_call(run, -EINVAL);
	skb = nlprobe_datagram_new(step->bytes, step->how.bytes.count);
	if (IS_ERR(skb))
		return end_call(run, PTR_ERR(skb));
	complete_headers(run, step, skb->data);
	return answer(run, skb);
}

static bool do_notify(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	const struct nlprobe_family_object *family = nlprobe_to_family(run->object);
	struct nlprobe_message message = step_message(run, step);
	u32 group = step->how.a;
	struct sk_buff *skb;

	message.type = step->how.b;
	message.flags = 0;
	skb = nlprobe_message_new(run->object, &message);
	if (IS_ERR(skb))
		return end_call(run, PTR_ERR(skb));
	nlprobe_send_hold(family, group, skb);
	genl_notify(&family->genl, skb, run->info, group, GFP_KERNEL);
	nlprobe_send_settle(family, group, skb);
	return false;
}

static bool do_put(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	struct nlprobe_message message = step_message(run, step);

	return nlprobe_message_put(run->object, run->skb, &message) && end_full(run);
}

static bool do_records(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	return nlprobe_dump_records(run, step->how.a, step->how.b, step->how.c);
}

static bool do_dump_seq(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	run->cb->seq = step->how.a;
	return false;
}

static bool do_answer_flags(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	run->cb->answer_flags = step->how.a;
	return false;
}

static bool do_min_dump_alloc(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	run->cb->min_dump_alloc = step->how.a;
	return false;
}

static bool do_start_dump(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	return end_call(run, nlprobe_dump_begin(run));
}

/* The core acknowledges nothing more when the callback returns -EINTR. */
static bool do_ack(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	netlink_ack(run->skb, (struct nlmsghdr *)run->nlh, -(int)step->how.a, NULL);
	return end_call(run, -EINTR);
}

static void capture_u32(struct nlprobe_run *run, u32 value)
{
	nlprobe_run_capture(run, &value, sizeof(value));
}

static void capture_attrs_present(struct nlprobe_run *run)
{
	u32 type;

	for (type = 0; run->attrs && type <= run->maxattr; type++) {
		u8 present = !!run->attrs[type];

		nlprobe_run_capture(run, &present, sizeof(present));
	}
}

static void capture_user_header(struct nlprobe_run *run)
{
	const void *header;

	if (!run->info || run->cb)
		return;
	header = compat_user_header(run->info);
	capture_u32(run, header - (const void *)run->info->genlhdr);
	nlprobe_run_capture(run, header, nlprobe_to_family(run->object)->genl.hdrsize);
}

/* Who asked, and whether the rest of it is about this request. */
static void capture_info(struct nlprobe_run *run)
{
	const struct nlprobe_family_object *family;
	struct genl_info *info = run->info;
	const struct sk_buff *request;
	const struct nlmsghdr *nlh;

	/* Only a request to a family has one. */
	if (!info)
		return;
	family = nlprobe_to_family(run->object);
	request = run->cb ? run->cb->skb : run->skb;
	/* A datagram that is being handled begins with the message that is. */
	nlh = run->cb ? run->cb->nlh : nlmsg_hdr(request);
	capture_u32(run, info->snd_seq);
	capture_u32(run, info->snd_portid);
	capture_u32(run, info->nlhdr == nlh);
	capture_u32(run, (void *)info->genlhdr == nlmsg_data(nlh));
	capture_u32(run, compat_info_has_family(info, &family->genl));
	capture_u32(run, net_eq(genl_info_net(info), sock_net(request->sk)));
	capture_u32(run, info->extack == run->extack);
}

static bool do_capture(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	struct nlattr *attr;

	switch (step->how.a) {
	case NLPROBE_CAPTURE_MESSAGE:
		nlprobe_run_capture(run, run->message, run->message_len);
		break;
	case NLPROBE_CAPTURE_ATTR:
		attr = attribute(run, step->how.b);
		if (attr)
			nlprobe_run_capture(run, nla_data(attr), nla_len(attr));
		break;
	case NLPROBE_CAPTURE_ATTRS_PRESENT:
		capture_attrs_present(run);
		break;
	case NLPROBE_CAPTURE_USER_HEADER:
		capture_user_header(run);
		break;
	case NLPROBE_CAPTURE_DUMP_STATE:
		if (!run->cb)
			break;
		capture_u32(run, run->cb->strict_check);
		nlprobe_run_capture(run, run->dump_state, sizeof(run->dump_state));
		break;
	case NLPROBE_CAPTURE_USER_POINTERS:
		if (run->info)
			nlprobe_run_capture(run, nlprobe_info_state(run->info), NLPROBE_INFO_STATE);
		break;
	case NLPROBE_CAPTURE_INTERNAL_FLAGS:
		if (run->internal_flags)
			nlprobe_run_capture(run, run->internal_flags, sizeof(*run->internal_flags));
		break;
	case NLPROBE_CAPTURE_INFO:
		capture_info(run);
		break;
	}
	return false;
}

static bool do_block(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	nlprobe_gate_wait(&run->object->session->gate);
	return false;
}

static bool do_sleep(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	msleep_interruptible(step->how.a);
	return false;
}

static bool do_helper(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	nlprobe_helper_run(run, step, attribute(run, step->how.b));
	return false;
}

/* For each action: what it does, where it is allowed, and the limits of its arguments. */
static const struct {
	bool (*run)(struct nlprobe_run *run, const struct nlprobe_loaded_step *step);
	u32 on;
	u32 needs;
	u64 a, b, c;
	u32 bytes;
} actions[NLPROBE_ACTION_COUNT] = {
	[NLPROBE_RETURN] = { do_return, ANYWHERE, 0, U64_MAX },
	[NLPROBE_ERR_MSG] = { do_err_msg, ANYWHERE, .bytes = 4096 },
	[NLPROBE_ERR_MSG_FMT] = { do_err_msg_fmt, ANYWHERE, NLPROBE_HAS_ERR_MSG_FMT,
				  .bytes = 4096 },
	[NLPROBE_BAD_ATTR] = { do_bad_attr, ANYWHERE, 0, U16_MAX },
	[NLPROBE_COOKIE] = { do_cookie, ANYWHERE, 0, U64_MAX },
	[NLPROBE_MISS_ATTR] = { do_miss_attr, ANYWHERE, NLPROBE_HAS_MISS_ATTR, U16_MAX, U64_MAX },
	[NLPROBE_REPLY] = { do_reply, IN_REQUEST | IN(INPUT), 0, U16_MAX, U16_MAX,
			    .bytes = NLPROBE_MAX_BLOB },
	[NLPROBE_NOTIFY] = { do_notify, IN_REQUEST, 0, U32_MAX, U8_MAX, .bytes = NLPROBE_MAX_BLOB },
	[NLPROBE_PUT] = { do_put, IN(DUMPIT), 0, U16_MAX, U16_MAX, .bytes = NLPROBE_MAX_BLOB },
	[NLPROBE_RECORDS] = { do_records, IN(DUMPIT), 0, U32_MAX, NLPROBE_MAX_BLOB - NLA_HDRLEN - 1,
			      1 },
	[NLPROBE_DUMP_SEQ] = { do_dump_seq, IN(START) | IN(DUMPIT), 0, U32_MAX },
	[NLPROBE_ANSWER_FLAGS] = { do_answer_flags, IN(DUMPIT), 0, U16_MAX },
	[NLPROBE_MIN_DUMP_ALLOC] = { do_min_dump_alloc, IN(START), 0, 4 * NLPROBE_MAX_BLOB },
	[NLPROBE_START_DUMP] = { do_start_dump, IN(INPUT) },
	[NLPROBE_CAPTURE] = { do_capture, ANYWHERE, 0, NLPROBE_CAPTURE_COUNT - 1, U16_MAX },
	[NLPROBE_BLOCK] = { do_block, ANYWHERE },
	[NLPROBE_SLEEP] = { do_sleep, ANYWHERE, 0, NLPROBE_MAX_SLEEP },
	[NLPROBE_DATAGRAM] = { do_datagram, IN_REQUEST | IN(INPUT) | IN(START) | IN(DUMPIT), 0,
			       U64_MAX, U64_MAX, U64_MAX, NLPROBE_MAX_BLOB },
	[NLPROBE_HELPER] = { do_helper, IN(DOIT), NLPROBE_HAS_NLATTR_HELPERS,
			     NLPROBE_HELPER_COUNT - 1, U16_MAX, NLPROBE_MAX_HELPER,
			     NLPROBE_MAX_HELPER },
	[NLPROBE_ACK] = { do_ack, IN(INPUT), 0, MAX_ERRNO },
};

int nlprobe_step_check(const struct nlprobe_step *step)
{
	if (step->action >= NLPROBE_ACTION_COUNT || !(actions[step->action].on & BIT(step->on)) ||
	    step->a > actions[step->action].a || step->b > actions[step->action].b ||
	    step->c > actions[step->action].c || step->bytes.count > actions[step->action].bytes)
		return -EINVAL;
	if (step->action == NLPROBE_RETURN && (s64)step->a != (int)step->a)
		return -EINVAL;
	if (step->action == NLPROBE_HELPER && !nlprobe_helper_exists(step->a))
		return -EOPNOTSUPP;
	if (actions[step->action].needs & ~COMPAT_FEATURES)
		return -EOPNOTSUPP;
	return 0;
}

bool nlprobe_step_run(struct nlprobe_run *run, const struct nlprobe_loaded_step *step)
{
	return actions[step->how.action].run(run, step);
}
