/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/network.h"

#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include "vand/tap.h"
#include "vand/worker.h"

int networks_init(struct networks *n, struct worker *const *workers, unsigned int count)
{
	list_init(&n->all);
	n->workers = workers;
	n->worker_count = count;
	return table_init(&n->by_van_id);
}

void networks_clear(struct networks *n)
{
	list_for_each_safe (it, &n->all)
		network_remove(n, container_of(it, struct network, node));
}

void networks_done(struct networks *n)
{
	table_done(&n->by_van_id);
}

static void network_free(struct network *net)
{
	fdb_done(&net->fdb);
	free(net->counters);
	free(net->members);
	free(net->tap);
	free(net);
}

static struct network *network_alloc(const struct network_config *config, unsigned int workers)
{
	struct network *net = calloc(1, sizeof(*net));
	const size_t counters_size = workers * sizeof(*net->counters);

	if (!net)
		return NULL;
	strncpy(net->id, config->id, sizeof(net->id) - 1);
	strncpy(net->name, config->name, sizeof(net->name) - 1);
	net->van_id = config->van_id;
	net->mtu = config->mtu;
	net->mode = config->mode;
	net->tap = calloc(1, sizeof(*net->tap));
	net->members = calloc(1, sizeof(*net->members));
	net->workers = workers;
	net->counters = aligned_alloc(_Alignof(struct network_counters), counters_size);
	if (net->counters)
		memset(net->counters, 0, counters_size);
	if (!net->tap || !net->members || !net->counters || fdb_init(&net->fdb) < 0) {
		free(net->counters);
		free(net->members);
		free(net->tap);
		free(net);
		return NULL;
	}
	return net;
}

/* Worker i reads queue i; without a queue of its own it writes to the first. */
static int watch_queues(struct networks *n, const struct network *net)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < net->tap->queues; i++)
		rc = worker_watch(n->workers[i], net);
	return rc;
}

static void unwatch_queues(struct networks *n, const struct network *net)
{
	for (unsigned int i = 0; i < net->tap->queues; i++)
		worker_unwatch(n->workers[i], net);
}

int network_add(struct networks *n, const struct network_config *config,
	struct network **ret_network, struct err *e)
{
	struct network *net;
	int rc;

	if (table_get(&n->by_van_id, config->van_id))
		return err_set(e, -EEXIST, "network %s: VAN id %u is in use by another network",
			config->name, config->van_id);
	net = network_alloc(config, n->worker_count);
	if (!net)
		return err_set(e, -ENOMEM, "out of memory");
	rc = tap_open(net->tap, config->ifname, n->worker_count, config->offload, e);
	if (rc < 0)
		goto err_free;
	rc = table_set(&n->by_van_id, net->van_id, net, NULL);
	if (rc < 0) {
		err_set(e, rc, "out of memory");
		goto err_tap;
	}
	rc = watch_queues(n, net);
	if (rc < 0) {
		err_set(e, rc, "cannot watch %s: %s", net->tap->ifname, err_name(rc));
		goto err_table;
	}
	list_add_tail(&n->all, &net->node);
	*ret_network = net;
	return 0;

err_table:
	unwatch_queues(n, net);
	table_remove(&n->by_van_id, net->van_id);
	synchronize_rcu();
err_tap:
	tap_close(net->tap);
err_free:
	network_free(net);
	return rc;
}

void network_remove(struct networks *n, struct network *net)
{
	list_del(&net->node);
	unwatch_queues(n, net);
	table_remove(&n->by_van_id, net->van_id);
	synchronize_rcu();
	tap_close(net->tap);
	network_free(net);
}

struct network_totals network_totals(const struct network *net)
{
	struct network_totals t = {0};

	for (unsigned int i = 0; i < net->workers; i++) {
		t.rx_packets += stats_read(&net->counters[i].rx_packets);
		t.rx_bytes += stats_read(&net->counters[i].rx_bytes);
		t.tx_packets += stats_read(&net->counters[i].tx_packets);
		t.tx_bytes += stats_read(&net->counters[i].tx_bytes);
	}
	return t;
}

struct network *network_find(struct networks *n, const char *id_or_name)
{
	list_for_each (it, &n->all) {
		struct network *net = container_of(it, struct network, node);

		if (!strcmp(net->id, id_or_name) || !strcmp(net->name, id_or_name))
			return net;
	}
	return NULL;
}

/* Our own MACs go first: whoever else claims one of them in the netmap does not get it here. */
static int replace_fdb(struct network *net, const struct network_member *members, size_t count,
	const struct mac *own, size_t own_count)
{
	struct fdb_entry *entries;
	size_t total = own_count, n = 0;
	int rc;

	for (size_t i = 0; i < count; i++)
		total += members[i].mac_count;
	entries = calloc(total + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < own_count; i++)
		entries[n++] = (struct fdb_entry){.mac = own[i], .kind = FDB_LOCAL};
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < members[i].mac_count; j++)
			entries[n++] = (struct fdb_entry){.mac = members[i].macs[j],
				.kind = FDB_FIXED,
				.peer = members[i].peer};
	}
	rc = fdb_replace(&net->fdb, entries, n);
	free(entries);
	return rc;
}

int network_set_members(struct network *net, const struct network_member *members, size_t count,
	const struct mac *own, size_t own_count)
{
	struct network_members *next, *old = net->members;
	int rc;

	next = malloc(sizeof(*next) + count * sizeof(next->peers[0]));
	if (!next)
		return -ENOMEM;
	next->count = count;
	for (size_t i = 0; i < count; i++)
		next->peers[i] = members[i].peer;
	rc = replace_fdb(net, members, count, own, own_count);
	if (rc < 0) {
		free(next);
		return rc;
	}
	rcu_assign_pointer(net->members, next);
	synchronize_rcu();
	free(old);
	return 0;
}

const char *network_ifname(const struct network *net)
{
	return net->tap->ifname;
}

int network_ifindex(const struct network *net)
{
	return net->tap->ifindex;
}
