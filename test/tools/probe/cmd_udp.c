/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that a service should be silent about. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define LEN_MAX   65507
#define FLOOD_LEN 2048

struct exchange {
	int fd, stop_fd;
	uint64_t sent, failed, replies, reply_bytes, unreachable;
};

static void exchange_open(struct exchange *x, const char *ip, const char *port, uint64_t from_port)
{
	struct sockaddr_storage to, from = {0};
	socklen_t len = parse_address(ip, port, &to);

	if (from_port > 65535)
		die(PROBE_USAGE, "--src-port: not a port");
	memset(x, 0, sizeof(*x));
	x->stop_fd = stop_signals();
	x->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	from.ss_family = to.ss_family;
	((struct sockaddr_in *)&from)->sin_port = htobe16((uint16_t)from_port);
	if (x->fd < 0 || bind(x->fd, (struct sockaddr *)&from, len) < 0 ||
		connect(x->fd, (struct sockaddr *)&to, len) < 0)
		die(PROBE_SYSTEM, "%s port %s: %m", ip, port);
}

/* Counts what came back so far. */
static void take_replies(struct exchange *x)
{
	static uint8_t buffer[LEN_MAX + 1];
	ssize_t n;

	for (;;) {
		n = recv(x->fd, buffer, sizeof(buffer), 0);
		if (n >= 0) {
			x->replies++;
			x->reply_bytes += (size_t)n;
		} else if (errno == ECONNREFUSED) {
			x->unreachable++; /* an ICMP error, not a reply */
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR) {
			die(PROBE_SYSTEM, "receiving: %m");
		}
	}
}

static void send_datagram(struct exchange *x, const uint8_t *datagram, size_t len)
{
	for (int attempt = 0; attempt < 100; attempt++) {
		if (send(x->fd, datagram, len, 0) >= 0) {
			x->sent++;
			return;
		}
		if (errno == ECONNREFUSED)
			x->unreachable++;
		else if (errno == EAGAIN || errno == ENOBUFS)
			sleep_until_ns(now_ns() + 1000000);
		else if (errno != EINTR)
			die(PROBE_SYSTEM, "sending %zu bytes: %m", len);
	}
	x->failed++;
}

static void exchange_end(struct exchange *x, uint64_t wait_ms)
{
	uint64_t until = now_ns() + wait_ms * 1000000;

	while (wait_readable(x->fd, x->stop_fd, until))
		take_replies(x);
	printf("{\"sent\": %lu, \"failed\": %lu, \"replies\": %lu, \"reply_bytes\": %lu, "
	       "\"unreachable\": %lu}\n",
		x->sent, x->failed, x->replies, x->reply_bytes, x->unreachable);
	close(x->fd);
	close(x->stop_fd);
}

static uint8_t *read_file(const char *path, size_t *ret_len)
{
	uint8_t *bytes = malloc(LEN_MAX);
	FILE *f = fopen(path, "rb");

	if (!f || !bytes)
		die(PROBE_SYSTEM, "%s: %m", path);
	*ret_len = fread(bytes, 1, LEN_MAX, f);
	if (ferror(f) || fgetc(f) != EOF)
		die(PROBE_SYSTEM, "%s: cannot be read, or is larger than a datagram", path);
	fclose(f);
	return bytes;
}

COMMAND(cmd_udp_send)
{
	const char *args[4], *hex = NULL, *file = NULL;
	uint64_t from_port = 0, count = 1, wait_ms = 500;
	const struct probe_option options[] = {
		{"hex", OPTION_TEXT, &hex, "HEX", "the datagram"},
		{"file", OPTION_TEXT, &file, "F", "a file with the datagram"},
		{"src-port", OPTION_NUMBER, &from_port, "P", "(any)"},
		{"count", OPTION_NUMBER, &count, "N", "times (1)"},
		{"wait-reply", OPTION_NUMBER, &wait_ms, "MS", "after the last one (500)"},
		{0},
	};
	struct exchange x;
	uint8_t *datagram;
	size_t len;

	probe_arguments(command, options, argc, argv, args);
	if (!hex == !file)
		die(PROBE_USAGE, "needs either --hex or --file");
	datagram = hex ? parse_hex(hex, &len) : read_file(file, &len);
	exchange_open(&x, args[0], args[1], from_port);
	for (uint64_t i = 0; i < count; i++) {
		send_datagram(&x, datagram, len);
		take_replies(&x);
	}
	exchange_end(&x, wait_ms);
	free(datagram);
	return PROBE_OK;
}

