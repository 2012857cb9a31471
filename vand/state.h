/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node keeps in its state_dir, each in a file of its own, written so that a crash leaves the
 * old one or the new one:
 *
 *   identity       key pairs (0600), made at the first start
 *   membership     JSON: console URL and pin, console id, mesh, node id, our port, networks left,
 *                  all consoles of the mesh
 *   netmap         the last good netmap as the console sent it, bound to mesh and node
 *   starts         how often vand was started with this directory
 *   interfaces     JSON: network id → interface name, so that names survive restarts
 *   endpoints      JSON: peer key → last authenticated end point
 *   stamp          high-water mark of handshake stamps, ahead of use
 *   lock           held while a vand uses the directory; its pid
 *
 * Membership and stamp are promises and fail their caller when they cannot be written. The rest is
 * convenience: the value holds for this run, the error is returned and kept for state_warnings(),
 * and state_flush() tries again.
 */
#ifndef VAND_STATE_H
#define VAND_STATE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/addr.h"
#include "lib/err.h"
#include "lib/key.h"
#include "lib/netmap.h"
#include "vand/message.h"

struct state;

struct state_membership {
	char url[NETMAP_URL_MAX + 1]; /* of the console by which the node joined */
	char pin[NETMAP_PIN_TEXT_LEN];
	char console[NETMAP_ID_MAX + 1]; /* the mesh's id */
	char self[NETMAP_ID_MAX + 1];    /* that console's own; "": it did not say */
	uint8_t mesh[MESSAGE_MESH_LEN];
	char node_id[NETMAP_ID_MAX + 1];
};

/* Makes the directory (0700) if need be, takes a lock in it (a second vand there is refused with
 * its pid), loads or makes the identity, loads the rest. A cache that is corrupt is reported and
 * ignored; an identity that is corrupt is an error. */
int state_open(const char *dir, struct state **ret_state, struct err *e);
void state_close(struct state *s);
const struct identity *state_identity(const struct state *s);

/* NULL: not enrolled. */
const struct state_membership *state_membership(const struct state *s);
int state_set_membership(struct state *s, const struct state_membership *m, struct err *e);
/* Forgets membership, netmap, interfaces and end points; keeps the identity and the stamp. */
int state_forget(struct state *s, struct err *e);

/* The consoles of the mesh, kept with the membership. NULL and 0: not known. */
const struct netmap_console *state_consoles(const struct state *s, size_t *ret_count);
/* Writes them where they differ. */
int state_set_consoles(
	struct state *s, const struct netmap_console *consoles, size_t count, struct err *e);

/* How often vand was started with this directory, this time included; 0 when that cannot be kept.
 */
uint64_t state_starts(const struct state *s);

/* The cached netmap (of this mesh and node, else NULL), and in *ret_document (may be NULL) the
 * document that it was read from; both owned by the caller. */
struct netmap *state_load_netmap(struct state *s, struct json_object **ret_document);
/* document: the one that the map was read from, which may say more; NULL: what the map says. */
int state_save_netmap(
	struct state *s, const struct netmap *map, struct json_object *document, struct err *e);
/* When the registry was last heard of, as far as the disk knows (nanoseconds since 1970; 0: never).
 * state_touch_netmap() keeps it up to date; calling it often costs nothing but the call. */
uint64_t state_netmap_contact_ns(const struct state *s);
void state_touch_netmap(struct state *s, uint64_t wall_ns);

/* Networks that were left while the registry was away and that it is still to be told of. Kept with
 * the membership. state_leaving() returns the i-th id, or NULL past the end. */
const char *state_leaving(const struct state *s, size_t i);
int state_set_leaving(struct state *s, const char *network_id, bool leaving, struct err *e);

uint16_t state_port(const struct state *s); /* last one used; 0: none */
int state_set_port(struct state *s, uint16_t port, struct err *e);

/* The interface name kept for a network, or NULL. set with NULL forgets. */
const char *state_ifname(const struct state *s, const char *network_id);
int state_set_ifname(struct state *s, const char *network_id, const char *ifname, struct err *e);

bool state_endpoint(const struct state *s, const struct key *peer, struct endpoint *ret_ep);
/* Written behind by state_flush(), at most once a second. NULL forgets. */
void state_set_endpoint(struct state *s, const struct key *peer, const struct endpoint *ep);
/* Forgets those for which keep() says no. */
void state_prune_endpoints(
	struct state *s, bool (*keep)(void *ctx, const struct key *peer), void *ctx);
int state_flush(struct state *s, struct err *e);
/* True while state_flush() has something to write, what failed to be written before included. */
bool state_dirty(const struct state *s);
/* Adds a line for each file that cannot be written, or could not be read at the start. */
void state_warnings(const struct state *s, struct json_object *array);

/* max(wall clock, high-water) + 1, the high-water persisted ahead of use (in steps of minutes, so
 * that few stamps cost a write). -errno when it cannot be persisted: then no INIT is sent. */
int state_next_stamp(struct state *s, uint64_t wall_ns, uint8_t ret_stamp[MESSAGE_STAMP_LEN]);

#endif
