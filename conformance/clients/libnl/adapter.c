// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * libnl 3. Debian: gcc pkg-config libnl-genl-3-dev libjansson-dev. In this folder:
 *
 *	cc -I.. -o adapter adapter.c $(pkg-config --cflags --libs libnl-genl-3.0 jansson)
 *
 * A handle is one nl_sock with the library's defaults: each request asks for an ACK. A request has the loop of
 * libnl's users: nl_recvmsgs() until the callback for an ACK, for DONE or for an error has run. Multicasts are
 * received with callbacks of their own, which do not check sequence numbers. Extended acks are not in the library;
 * its callers read them in those callbacks.
 */
#include <linux/genetlink.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "adapter.h"

/* What the callbacks of a call are about. */
struct call { int protocol, waiting; json_t *outcome; };

static json_t *greeting(void)
{
	return greeting_of("libnl", LIBNL_VERSION, json_pack("[ss]", "loop until the acknowledgement", "extended acks"),
		json_pack("{ssss}", "proc-events", "the library has no functions for them",
			"parallel-calls", "a socket must not be used by two threads at a time"));
}

static json_t *attributes(struct nlattr *head, int len)
{
	json_t *list = json_array();
	struct nlattr *a;
	int rest;

	nla_for_each_attr(a, head, len, rest)
		json_array_append_new(list, nla_type(a) == 4 ?
			json_pack("{so}", "nest", attributes(nla_data(a), nla_len(a))) :
			attribute(nla_type(a), nla_data(a), nla_len(a)));
	return list;
}

static void put_attributes(struct nl_msg *msg, json_t *list)
{
	json_t *item, *nest;
	const void *data;
	size_t i, len;

	json_array_foreach(list, i, item) {
		int type = unattribute(item, &data, &len, &nest);
		struct nlattr *start = nest ? nla_nest_start(msg, type) : NULL;

		if (nest) {
			put_attributes(msg, nest);
			nla_nest_end(msg, start);
		} else {
			nla_put(msg, type, len, data);
		}
	}
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct call *call = arg;
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct genlmsghdr *genl = nlmsg_data(nlh);
	json_t *m = json_pack("{sisisIsI}", "type", nlh->nlmsg_type, "flags", nlh->nlmsg_flags, "seq",
		(json_int_t)nlh->nlmsg_seq, "sender", (json_int_t)nlmsg_get_src(msg)->nl_pid);

	if (call->protocol == NETLINK_GENERIC && genlmsg_valid_hdr(nlh, 0)) {
		json_object_set_new(m, "command", json_integer(genl->cmd));
		json_object_set_new(m, "attributes", attributes(genlmsg_attrdata(genl, 0), genlmsg_attrlen(genl, 0)));
	} else {
		json_object_set_new(m, "payload", bytes(nlmsg_data(nlh), nlmsg_datalen(nlh)));
	}
	json_array_append_new(json_object_get(call->outcome, "messages"), m);
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	struct call *call = arg;

	json_object_set_new(call->outcome, "end", json_string("error"));
	json_object_set_new(call->outcome, "errno", json_integer(-err->error));
	ext_ack((struct nlmsghdr *)((char *)err - NLMSG_HDRLEN), call->outcome);
	return NL_STOP;
}

/* For an ACK and for DONE. */
static int on_end(struct nl_msg *msg, void *arg)
{
	struct call *call = arg;

	if (nlmsg_hdr(msg)->nlmsg_type == NLMSG_ERROR)
		ext_ack(nlmsg_hdr(msg), call->outcome);
	call->waiting = 0;
	return NL_STOP;
}

static int no_seq_check(struct nl_msg *msg, void *arg)
{
	return NL_OK;
}

