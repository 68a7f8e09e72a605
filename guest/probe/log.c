// SPDX-License-Identifier: GPL-2.0
/* The log of the callbacks that ran. Each callback may sleep, so a mutex is enough. */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "probe.h"

/* The size of a log, in bytes; entries beyond it are counted and lost. */
#define LOG_ROOM (8 << 20)

struct record {
	struct list_head node;
	struct nlprobe_log_entry entry;
	u8 bytes[];
};

static size_t record_size(const struct record *record)
{
	return ALIGN(sizeof(record->entry) + record->entry.len, 8);
}

void nlprobe_log_init(struct nlprobe_session_log *log)
{
	mutex_init(&log->lock);
	INIT_LIST_HEAD(&log->records);
	init_waitqueue_head(&log->filled);
}

void nlprobe_log_lose(struct nlprobe_session_log *log)
{
	mutex_lock(&log->lock);
	log->lost++;
	mutex_unlock(&log->lock);
}

void nlprobe_log_close(struct nlprobe_session_log *log)
{
	struct record *record, *next;

	mutex_lock(&log->lock);
	log->closed = true;
	list_for_each_entry_safe(record, next, &log->records, node)
		kvfree(record);
	INIT_LIST_HEAD(&log->records);
	mutex_unlock(&log->lock);
}

void nlprobe_log_add(struct nlprobe_session_log *log, const struct nlprobe_log_entry *entry,
		     const void *bytes)
{
	/* Zeroed, because padding is copied out too. */
	struct record *record = kvzalloc(ALIGN(sizeof(*record) + entry->len, 8), GFP_KERNEL);

	if (record) {
		record->entry = *entry;
		memcpy(record->bytes, bytes, entry->len);
	}
	mutex_lock(&log->lock);
	if (log->closed) {
		kvfree(record);
	} else if (!record || log->size + record_size(record) > LOG_ROOM) {
		log->lost++;
		kvfree(record);
	} else {
		list_add_tail(&record->node, &log->records);
		log->size += record_size(record);
	}
	mutex_unlock(&log->lock);
	wake_up_all(&log->filled);
}

int nlprobe_log_ioctl(struct nlprobe_session *session, void *arg)
{
	struct nlprobe_log *out = arg;
	struct nlprobe_session_log *log = &session->log;
	struct record *record, *next;
	long waited;
	int err = 0;

	if (out->wait_ms > NLPROBE_MAX_WAIT || out->buffer.reserved || out->reserved)
		return -EINVAL;
	waited = wait_event_interruptible_timeout(log->filled, !list_empty_careful(&log->records),
						  msecs_to_jiffies(out->wait_ms));
	if (waited < 0)
		return waited;

	out->used = 0;
	mutex_lock(&log->lock);
	list_for_each_entry_safe(record, next, &log->records, node) {
		size_t size = record_size(record);

		if (size > out->buffer.count - out->used) {
			if (!out->used)
				err = -EMSGSIZE;
			break;
		}
		if (copy_to_user(u64_to_user_ptr(out->buffer.ptr + out->used), &record->entry,
				 size)) {
			err = -EFAULT;
			break;
		}
		out->used += size;
		log->size -= size;
		list_del(&record->node);
		kvfree(record);
	}
	out->lost = log->lost;
	if (!err)
		log->lost = 0;
	mutex_unlock(&log->lock);
	return err;
}