/* -- flood -- */

enum flood_kind { FLOOD_LENGTHS, FLOOD_TYPES, FLOOD_RANDOM };

/* Types of the protocol and some around them; lengths of its messages and some around those. */
static const uint8_t flood_types[] = {0, 1, 2, 3, 4, 5, 255};
static const uint16_t flood_lengths[] = {
	0, 1, 4, 15, 16, 17, 31, 32, 38, 63, 64, 65, 103, 104, 105, 159, 160, 161, 1400, 2048};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Datagram i of a kind. Returns its length; the first byte is the type, whatever else random. */
static size_t make_datagram(enum flood_kind kind, uint64_t seed, uint64_t i, uint8_t *datagram)
{
	uint64_t choice;
	size_t len;

	pattern_fill(seed, i << 12, datagram, FLOOD_LEN);
	memcpy(&choice, datagram, sizeof(choice));
	switch (kind) {
	case FLOOD_LENGTHS:
		len = i / COUNT(flood_types) % (FLOOD_LEN + 1);
		datagram[0] = flood_types[i % COUNT(flood_types)];
		break;
	case FLOOD_TYPES:
		len = flood_lengths[i / 256 % COUNT(flood_lengths)];
		datagram[0] = (uint8_t)i;
		break;
	default:
		len = choice >> 16 & 1 ? flood_lengths[(choice >> 24) % COUNT(flood_lengths)]
				       : (choice >> 24) % (FLOOD_LEN + 1);
		if (choice >> 17 & 1)
			datagram[0] = flood_types[(choice >> 48) % COUNT(flood_types)];
		break;
	}
	/* Half of those with a type have the version and the reserved bytes right, too. */
	if (choice >> 18 & 1) {
		datagram[1] = 1;
		datagram[2] = datagram[3] = 0;
	}
	return len;
}

COMMAND(cmd_fuzz_flood)
{
	const char *args[4], *kind_text = NULL;
	uint64_t count = 0, seed = 1, wait_ms = 500, pps = 20000, start;
	const struct probe_option options[] = {
		{"kind", OPTION_TEXT, &kind_text, "KIND",
			"lengths (0-2048 for types 0-5 and 255), types (all) or random"},
		{"count", OPTION_NUMBER, &count, "N",
			"datagrams (all of the kind once; 10000 random ones)"},
		{"seed", OPTION_NUMBER, &seed, "X", "(1)"},
		{"pps", OPTION_NUMBER, &pps, "N", "datagrams a second (20000)"},
		{"wait-reply", OPTION_NUMBER, &wait_ms, "MS", "after the last one (500)"},
		{0},
	};
	static uint8_t datagram[FLOOD_LEN + 8];
	enum flood_kind kind;
	struct exchange x;

	probe_arguments(command, options, argc, argv, args);
	if (kind_text && strcmp(kind_text, "lengths") == 0)
		kind = FLOOD_LENGTHS;
	else if (kind_text && strcmp(kind_text, "types") == 0)
		kind = FLOOD_TYPES;
	else if (kind_text && strcmp(kind_text, "random") == 0)
		kind = FLOOD_RANDOM;
	else
		die(PROBE_USAGE, "--kind is lengths, types or random");
	if (!count)
		count = kind == FLOOD_LENGTHS ? COUNT(flood_types) * (FLOOD_LEN + 1)
			: kind == FLOOD_TYPES ? 256 * COUNT(flood_lengths)
					      : 10000;
	if (!pps)
		die(PROBE_USAGE, "--pps is at least 1");
	exchange_open(&x, args[0], args[1], 0);
	start = now_ns();
	for (uint64_t i = 0; i < count; i++) {
		uint64_t due = start + (uint64_t)((double)i * 1e9 / (double)pps);

		if (now_ns() < due && wait_readable(x.stop_fd, -1, due))
			break;
		send_datagram(&x, datagram, make_datagram(kind, seed, i, datagram));
		take_replies(&x);
	}
	exchange_end(&x, wait_ms);
	return PROBE_OK;
}
