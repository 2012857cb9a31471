/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

void die(int code, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "netprobe: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(code);
}

/* -- arguments -- */

#define OPTIONS_MAX 24

static void print_help(const struct probe_command *command, const struct probe_option *options)
{
	printf("usage: netprobe %s %s [OPTIONS]\n%s\n\n", command->name, command->args,
		command->help);
	for (const struct probe_option *o = options; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s %s", o->name, o->arg ? o->arg : "");
		printf("  %-24s %s%s\n", left, o->help,
			o->type == OPTION_LIST ? " (may be repeated)" : "");
	}
}

static void set_option(const struct probe_option *o, const char *text)
{
	struct probe_list *list;
	char *end;

	switch (o->type) {
	case OPTION_FLAG:
		*(bool *)o->value = true;
		return;
	case OPTION_NUMBER:
		*(uint64_t *)o->value = parse_number(text, UINT64_MAX, o->name);
		return;
	case OPTION_SECONDS:
		errno = 0;
		*(double *)o->value = strtod(text, &end);
		if (errno || end == text || *end || !(*(double *)o->value >= 0) ||
			*(double *)o->value > 1e6)
			die(PROBE_USAGE, "--%s: not a number of seconds: %s", o->name, text);
		return;
	case OPTION_TEXT:
		*(const char **)o->value = text;
		return;
	case OPTION_LIST:
		list = o->value;
		if (list->count == PROBE_LIST_MAX)
			die(PROBE_USAGE, "--%s: given too often", o->name);
		list->items[list->count++] = text;
		return;
	}
}

void probe_arguments(const struct probe_command *command, const struct probe_option *options,
	int argc, char **argv, const char *ret_args[4])
{
	struct option table[OPTIONS_MAX + 2] = {{0}};
	int count = 0, c, index;

	for (; count < OPTIONS_MAX && options[count].name; count++) {
		table[count].name = options[count].name;
		table[count].has_arg =
			options[count].type == OPTION_FLAG ? no_argument : required_argument;
		table[count].val = 1;
	}
	table[count] = (struct option){.name = "help", .val = 'h'};
	while ((c = getopt_long(argc, argv, "h", table, &index)) != -1) {
		if (c == 'h') {
			print_help(command, options);
			exit(PROBE_OK);
		}
		if (c != 1)
			die(PROBE_USAGE, "see netprobe %s --help", command->name);
		set_option(&options[index], optarg);
	}
	if (argc - optind < command->min_args || argc - optind > command->max_args)
		die(PROBE_USAGE, "usage: netprobe %s %s", command->name, command->args);
	for (int i = 0; i < 4; i++)
		ret_args[i] = optind + i < argc ? argv[optind + i] : NULL;
}

uint64_t parse_number(const char *text, uint64_t max, const char *what)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, hex ? 16 : 10);
	if (errno || !isdigit((unsigned char)text[0]) || *end || v > max)
		die(PROBE_USAGE, "%s: not a number up to %llu: %s", what, (unsigned long long)max,
			text);
	return v;
}

uint16_t parse_port(const char *text)
{
	return (uint16_t)parse_number(text, 65535, "port");
}

uint8_t *parse_hex(const char *text, size_t *ret_len)
{
	size_t digits = strlen(text);
	uint8_t *bytes = malloc(digits / 2 + 1);

	if (!bytes)
		die(PROBE_SYSTEM, "out of memory");
	if (digits % 2)
		die(PROBE_USAGE, "an odd number of hexadecimal digits: %s", text);
	for (size_t i = 0; i < digits; i += 2) {
		char pair[3] = {text[i], text[i + 1], 0};

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
			die(PROBE_USAGE, "not hexadecimal: %s", text);
		bytes[i / 2] = (uint8_t)strtoul(pair, NULL, 16);
	}
	*ret_len = digits / 2;
	return bytes;
}

void parse_mac(const char *text, uint8_t ret_mac[6])
{
	unsigned int b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &end) != 6 ||
		text[end])
		die(PROBE_USAGE, "not a MAC address: %s", text);
	for (int i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)b[i];
}

