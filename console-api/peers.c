/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/peers.h"

#include <json-c/printbuf.h>
#include <stdlib.h>
#include <string.h>
#include "console-api/xalloc.h"
#include "lib/json.h"

struct peers {
	unsigned int references;
	size_t count;
	struct {
		char id[NETMAP_ID_MAX + 1];
		char *text; /* heap */
		size_t len;
	} items[];
};

struct printed {
	struct peers *peers;
	char except_id[NETMAP_ID_MAX + 1];
};

struct peers *peers_new(struct json_object *array)
{
	size_t count = json_object_array_length(array);
	struct peers *peers = xcalloc(1, sizeof(*peers) + count * sizeof(peers->items[0]));

	peers->references = 1;
	peers->count = count;
	for (size_t i = 0; i < count; i++) {
		struct json_object *peer = json_object_array_get_idx(array, i);
		const char *id = json_object_get_string(json_object_object_get(peer, "id"));

		strncpy(peers->items[i].id, id ? id : "", NETMAP_ID_MAX);
		peers->items[i].text = xstrdup(json_object_to_json_string_ext(
			peer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		peers->items[i].len = strlen(peers->items[i].text);
	}
	return peers;
}

void peers_unref(struct peers *peers)
{
	if (!peers || --peers->references)
		return;
	for (size_t i = 0; i < peers->count; i++)
		free(peers->items[i].text);
	free(peers);
}

static int print(struct json_object *o, struct printbuf *out, int level, int flags)
{
	const struct printed *p = json_object_get_userdata(o);
	const char *separator = "[";

	(void)level;
	(void)flags;
	for (size_t i = 0; i < p->peers->count; i++) {
		if (!strcmp(p->peers->items[i].id, p->except_id))
			continue;
		printbuf_memappend(out, separator, 1);
		printbuf_memappend(out, p->peers->items[i].text, (int)p->peers->items[i].len);
		separator = ",";
	}
	if (separator[0] == '[')
		printbuf_memappend(out, "[", 1);
	return printbuf_memappend(out, "]", 1);
}

static void printed_free(struct json_object *o, void *userdata)
{
	struct printed *p = userdata;

	(void)o;
	peers_unref(p->peers);
	free(p);
}

struct json_object *peers_array(struct peers *peers, const char *except_id)
{
	struct json_object *o = json_object_new_array();
	struct printed *p = xcalloc(1, sizeof(*p));

	if (!o)
		abort();
	peers->references++;
	p->peers = peers;
	strncpy(p->except_id, except_id, NETMAP_ID_MAX);
	json_object_set_serializer(o, print, p, printed_free);
	return o;
}

struct peers *peers_cache_find(struct peers_cache *c, const char *net_id, uint64_t mark)
{
	for (size_t i = 0; i < PEERS_CACHE_SIZE; i++) {
		if (c->slots[i].peers && c->slots[i].mark == mark &&
			!strcmp(c->slots[i].net_id, net_id)) {
			c->slots[i].used = ++c->uses;
			return c->slots[i].peers;
		}
	}
	return NULL;
}

void peers_cache_put(struct peers_cache *c, const char *net_id, uint64_t mark, struct peers *peers)
{
	size_t at = 0;

	for (size_t i = 0; i < PEERS_CACHE_SIZE; i++) {
		if (!strcmp(c->slots[i].net_id, net_id)) {
			at = i;
			break;
		}
		if (c->slots[i].used < c->slots[at].used)
			at = i;
	}
	peers_unref(c->slots[at].peers);
	strncpy(c->slots[at].net_id, net_id, NETMAP_ID_MAX);
	c->slots[at].net_id[NETMAP_ID_MAX] = '\0';
	c->slots[at].mark = mark;
	c->slots[at].used = ++c->uses;
	c->slots[at].peers = peers;
}

void peers_cache_done(struct peers_cache *c)
{
	for (size_t i = 0; i < PEERS_CACHE_SIZE; i++)
		peers_unref(c->slots[i].peers);
	memset(c, 0, sizeof(*c));
}
