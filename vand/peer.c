/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/peer.h"

#include <stddef.h>
#include "vand/session_internal.h"

static uint64_t read_relaxed(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void peer_totals_add(struct peer_totals *t, const struct keypair *keys)
{
	for (size_t i = 0; i < keys->local_lanes; i++) {
		t->tx_packets += read_relaxed(&keys->tx[i].packets);
		t->tx_bytes += read_relaxed(&keys->tx[i].bytes);
	}
	for (size_t i = 0; i < MESSAGE_LANES_MAX; i++) {
		const struct lane_rx *rx = atomic_load_explicit(&keys->rx[i], memory_order_acquire);

		if (rx) {
			t->rx_packets += read_relaxed(&rx->packets);
			t->rx_bytes += read_relaxed(&rx->bytes);
		}
	}
}

struct peer_totals peer_totals(const struct peer *p)
{
	const struct session *s = session_of(p);
	struct keypair *slots[SESSION_SLOTS];
	struct peer_totals t = p->retired;

	session_slots(s, slots);
	for (size_t i = 0; i < SESSION_SLOTS; i++) {
		if (slots[i])
			peer_totals_add(&t, slots[i]);
	}
	return t;
}
