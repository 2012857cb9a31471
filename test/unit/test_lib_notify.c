/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/notify.h"

static void nobody_asked(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_send("READY=1"), 0);
}

static void what_is_no_socket(void **state)
{
	char longer[300];

	(void)state;
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
	memset(longer, 'a', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
	assert_int_equal(notify_send("READY=1"), -ENOENT);
}

static void check_arrives(const struct sockaddr_un *sa, socklen_t len, const char *env)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64] = "";

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)sa, len), 0);
	setenv("NOTIFY_SOCKET", env, 1);
	assert_int_equal(notify_send("READY=1\nSTATUS=up"), 1);
	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 17);
	assert_string_equal(text, "READY=1\nSTATUS=up");
	close(fd);
}

static void by_path(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/test-notify-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
	check_arrives(&sa, sizeof(sa), sa.sun_path);
	unlink(sa.sun_path);
	rmdir(dir);
}

static void by_abstract_name(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char env[64];
	size_t len;

	(void)state;
	snprintf(env, sizeof(env), "@van-test-notify-%d", (int)getpid());
	len = strlen(env);
	memcpy(sa.sun_path + 1, env + 1, len - 1);
	check_arrives(&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len), env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_asked),
		cmocka_unit_test(what_is_no_socket),
		cmocka_unit_test(by_path),
		cmocka_unit_test(by_abstract_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
