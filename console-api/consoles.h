/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consoles that serve this mesh, so that nodes know where else to go when one is away. Each
 * writes itself into the store at its start, and again now and then:
 *
 *   /consoles/ID       {id, url, pins, at}; at: seconds since 1970, when it last said so
 *   /maprev/consoles   "": its mod_revision rises when nodes are to hear of it
 *
 * The id is what agents sign their requests for, so that one taken from the way to one console is
 * worth nothing at another. It is made of the store's console id and the console's own name there.
 */
#ifndef CONSOLE_API_CONSOLES_H
#define CONSOLE_API_CONSOLES_H

#include <json-c/json.h>
#include "console-api/registry.h"

/* Fills in registry->self_id. */
void consoles_name(struct registry *r);
/*
 * Says how this console is to be reached (registry->public_url, pin and next_pin); to be called at
 * the start, when that changes, and every few seconds: it writes when there is something new to say,
 * and once an hour. Takes away consoles that have not said anything for a day. Needs the registry's
 * lock; failures are logged, and the next call tries again.
 */
void consoles_announce(struct registry *r, uint64_t now_s);

/* {ID: {id, url, pins}} of all consoles, as in the keyed form of netmaps; owned by the caller. */
int consoles_map(struct registry *r, struct json_object **ret_consoles, struct problem *p);

#endif
