// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * libnl 3. ../clients.toml has what it needs and how it is built.
 *
 * A handle is one nl_sock with the library's defaults: each request asks for an ACK. A request has the loop of
 * libnl's users: nl_recvmsgs() until the callback for an ACK, for DONE or for an error has run. Multicasts are
 * received with callbacks of their own, which do not check sequence numbers. Extended acks are not in the library;
 * its callers read them in those callbacks.
 */
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#define PUT nla_put
#define NEST_START nla_nest_start
#define NEST_END nla_nest_end
#include "adapter.h"

static json_t *greeting(void)
{
	return greeting_of("libnl", LIBNL_VERSION, json_array(),
		json_pack("[ss]", "loop until the acknowledgement", "extended acks"),
		json_pack("{ssss}", "proc-events", "the library has no functions for them",
			"parallel-calls", "a socket must not be used by two threads at a time"));
}

static void show_attributes(json_t *shown, const void *head, size_t len)
{
	struct nlattr *a;
	int rest;

	nla_for_each_attr(a, (struct nlattr *)head, len, rest)
		show_attribute(shown, nla_type(a), nla_data(a), nla_len(a));
}

static int on_valid(struct nl_msg *msg, void *call)
{
	json_t *shown = add_message(call, nlmsg_hdr(msg));

	json_object_set_new(shown, "sender", json_integer(nlmsg_get_src(msg)->nl_pid));
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *call)
{
	fail(call, -err->error);
	ext_ack(call, (struct nlmsghdr *)((char *)err - NLMSG_HDRLEN));
	return NL_STOP;
}

/* For an ACK and for DONE. */
static int on_end(struct nl_msg *msg, void *arg)
{
	struct call *c = arg;

	if (nlmsg_hdr(msg)->nlmsg_type == NLMSG_ERROR)
		ext_ack(c, nlmsg_hdr(msg));
	c->waiting = 0;
	return NL_STOP;
}

static int no_seq_check(struct nl_msg *msg, void *arg)
{
	return NL_OK;
}

/* What the caller makes of the library's error numbers, where no callback has said more. */
static int ended(struct call *c, int err)
{
	if (err == -NLE_OBJ_NOTFOUND)
		fail(c, ENOENT);
	else if (err < 0)
		end(c, err == -NLE_AGAIN ? "timeout" : err == -NLE_DUMP_INTR ? "interrupted" :
			err == -NLE_SEQ_MISMATCH ? "foreign" : err == -NLE_MSG_TRUNC ? "truncated" :
			err == -NLE_MSG_OVERFLOW ? "overrun" : "library", nl_geterror(err));
	return err;
}

static void receive(struct call *c)
{
	/* All messages of the connector are of type NLMSG_DONE, and none is acknowledged. */
	int connector = c->handle->protocol == NETLINK_CONNECTOR, err;
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);

	nl_cb_set(cb, connector ? NL_CB_MSG_IN : NL_CB_VALID, NL_CB_CUSTOM, on_valid, c);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, c);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, c);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, c);
	if (!c->expects)
		nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, no_seq_check, NULL);
	c->waiting = c->expects && !connector;
	do
		err = nl_recvmsgs(c->handle->library, cb);
	while (err >= 0 && c->waiting);
	nl_cb_put(cb);
	ended(c, err);
}

static int resolve(struct call *c, json_t *family)
{
	return ended(c, genl_ctrl_resolve(c->handle->library, c->family));
}

static void send_request(struct call *c)
{
	struct nl_msg *msg = nlmsg_alloc_size(1 << 19);

	if (c->family) {
		genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, c->type, 0, c->flags, c->command, 1);
		put_attributes(msg, c->attributes);
	} else {
		nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, c->type, 0, c->flags);
		nlmsg_append(msg, (void *)c->payload, c->len, 0);
	}
	ended(c, nl_send_auto(c->handle->library, msg));
	nlmsg_free(msg);
}

static void set_membership(struct call *c, int joins)
{
	struct nl_sock *sock = c->handle->library;
	int group = c->family ? genl_ctrl_resolve_grp(sock, c->family, c->group) : c->number;

	if (group > 0)
		group = joins ? nl_socket_add_membership(sock, group) : nl_socket_drop_membership(sock, group);
	ended(c, group);
}

static const char *open_library(struct handle *h)
{
	int err = nl_connect(h->library = nl_socket_alloc(), h->protocol);

	if (h->protocol == NETLINK_CONNECTOR)
		nl_socket_disable_auto_ack(h->library);
	h->fd = nl_socket_get_fd(h->library);
	return err < 0 ? nl_geterror(err) : NULL;
}

static void close_library(struct handle *h)
{
	nl_socket_free(h->library);
}
