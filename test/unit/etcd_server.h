/* SPDX-License-Identifier: Apache-2.0 */
/* A real etcd with one member on 127.0.0.1, in a temporary directory, for as long as a test runs. */
#ifndef TEST_UNIT_ETCD_SERVER_H
#define TEST_UNIT_ETCD_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ETCD_PROGRAM "/usr/bin/etcd"

struct etcd_server {
	char dir[64];
	char url[64];
	char peer_url[64];
	const char *more; /* one more argument, or NULL */
	unsigned int port;
	pid_t pid;
	pid_t cleaner; /* removes the directory when the pipe is closed, */
	int alive;     /* of which this is our end: also when the test is killed */
};

static inline bool etcd_server_available(void)
{
	return access(ETCD_PROGRAM, X_OK) == 0;
}

static inline void etcd_server_die(const char *what)
{
	fprintf(stderr, "etcd for the test: %s\n", what);
	exit(1);
}

static inline int etcd_server_connect(unsigned int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline unsigned int etcd_server_free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) ||
		getsockname(fd, (struct sockaddr *)&in, &len))
		etcd_server_die("no free port");
	close(fd);
	return ntohs(in.sin_port);
}

/* True when it says that it has a leader. */
static inline bool etcd_server_answers(unsigned int port)
{
	static const char request[] = "GET /health HTTP/1.0\r\n\r\n";
	int fd = etcd_server_connect(port);
	char answer[2048];
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	if (write(fd, request, sizeof(request) - 1) < 0) {
		close(fd);
		return false;
	}
	while (len < sizeof(answer) - 1 &&
		(n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	answer[len] = '\0';
	return strstr(answer, "\"health\":\"true\"") != NULL;
}

static inline void etcd_server_exec(const struct etcd_server *s)
{
	char data[96], log_path[96], cluster[96];
	int log;

	snprintf(data, sizeof(data), "%s/data", s->dir);
	snprintf(log_path, sizeof(log_path), "%s/log", s->dir);
	snprintf(cluster, sizeof(cluster), "test=%s", s->peer_url);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execl(ETCD_PROGRAM, "etcd", "--name=test", "--data-dir", data, "--listen-client-urls",
		s->url, "--advertise-client-urls", s->url, "--listen-peer-urls", s->peer_url,
		"--initial-advertise-peer-urls", s->peer_url, "--initial-cluster", cluster,
		"--logger=zap", s->more, NULL);
	_exit(127);
}

/* Returns when it answers. */
static inline void etcd_server_start(struct etcd_server *s)
{
	s->pid = fork();
	if (s->pid == 0)
		etcd_server_exec(s);
	for (int i = 0; i < 3000 && !etcd_server_answers(s->port); i++) {
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			etcd_server_die("it ended at once");
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

static inline void etcd_server_kill(struct etcd_server *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	s->pid = 0;
}

static inline void etcd_server_watch(struct etcd_server *s)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		etcd_server_die("no pipe");
	s->alive = ends[1];
	s->cleaner = fork();
	if (s->cleaner == 0) {
		char byte;

		setsid(); /* what interrupts the test does not end it */
		dup2(ends[0], STDIN_FILENO);
		close_range(STDERR_FILENO + 1, ~0U, 0);
		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
		execlp("rm", "rm", "-rf", "--", s->dir, NULL);
		_exit(127);
	}
	close(ends[0]);
}

static inline struct etcd_server *etcd_server_new(const char *more)
{
	struct etcd_server *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->more = more;
	snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/test-etcd-XXXXXX");
	if (!mkdtemp(s->dir))
		etcd_server_die("no directory");
	etcd_server_watch(s);
	s->port = etcd_server_free_port();
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", s->port);
	snprintf(s->peer_url, sizeof(s->peer_url), "http://127.0.0.1:%u", etcd_server_free_port());
	etcd_server_start(s);
	return s;
}

static inline void etcd_server_free(struct etcd_server *s)
{
	etcd_server_kill(s);
	close(s->alive);
	waitpid(s->cleaner, NULL, 0);
	free(s);
}

static inline void etcd_is_not_installed(void **state)
{
	(void)state;
	print_message("etcd is not installed: what needs it is not tested\n");
	skip();
}

/* Instead of the tests that need it, so that its absence is told. */
static inline int etcd_server_skip(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(etcd_is_not_installed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
