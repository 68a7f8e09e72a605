// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * libmnl. Debian: gcc pkg-config libmnl-dev libjansson-dev. In this folder:
 *
 *	cc -I.. -DMNL_VERSION='"$(pkg-config --modversion libmnl)"' -o adapter adapter.c \
 *		$(pkg-config --cflags --libs libmnl jansson)
 *
 * A handle is one mnl_socket. Requests have the loop of the library's examples: mnl_socket_recvfrom() and
 * mnl_cb_run() until it stops. Families are resolved as in its example genl-family-get.
 */
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "adapter.h"

/* Sequence numbers are the caller's. */
static unsigned int seq;

/* What the callback of a call is about. */
struct call { int protocol, result; json_t *outcome; };

static json_t *greeting(void)
{
	static const char none[] = "the library has no functions for them";
	json_t *hello = greeting_of("libmnl", MNL_VERSION,
		json_pack("[ss]", "receive loop", "resolution of families"),
		json_pack("{ssssssssss}", "proc-events", none, "ext-ack", none, "ext-ack-offset", none, "warnings", none,
			"parallel-calls", "a caller would have to share the receive loop"));

	json_array_append_new(json_object_get(hello, "hidden"), json_string("sender"));
	return hello;
}

static json_t *attributes(const void *head, size_t len)
{
	json_t *list = json_array();
	const struct nlattr *attr;

	for (attr = head; mnl_attr_ok(attr, (const char *)head + len - (const char *)attr); attr = mnl_attr_next(attr)) {
		int type = mnl_attr_get_type(attr), size = mnl_attr_get_payload_len(attr);
		void *data = mnl_attr_get_payload(attr);

		json_array_append_new(list, type == 4 ? json_pack("{so}", "nest", attributes(data, size)) :
			attribute(type, data, size));
	}
	return list;
}

static void put_attributes(struct nlmsghdr *nlh, json_t *list)
{
	json_t *item, *nest;
	const void *data;
	size_t i, len;

	json_array_foreach(list, i, item) {
		int type = unattribute(item, &data, &len, &nest);
		struct nlattr *start = nest ? mnl_attr_nest_start(nlh, type) : NULL;

		if (nest) {
			put_attributes(nlh, nest);
			mnl_attr_nest_end(nlh, start);
		} else {
			mnl_attr_put(nlh, type, len, data);
		}
	}
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct call *call = arg;
	struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	json_t *m = json_pack("{sisisI}", "type", nlh->nlmsg_type, "flags", nlh->nlmsg_flags, "seq", (json_int_t)nlh->nlmsg_seq);
	int size = mnl_nlmsg_get_payload_len(nlh);

	if (call->protocol == NETLINK_GENERIC && size >= (int)GENL_HDRLEN) {
		json_object_set_new(m, "command", json_integer(genl->cmd));
		json_object_set_new(m, "attributes", attributes(genl + 1, size - GENL_HDRLEN));
	} else {
		json_object_set_new(m, "payload", bytes(genl, size));
	}
	json_array_append_new(json_object_get(call->outcome, "messages"), m);
	return nlh->nlmsg_flags & NLM_F_MULTI ? MNL_CB_OK : call->result;
}

/* What the caller makes of errno, which holds the kernel's errors as well. */
static json_t *ended(json_t *outcome, int returned)
{
	const char *end = errno == EAGAIN ? "timeout" : errno == EINTR ? "interrupted" : errno == ENOBUFS ? "overrun" :
		errno == ENOSPC ? "truncated" : errno == EPROTO || errno == ESRCH ? "foreign" : "error";

	if (returned >= 0)
		return outcome;
	json_object_set_new(outcome, "end", json_string(end));
	json_object_set_new(outcome, "errno", json_integer(errno));
	return outcome;
}

/* The loop of the examples; `once` for multicasts, which no message ends. */
static int receive(struct handle *h, unsigned int number, mnl_cb_t cb, void *data, int once)
{
	unsigned int port = number ? mnl_socket_get_portid(h->library) : 0;
	/* All messages of the connector are of type NLMSG_DONE, and have numbers of its own. */
	int connector = h->protocol == NETLINK_CONNECTOR;
	mnl_cb_t control[] = { [NLMSG_DONE] = cb };
	char buf[MNL_SOCKET_BUFFER_SIZE];
	int ret;

	do {
		ret = mnl_socket_recvfrom(h->library, buf, sizeof(buf));
		if (ret > 0 && connector)
			ret = mnl_cb_run2(buf, ret, 0, 0, cb, data, control, NLMSG_DONE + 1);
		else if (ret > 0)
			ret = mnl_cb_run(buf, ret, number, port, cb, data);
	} while (ret > 0 && !once);
	return ret;
}

