// SPDX-License-Identifier: GPL-2.0
/* Messages of a family or a protocol: headers, a zeroed family header, and payload as it comes. */
#include "probe.h"

static u32 header_size(const struct object *object)
{
	const struct family *family = to_family(object);

	return family ? GENL_HDRLEN + family->genl.hdrsize : 0;
}

struct nlmsghdr *message_begin(const struct object *object, struct sk_buff *skb,
			       const struct message *message)
{
	const struct family *family = to_family(object);
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

int message_put(const struct object *object, struct sk_buff *skb, const struct message *message)
{
	u32 padding = NLMSG_ALIGN(message->len) - message->len;
	struct nlmsghdr *nlh = message_begin(object, skb, message);

	if (!nlh)
		return -EMSGSIZE;
	if (skb_tailroom(skb) < message->len + padding) {
		nlmsg_cancel(skb, nlh);
		return -EMSGSIZE;
	}
	skb_put_data(skb, message->payload, message->len);
	nlmsg_end(skb, nlh);
	/* nlmsg_len does not count it, but a message that follows starts behind it. */
	skb_put_zero(skb, padding);
	return 0;
}

struct sk_buff *message_new(const struct object *object, const struct message *message)
{
	struct sk_buff *skb = nlmsg_new(NLMSG_ALIGN(header_size(object)) + message->len, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	if (message_put(object, skb, message)) {
		kfree_skb(skb);
		return ERR_PTR(-EMSGSIZE);
	}
	return skb;
}

struct sk_buff *datagram_new(const void *bytes, u32 len)
{
	struct sk_buff *skb = alloc_skb(len, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	skb_put_data(skb, bytes, len);
	return skb;
}
