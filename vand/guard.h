/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send what, checked by the receiver against the authenticated sender. */
#ifndef VAND_GUARD_H
#define VAND_GUARD_H

#include <stdint.h>
#include "vand/stats.h"

struct network;
struct peer;

/* May this peer send a frame with this source MAC into this network? DROP__COUNT: yes; otherwise
 * the reason why not. */
enum drop_reason guard_source(
	const struct network *net, const struct peer *sender, const uint8_t source_mac[6]);

#endif
