/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that change something: join, leave, reload. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/netmap.h"
#include "vand/ctl_internal.h"
#include "vand/registry.h"
#include "vand/reload.h"

#define JOIN_TIMEOUT_MS 30000

/* A join or leave that the registry works on. */
struct change {
	struct ctl_client *client;
	struct ctl *ctl;
	struct loop_timer timer;
	unsigned int timeout_ms;
	char network_id[NETMAP_ID_MAX + 1];
	char network_name[NETMAP_NAME_MAX + 1];
};

static void change_free(struct change *c)
{
	loop_timer_cancel(&c->ctl->v->loop, &c->timer);
	free(c);
}

/* The client hung up. */
static void change_forget(void *op)
{
	struct change *c = op;

	registry_forget(c->ctl->v->registry, c);
	change_free(c);
}

static struct change *change_new(struct ctl_client *client)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c) {
		c->client = client;
		c->ctl = ctl_of(client);
	}
	return c;
}

/* -- join -- */

static void on_join_timeout(struct loop_timer *timer, uint64_t now_ns)
{
	struct change *c = container_of(timer, struct change, timer);
	struct ctl_client *client = c->client;
	struct err e = {0};

	(void)now_ns;
	if (!registry_join_unapproved(c->ctl->v->registry, c, &e))
		err_set(&e, -VAN_E_TIMEOUT,
			"the network is not up after %u.%u s; vand goes on trying: see vanctl status",
			c->timeout_ms / 1000, c->timeout_ms % 1000 / 100);
	registry_forget(c->ctl->v->registry, c);
	change_free(c);
	ctl_error(client, e.code, &e);
}

static void on_joined(void *ctx, int rc, struct json_object *answer, const struct err *e)
{
	struct change *c = ctx;
	struct ctl_client *client = c->client;

	change_free(c);
	if (rc < 0)
		ctl_error(client, rc, e);
	else
		ctl_answer(client, answer);
}

static int get_text(
	struct json_object *args, const char *name, char *ret_text, size_t size, struct err *e)
{
	const char *text = NULL;
	int rc = json_opt_string(args, "", name, 1, size - 1, &text, e);

	if (rc == 0)
		snprintf(ret_text, size, "%s", text ? text : "");
	return rc;
}

static int get_join(struct json_object *args, struct registry_join *ret_join,
	unsigned int *ret_timeout_ms, struct err *e)
{
	const char *token;
	int rc;

	if ((rc = json_get_string(args, "", "token", 1, TOKEN_TEXT_MAX * 2, &token, e)) < 0 ||
		(rc = get_text(args, "name", ret_join->name, sizeof(ret_join->name), e)) < 0 ||
		(rc = get_text(args, "address", ret_join->address, sizeof(ret_join->address), e)) <
			0 ||
		(rc = get_text(args, "ifname", ret_join->ifname, sizeof(ret_join->ifname), e)) <
			0 ||
		(rc = ctl_get_timeout(args, JOIN_TIMEOUT_MS, ret_timeout_ms, e)) < 0)
		return rc;
	return token_parse(token, &ret_join->token, e);
}

void ctl_join(struct ctl_client *client, struct json_object *args)
{
	struct ctl *ctl = ctl_of(client);
	struct registry_join join = {0};
	struct change *c = change_new(client);
	struct err e = {0};
	int rc = c ? get_join(args, &join, &c->timeout_ms, &e) : -ENOMEM;

	if (rc == 0)
		rc = registry_join(ctl->v->registry, &join, on_joined, c, &e);
	sodium_memzero(&join, sizeof(join));
	if (rc < 0) {
		free(c);
		ctl_error(client, rc == -VAN_E_SYNTAX ? -VAN_E_INVALID : rc, &e);
		return;
	}
	c->timer.fire = on_join_timeout;
	loop_timer_set(&ctl->v->loop, &c->timer, ctl->v->loop.now_ns + c->timeout_ms * NS_PER_MS);
	ctl_later(client, change_forget, c);
}

/* -- leave -- */

static void on_left(void *ctx, int rc, bool told, const struct err *e)
{
	CLEANUP(json) struct json_object *result = NULL;
	struct json_object *network;
	struct change *c = ctx;
	struct ctl_client *client = c->client;

	if (rc < 0) {
		change_free(c);
		ctl_error(client, rc, e);
		return;
	}
	result = json_object_new_object();
	network = json_object_new_object();
	json_set_string(network, "id", c->network_id);
	json_set_string(network, "name", c->network_name);
	json_object_object_add(result, "network", network);
	json_set_bool(result, "registry_told", told);
	change_free(c);
	ctl_answer(client, result);
}

void ctl_leave(struct ctl_client *client, struct json_object *args)
{
	struct ctl *ctl = ctl_of(client);
	const struct netmap_network *nn = NULL;
	struct change *c = change_new(client);
	struct err e = {0};
	int rc = c ? ctl_get_network(ctl, args, false, &nn, &e) : -ENOMEM;

	if (rc == 0) {
		snprintf(c->network_id, sizeof(c->network_id), "%s", nn->id);
		snprintf(c->network_name, sizeof(c->network_name), "%s", nn->name);
		rc = registry_leave(ctl->v->registry, nn->id, on_left, c, &e);
	}
	if (rc < 0) {
		free(c);
		ctl_error(client, rc, &e);
		return;
	}
	ctl_later(client, change_forget, c);
}

/* -- reload -- */

void ctl_reload(struct ctl_client *client, struct json_object *args)
{
	CLEANUP(json) struct json_object *result = json_object_new_object();
	struct json_object *restart = json_object_new_array();
	struct err e = {0};
	int rc = vand_reload_listing(ctl_of(client)->v, restart, &e);

	(void)args;
	if (rc == 0 && json_object_array_length(restart) > 0)
		json_object_object_add(result, "restart_needed", restart);
	else
		json_object_put(restart);
	if (rc < 0)
		ctl_error(client, rc, &e);
	else
		ctl_answer(client, result);
}
