/* SPDX-License-Identifier: Apache-2.0 */
/* What may be changed in, or asked of, a running engine as a whole. */
#include <sodium.h>
#include "vand/session.h"
#include "vand/session_internal.h"

void sessions_set_rekey_after(struct sessions *s, uint64_t rekey_after_ns)
{
	s->times.rekey_after = rekey_after_ns;
	for (size_t i = 0; i < s->count; i++) {
		struct session *p = s->sorted[i];
		const struct keypair *k = p->peer.current;

		if (k)
			p->rekey_at_ns = k->created_ns + timers_rekey_ns(&s->times, k->initiator,
								 randombytes_random());
	}
}

bool sessions_keys_locked(const struct sessions *s)
{
	return s->keys_locked;
}
