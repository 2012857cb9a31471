/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing and opening, by back end, mode and size. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "test/bench/micro.h"
#include "vand/seal.h"

#define INNER_LEN 6
#define MESSAGES  64 /* opened in one go: in the cache, as a batch that was just received */

struct seal_case {
	const struct seal_backend *backend;
	enum message_mode mode;
	struct seal_key key;
	size_t plain_len, message_len, stride;
	uint8_t *plain;
	uint8_t *messages;
	uint64_t counter;
};

static uint64_t seal_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct seal_case *c = ctx;
	uint64_t start = micro_now_ns();

	for (unsigned int i = 0; i < wanted; i++)
		micro_use(c->messages + seal_frame(c->backend, &c->key, c->mode, 0, 1, c->counter++,
						c->plain, c->plain_len, c->messages));
	*ret_done = wanted;
	return micro_now_ns() - start;
}

/* Opening destroys the message, so they are sealed anew each time, outside of the clock. */
static uint64_t open_some(void *ctx, unsigned int wanted, unsigned int *ret_done)
{
	struct seal_case *c = ctx;
	unsigned int n = wanted < MESSAGES ? wanted : MESSAGES, good = 0;
	uint64_t start, ns;

	for (unsigned int i = 0; i < n; i++)
		seal_frame(c->backend, &c->key, c->mode, 0, 1, c->counter++, c->plain, c->plain_len,
			c->messages + i * c->stride);
	start = micro_now_ns();
	for (unsigned int i = 0; i < n; i++)
		good += open_frame(
			c->backend, &c->key, c->messages + i * c->stride, c->message_len);
	ns = micro_now_ns() - start;
	if (good != n)
		micro_die("%s: %u of %u messages were opened", c->backend->name, good, n);
	*ret_done = n;
	return ns;
}

static void run_size(struct micro *m, const struct seal_backend *backend, enum message_mode mode,
	size_t frame_len)
{
	static const uint8_t key[SEAL_KEY_LEN] = {1}, salt[SEAL_SALT_LEN] = {2};
	struct seal_case c = {.backend = backend, .mode = mode, .plain_len = INNER_LEN + frame_len};
	const char *mode_name = mode == MESSAGE_MODE_GCM ? "GCM" : "GMAC";
	char group[48], name[48];
	struct micro_row row = {
		.group = group, .name = name, .unit = "message", .bytes = frame_len};

	c.message_len = sizeof(struct message_data) + c.plain_len + MESSAGE_TAG_LEN;
	c.stride = (c.message_len + 63) / 64 * 64;
	c.plain = micro_alloc(c.plain_len);
	c.messages = micro_alloc(MESSAGES * c.stride);
	randombytes_buf(c.plain, c.plain_len);
	if (seal_key_init(backend, &c.key, key, salt) < 0)
		micro_die("%s: no key", backend->name);
	snprintf(group, sizeof(group), "seal and open, %s, %s", backend->name, mode_name);
	snprintf(name, sizeof(name), "seal %zu bytes", frame_len);
	micro_run(m, &row, seal_some, &c);
	snprintf(name, sizeof(name), "open %zu bytes", frame_len);
	micro_run(m, &row, open_some, &c);
	seal_key_done(backend, &c.key);
	free(c.plain);
	free(c.messages);
}

void micro_seal(struct micro *m)
{
	static const size_t sizes[] = {64, 576, 1400, 8900};
	static const enum message_mode modes[] = {MESSAGE_MODE_GCM, MESSAGE_MODE_GMAC};

	for (const struct seal_backend *const *b = seal_backends(); *b; b++) {
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
				run_size(m, *b, modes[i], sizes[s]);
		}
	}
}