static struct nlmsghdr *put_header(void *buf, int type, int flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++seq;
	return nlh;
}

static void put_generic(struct nlmsghdr *nlh, int command)
{
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	genl->cmd = command;
	genl->version = 1;
}

/* As in the example genl-family-get. */
static int on_family(const struct nlmsghdr *nlh, void *arg)
{
	json_t *known = arg;
	struct nlattr *attr, *group, *field;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			json_object_set_new(known, "id", json_integer(mnl_attr_get_u16(attr)));
		if (mnl_attr_get_type(attr) != CTRL_ATTR_MCAST_GROUPS)
			continue;
		mnl_attr_for_each_nested(group, attr) {
			const char *name = "";
			int number = 0;

			mnl_attr_for_each_nested(field, group) {
				if (mnl_attr_get_type(field) == CTRL_ATTR_MCAST_GRP_NAME)
					name = mnl_attr_get_str(field);
				else if (mnl_attr_get_type(field) == CTRL_ATTR_MCAST_GRP_ID)
					number = mnl_attr_get_u32(field);
			}
			json_object_set_new(json_object_get(known, "groups"), name, json_integer(number));
		}
	}
	return MNL_CB_OK;
}

/* Asks nlctrl for a family, and keeps what it says. */
static json_t *resolve(struct handle *h, const char *name)
{
	json_t *known = json_pack("{s{}}", "groups"), *outcome;
	char buf[MNL_SOCKET_BUFFER_SIZE];
	struct nlmsghdr *nlh = put_header(buf, GENL_ID_CTRL, NLM_F_ACK);
	int ret;

	put_generic(nlh, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, name);
	ret = mnl_socket_sendto(h->library, nlh, nlh->nlmsg_len);
	if (ret >= 0)
		ret = receive(h, seq, on_family, known, 0);
	outcome = ended(outcome_of("done"), ret);
	if (ret >= 0) {
		json_object_set(outcome, "family", known);
		json_object_set(h->families, name, known);
	}
	return outcome;
}

static json_t *request(struct handle *h, json_t *question, int flags, const char *expects)
{
	const char *name = STRING(question, "family");
	struct call call = { h->protocol, strcmp(expects, "reply") ? MNL_CB_OK : MNL_CB_STOP, outcome_of("done") };
	char *buf = calloc(1, 1 << 17);
	struct nlmsghdr *nlh;
	size_t len;
	int ret;

	if (!strcmp(expects, "ack") || !strcmp(expects, "both"))
		flags |= NLM_F_ACK;
	if (name && !json_object_get(h->families, name)) {
		json_t *outcome = resolve(h, name);

		if (strcmp(STRING(outcome, "end"), "done"))
			return outcome;
	}
	if (name) {
		nlh = put_header(buf, NUMBER(json_object_get(h->families, name), "id"), flags);
		put_generic(nlh, NUMBER(question, "command"));
		put_attributes(nlh, json_object_get(question, "attributes"));
	} else {
		const void *payload = unbytes(json_object_get(question, "payload"), &len);

		nlh = put_header(buf, NUMBER(question, "type"), flags);
		memcpy(mnl_nlmsg_put_extra_header(nlh, len), payload, len);
	}
	ret = mnl_socket_sendto(h->library, nlh, nlh->nlmsg_len);
	free(buf);
	if (ret >= 0 && strcmp(expects, "nothing"))
		ret = receive(h, seq, on_message, &call, 0);
	return ended(call.outcome, ret);
}

static json_t *set_membership(struct handle *h, json_t *question, int joins)
{
	int number = NUMBER(question, "number"), option = joins ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP;

	return ended(outcome_of("done"), mnl_socket_setsockopt(h->library, option, &number, sizeof(number)));
}

static json_t *next_event(struct handle *h)
{
	struct call call = { h->protocol, MNL_CB_OK, outcome_of("done") };

	return ended(call.outcome, receive(h, 0, on_message, &call, 1));
}

static const char *open_library(struct handle *h, unsigned int *port)
{
	h->library = mnl_socket_open(h->protocol);
	if (!h->library || mnl_socket_bind(h->library, 0, MNL_SOCKET_AUTOPID) < 0)
		return strerror(errno);
	h->fd = mnl_socket_get_fd(h->library);
	*port = mnl_socket_get_portid(h->library);
	return NULL;
}

static void close_library(struct handle *h)
{
	mnl_socket_close(h->library);
}
