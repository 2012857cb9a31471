/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/list.h"

struct item {
	int number;
	struct list link;
};

static int number_of(struct list *node)
{
	return container_of(node, struct item, link)->number;
}

static void check_order(struct list *head, const int *expected, size_t count)
{
	size_t i = 0;

	list_for_each (it, head) {
		assert_true(i < count);
		assert_int_equal(number_of(it), expected[i]);
		i++;
	}
	assert_int_equal(i, count);
	/* And the same backwards. */
	for (struct list *it = head->prev; it != head; it = it->prev)
		assert_int_equal(number_of(it), expected[--i]);
	assert_int_equal(i, 0);
}

static void test_add_and_delete(void **state)
{
	struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	check_order(&head, NULL, 0);
	list_add_tail(&head, &a.link);
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	assert_false(list_empty(&head));
	check_order(&head, (const int[]){1, 2, 3}, 3);
	list_del(&b.link);
	check_order(&head, (const int[]){1, 3}, 2);
	list_del(&b.link); /* twice is harmless */
	check_order(&head, (const int[]){1, 3}, 2);
	list_add_tail(&head, &b.link);
	check_order(&head, (const int[]){1, 3, 2}, 3);
	list_del(&a.link);
	list_del(&c.link);
	list_del(&b.link);
	assert_true(list_empty(&head));
}

static void test_unlink_while_walking(void **state)
{
	struct item items[6];
	struct list head, other;

	(void)state;
	list_init(&head);
	list_init(&other);
	for (int i = 0; i < 6; i++) {
		items[i].number = i;
		list_add_tail(&head, &items[i].link);
	}
	list_for_each_safe (it, &head) {
		if (number_of(it) % 2 == 0)
			continue;
		list_del(it);
		list_add_tail(&other, it);
	}
	check_order(&head, (const int[]){0, 2, 4}, 3);
	check_order(&other, (const int[]){1, 3, 5}, 3);
	list_for_each_safe (it, &head)
		list_del(it);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_delete),
		cmocka_unit_test(test_unlink_while_walking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
