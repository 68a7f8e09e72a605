// SPDX-License-Identifier: MIT OR Apache-2.0
/* What adapters in C share: the lines of docs/client-adapter.md, by means of jansson. */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <errno.h>
#include <jansson.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define NUMBER(object, key) json_integer_value(json_object_get(object, key))
#define STRING(object, key) json_string_value(json_object_get(object, key))

/* An open handle. */
struct handle {
	void *library;		/* the library's socket */
	int fd, protocol;
	json_t *families;	/* those that have been resolved: objects with "id", by name */
};

/* A call on a handle. */
struct call {
	struct handle *handle;
	const char *family, *group;	/* names; NULL where the call is not about a family */
	int number;			/* of the group */
	const char *expects;		/* of a request; of a dump "dump" */
	int type, flags, command;	/* of a request: NLM_F_DUMP, or NLM_F_ACK where an acknowledgement is expected */
	json_t *attributes;		/* of a request to a family; any other has */
	const void *payload;
	size_t len;
	int waiting;			/* for the adapter's own use */
	json_t *outcome;		/* "done", until it is ended otherwise */
};

/*
 * For the adapter to define; and before it includes this file, the library's PUT(message, type, len, data),
 * NEST_START(message, type) and NEST_END(message, nest).
 */
static json_t *greeting(void);
static const char *open_library(struct handle *h);	/* sets library and fd: what went wrong, or NULL */
static void close_library(struct handle *h);
static int resolve(struct call *c, json_t *family);	/* the ID of c->family, and to `family` its groups */
static void send_request(struct call *c);
static void receive(struct call *c);	/* the answer to a request; without `expects` what comes next of multicasts */
static void set_membership(struct call *c, int joins);
static void show_attributes(json_t *shown, const void *head, size_t len);	/* by show_attribute() */

/* A greeting with all capabilities but those that `lacks` has with their reasons. */
static inline json_t *greeting_of(const char *name, const char *version, json_t *hidden, json_t *own_code, json_t *lacks)
{
	static const char *const all[] = {
		"generic", "raw", "connector", "proc-events", "dump", "events", "big-groups", "shared-socket", "ext-ack",
		"ext-ack-offset", "warnings", "options", "receive-buffer", "deadlines", "parallel-calls",
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!json_object_get(lacks, all[i]))
			json_object_set_new(lacks, all[i], json_null());
	return json_pack("{sisssosos{ssssssso}}", "version", 1, "language", "C", "hidden", hidden, "own_code", own_code,
		"identity", "role", "client", "name", name, "version", version,
		"capabilities", lacks);
}

/* Ends a call, unless it has ended; `words` are the library's, or NULL. */
static inline void end(struct call *c, const char *how, const char *words)
{
	if (strcmp(STRING(c->outcome, "end"), "done"))
		return;
	json_object_set_new(c->outcome, "end", json_string(how));
	if (words)
		json_object_set_new(c->outcome, "words", json_string(words));
}

/* Ends a call with an error of the kernel. */
static inline void fail(struct call *c, int number)
{
	if (strcmp(STRING(c->outcome, "end"), "done"))
		return;
	end(c, "error", NULL);
	json_object_set_new(c->outcome, "errno", json_integer(number));
}

/* Bytes as an array of numbers. */
static inline json_t *bytes(const void *data, size_t len)
{
	json_t *array = json_array();

	for (size_t i = 0; i < len; i++)
		json_array_append_new(array, json_integer(((const unsigned char *)data)[i]));
	return array;
}

/* The reverse; good until the next call. */
static inline const void *unbytes(json_t *array, size_t *len)
{
	static unsigned char *data;

	*len = json_array_size(array);
	data = realloc(data, *len + 1);
	for (size_t i = 0; i < *len; i++)
		data[i] = json_integer_value(json_array_get(array, i));
	return data;
}

