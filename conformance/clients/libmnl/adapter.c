// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * libmnl. ../clients.toml has what it needs and how it is built.
 *
 * A handle is one mnl_socket. Requests have the loop of the library's examples: mnl_socket_recvfrom() and
 * mnl_cb_run() until it stops. Families are resolved as in its example genl-family-get.
 */
#include <libmnl/libmnl.h>

#define PUT mnl_attr_put
#define NEST_START mnl_attr_nest_start
#define NEST_END mnl_attr_nest_end
#include "adapter.h"

/* Sequence numbers are the caller's. */
static unsigned int seq;

static json_t *greeting(void)
{
	static const char none[] = "the library has no functions for them";

	return greeting_of("libmnl", MNL_VERSION, json_pack("[s]", "sender"),
		json_pack("[ss]", "receive loop", "resolution of families"),
		json_pack("{ssssssssss}", "proc-events", none, "ext-ack", none, "ext-ack-offset", none, "warnings", none,
			"parallel-calls", "a caller would have to share the receive loop"));
}

static void show_attributes(json_t *shown, const void *head, size_t len)
{
	const struct nlattr *a;

	for (a = head; mnl_attr_ok(a, (const char *)head + len - (const char *)a); a = mnl_attr_next(a))
		show_attribute(shown, mnl_attr_get_type(a), mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct call *c = arg;

	add_message(c, nlh);
	return nlh->nlmsg_flags & NLM_F_MULTI || strcmp(c->expects ?: "", "reply") ? MNL_CB_OK : MNL_CB_STOP;
}

/* What the caller makes of errno, which holds the kernel's errors as well. */
static int ended(struct call *c, int returned)
{
	const char *how = errno == EAGAIN ? "timeout" : errno == EINTR ? "interrupted" : errno == ENOBUFS ? "overrun" :
		errno == ENOSPC ? "truncated" : errno == EPROTO || errno == ESRCH ? "foreign" : NULL;

	if (returned < 0 && how)
		end(c, how, NULL);
	else if (returned < 0)
		fail(c, errno);
	return returned;
}

/* The loop of the examples, but for multicasts, which no message ends. */
static int loop(struct call *c, mnl_cb_t cb, void *data)
{
	unsigned int port = c->expects ? mnl_socket_get_portid(c->handle->library) : 0;
	/* All messages of the connector are of type NLMSG_DONE, and have numbers of its own. */
	int connector = c->handle->protocol == NETLINK_CONNECTOR, ret;
	mnl_cb_t control[] = { [NLMSG_DONE] = cb };
	char buf[MNL_SOCKET_BUFFER_SIZE];

	do {
		ret = mnl_socket_recvfrom(c->handle->library, buf, sizeof(buf));
		if (ret > 0 && connector)
			ret = mnl_cb_run2(buf, ret, 0, 0, cb, data, control, NLMSG_DONE + 1);
		else if (ret > 0)
			ret = mnl_cb_run(buf, ret, port ? seq : 0, port, cb, data);
	} while (ret > 0 && c->expects);
	return ended(c, ret);
}

static void receive(struct call *c)
{
	loop(c, on_message, c);
}

static struct nlmsghdr *put_header(void *buf, int type, int flags, int command)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl = command ? mnl_nlmsg_put_extra_header(nlh, sizeof(*genl)) : NULL;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++seq;
	if (genl)
		*genl = (struct genlmsghdr){ .cmd = command, .version = 1 };
	return nlh;
}

/* As in the example genl-family-get. Its groups are the caller's to find, and of no use here. */
static int on_family(const struct nlmsghdr *nlh, void *id)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			*(int *)id = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int resolve(struct call *c, json_t *family)
{
	struct call own = { .handle = c->handle, .expects = "ack", .outcome = c->outcome };
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = put_header(buf, GENL_ID_CTRL, NLM_F_ACK, CTRL_CMD_GETFAMILY);
	int id = -1;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, c->family);
	if (ended(c, mnl_socket_sendto(c->handle->library, nlh, nlh->nlmsg_len)) < 0)
		return -1;
	return loop(&own, on_family, &id) < 0 ? -1 : id;
}

static void send_request(struct call *c)
{
	static char buf[1 << 19];
	struct nlmsghdr *nlh = put_header(buf, c->type, c->flags, c->command);

	put_attributes(nlh, c->attributes);
	if (!c->family)
		memcpy(mnl_nlmsg_put_extra_header(nlh, c->len), c->payload, c->len);
	ended(c, mnl_socket_sendto(c->handle->library, nlh, nlh->nlmsg_len));
}

static void set_membership(struct call *c, int joins)
{
	int option = joins ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP;

	ended(c, mnl_socket_setsockopt(c->handle->library, option, &c->number, sizeof(c->number)));
}

static const char *open_library(struct handle *h)
{
	h->library = mnl_socket_open(h->protocol);
	if (!h->library || mnl_socket_bind(h->library, 0, MNL_SOCKET_AUTOPID) < 0)
		return strerror(errno);
	h->fd = mnl_socket_get_fd(h->library);
	return NULL;
}

static void close_library(struct handle *h)
{
	mnl_socket_close(h->library);
}
