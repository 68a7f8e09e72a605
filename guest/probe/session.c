// SPDX-License-Identifier: GPL-2.0
/* The state of one open file: its objects, its log, and the gate where its callbacks wait. */
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "probe.h"

/*
 * Objects of closed files. The core keeps pointers to a family during a dump, or a dump of its
 * policy, which 5.10 and 6.1 do without a reference; a protocol's input may be running when its
 * socket is released. A running dump holds the module, so the exit of the module is the first time
 * at which no user can be left.
 */
static LIST_HEAD(graveyard);
static u32 buried;
static DEFINE_SPINLOCK(graveyard_lock);

/* The most of them; after that the module has to be reloaded. */
#define MAX_BURIED (128 * 1024)

struct nlprobe_session *nlprobe_session_open(void)
{
	struct nlprobe_session *session;

	if (READ_ONCE(buried) >= MAX_BURIED)
		return ERR_PTR(-ENOSPC);
	session = kzalloc(sizeof(*session), GFP_KERNEL);
	if (!session)
		return ERR_PTR(-ENOMEM);
	kref_init(&session->ref);
	mutex_init(&session->lock);
	xa_init_flags(&session->objects, XA_FLAGS_ALLOC1);
	INIT_LIST_HEAD(&session->made);
	init_waitqueue_head(&session->gate.queue);
	nlprobe_log_init(&session->log);
	return session;
}

static void session_free(struct kref *ref)
{
	struct nlprobe_session *session = container_of(ref, struct nlprobe_session, ref);

	kfree(session);
}

void nlprobe_session_put(struct nlprobe_session *session)
{
	kref_put(&session->ref, session_free);
}

static void object_free(struct nlprobe_object *object)
{
	struct nlprobe_session *session = object->session;

	object->type->free(object);
	nlprobe_session_put(session);
}

static void object_bury(struct nlprobe_object *object)
{
	spin_lock(&graveyard_lock);
	list_add(&object->made, &graveyard);
	WRITE_ONCE(buried, buried + 1);
	spin_unlock(&graveyard_lock);
}

void nlprobe_session_close(struct nlprobe_session *session)
{
	struct nlprobe_object *object, *next;

	spin_lock(&session->gate.queue.lock);
	WRITE_ONCE(session->gate.closed, true);
	wake_up_all_locked(&session->gate.queue);
	spin_unlock(&session->gate.queue.lock);

	nlprobe_watch_close(session);
	list_for_each_entry_safe(object, next, &session->made, made) {
		object->type->undo(object);
		list_del(&object->made);
		if (object->exposed)
			object_bury(object);
		else
			object_free(object);
		/* There may be a thousand families, each announced in each namespace. */
		cond_resched();
	}
	nlprobe_log_close(&session->log);
	/* Handles are not used any more; the objects themselves may hold the rest for long. */
	xa_destroy(&session->objects);
	nlprobe_session_put(session);
}

void nlprobe_session_free_buried(void)
{
	struct nlprobe_object *object, *next;

	list_for_each_entry_safe(object, next, &graveyard, made)
		object_free(object);
}

int nlprobe_session_add(struct nlprobe_session *session, struct nlprobe_object *object)
{
	int err;

	object->session = session;
	mutex_lock(&session->lock);
	err = xa_alloc(&session->objects, &object->handle, object,
		       XA_LIMIT(1, NLPROBE_MAX_OBJECTS), GFP_KERNEL);
	if (!err) {
		kref_get(&session->ref);
		list_add(&object->made, &session->made);
	}
	mutex_unlock(&session->lock);
	return err == -EBUSY ? -ENOSPC : err;
}

struct nlprobe_object *nlprobe_session_find(struct nlprobe_session *session, u32 handle,
					    const struct nlprobe_object_type *type)
{
	struct nlprobe_object *object = xa_load(&session->objects, handle);

	return object && object->type == type ? object : NULL;
}

void nlprobe_list_add(struct nlprobe_list *list, struct list_head *listed)
{
	spin_lock(&list->lock);
	list_add_tail(listed, &list->head);
	spin_unlock(&list->lock);
}

void nlprobe_list_del(struct nlprobe_list *list, struct list_head *listed)
{
	spin_lock(&list->lock);
	list_del(listed);
	spin_unlock(&list->lock);
}

void nlprobe_gate_wait(struct nlprobe_gate *gate)
{
	u32 openings;

	spin_lock(&gate->queue.lock);
	openings = gate->openings;
	WRITE_ONCE(gate->waiting, gate->waiting + 1);
	wake_up_all_locked(&gate->queue);
	spin_unlock(&gate->queue.lock);

	wait_event_killable_timeout(gate->queue,
				    READ_ONCE(gate->openings) != openings ||
				    READ_ONCE(gate->closed),
				    msecs_to_jiffies(NLPROBE_MAX_WAIT));

	spin_lock(&gate->queue.lock);
	if (gate->openings == openings)
		WRITE_ONCE(gate->waiting, gate->waiting - 1);
	spin_unlock(&gate->queue.lock);
}

void nlprobe_gate_open(struct nlprobe_gate *gate)
{
	spin_lock(&gate->queue.lock);
	WRITE_ONCE(gate->openings, gate->openings + 1);
	/* Those that wait do not count any longer, even before they have noticed. */
	WRITE_ONCE(gate->waiting, 0);
	wake_up_all_locked(&gate->queue);
	spin_unlock(&gate->queue.lock);
}

int nlprobe_gate_waiting(struct nlprobe_gate *gate, u32 wait_ms)
{
	long waited = wait_event_interruptible_timeout(gate->queue, READ_ONCE(gate->waiting),
						       msecs_to_jiffies(wait_ms));

	return waited < 0 ? waited : READ_ONCE(gate->waiting);
}
