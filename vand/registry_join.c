/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining, in steps that each may be the last one of this process and can be repeated with the same
 * token: the console gives the same answer to the same token and key.
 *
 *   looking     (only when enrolled, and the token's pin is of no console that we know of:) the
 *               console may be new: the netmap says, from a console that we know. Where it does
 *               not either, the token is of another mesh, or of somebody who wants to be taken for
 *               ours: nothing is sent there, for what it knows of the mesh proves nothing.
 *   enrolling   the token's secret is shown. What comes back is written down, synced, before
 *               anything is done with it.
 *   waiting     the netmap is fetched; when it has the network and its interface is up, the join
 *               is answered.
 */
#include <net/if.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/json.h"
#include "lib/log.h"
#include "vand/reconcile.h"
#include "vand/registry_internal.h"
#include "vand/vand.h"

#define JOINS_MAX         8
#define ENROLL_TIMEOUT_MS 30000
#define LOOK_TIMEOUT_NS   (10 * NS_PER_S)
#define MAP_TIMEOUT_NS    (120 * NS_PER_S)
#define SKEW_MIN_S        30 /* less may be the request's own way */

struct join {
	struct list node;
	struct registry *r;
	struct registry_join spec;
	char pin[NETMAP_PIN_TEXT_LEN];
	struct request *request;
	struct loop_timer timer;
	bool looking; /* for the console, in the next map */
	bool waiting; /* for the map that has the network */
	char network_id[NETMAP_ID_MAX + 1];
	char network_name[NETMAP_NAME_MAX + 1];
	char node_name[NETMAP_NAME_MAX + 1];
	bool unapproved;
	struct err trouble;       /* code 0: none. What to add once the network is there. */
	registry_join_done *done; /* NULL: nobody waits any more */
	void *ctx;
};

static void join_end(struct join *j, int rc, struct json_object *answer, const struct err *e)
{
	struct registry *r = j->r;

	list_del(&j->node);
	loop_timer_cancel(&r->v->loop, &j->timer);
	request_cancel(r, j->request);
	if (j->done)
		j->done(j->ctx, rc, answer, e);
	else if (rc < 0)
		log_warn("join: %s", e->text);
	sodium_memzero(&j->spec.token, sizeof(j->spec.token));
	free(j);
}

static void join_fail(struct join *j, int rc, const char *text)
{
	struct err e = {0};

	err_set(&e, rc, "%s", text);
	join_end(j, rc, NULL, &e);
}

/* -- waiting -- */

static struct json_object *id_and_name(const char *id, const char *name)
{
	struct json_object *o = json_object_new_object();

	json_set_string(o, "id", id);
	json_set_string(o, "name", name);
	return o;
}

static struct json_object *join_answer(
	const struct netmap *map, const struct netmap_network *nn, const struct network *network)
{
	struct json_object *o = json_object_new_object(), *ips = json_object_new_array();
	char mac[MAC_TEXT_LEN] = "", cidr[CIDR_TEXT_LEN];

	if (nn->mac_count > 0)
		mac_format(&nn->macs[0], mac);
	for (size_t i = 0; i < nn->ip_count; i++) {
		cidr_format(&nn->ips[i], cidr);
		json_object_array_add(ips, json_object_new_string(cidr));
	}
	json_object_object_add(o, "network", id_and_name(nn->id, nn->name));
	json_object_object_add(o, "node", id_and_name(map->node_id, map->node_name));
	json_set_string(o, "ifname", network_ifname(network));
	json_set_string(o, "mac", mac);
	json_object_object_add(o, "ips", ips);
	return o;
}

/* A node that is a member already keeps the address that it has. */
static bool has_wished_address(const struct join *j, const struct netmap_network *nn)
{
	struct ip wish;

	if (!j->spec.address[0] || !ip_parse(j->spec.address, &wish))
		return true;
	for (size_t i = 0; i < nn->ip_count; i++) {
		if (ip_compare(&nn->ips[i].ip, &wish) == 0)
			return true;
	}
	return false;
}

/* True when the join was answered, and is gone. */
static bool join_check(struct registry *r, struct join *j)
{
	const struct netmap *map = reconcile_map(r->v->reconcile);
	const struct netmap_network *nn = NULL;
	CLEANUP(json) struct json_object *answer = NULL;
	struct network *network;
	const char *error;
	struct err e = {0};

	for (size_t i = 0; map && i < map->network_count && !nn; i++) {
		if (strcmp(map->networks[i].id, j->network_id) == 0)
			nn = &map->networks[i];
	}
	if (!nn)
		return false;
	network = network_find(&r->v->dataplane.networks, nn->id);
	error = reconcile_network_error(r->v->reconcile, nn->id);
	if (error || !network) {
		err_set(&e, -EIO,
			"joined network %s as %s, but it is not up: %s (vand tries again)",
			nn->name, map->node_name, error ? error : "out of memory");
		join_end(j, e.code, NULL, &e);
		return true;
	}
	if (j->trouble.code) {
		err_set(&e, j->trouble.code, "joined network %s as %s, on %s: %s", nn->name,
			map->node_name, network_ifname(network), j->trouble.text);
		join_end(j, e.code, NULL, &e);
		return true;
	}
	if (!has_wished_address(j, nn)) {
		err_set(&e, -VAN_E_CONFLICT,
			"this node is in network %s already, with another address than %s; to change it: "
			"vanctl node set %s -n %s --address %s",
			nn->name, j->spec.address, map->node_name, nn->name, j->spec.address);
		join_end(j, e.code, NULL, &e);
		return true;
	}
	answer = join_answer(map, nn, network);
	log_info("joined network %s as %s", nn->name, map->node_name);
	join_end(j, 0, answer, NULL);
	return true;
}

static void set_unapproved(const struct join *j, struct err *e)
{
	err_set(e, -VAN_E_TIMEOUT,
		"%s has joined network %s and waits for approval: vanctl node approve %s -n %s",
		j->node_name, j->network_name, j->node_name, j->network_name);
}

bool registry_join_unapproved(const struct registry *r, const void *ctx, struct err *e)
{
	list_for_each (it, &r->joins) {
		const struct join *j = container_of(it, struct join, node);

		if (j->ctx != ctx || !j->done || !j->unapproved)
			continue;
		set_unapproved(j, e);
		return true;
	}
	return false;
}

static void on_map_timeout(struct loop_timer *timer, uint64_t now_ns)
{
	struct join *j = container_of(timer, struct join, timer);
	const char *error = j->r->error;
	struct err e = {0};

	(void)now_ns;
	if (j->unapproved && !error[0])
		set_unapproved(j, &e);
	else
		err_set(&e, -VAN_E_TIMEOUT,
			"joined network %s, but the console does not give its netmap: %s",
			j->network_name, error[0] ? error : "no answer that contains the network");
	join_end(j, e.code, NULL, &e);
}

/* -- enrolling -- */

struct enrolled {
	struct state_membership membership;
	const char *network_id;
	const char *network_name;
	const char *node_name;
	bool unapproved;
	int64_t server_time_s;
	struct netmap_console consoles[NETMAP_CONSOLES_MAX];
	size_t console_count; /* 0: it knows of none but itself */
};

static int parse_enrolled(
	struct json_object *o, const struct join *j, struct enrolled *ret_enrolled, struct err *e)
{
	struct json_object *node, *network;
	struct enrolled en = {0};
	struct state_membership *m = &en.membership;
	const char *id, *console, *mesh, *self = "";
	bool approved = true;
	int rc;

	if (!json_object_is_type(o, json_type_object))
		return err_set(e, -VAN_E_PROTOCOL, "not an object");
	if ((rc = json_get_object(o, "", "node", &node, e)) < 0 ||
		(rc = json_get_string(node, "/node", "id", 1, NETMAP_ID_MAX, &id, e)) < 0 ||
		(rc = json_get_string(
			 node, "/node", "name", 1, NETMAP_NAME_MAX, &en.node_name, e)) < 0 ||
		(rc = json_get_object(o, "", "network", &network, e)) < 0 ||
		(rc = json_get_string(
			 network, "/network", "id", 1, NETMAP_ID_MAX, &en.network_id, e)) < 0 ||
		(rc = json_get_string(network, "/network", "name", 1, NETMAP_NAME_MAX,
			 &en.network_name, e)) < 0 ||
		(rc = json_get_string(o, "", "console", 1, NETMAP_ID_MAX, &console, e)) < 0 ||
		(rc = json_get_string(o, "", "mesh", 32, 32, &mesh, e)) < 0 ||
		(rc = json_opt_string(o, "", "self", 0, NETMAP_ID_MAX, &self, e)) < 0 ||
		(rc = json_opt_bool(o, "", "approved", &approved, e)) < 0 ||
		(rc = json_opt_int(o, "", "server_time", 1, INT64_MAX / 2, &en.server_time_s, e)) <
			0 ||
		(rc = netmap_consoles_read(o, "", en.consoles, &en.console_count, e)) < 0)
		return rc;
	if (!hash_unhex(mesh, m->mesh, sizeof(m->mesh)))
		return err_set(e, -VAN_E_PROTOCOL, "/mesh is not hexadecimal");
	snprintf(m->url, sizeof(m->url), "%s", j->spec.token.url);
	snprintf(m->pin, sizeof(m->pin), "%s", j->pin);
	snprintf(m->console, sizeof(m->console), "%s", console);
	snprintf(m->self, sizeof(m->self), "%s", self);
	en.unapproved = !approved;
	snprintf(m->node_id, sizeof(m->node_id), "%s", id);
	*ret_enrolled = en;
	return 0;
}

static int other_mesh(const struct state_membership *m, const char *token_url, struct err *e)
{
	return err_set(e, -VAN_E_CONFLICT,
		"this token is of another mesh (%s): this node is in the mesh of %s, and one vand "
		"serves one mesh; run a second vand with a state_dir, control_socket and port of its "
		"own",
		token_url, m->url);
}

/* Writes down what the console said; from then on this node is what it says. */
static int keep_membership(struct registry *r, const struct enrolled *en, struct err *e)
{
	const struct state_membership *m = state_membership(r->v->state);
	int rc = 0;

	/* Any member knows the ids: what shows that it is the same mesh is the pin. Another join may
	 * have been quicker than this one. */
	if (m && (!consoles_know_pin(&r->consoles, en->membership.pin) ||
			 memcmp(m->mesh, en->membership.mesh, sizeof(m->mesh)) != 0))
		return other_mesh(m, en->membership.url, e);
	/* Else its console stays the one that it is used to. */
	if (!m || strcmp(m->node_id, en->membership.node_id) != 0 ||
		strcmp(m->console, en->membership.console) != 0)
		rc = state_set_membership(r->v->state, &en->membership, e);
	if (rc == 0 && en->console_count)
		rc = state_set_consoles(r->v->state, en->consoles, en->console_count, e);
	registry_read_consoles(r);
	return rc;
}

static void begin_waiting(struct join *j, const struct enrolled *en)
{
	struct registry *r = j->r;
	struct loop *loop = &r->v->loop;

	j->waiting = true;
	j->unapproved = en->unapproved;
	snprintf(j->network_id, sizeof(j->network_id), "%s", en->network_id);
	snprintf(j->network_name, sizeof(j->network_name), "%s", en->network_name);
	snprintf(j->node_name, sizeof(j->node_name), "%s", en->node_name);
	(void)state_set_leaving(r->v->state, j->network_id, false, NULL);
	if (j->spec.ifname[0])
		(void)reconcile_wish_ifname(
			r->v->reconcile, j->network_id, j->spec.ifname, &j->trouble);
	j->timer.fire = on_map_timeout;
	loop_timer_set(loop, &j->timer, loop->now_ns + MAP_TIMEOUT_NS);
	if (r->running) {
		registry_poll_now(r, true);
		return;
	}
	registry_start(r);
	if (!r->running)
		join_fail(j, -EIO, r->error);
}

static void on_enrolled(void *ctx, int rc, const char *word, const struct httpc_response *response,
	const struct err *e)
{
	struct join *j = ctx;
	struct registry *r = j->r;
	CLEANUP(json) struct json_object *o = NULL;
	struct enrolled en;
	struct err bad = {0};
	int64_t skew_s;

	(void)word;
	j->request = NULL;
	sodium_memzero(j->spec.token.secret, sizeof(j->spec.token.secret));
	if (rc < 0) {
		join_end(j, rc, NULL, e);
		return;
	}
	rc = json_parse(response->body, response->body_len, &o, &bad);
	if (rc == 0)
		rc = parse_enrolled(o, j, &en, &bad);
	if (rc < 0) {
		err_prefix(&bad, rc, "%s answered the join with something else", j->spec.token.url);
		bad.code = -VAN_E_PROTOCOL;
	} else {
		rc = keep_membership(r, &en, &bad);
	}
	if (rc < 0) {
		join_end(j, bad.code, NULL, &bad);
		return;
	}
	skew_s = en.server_time_s - (int64_t)(clock_wall_ns() / NS_PER_S);
	if (en.server_time_s && llabs(skew_s) >= SKEW_MIN_S)
		r->clock_offset_s = skew_s;
	begin_waiting(j, &en);
}

static struct netmap_console token_console(const struct join *j)
{
	struct netmap_console to = {.pin_count = 1};

	snprintf(to.url, sizeof(to.url), "%s", j->spec.token.url);
	snprintf(to.pins[0], sizeof(to.pins[0]), "%s", j->pin);
	return to;
}

static struct json_object *enroll_body(const struct join *j)
{
	const struct identity *identity = j->r->v->identity;
	struct json_object *o = json_object_new_object();
	char key[KEY_TEXT_LEN], sign_key[KEY_TEXT_LEN], host[256] = "";
	char secret[64];

	if (!j->spec.name[0] && gethostname(host, sizeof(host) - 1) == 0)
		host[strcspn(host, ".")] = '\0';
	host[NETMAP_NAME_MAX] = '\0';
	key_base64(j->spec.token.secret, sizeof(j->spec.token.secret), true, secret);
	key_format(&identity->public, key);
	key_format(&identity->sign_public, sign_key);
	json_set_string(o, "secret", secret);
	json_set_string(o, "name", j->spec.name[0] ? j->spec.name : host[0] ? host : "node");
	json_set_string(o, "public_key", key);
	json_set_string(o, "sign_key", sign_key);
	json_set_string(o, "address", j->spec.address[0] ? j->spec.address : NULL);
	json_set_string(o, "version", VAN_VERSION);
	sodium_memzero(secret, sizeof(secret));
	return o;
}

static int enroll(struct join *j)
{
	struct json_object *body = enroll_body(j);
	const struct netmap_console to = token_console(j);
	struct request_spec spec = {.to = &to,
		.node = "enroll",
		.console = "",
		.method = "POST",
		.path = "/agent/v1/enroll",
		.timeout_ms = ENROLL_TIMEOUT_MS,
		.done = on_enrolled,
		.ctx = j};
	const char *text;
	size_t len;
	int rc;

	text = json_object_to_json_string_length(body, JSON_C_TO_STRING_PLAIN, &len);
	spec.body = text;
	rc = request_start(j->r, &spec, &j->request);
	/* json-c's copy of a secret: the text it made, which is ours to scratch until the object
	 * goes. */
	sodium_memzero((char *)text, len);
	json_object_put(body);
	return rc;
}

/* -- looking -- */

/* The join goes on, or ends. known: a console of the mesh has the token's pin. */
static void found(struct join *j, bool known)
{
	const struct state_membership *m = state_membership(j->r->v->state);
	struct err e = {0};
	int rc;

	j->looking = false;
	loop_timer_cancel(&j->r->v->loop, &j->timer);
	if (!known) {
		other_mesh(m, j->spec.token.url, &e);
		join_end(j, e.code, NULL, &e);
		return;
	}
	rc = enroll(j);
	if (rc < 0)
		join_fail(j, rc, err_name(rc));
}

static void on_look_timeout(struct loop_timer *timer, uint64_t now_ns)
{
	struct join *j = container_of(timer, struct join, timer);
	struct err e = {0};

	(void)now_ns;
	err_set(&e, -VAN_E_TIMEOUT,
		"no console that this node knows has the key of %s, and the one at %s does not "
		"answer whether that is new: try again when `vanctl status` shows contact",
		j->spec.token.url, registry_url(j->r));
	join_end(j, e.code, NULL, &e);
}

static int look(struct join *j)
{
	struct loop *loop = &j->r->v->loop;

	if (!j->r->running)
		return -ENOTCONN;
	j->looking = true;
	j->timer.fire = on_look_timeout;
	loop_timer_set(loop, &j->timer, loop->now_ns + LOOK_TIMEOUT_NS);
	registry_poll_now(j->r, true);
	return 0;
}

void registry_joins_check(struct registry *r)
{
	list_for_each_safe (it, &r->joins) {
		struct join *j = container_of(it, struct join, node);

		if (j->looking)
			found(j, consoles_know_pin(&r->consoles, j->pin));
		else if (j->waiting)
			join_check(r, j);
	}
}

/* -- the whole -- */

static int taken(const char *ifname, struct err *e)
{
	return err_set(e, -VAN_E_CONFLICT,
		"there is an interface %s already; choose another name with --ifname", ifname);
}

/* Before the token is spent: a name that cannot be had. */
static int check_ifname(const struct registry *r, const char *ifname, struct err *e)
{
	const struct dataplane *d = &r->v->dataplane;
	int rc = reconcile_check_ifname(ifname, e);

	if (rc < 0 || if_nametoindex(ifname) == 0)
		return rc;
	if (!d->running)
		return taken(ifname, e);
	list_for_each (it, &d->networks.all) {
		const struct network *network = container_of(it, struct network, node);

		if (strcmp(network_ifname(network), ifname) == 0)
			return err_set(e, -VAN_E_CONFLICT,
				"%s is the interface of network %s already; choose another name with "
				"--ifname, or leave it out",
				ifname, network->name);
	}
	return taken(ifname, e);
}

static int check_spec(const struct registry *r, const struct registry_join *spec, struct err *e)
{
	struct ip ip;
	size_t count = 0;

	if (spec->address[0] && !ip_parse(spec->address, &ip))
		return err_set(e, -VAN_E_INVALID, "'%s' is not an IP address", spec->address);
	list_for_each (it, &r->joins)
		count++;
	if (count >= JOINS_MAX)
		return err_set(e, -VAN_E_LIMIT, "%zu joins are under way already", count);
	return spec->ifname[0] ? check_ifname(r, spec->ifname, e) : 0;
}

int registry_join(struct registry *r, const struct registry_join *spec, registry_join_done *done,
	void *ctx, struct err *e)
{
	const struct state_membership *m = state_membership(r->v->state);
	struct join *j;
	int rc = check_spec(r, spec, e);

	if (rc < 0)
		return rc;
	j = calloc(1, sizeof(*j));
	if (!j)
		return err_set(e, -ENOMEM, "%s", err_name(-ENOMEM));
	j->r = r;
	j->spec = *spec;
	j->done = done;
	j->ctx = ctx;
	token_pin_text(spec->token.pin, j->pin);
	list_add_tail(&r->joins, &j->node);
	rc = m && !consoles_know_pin(&r->consoles, j->pin) ? look(j) : enroll(j);
	if (rc < 0) {
		j->done = NULL;
		err_set(e, rc, "cannot ask the console at %s: %s", spec->token.url, err_name(rc));
		list_del(&j->node);
		sodium_memzero(&j->spec.token, sizeof(j->spec.token));
		free(j);
	}
	return rc;
}

void registry_joins_fail(struct registry *r, int rc, const char *text)
{
	list_for_each_safe (it, &r->joins)
		join_fail(container_of(it, struct join, node), rc, text);
}

void registry_joins_forget(struct registry *r, void *ctx)
{
	list_for_each (it, &r->joins) {
		struct join *j = container_of(it, struct join, node);

		if (j->ctx == ctx)
			j->done = NULL;
	}
}

void registry_forget(struct registry *r, void *ctx)
{
	registry_joins_forget(r, ctx);
	registry_leaves_forget(r, ctx);
}