socklen_t parse_address(const char *ip, const char *port, struct sockaddr_storage *ret_addr)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_addr;
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
	char *scope;

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(parse_port(port));
		return sizeof(*v4);
	}
	snprintf(host, sizeof(host), "%s", ip);
	scope = strchr(host, '%');
	if (scope) {
		*scope++ = '\0';
		v6->sin6_scope_id = interface_index(scope);
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		die(PROBE_USAGE, "not an IP address: %s", ip);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(parse_port(port));
	return sizeof(*v6);
}

/* -- time and ends -- */

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sleep_until_ns(uint64_t when)
{
	struct timespec t = {
		.tv_sec = (time_t)(when / 1000000000u),
		.tv_nsec = (long)(when % 1000000000u),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

int stop_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die(PROBE_SYSTEM, "signalfd: %m");
	return fd;
}

bool wait_readable(int fd, int stop_fd, uint64_t until_ns)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

	for (;;) {
		uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
		struct timespec t = {
			.tv_sec = (time_t)(left / 1000000000u),
			.tv_nsec = (long)(left % 1000000000u),
		};
		int n = ppoll(p, 2, &t, NULL);

		if (n < 0 && errno != EINTR)
			die(PROBE_SYSTEM, "poll: %m");
		if (n > 0 && p[1].revents)
			return false;
		if (n > 0)
			return true;
		if (n == 0 && left == 0)
			return false;
	}
}

void say_ready(void)
{
	fprintf(stderr, "ready\n");
	fflush(stderr);
}

/* -- pattern and digest -- */

#define MIX_STEP 0x9e3779b97f4a7c15ull
#define MIX_MUL  0xd6e8feb86659fd93ull

/* A word of the stream depends on seed and position only, so that loops over it have no chain. */
static inline uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t v = seed + (index + 1) * MIX_STEP;

	v ^= v >> 32;
	v *= MIX_MUL;
	return v ^ v >> 32;
}

void pattern_fill(uint64_t seed, uint64_t offset, void *dst, size_t len)
{
	uint64_t index = offset / 8, word;
	uint8_t *p = dst;

	seed *= MIX_MUL; /* small seeds far apart */
	for (; len >= 8; p += 8, len -= 8) {
		word = pattern_word(seed, index++);
		memcpy(p, &word, 8);
	}
	word = pattern_word(seed, index);
	memcpy(p, &word, len);
}

void digest_init(struct digest *d)
{
	memset(d, 0, sizeof(*d));
	for (uint64_t i = 0; i < 4; i++)
		d->lanes[i] = (i + 1) * MIX_STEP;
}

static inline void digest_block(uint64_t lanes[4], const uint8_t *p)
{
	for (int i = 0; i < 4; i++) {
		uint64_t word;

		memcpy(&word, p + 8 * i, 8);
		lanes[i] = ((lanes[i] ^ word) << 29 | (lanes[i] ^ word) >> 35) * MIX_MUL;
	}
}

void digest_add(struct digest *d, const void *data, size_t len)
{
	size_t held = d->len % sizeof(d->rest);
	const uint8_t *p = data;

	d->len += len;
	if (held) {
		size_t n = sizeof(d->rest) - held < len ? sizeof(d->rest) - held : len;

		memcpy(d->rest + held, p, n);
		if (held + n < sizeof(d->rest))
			return;
		digest_block(d->lanes, d->rest);
		p += n;
		len -= n;
	}
	for (; len >= sizeof(d->rest); p += sizeof(d->rest), len -= sizeof(d->rest))
		digest_block(d->lanes, p);
	memcpy(d->rest, p, len);
}

uint64_t digest_end(const struct digest *d)
{
	uint64_t lanes[4], v = d->len;
	uint8_t last[32] = {0};

	memcpy(lanes, d->lanes, sizeof(lanes));
	memcpy(last, d->rest, d->len % sizeof(d->rest));
	digest_block(lanes, last);
	for (int i = 0; i < 4; i++) {
		v = (v ^ lanes[i]) * MIX_MUL;
		v ^= v >> 31;
	}
	return v;
}