/* What the caller makes of the library's error numbers, where no callback has said more. */
static json_t *ended(json_t *outcome, int err)
{
	const char *end = err == -NLE_AGAIN ? "timeout" : err == -NLE_DUMP_INTR ? "interrupted" :
		err == -NLE_SEQ_MISMATCH ? "foreign" : err == -NLE_MSG_TRUNC ? "truncated" :
		err == -NLE_MSG_OVERFLOW ? "overrun" : err == -NLE_OBJ_NOTFOUND ? "error" : "library";

	if (err >= 0 || strcmp(STRING(outcome, "end"), "done"))
		return outcome;
	json_object_set_new(outcome, "end", json_string(end));
	json_object_set_new(outcome, "words", json_string(nl_geterror(err)));
	if (err == -NLE_OBJ_NOTFOUND)
		json_object_set_new(outcome, "errno", json_integer(ENOENT));
	return outcome;
}

static json_t *receive(struct handle *h, int event)
{
	int connector = h->protocol == NETLINK_CONNECTOR;
	struct call call = { h->protocol, !event && !connector, outcome_of("done") };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int err;

	/* All messages of the connector are of type NLMSG_DONE, and none is acknowledged. */
	nl_cb_set(cb, connector ? NL_CB_MSG_IN : NL_CB_VALID, NL_CB_CUSTOM, on_valid, &call);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, &call);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &call);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &call);
	if (event)
		nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, no_seq_check, NULL);
	do
		err = nl_recvmsgs(h->library, cb);
	while (err >= 0 && call.waiting);
	nl_cb_put(cb);
	return ended(call.outcome, err);
}

/* The ID of a family, asked for once. */
static int family(struct handle *h, const char *name)
{
	int id = NUMBER(h->families, name);

	if (!id && (id = genl_ctrl_resolve(h->library, name)) > 0)
		json_object_set_new(h->families, name, json_integer(id));
	return id;
}

static json_t *resolve(struct handle *h, const char *name)
{
	json_t *outcome = outcome_of("done");
	int id;

	json_object_del(h->families, name);
	id = family(h, name);
	if (id > 0)
		json_object_set_new(outcome, "family", json_pack("{si}", "id", id));
	return ended(outcome, id);
}

static json_t *request(struct handle *h, json_t *question, int flags, const char *expects)
{
	const char *name = STRING(question, "family");
	struct nl_msg *msg = nlmsg_alloc_size(1 << 17);
	int id = name ? family(h, name) : 0, err;
	size_t len;

	if (!strcmp(expects, "nothing"))	/* a socket that checks sequence numbers always asks for an ACK */
		return NULL;
	if (id < 0)
		return ended(outcome_of("done"), id);
	if (name) {
		genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, id, 0, flags, NUMBER(question, "command"), 1);
		put_attributes(msg, json_object_get(question, "attributes"));
	} else {
		const void *payload = unbytes(json_object_get(question, "payload"), &len);

		nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, NUMBER(question, "type"), 0, flags);
		nlmsg_append(msg, (void *)payload, len, 0);
	}
	err = nl_send_auto(h->library, msg);
	nlmsg_free(msg);
	return err < 0 ? ended(outcome_of("done"), err) : receive(h, 0);
}

static json_t *set_membership(struct handle *h, json_t *question, int joins)
{
	const char *family = STRING(question, "family"), *group = STRING(question, "group");
	int number = family ? genl_ctrl_resolve_grp(h->library, family, group) : NUMBER(question, "number");

	if (number > 0)
		number = joins ? nl_socket_add_membership(h->library, number) : nl_socket_drop_membership(h->library, number);
	return ended(outcome_of("done"), number);
}

static json_t *next_event(struct handle *h)
{
	return receive(h, 1);
}

static const char *open_library(struct handle *h, unsigned int *port)
{
	int err;

	h->library = nl_socket_alloc();
	err = nl_connect(h->library, h->protocol);
	if (err < 0)
		return nl_geterror(err);
	if (h->protocol == NETLINK_CONNECTOR)
		nl_socket_disable_auto_ack(h->library);
	h->fd = nl_socket_get_fd(h->library);
	*port = nl_socket_get_local_port(h->library);
	return NULL;
}

static void close_library(struct handle *h)
{
	nl_socket_free(h->library);
}