/* Shows an attribute of the client family. */
static inline void show_attribute(json_t *shown, int type, const void *data, size_t len)
{
	unsigned int number = 0;
	unsigned long long wide = 0;
	json_t *nest = json_array(), *item;

	if (type == 4) {
		show_attributes(nest, data, len);
		item = json_pack("{sO}", "nest", nest);
	} else if (type == 1 && len == sizeof(number)) {
		memcpy(&number, data, len);
		item = json_pack("{sI}", "number", (json_int_t)number);
	} else if (type == 5 && len == sizeof(wide)) {
		memcpy(&wide, data, len);
		item = json_pack("{sI}", "wide", (json_int_t)wide);
	} else if (type == 3) {
		item = json_pack("{so}", "text", json_stringn_nocheck(data, strnlen(data, len)));
	} else if (type == 2) {
		item = json_pack("{so}", "filler", bytes(data, len));
	} else {
		item = json_pack("{s[io]}", "unknown", type, bytes(data, len));
	}
	json_array_append_new(shown, item);
	json_decref(nest);
}

/* Puts attributes of the client family into a message of the library. */
static inline void put_attributes(void *msg, json_t *attributes)
{
	json_t *item, *value;
	const char *name;
	const void *data;
	size_t i, len;

	json_array_foreach(attributes, i, item) {
		json_object_foreach(item, name, value) {
			unsigned int number = json_integer_value(value);
			unsigned long long wide = json_integer_value(value);

			if (!strcmp(name, "nest")) {
				void *nest = NEST_START(msg, 4);

				put_attributes(msg, value);
				NEST_END(msg, nest);
			} else if (!strcmp(name, "number")) {
				PUT(msg, 1, sizeof(number), &number);
			} else if (!strcmp(name, "wide")) {
				PUT(msg, 5, sizeof(wide), &wide);
			} else if (!strcmp(name, "text")) {
				PUT(msg, 3, json_string_length(value) + 1, json_string_value(value));
			} else {
				data = unbytes(value, &len);
				PUT(msg, 2, len, data);
			}
		}
	}
}

/* Adds a message to the outcome: what is shown of it, to which the adapter may add the sender. */
static inline json_t *add_message(struct call *c, const struct nlmsghdr *nlh)
{
	json_t *shown = json_pack("{sisisI}", "type", nlh->nlmsg_type, "flags", nlh->nlmsg_flags,
		"seq", (json_int_t)nlh->nlmsg_seq);
	const unsigned char *payload = NLMSG_DATA(nlh);
	size_t len = nlh->nlmsg_len - NLMSG_HDRLEN;

	if (c->handle->protocol == NETLINK_GENERIC && len >= GENL_HDRLEN) {
		json_t *attributes = json_array();

		show_attributes(attributes, payload + GENL_HDRLEN, len - GENL_HDRLEN);
		json_object_set_new(shown, "command", json_integer(payload[0]));
		json_object_set_new(shown, "attributes", attributes);
	} else {
		json_object_set_new(shown, "payload", bytes(payload, len));
	}
	json_array_append_new(json_object_get(c->outcome, "messages"), shown);
	return shown;
}

/*
 * Adds the extended ack of an NLMSG_ERROR, for libraries that leave it to their callers: as members of an
 * error, as a warning of success. It follows the request, which may be capped to its header.
 */
static inline void ext_ack(struct call *c, const struct nlmsghdr *nlh)
{
	json_t *outcome = c->outcome;
	const struct nlmsgerr *err = NLMSG_DATA(nlh);
	int capped = nlh->nlmsg_flags & NLM_F_CAPPED;
	size_t at = NLMSG_HDRLEN + sizeof(*err) + (capped ? 0 : NLMSG_ALIGN(err->msg.nlmsg_len) - NLMSG_HDRLEN);
	size_t end = nlh->nlmsg_flags & NLM_F_ACK_TLVS ? nlh->nlmsg_len : 0;

	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *a = (const void *)((const char *)nlh + at);
		const void *data = (const char *)a + NLA_HDRLEN;
		size_t len = a->nla_len - NLA_HDRLEN;

		if (a->nla_len < NLA_HDRLEN || at + a->nla_len > end)
			return;
		if (a->nla_type == NLMSGERR_ATTR_MSG && !err->error)
			json_array_append_new(json_object_get(outcome, "notices"),
				json_pack("{so}", "warning", json_stringn_nocheck(data, strnlen(data, len))));
		else if (a->nla_type == NLMSGERR_ATTR_MSG)
			json_object_set_new(outcome, "message", json_stringn_nocheck(data, strnlen(data, len)));
		else if (a->nla_type == NLMSGERR_ATTR_OFFS && len >= sizeof(__u32))
			json_object_set_new(outcome, "offset", json_integer(*(const __u32 *)data));
		at += NLA_ALIGN(a->nla_len);
	}
}

