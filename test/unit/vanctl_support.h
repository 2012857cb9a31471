/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of vanctl: runs the whole program within the test, and plays the daemon behind its
 * control socket.
 */
#ifndef TEST_VANCTL_SUPPORT_H
#define TEST_VANCTL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vanctl/vanctl.h"

/* What a run of vanctl left behind. */
struct ran {
	int status;
	char *out;
	char *err;
};

static inline void ran_done(struct ran *r)
{
	free(r->out);
	free(r->err);
	memset(r, 0, sizeof(*r));
}

/* Runs vanctl with these words (NULL-terminated, without the program's name). */
static inline struct ran run_words(const char *input, const char *const words[])
{
	char *argv[32] = {(char *)"vanctl"};
	size_t out_len, err_len;
	struct ran r = {0};
	FILE *in = tmpfile();
	FILE *out = open_memstream(&r.out, &out_len);
	FILE *err = open_memstream(&r.err, &err_len);
	int argc = 1;

	assert_non_null(in);
	assert_non_null(out);
	assert_non_null(err);
	fputs(input ? input : "", in);
	fflush(in);
	rewind(in);
	for (; words[argc - 1]; argc++) {
		assert_true(argc < 31);
		argv[argc] = (char *)words[argc - 1];
	}
	r.status = vanctl_run(argc, argv, in, out, err);
	fclose(in);
	fclose(out);
	fclose(err);
	return r;
}

#define RUN(...)          run_words(NULL, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(in, ...) run_words(in, (const char *const[]){__VA_ARGS__, NULL})

/* A folder of the test's own that is home, too; no variable of the caller's gets in. */
static inline void make_home(char ret_dir[32])
{
	static const char *const variables[] = {"VAN_CONSOLE", "VAN_KEY_FILE", "VAN_PIN", "VAN_CA",
		"VAN_CONTEXT", "VAND_SOCKET", "NO_COLOR"};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	strcpy(ret_dir, "/tmp/vanctl-XXXXXX");
	assert_non_null(mkdtemp(ret_dir));
	setenv("XDG_CONFIG_HOME", ret_dir, 1);
	setenv("HOME", ret_dir, 1);
}

static inline void remove_home(const char *dir)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

static inline void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

/* -- a daemon: answers each command with a prepared line -- */

struct fake_answer {
	const char *command; /* NULL ends the list */
	const char *line;    /* NULL: hang up without an answer */
};

struct fake_daemon {
	char path[64];
	int fd;
	pthread_t thread;
	const struct fake_answer *answers;
	atomic_bool stop;
	pthread_mutex_t lock;
	char last[8192]; /* the last request */
	int requests;
};

static inline const char *fake_answer_to(const struct fake_daemon *d, const char *request)
{
	for (const struct fake_answer *a = d->answers; a->command; a++) {
		char wanted[64];

		snprintf(wanted, sizeof(wanted), "\"command\":\"%s\"", a->command);
		if (strstr(request, wanted))
			return a->line;
	}
	return "{\"error\":{\"code\":\"invalid\",\"detail\":\"unknown command\"}}";
}

static inline void fake_serve(struct fake_daemon *d, int fd)
{
	char request[sizeof(d->last)];
	size_t len = 0;
	const char *line;

	while (len < sizeof(request) - 1) {
		ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);

		if (n <= 0)
			return;
		len += (size_t)n;
		if (memchr(request, '\n', len))
			break;
	}
	request[len] = '\0';
	pthread_mutex_lock(&d->lock);
	strcpy(d->last, request);
	d->requests++;
	pthread_mutex_unlock(&d->lock);
	line = fake_answer_to(d, request);
	if (line && send(fd, line, strlen(line), MSG_NOSIGNAL) >= 0)
		send(fd, "\n", 1, MSG_NOSIGNAL);
}

static inline void *fake_main(void *arg)
{
	struct fake_daemon *d = arg;

	while (!atomic_load(&d->stop)) {
		int fd = accept(d->fd, NULL, NULL);

		if (fd < 0)
			continue;
		fake_serve(d, fd);
		close(fd);
	}
	return NULL;
}

/* Listens on DIR/vand.sock; VAND_SOCKET points there. */
static inline void fake_start(
	struct fake_daemon *d, const char *dir, const struct fake_answer *answers)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(d, 0, sizeof(*d));
	d->answers = answers;
	pthread_mutex_init(&d->lock, NULL);
	snprintf(d->path, sizeof(d->path), "%s/vand.sock", dir);
	strcpy(address.sun_path, d->path);
	d->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(d->fd >= 0);
	assert_int_equal(bind(d->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(d->fd, 8), 0);
	assert_int_equal(pthread_create(&d->thread, NULL, fake_main, d), 0);
	setenv("VAND_SOCKET", d->path, 1);
}

static inline void fake_stop(struct fake_daemon *d)
{
	atomic_store(&d->stop, true);
	shutdown(d->fd, SHUT_RDWR); /* accept() returns */
	pthread_join(d->thread, NULL);
	close(d->fd);
	pthread_mutex_destroy(&d->lock);
}

#define assert_contains(text, part)                                 \
	do {                                                        \
		if (!strstr(text, part))                            \
			fail_msg("'%s' is not in: %s", part, text); \
	} while (0)
#define assert_lacks(text, part)                                \
	do {                                                    \
		if (strstr(text, part))                         \
			fail_msg("'%s' is in: %s", part, text); \
	} while (0)

#endif
