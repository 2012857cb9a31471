/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>
#include <urcu-qsbr.h>
#include "vand/table.h"

/* Values are never looked into by the table: numbers dressed as pointers will do. */
static void *value_of(uint64_t n)
{
	return (void *)(uintptr_t)n;
}

static void test_set_get_remove(void **state)
{
	struct table t;
	void *old = value_of(99);

	(void)state;
	assert_int_equal(table_init(&t), 0);
	assert_null(table_get(&t, 5));
	assert_null(table_get(&t, 0));
	assert_null(table_remove(&t, 5));
	assert_null(table_remove(&t, 0));
	assert_int_equal(table_set(&t, 5, value_of(50), &old), 0);
	assert_null(old);
	assert_ptr_equal(table_get(&t, 5), value_of(50));
	assert_int_equal(table_set(&t, 5, value_of(51), &old), 0);
	assert_ptr_equal(old, value_of(50));
	assert_int_equal(t.used, 1);
	assert_ptr_equal(table_remove(&t, 5), value_of(51));
	assert_null(table_get(&t, 5));
	assert_int_equal(t.used, 0);
	assert_int_equal(table_set(&t, UINT64_MAX, value_of(1), NULL), 0);
	assert_ptr_equal(table_get(&t, UINT64_MAX), value_of(1));
	table_done(&t);
}

static void test_against_array(void **state)
{
	/* Random sets and removes over few keys, so that tombstones, revivals and rebuilds abound.
	 */
	static uint64_t model[4096];
	struct table t;
	size_t used = 0;

	(void)state;
	assert_int_equal(table_init(&t), 0);
	for (int i = 0; i < 300000; i++) {
		uint64_t key = 1 + randombytes_uniform(4095);

		if (randombytes_uniform(2)) {
			uint64_t v = 1 + randombytes_uniform(1u << 30);
			void *old;

			assert_int_equal(table_set(&t, key << 40, value_of(v), &old), 0);
			assert_ptr_equal(old, value_of(model[key]));
			used += model[key] == 0;
			model[key] = v;
		} else {
			assert_ptr_equal(table_remove(&t, key << 40), value_of(model[key]));
			used -= model[key] != 0;
			model[key] = 0;
		}
		assert_int_equal(t.used, used);
		assert_true(t.spent >= t.used);
	}
	for (uint64_t key = 1; key < 4096; key++)
		assert_ptr_equal(table_get(&t, key << 40), value_of(model[key]));
	table_done(&t);
}

static void test_tombstones_do_not_pile_up(void **state)
{
	struct table t;

	(void)state;
	assert_int_equal(table_init(&t), 0);
	for (uint64_t key = 1; key < 200000; key++) {
		assert_int_equal(table_set(&t, key, value_of(key), NULL), 0);
		assert_ptr_equal(table_remove(&t, key), value_of(key));
		assert_true(t.spent <= 16); /* the smallest array is enough for one live entry */
	}
	table_done(&t);
}

struct visit {
	struct table *table;
	uint64_t sum;
};

static void visit_and_remove_odd(void *ctx, uint64_t key, void *value)
{
	struct visit *v = ctx;

	assert_ptr_equal(value, value_of(key * 3));
	v->sum += key;
	if (key & 1)
		assert_ptr_equal(table_remove(v->table, key), value);
}

static void test_each(void **state)
{
	struct table t;
	struct visit v = {.table = &t};

	(void)state;
	assert_int_equal(table_init(&t), 0);
	for (uint64_t key = 1; key <= 1000; key++)
		assert_int_equal(table_set(&t, key, value_of(key * 3), NULL), 0);
	table_each(&t, visit_and_remove_odd, &v);
	assert_int_equal(v.sum, 500500);
	assert_int_equal(t.used, 500);
	v.sum = 0;
	table_each(&t, visit_and_remove_odd, &v);
	assert_int_equal(v.sum, 250500);
	table_done(&t);
}

struct reader {
	const struct table *table;
	atomic_bool stop;
	atomic_ulong rounds;
	atomic_ulong wrong;
};

/* Keys 1–64 stay for good; the writer churns the others meanwhile. */
static void *read_steadily(void *arg)
{
	struct reader *r = arg;

	rcu_register_thread();
	while (!atomic_load(&r->stop)) {
		for (uint64_t key = 1; key <= 64; key++) {
			if (table_get(r->table, key) != value_of(key))
				atomic_fetch_add(&r->wrong, 1);
		}
		for (uint64_t key = 1000; key < 1064; key++) {
			void *v = table_get(r->table, key);

			if (v && v != value_of(key))
				atomic_fetch_add(&r->wrong, 1);
		}
		rcu_quiescent_state();
		atomic_fetch_add(&r->rounds, 1);
	}
	rcu_unregister_thread();
	return NULL;
}

static void test_reader_during_changes(void **state)
{
	struct table t;
	struct reader r = {.table = &t};
	pthread_t thread;

	(void)state;
	assert_int_equal(table_init(&t), 0);
	for (uint64_t key = 1; key <= 64; key++)
		assert_int_equal(table_set(&t, key, value_of(key), NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_steadily, &r), 0);
	while (atomic_load(&r.rounds) < 2000) {
		uint64_t base = 1000 + randombytes_uniform(2000);

		for (uint64_t key = base; key < base + 200; key++)
			assert_int_equal(table_set(&t, key, value_of(key), NULL), 0);
		for (uint64_t key = base; key < base + 200; key++)
			table_remove(&t, key);
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&r.wrong), 0);
	table_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_get_remove),
		cmocka_unit_test(test_against_array),
		cmocka_unit_test(test_tombstones_do_not_pile_up),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_reader_during_changes),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
