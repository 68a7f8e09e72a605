// SPDX-License-Identifier: GPL-2.0
/* What belongs to one open file: its objects, its log, and the gate where its callbacks wait. */
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "probe.h"

/*
 * Objects of closed files. The core keeps pointers to a family while a dump runs, or a dump of its
 * policy, which 5.10 and 6.1 do without any count; a protocol's input may be on its way when its
 * socket is released. A running dump holds the module, so the end of the module is the first time
 * at which nobody can be left.
 */
static LIST_HEAD(graveyard);
static DEFINE_SPINLOCK(graveyard_lock);

struct session *session_open(void)
{
	struct session *session = kzalloc(sizeof(*session), GFP_KERNEL);

	if (!session)
		return ERR_PTR(-ENOMEM);
	session->objects = kcalloc(NLPROBE_MAX_OBJECTS, sizeof(*session->objects), GFP_KERNEL);
	if (!session->objects) {
		kfree(session);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&session->ref);
	mutex_init(&session->lock);
	init_waitqueue_head(&session->gate.queue);
	log_init(&session->log);
	return session;
}

static void session_free(struct kref *ref)
{
	struct session *session = container_of(ref, struct session, ref);

	kfree(session);
}

void session_put(struct session *session)
{
	kref_put(&session->ref, session_free);
}

static void object_free(struct object *object)
{
	struct session *session = object->session;

	object->type->free(object);
	session_put(session);
}

void session_close(struct session *session)
{
	u32 i;

	spin_lock(&session->gate.queue.lock);
	session->gate.closed = true;
	wake_up_all_locked(&session->gate.queue);
	spin_unlock(&session->gate.queue.lock);

	watch_close(session);
	for (i = session->count; i-- > 0;) {
		struct object *object = session->objects[i];

		object->type->undo(object);
		if (!object->exposed) {
			object_free(object);
			continue;
		}
		spin_lock(&graveyard_lock);
		list_add(&object->buried, &graveyard);
		spin_unlock(&graveyard_lock);
	}
	log_close(&session->log);
	/* Nobody asks for a handle any more; the objects themselves may hold the rest for long. */
	kfree(session->objects);
	session_put(session);
}

void session_bury_all(void)
{
	struct object *object, *next;

	list_for_each_entry_safe(object, next, &graveyard, buried)
		object_free(object);
}

int session_add(struct session *session, struct object *object)
{
	int err = -ENOSPC;

	mutex_lock(&session->lock);
	if (session->count < NLPROBE_MAX_OBJECTS) {
		kref_get(&session->ref);
		object->session = session;
		session->objects[session->count] = object;
		object->handle = ++session->count;
		err = 0;
	}
	mutex_unlock(&session->lock);
	return err;
}

struct object *session_find(struct session *session, u32 handle, const struct object_type *type)
{
	struct object *object = NULL;

	mutex_lock(&session->lock);
	if (handle && handle <= session->count)
		object = session->objects[handle - 1];
	mutex_unlock(&session->lock);
	return object && object->type == type ? object : NULL;
}

void gate_wait(struct gate *gate)
{
	u32 openings;

	spin_lock(&gate->queue.lock);
	openings = gate->openings;
	gate->waiting++;
	wake_up_all_locked(&gate->queue);
	spin_unlock(&gate->queue.lock);

	wait_event_killable_timeout(gate->queue,
				    READ_ONCE(gate->openings) != openings || READ_ONCE(gate->closed),
				    msecs_to_jiffies(NLPROBE_MAX_WAIT));

	spin_lock(&gate->queue.lock);
	if (gate->openings == openings)
		gate->waiting--;
	spin_unlock(&gate->queue.lock);
}

void gate_open(struct gate *gate)
{
	spin_lock(&gate->queue.lock);
	gate->openings++;
	/* Those that wait no longer count, even before they have noticed. */
	gate->waiting = 0;
	wake_up_all_locked(&gate->queue);
	spin_unlock(&gate->queue.lock);
}

u32 gate_waiting(struct gate *gate, u32 wait_ms)
{
	wait_event_interruptible_timeout(gate->queue, READ_ONCE(gate->waiting),
					 msecs_to_jiffies(wait_ms));
	return READ_ONCE(gate->waiting);
}
