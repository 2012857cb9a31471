/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: what main() sets up, in this order, and what is passed to whoever needs
 * more than its own part. There are no other globals.
 */
#ifndef VAND_VAND_H
#define VAND_VAND_H

#include "lib/key.h"
#include "vand/config.h"
#include "vand/dataplane.h"
#include "vand/loop.h"

struct state;
struct route;
struct registry;
struct reconcile;
struct ctl;

struct vand {
	const char *config_path;
	struct vand_config config;
	uint8_t psk[32]; /* zeroes: none */
	struct loop loop;
	struct state *state; /* what is kept on disk: identity, mesh, netmap, end points */
	const struct identity *identity; /* state's */
	uint16_t port;                   /* of UDP, as bound */
	struct route *route;             /* rtnetlink */
	struct dataplane dataplane;
	struct reconcile *reconcile; /* applies a netmap; the only writer of peers and networks */
	struct registry *registry;   /* talks to the console */
	struct ctl *ctl;             /* talks to vanctl */
};

#endif