/* The deadline of a question: a receive on the socket fails with EAGAIN when it has passed. */
static inline void set_deadline(int fd, json_t *question)
{
	json_int_t ms = NUMBER(question, "deadline_ms");
	struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 + 1 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
}

/* Sets the socket options that a question wishes for. */
static inline void set_options(int fd, json_t *options)
{
	static const struct { const char *name; int level, option; } known[] = {
		{ "ext_ack", SOL_NETLINK, NETLINK_EXT_ACK }, { "cap_ack", SOL_NETLINK, NETLINK_CAP_ACK },
		{ "buffer", SOL_SOCKET, SO_RCVBUF },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		json_t *wish = json_object_get(options, known[i].name);
		int value = json_is_true(wish) ? 1 : json_integer_value(wish);

		if (value)
			setsockopt(fd, known[i].level, known[i].option, &value, sizeof(value));
	}
}

static inline json_t *open_handle(struct handle *h, json_t *question, int number)
{
	const char *wrong;

	*h = (struct handle){ .families = json_object(), .protocol = NUMBER(question, "protocol") };
	wrong = open_library(h);
	if (wrong)
		return json_pack("{ss}", "failed", wrong);
	set_options(h->fd, json_object_get(question, "options"));
	return json_pack("{s{si}}", "ok", "handle", number);
}

/* Resolves the call's family, and keeps what the library says; the ID is not positive where there is none. */
static inline int resolved(struct call *c)
{
	json_t *family = json_object();
	int id = resolve(c, family);

	if (id > 0) {
		json_object_set_new(family, "id", json_integer(id));
		if (!c->expects)
			json_object_set(c->outcome, "family", family);
		json_object_set(c->handle->families, c->family, family);
	}
	json_decref(family);
	return id;
}

/* Makes a request, or a dump. A family is resolved at its first use on a handle. */
static inline void make_request(struct call *c, json_t *question)
{
	json_t *known = c->family ? json_object_get(c->handle->families, c->family) : NULL;

	c->attributes = json_object_get(question, "attributes");
	c->command = NUMBER(question, "command");
	c->payload = unbytes(json_object_get(question, "payload"), &c->len);
	c->type = known ? (int)NUMBER(known, "id") : c->family ? resolved(c) : (int)NUMBER(question, "type");
	if (!strcmp(c->expects, "dump"))
		c->flags = NLM_F_DUMP;
	else if (!strcmp(c->expects, "ack") || !strcmp(c->expects, "both"))
		c->flags = NLM_F_ACK;
	if (c->type <= 0)
		return;
	send_request(c);
	if (!strcmp(STRING(c->outcome, "end"), "done"))
		receive(c);
}

static inline json_t *answer(const char *name, json_t *question)
{
	static struct handle handles[64];
	static int opened;
	struct call c = {
		.handle = &handles[NUMBER(question, "handle")], .family = STRING(question, "family"),
		.group = STRING(question, "group"), .number = NUMBER(question, "number"),
		.expects = strcmp(name, "dump") ? STRING(question, "expects") : name,
	};

	if (!strcmp(name, "hello"))
		return json_pack("{so}", "ok", greeting());
	if (!strcmp(name, "open") && opened < 64) {
		opened++;
		return open_handle(&handles[opened - 1], question, opened - 1);
	}
	if (!strcmp(name, "close")) {
		close_library(c.handle);
		return json_pack("{sn}", "ok");
	}
	set_deadline(c.handle->fd, question);
	c.outcome = json_pack("{sss[]s[]}", "end", "done", "messages", "notices");
	if (!strcmp(name, "resolve"))
		resolved(&c);
	else if (c.expects)
		make_request(&c, question);
	else if (!strcmp(name, "next-event"))
		receive(&c);
	else if (!strcmp(name, "join") || !strcmp(name, "leave"))
		set_membership(&c, !strcmp(name, "join"));
	else
		return json_pack("{ss}", "unsupported", "the library has no function for this");
	return json_pack("{so}", "ok", c.outcome);
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		json_t *question = json_loads(line, 0, NULL);
		json_t *said = answer(STRING(question, "call"), question);

		json_object_set(said, "seq", json_object_get(question, "seq"));
		json_dumpf(said, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		fflush(stdout);
		json_decref(said);
		json_decref(question);
	}
	return 0;
}

#endif
