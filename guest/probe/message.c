// SPDX-License-Identifier: GPL-2.0
/* Messages of a family or a protocol: headers, a zeroed family header, and the payload. */
#include "probe.h"

static u32 header_size(const struct nlprobe_object *object)
{
	const struct nlprobe_family_object *family = nlprobe_to_family(object);

	return family ? GENL_HDRLEN + family->genl.hdrsize : 0;
}

struct nlmsghdr *nlprobe_message_begin(const struct nlprobe_object *object, struct sk_buff *skb,
				       const struct nlprobe_message *message)
{
	const struct nlprobe_family_object *family = nlprobe_to_family(object);
	void *header;

	if (!family)
		return nlmsg_put(skb, message->portid, message->seq, message->type, 0,
				 message->flags);
	header = genlmsg_put(skb, message->portid, message->seq, &family->genl, message->flags,
			     message->type);
	if (!header)
		return NULL;
	memset(header, 0, family->genl.hdrsize);
	return header - GENL_HDRLEN - NLMSG_HDRLEN;
}

int nlprobe_message_put(const struct nlprobe_object *object, struct sk_buff *skb,
			const struct nlprobe_message *message)
{
	u32 padding = NLMSG_ALIGN(message->len) - message->len;
	struct nlmsghdr *nlh = nlprobe_message_begin(object, skb, message);

	if (!nlh)
		return -EMSGSIZE;
	if (skb_tailroom(skb) < message->len + padding) {
		nlmsg_cancel(skb, nlh);
		return -EMSGSIZE;
	}
	skb_put_data(skb, message->payload, message->len);
	nlmsg_end(skb, nlh);
	/* nlmsg_len does not count it, but a message that follows starts after it. */
	skb_put_zero(skb, padding);
	return 0;
}

struct sk_buff *nlprobe_message_new(const struct nlprobe_object *object,
				    const struct nlprobe_message *message)
{
	u32 size = NLMSG_ALIGN(header_size(object)) + message->len;
	struct sk_buff *skb = nlmsg_new(size, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	if (nlprobe_message_put(object, skb, message)) {
		kfree_skb(skb);
		return ERR_PTR(-EMSGSIZE);
	}
	return skb;
}

struct sk_buff *nlprobe_datagram_new(const void *bytes, u32 len)
{
	struct sk_buff *skb = alloc_skb(len, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	skb_put_data(skb, bytes, len);
	return skb;
}
