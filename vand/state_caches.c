/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a restart smooth: interface names, end points of peers, and the high-water mark of
 * handshake stamps. In memory the first two are the JSON objects that are written: json-c's objects
 * are hash tables.
 *
 * Stamps must only ever grow, whatever the clock does, or peers take our INITs for replays. The
 * mark on disk stands ahead of the stamps in use, so that one write serves for minutes; after a
 * restart the first stamp is above the mark.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "vand/state_internal.h"

#define INTERFACES_MAX (64u << 10) /* bytes of file */
#define ENDPOINTS_MAX  (16u << 20) /* likewise */
#define STAMP_AHEAD_NS (120 * NS_PER_S)
#define STAMP_LIMIT_NS (1ull << 63) /* beyond it, no clock and no high-water mark is sane */

/* -- interface names and end points -- */

static struct json_object *load_map(struct state *s, enum state_file file, size_t max)
{
	struct json_object *o = state_read_json(s, file, max);

	if (!o)
		return json_object_new_object();
	json_object_object_foreach(o, name, value)
	{
		if (json_object_is_type(value, json_type_string))
			continue;
		(void)name;
		state_ignore(s, file, "a member of it is not a string");
		json_object_put(o);
		return json_object_new_object();
	}
	return o;
}

static const char *map_get(struct json_object *map, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(map, name, &value) ? json_object_get_string(value) : NULL;
}

/* Sets or (value NULL) removes. False when nothing changed. */
static bool map_set(struct json_object *map, const char *name, const char *value)
{
	const char *before = map_get(map, name);

	if (!before && !value)
		return false;
	if (before && value && strcmp(before, value) == 0)
		return false;
	if (value)
		json_set_string(map, name, value);
	else
		json_object_object_del(map, name);
	return true;
}

const char *state_ifname(const struct state *s, const char *network_id)
{
	return map_get(s->interfaces, network_id);
}

int state_set_ifname(struct state *s, const char *network_id, const char *ifname, struct err *e)
{
	int rc;

	if (!map_set(s->interfaces, network_id, ifname) && !s->dirty[FILE_INTERFACES])
		return 0;
	rc = state_write_json(s, FILE_INTERFACES, s->interfaces, e);
	s->dirty[FILE_INTERFACES] = rc < 0;
	return rc;
}

bool state_endpoint(const struct state *s, const struct key *peer, struct endpoint *ret_ep)
{
	char name[KEY_TEXT_LEN];
	const char *text;

	key_format(peer, name);
	text = map_get(s->endpoints, name);
	return text && endpoint_parse(text, 0, ret_ep);
}

void state_set_endpoint(struct state *s, const struct key *peer, const struct endpoint *ep)
{
	char name[KEY_TEXT_LEN], text[ENDPOINT_TEXT_LEN];

	key_format(peer, name);
	if (ep)
		endpoint_format(ep, text);
	if (map_set(s->endpoints, name, ep ? text : NULL))
		s->dirty[FILE_ENDPOINTS] = true;
}

void state_prune_endpoints(
	struct state *s, bool (*keep)(void *ctx, const struct key *peer), void *ctx)
{
	struct json_object *kept = json_object_new_object();

	json_object_object_foreach(s->endpoints, name, value)
	{
		struct key peer;

		if (key_parse(name, &peer) && keep(ctx, &peer))
			json_object_object_add(kept, name, json_object_get(value));
		else
			s->dirty[FILE_ENDPOINTS] = true;
	}
	json_object_put(s->endpoints);
	s->endpoints = kept;
}

int state_flush_caches(struct state *s, struct err *e)
{
	int rc = 0, failed;

	if (s->dirty[FILE_INTERFACES]) {
		rc = state_write_json(s, FILE_INTERFACES, s->interfaces, e);
		s->dirty[FILE_INTERFACES] = rc < 0;
	}
	if (s->dirty[FILE_ENDPOINTS]) {
		failed = state_write_json(s, FILE_ENDPOINTS, s->endpoints, rc ? NULL : e);
		s->dirty[FILE_ENDPOINTS] = failed < 0;
		rc = rc ? rc : failed;
	}
	return rc;
}

/* -- stamps -- */

static void load_stamp(struct state *s)
{
	CLEANUP(free) char *path = state_path(s, FILE_STAMP);
	CLEANUP(free) char *text = NULL;
	struct err e = {0};
	char *end = NULL;
	size_t len;
	uint64_t ns;
	int rc = file_read(path, 64, &text, &len, &e);

	if (rc == -ENOENT)
		return;
	if (rc < 0) {
		state_ignore(s, FILE_STAMP, e.text);
		return;
	}
	errno = 0;
	ns = strtoull(text, &end, 10);
	if (errno || len == 0 || text[0] < '0' || text[0] > '9' || *end != '\n' ||
		ns >= STAMP_LIMIT_NS) {
		state_ignore(s, FILE_STAMP,
			"not a number of nanoseconds; peers may refuse this node until its clock "
			"has passed the last handshake");
		return;
	}
	s->stamp_ns = ns;
	s->stamp_ahead_ns = ns;
}

int state_next_stamp(struct state *s, uint64_t wall_ns, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	uint64_t ns = wall_ns > s->stamp_ns ? wall_ns : s->stamp_ns;
	uint64_t seconds;
	uint32_t rest;

	if (ns >= STAMP_LIMIT_NS)
		return -EOVERFLOW;
	ns++;
	if (ns > s->stamp_ahead_ns) {
		char text[32];
		int rc;

		snprintf(text, sizeof(text), "%llu\n", (unsigned long long)(ns + STAMP_AHEAD_NS));
		rc = state_write(s, FILE_STAMP, text, NULL);
		if (rc < 0)
			return rc;
		s->stamp_ahead_ns = ns + STAMP_AHEAD_NS;
	}
	s->stamp_ns = ns;
	seconds = ns / NS_PER_S;
	rest = (uint32_t)(ns % NS_PER_S);
	for (int i = 0; i < 8; i++)
		ret_stamp[i] = (uint8_t)(seconds >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		ret_stamp[8 + i] = (uint8_t)(rest >> (24 - 8 * i));
	return 0;
}

/* -- starts -- */

uint64_t state_starts(const struct state *s)
{
	return s->failed[FILE_STARTS] ? 0 : s->starts;
}

/* Counts this one. Should the file be lost or not be written, the console takes the node for one
 * that was put back to an earlier state, and says so; nothing else comes of it. */
static void count_start(struct state *s)
{
	CLEANUP(free) char *path = state_path(s, FILE_STARTS);
	CLEANUP(free) char *text = NULL;
	char line[32], *end;
	struct err e = {0};
	size_t len;
	int rc = file_read(path, 64, &text, &len, &e);

	if (rc == 0) {
		errno = 0;
		s->starts = strtoull(text, &end, 10);
		if (errno || text[0] < '0' || text[0] > '9' || *end != '\n' ||
			s->starts >= INT64_MAX) {
			s->starts = 0;
			rc = err_set(&e, -VAN_E_CORRUPT, "not a number");
		}
	}
	if (rc < 0 && rc != -ENOENT)
		state_ignore(s, FILE_STARTS, e.text);
	s->starts++;
	snprintf(line, sizeof(line), "%llu\n", (unsigned long long)s->starts);
	(void)state_write(s, FILE_STARTS, line, NULL);
}

void state_load_caches(struct state *s)
{
	s->interfaces = load_map(s, FILE_INTERFACES, INTERFACES_MAX);
	s->endpoints = load_map(s, FILE_ENDPOINTS, ENDPOINTS_MAX);
	load_stamp(s);
	count_start(s);
}
