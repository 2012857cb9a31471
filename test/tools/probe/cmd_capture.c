/* SPDX-License-Identifier: Apache-2.0 */
/* Watching an interface: counting, looking for byte strings, verifying checksums. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

/* -- capture -- */

struct needle {
	const char *text; /* as given */
	uint8_t *bytes;
	size_t len;
	uint64_t count; /* occurrences, also several in one packet */
};

struct capture {
	struct needle needles[PROBE_LIST_MAX];
	unsigned int needle_count;
	uint64_t udp_port; /* 0: all packets */
	uint64_t packets, bytes, incoming, outgoing, largest;
	uint64_t arp, tcp, udp, icmp, other_ip, other;
};

static void count_protocol(struct capture *c, const struct packet *p)
{
	if (p->ethertype == ETHERTYPE_ARP)
		c->arp++;
	else if (!p->ip4 && !p->ip6)
		c->other++;
	else if (p->proto == IPPROTO_TCP)
		c->tcp++;
	else if (p->proto == IPPROTO_UDP)
		c->udp++;
	else if (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6)
		c->icmp++;
	else
		c->other_ip++;
}

static void capture_packet(struct capture *c, const uint8_t *frame, const struct received *r)
{
	struct packet p = {0};
	bool parsed = packet_parse(frame, r->len, &p);

	if (c->udp_port && (!parsed || p.proto != IPPROTO_UDP ||
				   (p.src_port != c->udp_port && p.dst_port != c->udp_port)))
		return;
	c->packets++;
	c->bytes += r->len;
	*(r->outgoing ? &c->outgoing : &c->incoming) += 1;
	if (r->len > c->largest)
		c->largest = r->len;
	count_protocol(c, &p);
	for (unsigned int i = 0; i < c->needle_count; i++) {
		struct needle *n = &c->needles[i];
		const uint8_t *at = frame;

		while ((at = memmem(at, (size_t)(frame + r->len - at), n->bytes, n->len))) {
			n->count++;
			at++;
		}
	}
}

static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_capture(const struct capture *c, uint64_t dropped, bool protocols)
{
	printf("{\"packets\": %lu, \"bytes\": %lu, \"incoming\": %lu, \"outgoing\": %lu, "
	       "\"largest\": %lu, \"dropped\": %lu",
		c->packets, c->bytes, c->incoming, c->outgoing, c->largest, dropped);
	if (protocols)
		printf(", \"protocols\": {\"arp\": %lu, \"tcp\": %lu, \"udp\": %lu, "
		       "\"icmp\": %lu, \"other_ip\": %lu, \"other\": %lu}",
			c->arp, c->tcp, c->udp, c->icmp, c->other_ip, c->other);
	printf(", \"find\": [");
	for (unsigned int i = 0; i < c->needle_count; i++) {
		printf("%s{\"text\": ", i ? ", " : "");
		print_json_string(c->needles[i].text);
		printf(", \"count\": %lu}", c->needles[i].count);
	}
	printf("]}\n");
}

static void add_needle(struct capture *c, const char *text)
{
	struct needle *n = &c->needles[c->needle_count++];

	n->text = text;
	if (strncmp(text, "0x", 2) == 0) {
		n->bytes = parse_hex(text + 2, &n->len);
	} else {
		n->bytes = (uint8_t *)strdup(text);
		n->len = strlen(text);
	}
	if (!n->len)
		die(PROBE_USAGE, "--find: nothing to find");
}

/* Waits in steps for a packet, a signal, the end of the time or a file. False for all but the
 * first. */
static bool wait_packet(int fd, int stop_fd, uint64_t until, const char *until_file)
{
	for (;;) {
		uint64_t step = now_ns() + 20000000;

		if (!until_file)
			return wait_readable(fd, stop_fd, until);
		if (access(until_file, F_OK) == 0)
			return false;
		if (wait_readable(fd, stop_fd, step < until ? step : until))
			return true;
		if (now_ns() >= until || wait_readable(stop_fd, -1, 0))
			return false;
	}
}

COMMAND(cmd_capture)
{
	double seconds = 0;
	const char *args[4], *until_file = NULL;
	struct probe_list find = {0};
	struct capture capture = {0};
	bool protocols = false;
	const struct probe_option options[] = {
		{"seconds", OPTION_SECONDS, &seconds, "S",
			"to capture (until SIGTERM or the file)"},
		{"until-file", OPTION_TEXT, &until_file, "PATH", "ends when this exists"},
		{"find", OPTION_LIST, &find, "TEXT|0xHEX", "bytes to count in packets"},
		{"udp-port", OPTION_NUMBER, &capture.udp_port, "P",
			"only UDP from or to this port"},
		{"proto-count", OPTION_FLAG, &protocols, NULL, "also packets by protocol"},
		{0},
	};
	static uint8_t frame[FRAME_MAX];
	uint64_t until, dropped;
	struct received r;
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	for (unsigned int i = 0; i < find.count; i++)
		add_needle(&capture, find.items[i]);
	stop_fd = stop_signals();
	fd = packet_open(args[0]);
	until = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
	say_ready();
	while (wait_packet(fd, stop_fd, until, until_file)) {
		/* Not more than a buffer's worth, so that it ends also under load. */
		for (int i = 0; i < 1000 && packet_receive(fd, frame, &r); i++)
			capture_packet(&capture, frame, &r);
		if (now_ns() >= until)
			break;
	}
	/* What was there when the end came. */
	for (int i = 0; i < 1000000 && packet_receive(fd, frame, &r); i++)
		capture_packet(&capture, frame, &r);
	dropped = packet_dropped(fd);
	print_capture(&capture, dropped, protocols);
	for (unsigned int i = 0; i < capture.needle_count; i++)
		free(capture.needles[i].bytes);
	close(fd);
	close(stop_fd);
	return PROBE_OK;
}

