/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP streams with a payload made from a seed. Both ends print the same digest when what arrived is
 * what was sent. Read(2) and write(2) of large buffers. Making and summing up the payload costs about as
 * much as a fast link does, so rates are measured with --plain: one buffer again and again, no digest.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define CHUNK (256 * 1024)

/* digest: NULL for a plain stream. */
static void print_result(uint64_t bytes, uint64_t start_ns, const struct digest *digest)
{
	double seconds = (double)(now_ns() - start_ns) / 1e9;
	char checksum[24] = "null";

	if (digest)
		snprintf(checksum, sizeof(checksum), "\"%016lx\"", digest_end(digest));

	printf("{\"bytes\": %lu, \"seconds\": %.6f, \"gbit_per_s\": %.3f, \"checksum\": %s}\n",
		bytes, seconds, seconds > 0 ? (double)bytes * 8 / 1e9 / seconds : 0, checksum);
	fflush(stdout);
}

/* Reads until the peer has no more, or bytes were read. Returns an exit code. */
static int sink_connection(int fd, uint64_t bytes, bool plain, uint64_t until_ns)
{
	uint64_t received = 0, start = 0;
	uint8_t *buffer = malloc(CHUNK);
	struct digest digest;
	ssize_t n = 1;

	if (!buffer)
		die(PROBE_SYSTEM, "out of memory");
	digest_init(&digest);
	while (n != 0 && (!bytes || received < bytes)) {
		if (!wait_readable(fd, -1, until_ns)) {
			fprintf(stderr, "netprobe: timeout after %lu bytes\n", received);
			break;
		}
		n = read(fd, buffer, CHUNK);
		if (n < 0 && errno != EINTR)
			die(PROBE_SYSTEM, "receiving, after %lu bytes: %m", received);
		if (n <= 0)
			continue;
		if (!received)
			start = now_ns();
		if (!plain)
			digest_add(&digest, buffer, (size_t)n);
		received += (size_t)n;
	}
	print_result(received, start ? start : now_ns(), plain ? NULL : &digest);
	free(buffer);
	if (bytes ? received == bytes : n == 0)
		return PROBE_OK;
	return PROBE_FAILED;
}

static int listen_on(const char *ip, const char *port)
{
	struct sockaddr_storage addr;
	socklen_t len = parse_address(ip, port, &addr);
	int one = 1, fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die(PROBE_SYSTEM, "socket: %m");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 64) < 0)
		die(PROBE_SYSTEM, "%s port %s: %m", ip, port);
	return fd;
}

COMMAND(cmd_tcp_sink)
{
	uint64_t bytes = 0, connections = 1, accepted = 0, until;
	bool plain = false;
	double timeout = 60;
	const struct probe_option options[] = {
		{"bytes", OPTION_NUMBER, &bytes, "N", "of each connection (all that come)"},
		{"plain", OPTION_FLAG, &plain, NULL, "no digest: for rates"},
		{"count", OPTION_NUMBER, &connections, "CONNS", "to take, at the same time (1)"},
		{"timeout", OPTION_SECONDS, &timeout, "S", "for everything (60)"},
		{0},
	};
	int listener, stop_fd, result = PROBE_OK, status;
	const char *args[4];

	probe_arguments(command, options, argc, argv, args);
	stop_fd = stop_signals();
	listener = listen_on(args[1] ? args[0] : "::", args[1] ? args[1] : args[0]);
	until = now_ns() + (uint64_t)(timeout * 1e9);
	say_ready();
	for (; accepted < connections && wait_readable(listener, stop_fd, until); accepted++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pid_t child;

		if (fd < 0)
			die(PROBE_SYSTEM, "accept: %m");
		/* A process for each, so that they do not wait for each other. */
		child = fork();
		if (child < 0)
			die(PROBE_SYSTEM, "fork: %m");
		if (child == 0) {
			sigset_t none;

			sigemptyset(&none);
			sigprocmask(SIG_SETMASK, &none, NULL);
			_exit(sink_connection(fd, bytes, plain, until));
		}
		close(fd);
	}
	if (accepted < connections) {
		fprintf(stderr, "netprobe: %lu of %lu connections came\n", accepted, connections);
		result = PROBE_FAILED;
	}
	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) != PROBE_OK)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : PROBE_FAILED;
	}
	close(listener);
	close(stop_fd);
	return result;
}

