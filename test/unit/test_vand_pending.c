/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vand/pending.h"

static uint8_t frame[65536];
static const struct virtio_net_hdr vnet = {.flags = 1, .csum_start = 34, .csum_offset = 16};

static bool push(struct pending *p, uint32_t peer, size_t len, uint64_t now, bool *first)
{
	return pending_push(p, peer, 7, &vnet, frame, len, now, first);
}

static void keeps_order_and_content(void **state)
{
	struct pending p;
	struct pending_frame *f, *next;
	bool first;
	uint32_t i = 0;

	(void)state;
	pending_init(&p);
	for (i = 0; i < 10; i++) {
		frame[0] = (uint8_t)i;
		assert_true(push(&p, 1 + i % 2, 60 + i, 1000 + i, &first));
		assert_int_equal(first, i < 2);
	}
	for (i = 0, f = pending_take_all(&p); f; f = next, i++) {
		next = f->next;
		assert_int_equal(f->frame[0], i);
		assert_int_equal(f->len, 60 + i);
		assert_int_equal(f->peer_ref, 1 + i % 2);
		assert_int_equal(f->van_id, 7);
		assert_int_equal(f->since_ns, 1000 + i);
		assert_memory_equal(&f->vnet, &vnet, sizeof(vnet));
		free(f);
	}
	assert_int_equal(i, 10);
	assert_null(p.head);
	pending_done(&p);
}

static void bounds_each_peer(void **state)
{
	struct pending p;
	bool first;

	(void)state;
	pending_init(&p);
	for (int i = 0; i < PENDING_PER_PEER; i++)
		assert_true(push(&p, 1, 100, 0, &first));
	assert_false(push(&p, 1, 100, 0, &first));
	assert_true(push(&p, 2, 100, 0, &first)); /* another peer is not its victim */
	pending_done(&p);
}

static void bounds_the_whole(void **state)
{
	struct pending p;
	unsigned int bytes_taken = 0, count_taken = 0;
	bool first;

	(void)state;
	pending_init(&p);
	for (uint32_t peer = 1; peer < 1000; peer++)
		bytes_taken += push(&p, peer, sizeof(frame), 0, &first);
	assert_int_equal(bytes_taken, PENDING_BYTES_MAX / sizeof(frame));
	pending_done(&p);

	for (uint32_t peer = 1; peer < 2 * PENDING_FRAMES_MAX; peer++)
		count_taken += push(&p, peer, 60, 0, &first);
	assert_int_equal(count_taken, PENDING_FRAMES_MAX);
	pending_done(&p);
}

static void restores(void **state)
{
	struct pending p;
	struct pending_frame *f;
	bool first;

	(void)state;
	pending_init(&p);
	assert_true(push(&p, 1, 100, 5, &first));
	f = pending_take_all(&p);
	assert_int_equal(p.bytes, 0);
	pending_restore(&p, f);
	assert_int_equal(p.bytes, 100);
	assert_int_equal(p.count, 1);
	assert_true(push(&p, 1, 50, 6, &first));
	assert_false(first);
	pending_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order_and_content),
		cmocka_unit_test(bounds_each_peer),
		cmocka_unit_test(bounds_the_whole),
		cmocka_unit_test(restores),
	};

	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
