/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/prune.h"

#include <stdio.h>
#include "console-api/jointoken.h"
#include "console-api/node.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

#define STEP     64 /* keys looked at in one turn */
#define USES_MAX 40 /* of a token, in one transaction */

struct pruning {
	struct store_item item; /* borrowed */
	uint64_t wall_ns;
};

static int build_token(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct pruning *pr = ctx;

	return jointoken_build_prune(r, txn, &pr->item, pr->wall_ns / NS_PER_S, USES_MAX, p);
}

static int build_gone(struct registry *r, struct store_txn *txn, void *ctx, struct problem *p)
{
	const struct pruning *pr = ctx;

	(void)p;
	return node_build_forget_gone(r, txn, &pr->item, pr->wall_ns) ? 0 : REGISTRY_NO_CHANGE;
}

static void walk(struct registry *r, const char *prefix, char after[REGISTRY_KEY_MAX],
	registry_build *build, uint64_t wall_ns)
{
	CLEANUP(store_items) struct store_items items = {0};

	if (store_range(r->store, prefix, after[0] ? after : NULL, STEP, &items))
		return; /* logged by the store; the next turn tries again */
	for (size_t i = 0; i < items.count; i++) {
		struct pruning pr = {.item = items.items[i], .wall_ns = wall_ns};
		struct problem p = {0};

		if (registry_transact(r, build, &pr, NULL, &p) < 0)
			log_warn("cannot forget %s: %s", items.items[i].key, p.detail);
	}
	snprintf(after, REGISTRY_KEY_MAX, "%s",
		items.count && items.more ? items.items[items.count - 1].key : "");
}

void prune_turn(struct registry *r, uint64_t wall_ns)
{
	walk(r, "/tokens/", r->tokens_pruned, build_token, wall_ns);
	walk(r, "/gone/", r->gone_pruned, build_gone, wall_ns);
}