/* Keeps trying for as long as nobody listens there yet. */
static int connect_to(const char *ip, const char *port, uint64_t until_ns)
{
	struct sockaddr_storage addr;
	socklen_t len = parse_address(ip, port, &addr);

	for (;;) {
		int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		uint64_t now = now_ns();
		int error = 0;
		socklen_t error_len = sizeof(error);

		if (fd < 0)
			die(PROBE_SYSTEM, "socket: %m");
		if (connect(fd, (struct sockaddr *)&addr, len) < 0)
			error = errno;
		if (error == EINPROGRESS) {
			int left_ms = now < until_ns ? (int)((until_ns - now) / 1000000) : 0;

			error = ETIMEDOUT;
			if (poll(&p, 1, left_ms) > 0)
				getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
		}
		if (!error) {
			if (fcntl(fd, F_SETFL, 0) < 0)
				die(PROBE_SYSTEM, "fcntl: %m");
			return fd;
		}
		close(fd);
		if (now_ns() >= until_ns ||
			(error != ECONNREFUSED && error != EHOSTUNREACH && error != ENETUNREACH))
			die(PROBE_FAILED, "connecting to %s port %s: %s", ip, port,
				strerror(error));
		sleep_until_ns(now_ns() + 20000000);
	}
}

/* True when all was written; false when the time is over. */
static bool write_all(int fd, const uint8_t *p, size_t len, uint64_t until_ns, uint64_t *sent)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EAGAIN && now_ns() >= until_ns)
			return false;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			die(PROBE_SYSTEM, "sending, after %lu bytes: %m", *sent);
		if (n <= 0)
			continue;
		p += n;
		len -= (size_t)n;
		*sent += (size_t)n;
	}
	return true;
}

COMMAND(cmd_tcp_source)
{
	uint64_t bytes = 0, seed = 1, sent = 0, start, until, end = UINT64_MAX;
	double seconds = 0, timeout = 60, connect_timeout = 5;
	bool complete = true, plain = false;
	const struct probe_option options[] = {
		{"bytes", OPTION_NUMBER, &bytes, "N", "to send"},
		{"seconds", OPTION_SECONDS, &seconds, "S", "to send for"},
		{"seed", OPTION_NUMBER, &seed, "X", "of the payload (1)"},
		{"plain", OPTION_FLAG, &plain, NULL,
			"one buffer again and again, no digest: for rates"},
		{"timeout", OPTION_SECONDS, &timeout, "S", "for everything (60)"},
		{"connect-timeout", OPTION_SECONDS, &connect_timeout, "S",
			"to try until the sink is there (5)"},
		{0},
	};
	uint8_t *buffer = malloc(CHUNK);
	struct timeval block = {.tv_usec = 200000};
	struct digest digest;
	const char *args[4];
	char byte;
	int fd;

	probe_arguments(command, options, argc, argv, args);
	if (!bytes == !(seconds > 0))
		die(PROBE_USAGE, "needs either --bytes or --seconds");
	if (!buffer)
		die(PROBE_SYSTEM, "out of memory");
	fd = connect_to(args[0], args[1], now_ns() + (uint64_t)(connect_timeout * 1e9));
	/* A write that blocks looks at the time now and then. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &block, sizeof(block));
	digest_init(&digest);
	pattern_fill(seed, 0, buffer, CHUNK);
	start = now_ns();
	until = start + (uint64_t)(timeout * 1e9);
	if (seconds > 0)
		end = start + (uint64_t)(seconds * 1e9);
	while (complete && (!bytes || sent < bytes) && now_ns() < end) {
		size_t len = bytes && bytes - sent < CHUNK ? bytes - sent : CHUNK;

		if (!plain) {
			pattern_fill(seed, sent, buffer, len);
			digest_add(&digest, buffer, len);
		}
		complete = write_all(fd, buffer, len, until, &sent);
	}
	/* The sink closes when it has read everything: until then it counts. */
	shutdown(fd, SHUT_WR);
	if (!complete || !wait_readable(fd, -1, until) || read(fd, &byte, 1) != 0) {
		fprintf(stderr, "netprobe: not everything was taken within the time\n");
		complete = false;
	}
	print_result(sent, start, plain ? NULL : &digest);
	free(buffer);
	close(fd);
	return complete ? PROBE_OK : PROBE_FAILED;
}
