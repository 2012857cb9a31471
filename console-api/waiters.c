/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/waiters.h"

#include <microhttpd.h>
#include <string.h>
#include "console-api/conn.h"

void waiters_init(struct waiters *w)
{
	list_init(&w->all);
	for (size_t i = 0; i < WAITERS_BUCKETS; i++)
		list_init(&w->by_node[i]);
	w->due_ns = 0;
	w->resumed = false;
}

size_t waiters_count(const struct waiters *w)
{
	size_t count = 0;

	list_for_each (it, &w->all)
		count++;
	return count;
}

static struct list *bucket_of(struct waiters *w, const char *node_id)
{
	uint32_t hash = 2166136261u; /* FNV-1a: ids are ours, nobody chooses them */

	for (; *node_id; node_id++)
		hash = (hash ^ (uint8_t)*node_id) * 16777619u;
	return &w->by_node[hash % WAITERS_BUCKETS];
}

static void resume(struct waiters *w, struct request *q)
{
	list_del(&q->waiter);
	list_del(&q->by_node);
	/* It wakes nobody where the library has no thread of its own. */
	MHD_resume_connection(q->connection);
	w->resumed = true;
}

static void note_due(struct waiters *w, uint64_t due_ns)
{
	if (!w->due_ns || due_ns < w->due_ns)
		w->due_ns = due_ns;
}

void waiters_suspend(struct waiters *w, struct request *q)
{
	struct list *bucket = bucket_of(w, q->node.id);

	if (q->node.id[0]) {
		list_for_each_safe (it, bucket) {
			struct request *other = container_of(it, struct request, by_node);

			if (!strcmp(other->node.id, q->node.id)) {
				other->deadline_ns = 0;
				resume(w, other);
			}
		}
		list_add_tail(bucket, &q->by_node);
	}
	MHD_suspend_connection(q->connection);
	q->was_waiting = true;
	list_add_tail(&w->all, &q->waiter);
	note_due(w, q->deadline_ns);
}

uint64_t waiters_resume_due(struct waiters *w, uint64_t now_ns)
{
	bool resumed;

	if (w->due_ns && w->due_ns <= now_ns) {
		w->due_ns = 0;
		list_for_each_safe (it, &w->all) {
			struct request *q = container_of(it, struct request, waiter);

			if (q->deadline_ns <= now_ns)
				resume(w, q);
			else
				note_due(w, q->deadline_ns);
		}
	}
	resumed = w->resumed;
	w->resumed = false;
	return resumed ? now_ns : w->due_ns;
}

void waiters_resume_doomed(struct waiters *w)
{
	list_for_each_safe (it, &w->all) {
		struct request *q = container_of(it, struct request, waiter);

		if (!q->conn || !q->conn->doomed)
			continue;
		q->deadline_ns = 0;
		resume(w, q);
	}
}

void waiters_resume_all(struct waiters *w)
{
	list_for_each_safe (it, &w->all)
		resume(w, container_of(it, struct request, waiter));
}

/* -- changes -- */

static bool concerns(const struct request *q, const char *key)
{
	static const char node[] = "/maprev/node/", net[] = "/maprev/net/";

	if (!strncmp(key, node, sizeof(node) - 1))
		return !strcmp(key + sizeof(node) - 1, q->node.id);
	if (!strcmp(key, "/maprev/consoles"))
		return true;
	if (strncmp(key, net, sizeof(net) - 1) != 0)
		return false;
	if (q->scope.any)
		return true;
	for (size_t i = 0; i < q->scope.count; i++)
		if (!strcmp(key + sizeof(net) - 1, q->scope.nets[i]))
			return true;
	return false;
}

static bool concerns_any(const struct request *q, const struct store_op *ops, size_t n)
{
	if (!n || q->stream)
		return true;
	for (size_t i = 0; i < n; i++)
		if (concerns(q, ops[i].key))
			return true;
	return false;
}

static bool is_pressing(const struct store_op *op)
{
	return op->kind == STORE_PUT && !strcmp(op->value, REGISTRY_PRESSING);
}

/* Of a request that is to be woken by changes of networks later only: this one can wait. */
static bool can_wait(const struct request *q, const struct store_op *ops, size_t n, uint64_t now_ns)
{
	static const char node[] = "/maprev/node/";

	if (q->quiet_ns <= now_ns)
		return false;
	for (size_t i = 0; i < n; i++)
		if (concerns(q, ops[i].key) &&
			(!strncmp(ops[i].key, node, sizeof(node) - 1) || is_pressing(&ops[i])))
			return false;
	return true;
}

bool waiters_on_change(struct waiters *w, const struct store_op *ops, size_t n, uint64_t now_ns)
{
	uint64_t due_ns = w->due_ns;
	bool any = false;

	list_for_each_safe (it, &w->all) {
		struct request *q = container_of(it, struct request, waiter);

		if (!concerns_any(q, ops, n))
			continue;
		if (!can_wait(q, ops, n, now_ns)) {
			resume(w, q);
			any = true;
			continue;
		}
		if (q->deadline_ns > q->quiet_ns)
			q->deadline_ns = q->quiet_ns;
		note_due(w, q->deadline_ns);
	}
	return any || w->due_ns != due_ns;
}
