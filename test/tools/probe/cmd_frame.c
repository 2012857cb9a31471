/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw frames. Behind the Ethernet header (and tags) stands "VANF", the number of the frame and then
 * the pattern of its seed from the place that belongs to that number, so that each frame can be
 * checked by itself, whatever became of the others.
 */
#include <endian.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define MAGIC      "VANF"
#define HEADER_LEN 8
#define LEN_MAX    65535

static void fill_payload(uint8_t *payload, size_t len, uint64_t seed, uint32_t number)
{
	uint32_t be = htobe32(number);

	memcpy(payload, MAGIC, 4);
	memcpy(payload + 4, &be, 4);
	pattern_fill(seed, (uint64_t)number << 20, payload + HEADER_LEN, len - HEADER_LEN);
}

static bool payload_is_good(const uint8_t *payload, size_t len, uint64_t seed)
{
	uint8_t *expected;
	uint32_t be;
	bool good;

	if (len < HEADER_LEN || memcmp(payload, MAGIC, 4) != 0)
		return false;
	expected = malloc(len);
	if (!expected)
		die(PROBE_SYSTEM, "out of memory");
	memcpy(&be, payload + 4, 4);
	fill_payload(expected, len, seed, be32toh(be));
	good = memcmp(payload, expected, len) == 0;
	free(expected);
	return good;
}

static void interface_mac(int fd, const char *ifname, uint8_t ret_mac[6])
{
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		die(PROBE_SYSTEM, "address of %s: %m", ifname);
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, 6);
}

/* Returns the length of the headers. The outer one of two tags is a service tag. */
static size_t make_headers(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6],
	const struct probe_list *vlans, uint16_t ethertype)
{
	size_t len = 12;

	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	for (unsigned int i = 0; i < vlans->count; i++) {
		uint16_t tag[2] = {
			htobe16(i + 1 < vlans->count ? ETH_P_8021AD : ETH_P_8021Q),
			htobe16((uint16_t)parse_number(vlans->items[i], 0xffff, "vlan")),
		};

		memcpy(frame + len, tag, 4);
		len += 4;
	}
	ethertype = htobe16(ethertype);
	memcpy(frame + len, &ethertype, 2);
	return len + 2;
}

COMMAND(cmd_frame_send)
{
	const char *args[4], *dst_text = "ff:ff:ff:ff:ff:ff", *src_text = NULL;
	uint64_t ethertype = 0x88b5, len = 128, count = 1, seed = 1, interval_ms = 0;
	struct probe_list vlans = {0};
	const struct probe_option options[] = {
		{"dst", OPTION_TEXT, &dst_text, "MAC", "destination (broadcast)"},
		{"src", OPTION_TEXT, &src_text, "MAC", "source (the interface's)"},
		{"ethertype", OPTION_NUMBER, &ethertype, "N", "(0x88b5)"},
		{"vlan", OPTION_LIST, &vlans, "TCI", "tag: VLAN id, or all 16 bits; outer first"},
		{"len", OPTION_NUMBER, &len, "N", "bytes of frame without the tags (128)"},
		{"count", OPTION_NUMBER, &count, "N", "frames (1)"},
		{"pattern", OPTION_NUMBER, &seed, "SEED", "of the payload (1)"},
		{"interval", OPTION_NUMBER, &interval_ms, "MS", "between frames (0)"},
		{0},
	};
	static uint8_t frame[LEN_MAX + 4 * PROBE_LIST_MAX];
	uint8_t dst[6], src[6];
	struct sockaddr_ll addr = {.sll_family = AF_PACKET};
	struct digest digest;
	size_t header_len;
	uint64_t start;
	int fd;

	probe_arguments(command, options, argc, argv, args);
	if (len < 14 + HEADER_LEN || len > LEN_MAX || ethertype > 0xffff || count > UINT32_MAX)
		die(PROBE_USAGE, "--len is from %d to %d, --ethertype 16 bits", 14 + HEADER_LEN,
			LEN_MAX);
	addr.sll_ifindex = (int)interface_index(args[0]);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die(PROBE_SYSTEM, "packet socket: %m");
	parse_mac(dst_text, dst);
	if (src_text)
		parse_mac(src_text, src);
	else
		interface_mac(fd, args[0], src);
	header_len = make_headers(frame, dst, src, &vlans, (uint16_t)ethertype);
	digest_init(&digest);
	start = now_ns();
	for (uint32_t i = 0; i < count; i++) {
		size_t payload_len = len - 14;

		if (interval_ms)
			sleep_until_ns(start + i * interval_ms * 1000000);
		fill_payload(frame + header_len, payload_len, seed, i);
		digest_add(&digest, frame + header_len, payload_len);
		while (sendto(fd, frame, header_len + payload_len, 0, (struct sockaddr *)&addr,
			       sizeof(addr)) < 0) {
			if (errno != ENOBUFS && errno != EINTR)
				die(PROBE_SYSTEM, "sending on %s: %m", args[0]);
			sleep_until_ns(now_ns() + 1000000);
		}
	}
	printf("digest %016lx\n", digest_end(&digest));
	close(fd);
	return PROBE_OK;
}

