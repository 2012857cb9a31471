/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics as text, and when the console is not ready. The API tests read the text strictly. */
#include "test/unit/console_suite.h"

#include <errno.h>
#include "console-api/api.h"
#include "console-api/metrics_internal.h"
#include "console-api/stats.h"
#include "lib/clock.h"

static char *quoted(const char *text)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	assert_non_null(f);
	metrics_quoted(f, text);
	fclose(f);
	return out;
}

static void labels_are_escaped(void **state)
{
	char *text = quoted("a\"b\\c\nd\xc3\xa9");

	(void)state;
	assert_string_equal(text, "\"a\\\"b\\\\c\\nd\xc3\xa9\"");
	free(text);
	text = quoted("");
	assert_string_equal(text, "\"\"");
	free(text);
}

static bool everywhere(void *ctx, const char *net_id, const char *node_id)
{
	(void)ctx;
	(void)net_id;
	(void)node_id;
	return true;
}

static void count(struct console *c, const char *node_id, const char *net_id, uint64_t bytes)
{
	struct stats_report report = {
		.present = true, .instance = 1, .tick = 5, .network_count = 1};

	report.networks = calloc(1, sizeof(*report.networks));
	assert_non_null(report.networks);
	snprintf(report.networks[0].id, sizeof(report.networks[0].id), "%s", net_id);
	report.networks[0].total[STATS_RX_BYTES] = bytes;
	stats_take(c->stats, node_id, &report, clock_wall_ns() / NS_PER_S, everywhere, NULL);
	stats_report_done(&report);
}

/* Lines that begin with `a`, which has the newline before them, and have `b`. */
static size_t lines_with(const char *text, const char *a, const char *b)
{
	size_t count = 0;

	while ((text = strstr(text, a))) {
		const char *end = strchr(text + 1, '\n');
		const char *hit = strstr(text, b);

		count += hit && hit < end;
		text = end;
	}
	return count;
}

static void mesh_of_one_organization(void **state)
{
	struct suite *s = *state;
	struct network net = suite_network(s, "blue", "172.16.1.0/24", NULL);
	struct enrolled a = suite_node(s, "blue", "a"), b = suite_node(s, "blue", "b");
	struct console c = {.registry = s->r, .config = {.metrics_nodes = 100}};
	size_t len;
	char *text;

	c.stats = stats_new(16u << 20);
	count(&c, a.node_id, net.id, 700);
	count(&c, b.node_id, net.id, 300);
	text = metrics_text(&c, false, ORG_DEFAULT, &len);
	assert_int_equal(strlen(text), len);
	assert_int_equal(
		lines_with(text, "\nvan_network_rx_bytes_total{", "network=\"blue\"} 1000"), 1);
	assert_int_equal(lines_with(text, "\nvan_node_rx_bytes_total{", "node=\"a\"} 700"), 1);
	assert_int_equal(lines_with(text, "\nvan_network_nodes{", "} 2"), 1);
	assert_null(strstr(text, "process_"));
	assert_null(strstr(text, "van_http"));
	free(text);
	/* Another one sees nothing of it. */
	text = metrics_text(&c, false, "org_other", &len);
	assert_null(strstr(text, "{"));
	free(text);
	/* The oldest so many. */
	c.config.metrics_nodes = 1;
	text = metrics_text(&c, false, NULL, &len);
	assert_int_equal(lines_with(text, "\nvan_node_rx_bytes_total{", "node="), 1);
	assert_int_equal(lines_with(text, "\nvan_network_rx_bytes_total{", "} 1000"), 1);
	free(text);
	c.config.metrics_nodes = 0;
	text = metrics_text(&c, false, NULL, &len);
	assert_null(strstr(text, "{"));
	free(text);
	stats_free(c.stats);
}

/* -- readiness -- */

struct answers {
	struct store base;
	int revision_rc, fresh_rc;
};

static int revision_of(struct store *s, uint64_t *ret_revision)
{
	struct answers *a = (struct answers *)(void *)s;

	if (!a->revision_rc)
		*ret_revision = 7;
	return a->revision_rc;
}

static int fresh_of(struct store *s)
{
	return ((struct answers *)(void *)s)->fresh_rc;
}

static void readiness(void **state)
{
	static const struct store_ops ops = {.revision = revision_of, .fresh = fresh_of};
	struct answers store = {.base = {.ops = &ops}};
	struct registry r = {.store = &store.base};
	struct console c = {.registry = &r};
	struct request *q = calloc(1, sizeof(*q));

	(void)state;
	assert_non_null(q);
	assert_int_equal(api_readyz(&c, q), 0);
	assert_int_equal(q->status, 200);
	json_object_put(q->reply);
	store.fresh_rc = -EBUSY; /* not reached for a while: what it would read is old */
	assert_true(api_readyz(&c, q) < 0);
	assert_int_equal(q->problem.status, 503);
	assert_true(q->problem.retry_after_s > 0);
	store.fresh_rc = 0;
	q->problem = (struct problem){0};
	store.revision_rc = -EIO;
	assert_true(api_readyz(&c, q) < 0);
	assert_int_equal(q->problem.status, 503);
	free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test_setup_teardown(
			mesh_of_one_organization, suite_setup, suite_teardown),
		cmocka_unit_test(readiness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