/* -- csum-check -- */

#define BAD_SHOWN 5

COMMAND(cmd_csum_check)
{
	double seconds = 0;
	uint64_t count = UINT64_MAX, until;
	bool incoming_only = false;
	const struct probe_option options[] = {
		{"seconds", OPTION_SECONDS, &seconds, "S",
			"to look (until SIGTERM, or 60 with --count)"},
		{"count", OPTION_NUMBER, &count, "N", "TCP and UDP packets to look at"},
		{"incoming", OPTION_FLAG, &incoming_only, NULL, "not those that this host sends"},
		{0},
	};
	static uint8_t frame[FRAME_MAX];
	struct csum_counts counts = {0};
	const char *args[4];
	struct received r;
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	stop_fd = stop_signals();
	fd = packet_open(args[0]);
	if (seconds == 0 && count != UINT64_MAX)
		seconds = 60;
	until = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
	say_ready();
	while (counts.tcp + counts.udp < count && wait_readable(fd, stop_fd, until)) {
		while (counts.tcp + counts.udp < count && packet_receive(fd, frame, &r)) {
			if (r.outgoing && incoming_only)
				continue;
			if (!csum_verify(frame, r.len, r.partial, &counts) &&
				counts.bad <= BAD_SHOWN)
				print_frame("bad checksum", frame, r.len);
			if (now_ns() >= until)
				break;
		}
	}
	printf("{");
	csum_print(&counts);
	printf(", \"dropped\": %lu}\n", packet_dropped(fd));
	close(fd);
	close(stop_fd);
	if (count != UINT64_MAX && counts.tcp + counts.udp < count)
		return PROBE_FAILED;
	return counts.bad ? PROBE_FAILED : PROBE_OK;
}

/* -- tap-create -- */

static int create_tap(const char *ifname, bool vnet)
{
	struct ifreq request = {
		.ifr_flags =
			(short)(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (vnet ? IFF_VNET_HDR : 0)),
	};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), control;

	if (fd < 0)
		die(PROBE_SYSTEM, "/dev/net/tun: %m");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		die(PROBE_SYSTEM, "TAP %s: %m", ifname);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0 || ioctl(control, SIOCGIFFLAGS, &request) < 0)
		die(PROBE_SYSTEM, "TAP %s: %m", ifname);
	request.ifr_flags |= IFF_UP;
	if (ioctl(control, SIOCSIFFLAGS, &request) < 0)
		die(PROBE_SYSTEM, "TAP %s up: %m", ifname);
	close(control);
	return fd;
}

/* One frame off the TAP. False when there is none. */
static bool check_tap_frame(
	int fd, bool vnet, bool check, struct csum_counts *counts, uint64_t *offloaded)
{
	static uint8_t buffer[FRAME_MAX];
	size_t skip = vnet ? sizeof(struct virtio_net_hdr) : 0;
	ssize_t n = read(fd, buffer, sizeof(buffer));
	struct virtio_net_hdr header = {0};

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < (ssize_t)skip)
		die(PROBE_SYSTEM, "reading from the TAP: %m");
	memcpy(&header, buffer, skip);
	if (header.flags || header.gso_type)
		*offloaded += 1;
	if (!check)
		counts->packets++;
	else if (!csum_verify(buffer + skip, (size_t)n - skip, false, counts) &&
		 counts->bad <= BAD_SHOWN)
		print_frame("bad checksum", buffer + skip, (size_t)n - skip);
	return true;
}

COMMAND(cmd_tap_create)
{
	bool vnet = false, check = false;
	double seconds = 0;
	const struct probe_option options[] = {
		{"vnet", OPTION_FLAG, &vnet, NULL, "with vnet headers"},
		{"echo-check", OPTION_FLAG, &check, NULL, "verify the checksums of what is read"},
		{"seconds", OPTION_SECONDS, &seconds, "S", "to hold it (until SIGTERM)"},
		{0},
	};
	struct csum_counts counts = {0};
	uint64_t offloaded = 0, until;
	const char *args[4];
	int fd, stop_fd;

	probe_arguments(command, options, argc, argv, args);
	stop_fd = stop_signals();
	fd = create_tap(args[0], vnet);
	until = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
	say_ready();
	while (wait_readable(fd, stop_fd, until)) {
		while (check_tap_frame(fd, vnet, check, &counts, &offloaded) && now_ns() < until)
			;
	}
	printf("{\"frames\": %lu, \"offloaded\": %lu, ", counts.packets, offloaded);
	csum_print(&counts);
	printf("}\n");
	close(fd);
	close(stop_fd);
	return counts.bad || offloaded ? PROBE_FAILED : PROBE_OK;
}
