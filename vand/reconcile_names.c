/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interface a network gets: the one that was wished for, else the one that it had before,
 * else the first free vciderN. A name that another network of ours had before is not free.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "lib/log.h"
#include "vand/reconcile.h"
#include "vand/reconcile_internal.h"
#include "vand/state.h"
#include "vand/vand.h"

#define VCIDER_MAX 4096

int reconcile_check_ifname(const char *ifname, struct err *e)
{
	size_t len = strlen(ifname);

	if (len == 0 || len >= IF_NAMESIZE || strcmp(ifname, ".") == 0 ||
		strcmp(ifname, "..") == 0 || strpbrk(ifname, "/:% \t\n\r\v\f"))
		return err_set(e, -VAN_E_INVALID,
			"'%.32s' is not a name for an interface: 1 to %d characters, no blanks, no "
			"'/', ':' or '%%'",
			ifname, IF_NAMESIZE - 1);
	return 0;
}

struct rec_wish *rec_find_wish(struct reconcile *r, const char *network_id)
{
	for (size_t i = 0; i < WISHES_MAX; i++) {
		if (r->wishes[i].ifname[0] && strcmp(r->wishes[i].network_id, network_id) == 0)
			return &r->wishes[i];
	}
	return NULL;
}

int reconcile_wish_ifname(
	struct reconcile *r, const char *network_id, const char *ifname, struct err *e)
{
	struct rec_network *rn = rec_find_network(r, network_id);
	struct rec_wish *wish;
	int rc = reconcile_check_ifname(ifname, e);

	if (rc < 0)
		return rc;
	if (rn && rn->network) {
		if (strcmp(network_ifname(rn->network), ifname) == 0)
			return 0;
		return err_set(e, -VAN_E_CONFLICT,
			"network %s is up as %s already; leave it first to give it another interface",
			rn->network->name, network_ifname(rn->network));
	}
	if (if_nametoindex(ifname) != 0)
		return err_set(e, -VAN_E_CONFLICT,
			"there is an interface %s already; choose another name with --ifname",
			ifname);
	wish = rec_find_wish(r, network_id);
	if (!wish) {
		/* A ring: a wish for a network that never came is overwritten some day. */
		wish = &r->wishes[r->next_wish];
		r->next_wish = (r->next_wish + 1) % WISHES_MAX;
	}
	snprintf(wish->network_id, sizeof(wish->network_id), "%s", network_id);
	snprintf(wish->ifname, sizeof(wish->ifname), "%s", ifname);
	return 0;
}

/* True when another network of the map has a claim to the name from earlier. */
static bool name_is_kept(const struct reconcile *r, const char *ifname, const char *network_id)
{
	for (size_t i = 0; i < r->map->network_count; i++) {
		const char *id = r->map->networks[i].id;
		const char *kept = state_ifname(r->v->state, id);

		if (strcmp(id, network_id) != 0 && kept && strcmp(kept, ifname) == 0)
			return true;
	}
	return false;
}

int rec_choose_ifname(
	struct reconcile *r, const char *network_id, char ret_ifname[IF_NAMESIZE], struct err *e)
{
	const struct rec_wish *wish = rec_find_wish(r, network_id);
	const char *kept = state_ifname(r->v->state, network_id);
	const char *name = wish ? wish->ifname : kept;

	if (name && reconcile_check_ifname(name, NULL) == 0) {
		if (if_nametoindex(name) == 0) {
			snprintf(ret_ifname, IF_NAMESIZE, "%s", name);
			return 0;
		}
		if (wish)
			return err_set(
				e, -VAN_E_CONFLICT, "there is an interface %s already", name);
		log_warn("interface %s is taken by something else: another name is used", name);
	}
	for (unsigned int i = 0; i < VCIDER_MAX; i++) {
		char candidate[IF_NAMESIZE];

		snprintf(candidate, sizeof(candidate), "vcider%u", i);
		if (if_nametoindex(candidate) != 0 || name_is_kept(r, candidate, network_id))
			continue;
		snprintf(ret_ifname, IF_NAMESIZE, "%s", candidate);
		return 0;
	}
	return err_set(
		e, -VAN_E_LIMIT, "every name from vcider0 to vcider%d is taken", VCIDER_MAX - 1);
}