struct wanted {
	uint64_t ethertype, vlan, seed;
	bool check;
};

#define ANY UINT64_MAX

/* Prints the line of a frame that is one of those looked for. Returns 1 for a good one, -1 for a
 * bad one, 0 for another. */
static int show_frame(
	const uint8_t *frame, size_t len, const struct wanted *wanted, struct digest *digest)
{
	struct packet p;
	bool good;

	if (!packet_parse(frame, len, &p) || p.ethertype != wanted->ethertype)
		return 0;
	if (wanted->vlan != ANY && (!p.vlan_count || p.vlans[0] != wanted->vlan))
		return 0;
	good = !wanted->check || payload_is_good(p.l3, p.l3_len, wanted->seed);
	digest_add(digest, p.l3, p.l3_len);
	printf("%02x:%02x:%02x:%02x:%02x:%02x ", frame[6], frame[7], frame[8], frame[9], frame[10],
		frame[11]);
	printf("%02x:%02x:%02x:%02x:%02x:%02x 0x%04x ", frame[0], frame[1], frame[2], frame[3],
		frame[4], frame[5], p.ethertype);
	for (unsigned int i = 0; i < p.vlan_count; i++)
		printf("%s%u", i ? "." : "", p.vlans[i]);
	printf("%s %zu %s\n", p.vlan_count ? "" : "-", p.l3_len + 14, good ? "ok" : "BAD");
	fflush(stdout);
	return good ? 1 : -1;
}

COMMAND(cmd_frame_recv)
{
	uint64_t count = 1, seed = ANY;
	struct wanted wanted = {.ethertype = 0x88b5, .vlan = ANY};
	double timeout = 10;
	bool outgoing = false, bad = false;
	const struct probe_option options[] = {
		{"ethertype", OPTION_NUMBER, &wanted.ethertype, "N", "of the frames (0x88b5)"},
		{"vlan", OPTION_NUMBER, &wanted.vlan, "VID",
			"only with this (outer) tag (any, none)"},
		{"count", OPTION_NUMBER, &count, "N", "good frames to wait for (1)"},
		{"timeout", OPTION_SECONDS, &timeout, "S", "(10)"},
		{"check-pattern", OPTION_NUMBER, &seed, "SEED", "a payload that differs is BAD"},
		{"outgoing", OPTION_FLAG, &outgoing, NULL, "also frames that this host sends"},
		{0},
	};
	static uint8_t frame[FRAME_MAX];
	const char *args[4];
	struct digest digest;
	struct received r;
	uint64_t until, good = 0;
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	wanted.check = seed != ANY;
	wanted.seed = seed;
	stop_fd = stop_signals();
	fd = packet_open(args[0]);
	digest_init(&digest);
	until = now_ns() + (uint64_t)(timeout * 1e9);
	say_ready();
	while (good < count && wait_readable(fd, stop_fd, until)) {
		while (good < count && packet_receive(fd, frame, &r)) {
			int shown = 0;

			if (outgoing || !r.outgoing)
				shown = show_frame(frame, r.len, &wanted, &digest);
			good += shown > 0;
			bad |= shown < 0;
		}
	}
	printf("digest %016lx\n", digest_end(&digest));
	if (good < count)
		fprintf(stderr, "netprobe: %lu of %lu frames came\n", good, count);
	close(fd);
	close(stop_fd);
	return good >= count && !bad ? PROBE_OK : PROBE_FAILED;
}
