/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round-trip times of UDP datagrams, from one program to another and back. Datagrams leave at fixed
 * times, whether answers to the ones before have come or not: a way that stalls is seen by all that
 * were to travel it meanwhile, and not by one of them only.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define MAGIC   "VANP"
#define LEN_MIN 12 /* magic and number */
#define LEN_MAX 9000
#define MAX     10000000

COMMAND(cmd_rtt_echo)
{
	const struct probe_option options[] = {{0}};
	static uint8_t datagram[LEN_MAX];
	struct sockaddr_storage addr;
	uint64_t answered = 0;
	const char *args[4];
	socklen_t addr_len;
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	stop_fd = stop_signals();
	addr_len = parse_address(args[1] ? args[0] : "::", args[1] ? args[1] : args[0], &addr);
	fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, addr_len) < 0)
		die(PROBE_SYSTEM, "port %s: %m", args[1] ? args[1] : args[0]);
	say_ready();
	while (wait_readable(fd, stop_fd, UINT64_MAX)) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, datagram, sizeof(datagram), MSG_DONTWAIT,
			(struct sockaddr *)&from, &from_len);

		if (n < LEN_MIN || memcmp(datagram, MAGIC, 4) != 0)
			continue;
		if (sendto(fd, datagram, (size_t)n, 0, (struct sockaddr *)&from, from_len) == n)
			answered++;
	}
	printf("{\"answered\": %lu}\n", answered);
	close(fd);
	close(stop_fd);
	return PROBE_OK;
}

struct trips {
	uint64_t *sent_ns; /* by number; 0 once it was answered */
	uint64_t *rtt_ns;
	uint64_t sent, failed, answered;
};

static void send_probe(int fd, uint8_t *datagram, size_t len, struct trips *t)
{
	uint64_t number = htobe64(t->sent);

	memcpy(datagram + 4, &number, 8);
	t->sent_ns[t->sent] = now_ns();
	if (send(fd, datagram, len, MSG_DONTWAIT) < 0) {
		t->sent_ns[t->sent] = 0;
		t->failed++;
	}
	t->sent++;
}

static void take_answers(int fd, struct trips *t)
{
	uint8_t datagram[LEN_MAX];
	uint64_t number;
	ssize_t n;

	while ((n = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT)) >= 0) {
		uint64_t now = now_ns();

		if (n < LEN_MIN || memcmp(datagram, MAGIC, 4) != 0)
			continue;
		memcpy(&number, datagram + 4, 8);
		number = be64toh(number);
		if (number >= t->sent || !t->sent_ns[number])
			continue;
		t->rtt_ns[t->answered++] = now - t->sent_ns[number];
		t->sent_ns[number] = 0;
	}
	if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
		die(PROBE_SYSTEM, "receiving: %m");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The nearest rank. */
static double percentile_us(const struct trips *t, double share)
{
	uint64_t rank = (uint64_t)(share * (double)t->answered + 0.999999);

	return (double)t->rtt_ns[rank ? rank - 1 : 0] / 1e3;
}

static void print_trips(const struct trips *t)
{
	printf("{\"sent\": %lu, \"failed\": %lu, \"answered\": %lu", t->sent, t->failed,
		t->answered);
	if (t->answered)
		printf(", \"min_us\": %.2f, \"p50_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f, "
		       "\"max_us\": %.2f",
			percentile_us(t, 0), percentile_us(t, 0.5), percentile_us(t, 0.9),
			percentile_us(t, 0.99), percentile_us(t, 1));
	printf("}\n");
}

COMMAND(cmd_rtt)
{
	uint64_t count = 1000, interval_us = 1000, len = 64, wait_ms = 1000, start, until;
	const struct probe_option options[] = {
		{"count", OPTION_NUMBER, &count, "N", "datagrams (1000)"},
		{"interval", OPTION_NUMBER, &interval_us, "US", "between them (1000)"},
		{"len", OPTION_NUMBER, &len, "L", "bytes of payload (64)"},
		{"wait", OPTION_NUMBER, &wait_ms, "MS", "for the last answers (1000)"},
		{0},
	};
	static uint8_t datagram[LEN_MAX];
	struct sockaddr_storage to;
	struct trips trips = {0};
	const char *args[4];
	int fd, stop_fd;
	socklen_t to_len;

	probe_arguments(command, options, argc, argv, args);
	if (!count || count > MAX || !interval_us || len < LEN_MIN || len > LEN_MAX)
		die(PROBE_USAGE, "needs --count up to %d, --interval, and --len from %d to %d", MAX,
			LEN_MIN, LEN_MAX);
	stop_fd = stop_signals();
	to_len = parse_address(args[0], args[1], &to);
	fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, to_len) < 0)
		die(PROBE_SYSTEM, "%s port %s: %m", args[0], args[1]);
	trips.sent_ns = calloc(count, sizeof(*trips.sent_ns));
	trips.rtt_ns = calloc(count, sizeof(*trips.rtt_ns));
	if (!trips.sent_ns || !trips.rtt_ns)
		die(PROBE_SYSTEM, "out of memory");
	prctl(PR_SET_TIMERSLACK, 1); /* else a wait may take 50 us longer */
	memcpy(datagram, MAGIC, 4);
	start = now_ns();
	for (until = start; trips.sent < count; until += interval_us * 1000) {
		while (wait_readable(fd, stop_fd, until))
			take_answers(fd, &trips);
		if (now_ns() < until) /* told to stop */
			break;
		send_probe(fd, datagram, len, &trips);
	}
	until = now_ns() + wait_ms * 1000000;
	while (trips.answered + trips.failed < trips.sent && wait_readable(fd, stop_fd, until))
		take_answers(fd, &trips);
	qsort(trips.rtt_ns, trips.answered, sizeof(*trips.rtt_ns), compare);
	print_trips(&trips);
	free(trips.sent_ns);
	free(trips.rtt_ns);
	close(fd);
	close(stop_fd);
	return trips.answered ? PROBE_OK : PROBE_FAILED;
}
