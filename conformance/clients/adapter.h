// SPDX-License-Identifier: MIT OR Apache-2.0
/* What adapters in C share: the lines of docs/client-adapter.md, by means of jansson. */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <errno.h>
#include <jansson.h>
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
	json_t *families;	/* what the adapter keeps of those that have been resolved, by name */
	int fd, protocol;
};

/* For the adapter to define. All but the first three return outcomes. */
static json_t *greeting(void);
static const char *open_library(struct handle *h, unsigned int *port);	/* what went wrong, or NULL */
static void close_library(struct handle *h);
static json_t *resolve(struct handle *h, const char *name);
static json_t *request(struct handle *h, json_t *question, int flags, const char *expects);
static json_t *set_membership(struct handle *h, json_t *question, int joins);
static json_t *next_event(struct handle *h);

/* A greeting with all capabilities but those that `lacks` has with their reasons. */
static inline json_t *greeting_of(const char *name, const char *version, json_t *own_code, json_t *lacks)
{
	static const char *const all[] = {
		"generic", "raw", "connector", "proc-events", "dump", "events", "big-groups", "shared-socket", "ext-ack",
		"ext-ack-offset", "warnings", "options", "receive-buffer", "deadlines", "parallel-calls",
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!json_object_get(lacks, all[i]))
			json_object_set_new(lacks, all[i], json_null());
	return json_pack("{sisss[]sos{ssssssso}}", "version", 1, "language", "C", "hidden", "own_code", own_code,
		"identity", "role", "client", "name", name, "version", version, "capabilities", lacks);
}

static inline json_t *outcome_of(const char *end)
{
	return json_pack("{sss[]s[]}", "end", end, "messages", "notices");
}

static inline json_t *error_of(int number)
{
	json_t *outcome = outcome_of("error");

	json_object_set_new(outcome, "errno", json_integer(number));
	return outcome;
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

/* An attribute of the client family as JSON, but for type 4, a nest. */
static inline json_t *attribute(int type, const void *data, size_t len)
{
	unsigned int number = 0;
	unsigned long long wide = 0;

	if (type == 1 && len == sizeof(number)) {
		memcpy(&number, data, len);
		return json_pack("{sI}", "number", (json_int_t)number);
	}
	if (type == 5 && len == sizeof(wide)) {
		memcpy(&wide, data, len);
		return json_pack("{sI}", "wide", (json_int_t)wide);
	}
	if (type == 3)
		return json_pack("{so}", "text", json_stringn_nocheck(data, strnlen(data, len)));
	if (type == 2)
		return json_pack("{so}", "filler", bytes(data, len));
	return json_pack("{s[io]}", "unknown", type, bytes(data, len));
}

/* The reverse: the type, and the payload that is good until the next call; or the attributes of a nest. */
static inline int unattribute(json_t *item, const void **data, size_t *len, json_t **nest)
{
	static unsigned int number;
	static unsigned long long wide;
	const char *name = json_object_iter_key(json_object_iter(item));
	json_t *value = json_object_get(item, name);

	*nest = !strcmp(name, "nest") ? value : NULL;
	if (*nest)
		return 4;
	if (!strcmp(name, "number")) {
		number = json_integer_value(value);
		*data = &number;
		*len = sizeof(number);
		return 1;
	}
	if (!strcmp(name, "wide")) {
		wide = json_integer_value(value);
		*data = &wide;
		*len = sizeof(wide);
		return 5;
	}
	if (!strcmp(name, "text")) {
		*data = json_string_value(value);
		*len = strlen(*data) + 1;
		return 3;
	}
	*data = unbytes(value, len);
	return 2;
}

/*
 * Adds the extended ack of an NLMSG_ERROR, for libraries that leave it to their callers: as members of an
 * error, as a warning of success. It follows the request, which may be capped to its header.
 */
static inline void ext_ack(const struct nlmsghdr *nlh, json_t *outcome)
{
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
		{ "strict", SOL_NETLINK, NETLINK_GET_STRICT_CHK }, { "buffer", SOL_SOCKET, SO_RCVBUF },
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
	unsigned int port = 0;
	const char *wrong;

	*h = (struct handle){ .families = json_object(), .protocol = NUMBER(question, "protocol") };
	wrong = open_library(h, &port);
	if (wrong)
		return json_pack("{ss}", "failed", wrong);
	set_options(h->fd, json_object_get(question, "options"));
	return json_pack("{s{sisIs[]}}", "ok", "handle", number, "port", (json_int_t)port, "ignored");
}

static inline json_t *answer(const char *call, json_t *question)
{
	static struct handle handles[64];
	static int opened;
	struct handle *h = &handles[NUMBER(question, "handle")];
	const char *expects = STRING(question, "expects");
	json_t *outcome;

	if (!strcmp(call, "hello"))
		return json_pack("{so}", "ok", greeting());
	if (!strcmp(call, "open") && opened < 64) {
		opened++;
		return open_handle(&handles[opened - 1], question, opened - 1);
	}
	if (!strcmp(call, "close")) {
		close_library(h);
		return json_pack("{sn}", "ok");
	}
	set_deadline(h->fd, question);
	if (!strcmp(call, "resolve"))
		outcome = resolve(h, STRING(question, "family"));
	else if (!strcmp(call, "dump"))
		outcome = request(h, question, NLM_F_DUMP, "dump");
	else if (!strcmp(call, "request"))
		outcome = request(h, question, 0, expects);
	else if (!strcmp(call, "next-event"))
		outcome = next_event(h);
	else if (!strcmp(call, "join") || !strcmp(call, "leave"))
		outcome = set_membership(h, question, !strcmp(call, "join"));
	else
		outcome = NULL;
	return outcome ? json_pack("{so}", "ok", outcome) :
		json_pack("{ss}", "unsupported", "the library has no function for this");
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
