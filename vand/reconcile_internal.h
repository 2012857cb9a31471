/* SPDX-License-Identifier: Apache-2.0 */
/* What the reconcile*.c files share; nobody else's business. */
#ifndef VAND_RECONCILE_INTERNAL_H
#define VAND_RECONCILE_INTERNAL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/list.h"
#include "lib/netmap.h"
#include "vand/loop.h"
#include "vand/network.h"
#include "vand/peer.h"

#define WISHES_MAX 16

/* A network of the map, and how far it is set up. */
struct rec_network {
	struct list node;
	char id[NETMAP_ID_MAX + 1];
	char name[NETMAP_NAME_MAX + 1];
	struct network *network; /* NULL: no TAP */
	bool members_done;
	bool link_done;
	bool addresses_done;
	bool announced;                  /* in the log */
	struct mac mac;                  /* as set, when link_done */
	uint16_t mtu;                    /* likewise */
	struct cidr ips[NETMAP_IPS_MAX]; /* as set */
	size_t ip_count;
	char error[512]; /* empty: none */
};

/* A peer of the map; struct peer's owner. */
struct rec_peer {
	struct list node;
	struct peer *peer;
	uint64_t turn; /* of the last map that it was in */
	bool want;     /* call it at once */
	struct netmap_peer wanted;
	struct netmap_peer applied;
};

struct rec_wish {
	char network_id[NETMAP_ID_MAX + 1];
	char ifname[IF_NAMESIZE]; /* empty: free */
};

struct reconcile {
	struct vand *v;
	struct netmap *map; /* in force */
	uint64_t turn;      /* counts maps */
	struct list networks;
	struct list peers;
	int peers_failed; /* why some peers could not be added, or 0 */
	struct rec_wish wishes[WISHES_MAX];
	size_t next_wish;
	struct loop_timer check; /* of interfaces: deleted ones, failed ones */
	struct loop_timer flush; /* of end points to the disk */
};

/* reconcile.c */
struct rec_network *rec_find_network(const struct reconcile *r, const char *id);

/* reconcile_names.c */
struct rec_wish *rec_find_wish(struct reconcile *r, const char *network_id);
int rec_choose_ifname(
	struct reconcile *r, const char *network_id, char ret_ifname[IF_NAMESIZE], struct err *e);

/* reconcile_neigh.c */
/* The kernel's neighbour entries follow the addresses of peers from one map to the next. The network's
 * interface is there. */
void rec_update_neighbours(struct reconcile *r, const struct rec_network *rn,
	const struct netmap_network *before, const struct netmap_network *now);

static inline enum message_mode rec_mode(const struct netmap_network *nn)
{
	return nn->encryption == NETMAP_INTEGRITY ? MESSAGE_MODE_GMAC : MESSAGE_MODE_GCM;
}

#endif
