/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/guard.h"

#include <stdbool.h>
#include <urcu-qsbr.h>
#include "vand/fdb.h"
#include "vand/network.h"

static bool is_member(const struct network *net, const struct peer *peer)
{
	const struct network_members *members = rcu_dereference(net->members);

	for (size_t i = 0; i < members->count; i++) {
		if (members->peers[i] == peer)
			return true;
	}
	return false;
}

enum drop_reason guard_source(
	const struct network *net, const struct peer *sender, const uint8_t source_mac[6])
{
	const struct fdb_entry *owner = fdb_lookup(&net->fdb, source_mac);

	/* Fixed entries exist for members only, so this one look-up answers both questions. */
	if (owner && owner->kind == FDB_FIXED && owner->peer == sender)
		return DROP__COUNT;
	if (!is_member(net, sender))
		return DROP_not_member;
	return owner && owner->kind == FDB_LOCAL ? DROP_own_mac : DROP_guard_mac;
}
