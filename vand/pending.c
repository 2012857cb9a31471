/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/pending.h"

#include <stdlib.h>
#include <string.h>

void pending_init(struct pending *p)
{
	p->head = NULL;
	p->tail = &p->head;
	p->bytes = 0;
	p->count = 0;
}

void pending_done(struct pending *p)
{
	struct pending_frame *frame = pending_take_all(p);

	while (frame) {
		struct pending_frame *next = frame->next;

		free(frame);
		frame = next;
	}
}

bool pending_push(struct pending *p, uint32_t peer_ref, uint32_t van_id,
	const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t len, uint64_t now_ns,
	bool *ret_first)
{
	struct pending_frame *f;
	unsigned int waiting = 0;

	for (f = p->head; f; f = f->next)
		waiting += f->peer_ref == peer_ref;
	*ret_first = waiting == 0;
	if (waiting >= PENDING_PER_PEER || p->count >= PENDING_FRAMES_MAX ||
		p->bytes + len > PENDING_BYTES_MAX)
		return false;
	f = malloc(sizeof(*f) + len);
	if (!f)
		return false;
	f->next = NULL;
	f->peer_ref = peer_ref;
	f->van_id = van_id;
	f->since_ns = now_ns;
	f->vnet = *vnet;
	f->len = (uint32_t)len;
	memcpy(f->frame, frame, len);
	pending_restore(p, f);
	return true;
}

struct pending_frame *pending_take_all(struct pending *p)
{
	struct pending_frame *all = p->head;

	pending_init(p);
	return all;
}

void pending_restore(struct pending *p, struct pending_frame *frame)
{
	frame->next = NULL;
	*p->tail = frame;
	p->tail = &frame->next;
	p->bytes += frame->len;
	p->count++;
}
