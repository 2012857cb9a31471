/* SPDX-License-Identifier: Apache-2.0 */
/* A report of statistics, taken by a console: each line of the input is one, ten seconds apart. */
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include "console-api/stats.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define NOW   1700000000ull
#define LIMIT (1u << 20)
#define LINES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool everywhere(void *ctx, const char *net_id, const char *node_id)
{
	(void)ctx;
	(void)net_id;
	(void)node_id;
	return true;
}

static void take(struct stats *st, const uint8_t *text, size_t len, uint64_t now_s)
{
	CLEANUP(json) struct json_object *o = NULL;
	struct stats_report report;
	struct problem p = {0};

	if (json_parse((const char *)text, len, &o, NULL) != 0 ||
		!json_object_is_type(o, json_type_object))
		return;
	if (stats_report_from_json(o, &report, &p)) {
		if (p.status != 400)
			abort();
		return;
	}
	stats_take(st, "node_1", &report, now_s, everywhere, NULL);
	stats_report_done(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;
	struct stats *st;

	if (sodium_init() < 0)
		abort();
	st = stats_new(LIMIT);
	for (uint64_t i = 0; i < LINES && at < end; i++) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
		const uint8_t *stop = newline ? newline : end;

		take(st, at, (size_t)(stop - at), NOW + 10 * i);
		at = newline ? newline + 1 : end;
	}
	if (stats_size(st).nodes > 1)
		abort();
	stats_free(st);
	return 0;
}
