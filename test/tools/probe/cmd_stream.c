/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A numbered stream of UDP datagrams. Each is "VANU", its number (8 bytes, big-endian) and a
 * pattern that follows from the number, so that a damaged one is noticed.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define MAGIC      "VANU"
#define HEADER_LEN 12
#define LEN_MAX    65507
#define SEED       4826

static void fill(uint8_t *datagram, size_t len, uint64_t number)
{
	uint64_t be = htobe64(number);

	memcpy(datagram, MAGIC, 4);
	memcpy(datagram + 4, &be, 8);
	pattern_fill(SEED, number << 17, datagram + HEADER_LEN, len - HEADER_LEN);
}

/* Sends one; false when the kernel did not take it for a reason that may pass. The socket is not
 * connected: ICMP errors would come back as failures of the datagrams after. */
static bool send_one(int fd, const uint8_t *datagram, size_t len, const struct sockaddr_storage *to,
	socklen_t to_len)
{
	if (sendto(fd, datagram, len, 0, (const struct sockaddr *)to, to_len) >= 0)
		return true;
	switch (errno) {
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case ENOBUFS:
	case EAGAIN:
	case EINTR:
	case EPERM:
		return false;
	default:
		die(PROBE_SYSTEM, "sending: %m");
	}
}

COMMAND(cmd_stream_send)
{
	uint64_t pps = 1000, count = 0, len = 100, from_port = 0;
	double seconds = 0;
	const struct probe_option options[] = {
		{"pps", OPTION_NUMBER, &pps, "N", "datagrams a second (1000)"},
		{"seconds", OPTION_SECONDS, &seconds, "S", "for that long"},
		{"count", OPTION_NUMBER, &count, "N", "that many"},
		{"len", OPTION_NUMBER, &len, "L", "bytes of payload (100)"},
		{"src-port", OPTION_NUMBER, &from_port, "P", "(any)"},
		{0},
	};
	static uint8_t datagram[LEN_MAX];
	struct sockaddr_storage to, from = {0};
	uint64_t start, sent = 0, failed = 0;
	const char *args[4];
	socklen_t to_len;
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	if (seconds > 0)
		count = (uint64_t)(seconds * (double)pps);
	if (!count || !pps || len < HEADER_LEN || len > LEN_MAX || from_port > 65535)
		die(PROBE_USAGE, "needs --seconds or --count, and --len from %d to %d", HEADER_LEN,
			LEN_MAX);
	stop_fd = stop_signals();
	to_len = parse_address(args[0], args[1], &to);
	fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	from.ss_family = to.ss_family;
	((struct sockaddr_in *)&from)->sin_port = htobe16((uint16_t)from_port);
	if (fd < 0 || bind(fd, (struct sockaddr *)&from, to_len) < 0)
		die(PROBE_SYSTEM, "%s port %s: %m", args[0], args[1]);
	start = now_ns();
	for (uint64_t i = 0; i < count; i++) {
		uint64_t due = start + (uint64_t)((double)i * 1e9 / (double)pps);

		if (now_ns() < due && wait_readable(stop_fd, -1, due))
			break;
		fill(datagram, len, i);
		*(send_one(fd, datagram, len, &to, to_len) ? &sent : &failed) += 1;
	}
	printf("{\"sent\": %lu, \"failed\": %lu, \"seconds\": %.3f}\n", sent, failed,
		(double)(now_ns() - start) / 1e9);
	close(fd);
	close(stop_fd);
	return PROBE_OK;
}

struct tally {
	uint8_t *seen; /* a bit for each number expected */
	uint64_t expected;
	uint64_t received, duplicated, reordered, bad, first, last, highest;
	uint64_t last_ns, longest_gap_ns;
};

static void count_datagram(struct tally *t, const uint8_t *datagram, size_t len)
{
	static uint8_t expected[LEN_MAX];
	uint64_t number, now = now_ns();

	if (len < HEADER_LEN || memcmp(datagram, MAGIC, 4) != 0) {
		t->bad++;
		return;
	}
	memcpy(&number, datagram + 4, 8);
	number = be64toh(number);
	fill(expected, len, number);
	if (number >= t->expected || memcmp(datagram, expected, len) != 0) {
		t->bad++;
		return;
	}
	if (t->seen[number / 8] & 1 << number % 8) {
		t->duplicated++;
		return;
	}
	t->seen[number / 8] |= (uint8_t)(1 << number % 8);
	if (!t->received)
		t->first = number;
	else if (number < t->highest)
		t->reordered++;
	if (t->received && now - t->last_ns > t->longest_gap_ns)
		t->longest_gap_ns = now - t->last_ns;
	if (number > t->highest)
		t->highest = number;
	t->last = number;
	t->last_ns = now;
	t->received++;
}

static void receive_all(int fd, struct tally *t)
{
	static uint8_t datagram[LEN_MAX + 1];
	ssize_t n;

	while ((n = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT)) >= 0)
		count_datagram(t, datagram, (size_t)n);
	if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
		die(PROBE_SYSTEM, "receiving: %m");
}

static void print_tally(const struct tally *t)
{
	printf("{\"received\": %lu, \"lost\": %lu, \"duplicated\": %lu, \"reordered\": %lu, "
	       "\"bad\": %lu, ",
		t->received, t->expected - t->received, t->duplicated, t->reordered, t->bad);
	if (t->received)
		printf("\"first\": %lu, \"last\": %lu, \"longest_gap_ms\": %.3f}\n", t->first,
			t->last, (double)t->longest_gap_ns / 1e6);
	else
		printf("\"first\": null, \"last\": null, \"longest_gap_ms\": null}\n");
}

COMMAND(cmd_stream_recv)
{
	uint64_t expected = 0, linger_ms = 100, allowed = 0;
	double timeout = 30;
	const struct probe_option options[] = {
		{"expect", OPTION_NUMBER, &expected, "N", "datagrams numbered from 0 (needed)"},
		{"timeout", OPTION_SECONDS, &timeout, "S", "to wait for all of them (30)"},
		{"linger", OPTION_NUMBER, &linger_ms, "MS",
			"to look for duplicates after that (100)"},
		{"allow-lost", OPTION_NUMBER, &allowed, "N", "that is good enough for exit code 0"},
		{0},
	};
	struct sockaddr_storage addr;
	struct tally tally = {0};
	const char *args[4];
	int fd, stop_fd, size = 64 << 20;
	socklen_t addr_len;
	uint64_t until;

	probe_arguments(command, options, argc, argv, args);
	if (!expected || expected > 1ull << 32)
		die(PROBE_USAGE, "needs --expect N");
	stop_fd = stop_signals();
	addr_len = parse_address(args[1] ? args[0] : "::", args[1] ? args[1] : args[0], &addr);
	fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die(PROBE_SYSTEM, "socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, addr_len) < 0)
		die(PROBE_SYSTEM, "port %s: %m", args[1] ? args[1] : args[0]);
	tally.expected = expected;
	tally.seen = calloc(expected / 8 + 1, 1);
	if (!tally.seen)
		die(PROBE_SYSTEM, "out of memory");
	until = now_ns() + (uint64_t)(timeout * 1e9);
	say_ready();
	while (tally.received < expected && wait_readable(fd, stop_fd, until))
		receive_all(fd, &tally);
	until = now_ns() + linger_ms * 1000000;
	while (tally.received == expected && wait_readable(fd, stop_fd, until))
		receive_all(fd, &tally);
	print_tally(&tally);
	free(tally.seen);
	close(fd);
	close(stop_fd);
	return tally.received + allowed >= expected && !tally.bad ? PROBE_OK : PROBE_FAILED;
}
