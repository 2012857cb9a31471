/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving a network. Whoever wants out must get out, also when the console does not answer: then
 * the network is taken down here, the id is kept with the membership, and the console is told
 * later. Until then its netmaps, which still contain the network, are applied without it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/log.h"
#include "vand/reconcile.h"
#include "vand/registry_internal.h"
#include "vand/vand.h"

#define LEAVE_TIMEOUT_MS 5000
#define LEAVES_MAX       16

struct leave {
	struct list node;
	struct registry *r;
	struct request *request;
	char network_id[NETMAP_ID_MAX + 1];
	registry_leave_done *done; /* NULL: nobody waits any more */
	void *ctx;
};

static int start_delete(struct registry *r, const char *network_id, request_done *done, void *ctx,
	struct request **ret_request)
{
	struct request_spec spec = {
		.method = "DELETE", .timeout_ms = LEAVE_TIMEOUT_MS, .done = done, .ctx = ctx};
	char path[128];

	snprintf(path, sizeof(path), "/agent/v1/networks/%s", network_id);
	spec.path = path;
	registry_as_member(r, NULL, &spec);
	return request_start(r, &spec, ret_request);
}

/* An id goes into a path; what a console that is not well might have sent does not. */
static bool id_is_plain(const char *id)
{
	return *id && id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_")] == '\0';
}

static void leave_end(struct leave *l, int rc, bool told, const struct err *e)
{
	list_del(&l->node);
	if (l->done)
		l->done(l->ctx, rc, told, e);
	free(l);
}

/* True for failures that say nothing about the request itself: the console is away or unwell. */
static bool is_away(int rc)
{
	return rc == -VAN_E_UNREACHABLE || rc == -VAN_E_TIMEOUT || rc == -VAN_E_TLS ||
	       rc == -VAN_E_PROTOCOL || rc == -VAN_E_LIMIT;
}

static void on_left(void *ctx, int rc, const char *word, const struct httpc_response *response,
	const struct err *e)
{
	struct leave *l = ctx;
	struct registry *r = l->r;
	bool told = true;
	struct err why = {0};

	(void)response;
	l->request = NULL;
	if (rc == -VAN_E_NOT_FOUND)
		rc = 0; /* as good as left */
	if (rc == -VAN_E_GONE && strcmp(word, "node_removed") == 0) {
		leave_end(l, 0, true, NULL); /* registry_removed() follows */
		return;
	}
	if (is_away(rc)) {
		told = false;
		/* Should even this fail to be written, it holds until the next start. */
		rc = state_set_leaving(r->v->state, l->network_id, true, &why);
		if (rc == -VAN_E_LIMIT) {
			leave_end(l, rc, false, &why);
			return;
		}
		rc = 0;
		log_warn("registry: network %s is left; the console will be told when it answers",
			l->network_id);
	}
	if (rc < 0) {
		leave_end(l, rc, false, e);
		return;
	}
	registry_drop_network(r, l->network_id);
	/* An answer to the running poll may have been made before. */
	if (told && r->running)
		registry_poll_now(r, false);
	leave_end(l, 0, told, NULL);
}

int registry_leave(struct registry *r, const char *network_id, registry_leave_done *done, void *ctx,
	struct err *e)
{
	size_t count = 0;
	struct leave *l;
	int rc;

	if (!state_membership(r->v->state))
		return err_set(e, -VAN_E_NOT_FOUND, "this node is in no network");
	if (!id_is_plain(network_id))
		return err_set(e, -VAN_E_INVALID, "'%s' is not an id", network_id);
	list_for_each (it, &r->leaves)
		count++;
	if (count >= LEAVES_MAX)
		return err_set(
			e, -VAN_E_LIMIT, "%zu networks are being left at this moment", count);
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	l->r = r;
	l->done = done;
	l->ctx = ctx;
	snprintf(l->network_id, sizeof(l->network_id), "%s", network_id);
	list_add_tail(&r->leaves, &l->node);
	rc = start_delete(r, network_id, on_left, l, &l->request);
	if (rc < 0) {
		list_del(&l->node);
		free(l);
		return err_set(e, rc, "cannot ask the console: %s", err_name(rc));
	}
	return 0;
}

void registry_leaves_fail(struct registry *r, int rc, const char *text)
{
	struct err e = {0};

	err_set(&e, rc, "%s", text);
	list_for_each_safe (it, &r->leaves) {
		struct leave *l = container_of(it, struct leave, node);

		request_cancel(r, l->request);
		leave_end(l, rc, rc == 0, &e);
	}
}

void registry_leaves_forget(struct registry *r, void *ctx)
{
	list_for_each (it, &r->leaves) {
		struct leave *l = container_of(it, struct leave, node);

		if (l->ctx == ctx)
			l->done = NULL;
	}
}

/* -- later -- */

static void on_told(void *ctx, int rc, const char *word, const struct httpc_response *response,
	const struct err *e)
{
	struct registry *r = ctx;

	(void)word;
	(void)response;
	r->telling = NULL;
	if (is_away(rc) || rc == -VAN_E_GONE)
		return; /* the next contact tries again */
	if (rc < 0 && rc != -VAN_E_NOT_FOUND)
		log_error("registry: the console does not let this node leave network %s: %s",
			r->telling_id, e->text);
	else
		log_info("registry: the console knows that network %s was left", r->telling_id);
	(void)state_set_leaving(r->v->state, r->telling_id, false, NULL);
	registry_tell_leaves(r);
}

void registry_tell_leaves(struct registry *r)
{
	const char *id = state_leaving(r->v->state, 0);

	if (r->telling || !id || !r->running)
		return;
	snprintf(r->telling_id, sizeof(r->telling_id), "%s", id);
	if (!id_is_plain(id)) {
		(void)state_set_leaving(r->v->state, r->telling_id, false, NULL);
		return;
	}
	(void)start_delete(r, id, on_told, r, &r->telling);
}
