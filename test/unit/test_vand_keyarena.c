/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vand/keyarena.h"

/* The sanitizers' runtimes replace mlock() by something that says yes and does nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MLOCK_IS_REAL false
#else
#define MLOCK_IS_REAL true
#endif

static void test_blocks(void **state)
{
	enum { BLOCKS = 3000, SIZE = 1000 };
	static uint8_t *blocks[BLOCKS];
	struct keyarena *a;
	bool locked;

	(void)state;
	assert_int_equal(keyarena_new(SIZE, &a, &locked), 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < BLOCKS; i++) {
			blocks[i] = keyarena_take(a);
			assert_non_null(blocks[i]);
			assert_int_equal((uintptr_t)blocks[i] % 64, 0);
			assert_true(sodium_is_zero(blocks[i], SIZE));
			memset(blocks[i], (int)(i % 251 + 1), SIZE);
		}
		for (size_t i = 0; i < BLOCKS; i++) { /* none overlaps another */
			assert_int_equal(blocks[i][0], i % 251 + 1);
			assert_memory_equal(blocks[i], blocks[i] + 1, SIZE - 1);
		}
		for (size_t i = 0; i < BLOCKS; i++) {
			keyarena_give(a, blocks[i]);
			/* All but the free chain's link is wiped at once, not at the next use. */
			assert_true(
				sodium_is_zero(blocks[i] + sizeof(void *), SIZE - sizeof(void *)));
		}
	}
	keyarena_give(a, NULL);
	keyarena_free(a);
	keyarena_free(NULL);
}

static void test_tiny_and_large_blocks(void **state)
{
	const size_t sizes[] = {0, 1, 8, 64, 65, 5000, 300000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct keyarena *a;
		bool locked;
		uint8_t *first, *second;

		assert_int_equal(keyarena_new(sizes[i], &a, &locked), 0);
		first = keyarena_take(a);
		second = keyarena_take(a);
		assert_non_null(first);
		assert_non_null(second);
		assert_true((size_t)labs(first - second) >= sizes[i]);
		memset(first, 1, sizes[i]);
		assert_true(sodium_is_zero(second, sizes[i]));
		keyarena_free(a);
	}
}

/* The flags of the mapping that holds p, from /proc/self/smaps. */
static bool mapping_flags(const void *p, char *ret_flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool inside = false, found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = snprintf(ret_flags, size, "%s", line) > 0;
	}
	fclose(f);
	return found;
}

static void test_protection(void **state)
{
	struct keyarena *a;
	bool locked;
	uint8_t *block;
	char flags[512];
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(keyarena_new(64, &a, &locked), 0);
	block = keyarena_take(a);
	memset(block, 0x5a, 64);
	if (mapping_flags(block, flags, sizeof(flags))) {
		assert_non_null(strstr(flags, " dd")); /* left out of core dumps */
		if (MLOCK_IS_REAL)
			assert_int_equal(locked, strstr(flags, " lo") != NULL);
	} else {
		print_message("no smaps here: flags of the mapping not looked at\n");
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(sodium_is_zero(block, 64) ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	keyarena_free(a);
}

static void test_says_when_it_cannot_lock(void **state)
{
	pid_t child;
	int status;

	(void)state;
	if (!MLOCK_IS_REAL) {
		print_message("a sanitizer stands in for mlock(): not tested\n");
		skip();
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit none = {0, 0};
		struct keyarena *a;
		bool locked = true;

		/* Root may lock whatever the limit says: be somebody else. */
		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 ||
			(geteuid() == 0 && setresuid(65534, 65534, 65534) < 0))
			_exit(2);
		if (keyarena_new(64, &a, &locked) < 0 || !keyarena_take(a))
			_exit(3);
		_exit(locked ? 4 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_tiny_and_large_blocks),
		cmocka_unit_test(test_protection),
		cmocka_unit_test(test_says_when_it_cannot_lock),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
