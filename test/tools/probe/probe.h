/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of netprobe share. netprobe is a program for tests: it ends by itself with a
 * message and an exit code from wherever something is wrong.
 */
#ifndef TEST_PROBE_H
#define TEST_PROBE_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Exit codes. */
enum {
	PROBE_OK = 0,
	PROBE_FAILED = 1, /* it ran, and what was expected did not happen */
	PROBE_USAGE = 2,
	PROBE_SYSTEM = 3, /* a system call failed */
};

/* -- arguments -- */

enum probe_option_type {
	OPTION_FLAG,    /* bool */
	OPTION_NUMBER,  /* uint64_t, decimal or 0x hexadecimal */
	OPTION_SECONDS, /* double */
	OPTION_TEXT,    /* const char * */
	OPTION_LIST,    /* struct probe_list: may be given several times */
};

#define PROBE_LIST_MAX 16

struct probe_list {
	const char *items[PROBE_LIST_MAX];
	unsigned int count;
};

struct probe_option {
	const char *name;
	enum probe_option_type type;
	void *value; /* keeps its default when the option is not given */
	const char *arg;
	const char *help;
};

struct probe_command {
	const char *name;
	const char *args;
	int min_args, max_args;
	const char *help;
	int (*run)(const struct probe_command *command, int argc, char **argv);
};

/* Reads options (a table that ends with a NULL name) and hands out the other arguments, of which
 * there are min_args to max_args; the rest of ret_args, which has room for 4, is NULL. --help and
 * mistakes end the program. */
void probe_arguments(const struct probe_command *command, const struct probe_option *options,
	int argc, char **argv, const char *ret_args[4]);

uint64_t parse_number(const char *text, uint64_t max, const char *what);
uint16_t parse_port(const char *text);
void parse_mac(const char *text, uint8_t ret_mac[6]);
/* Two hexadecimal digits a byte. Returns a buffer for free(). */
uint8_t *parse_hex(const char *text, size_t *ret_len);
/* An IPv4 or IPv6 address (with %ifname where it is link-local) and port. */
socklen_t parse_address(const char *ip, const char *port, struct sockaddr_storage *ret_addr);

/* -- time, ends, messages -- */

__attribute__((noreturn, format(printf, 2, 3))) void die(int code, const char *format, ...);
uint64_t now_ns(void);
void sleep_until_ns(uint64_t when);
/* A descriptor that becomes readable on SIGTERM and SIGINT, which are blocked from then on. */
int stop_signals(void);
/* Waits for fd to be readable until a time; false when the time is over or stop_fd (or -1) is
 * readable. */
bool wait_readable(int fd, int stop_fd, uint64_t until_ns);
/* "ready" on stderr: whoever started this may go on. */
void say_ready(void);

/* -- payload that can be recomputed, and a digest of it: fast, not secret -- */

/* Bytes offset..offset+len of the stream of a seed; offset is a multiple of 8. */
void pattern_fill(uint64_t seed, uint64_t offset, void *dst, size_t len);

struct digest {
	uint64_t lanes[4];
	uint64_t len;
	uint8_t rest[32];
};

/* The same digest however the bytes were divided between calls. */
void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t len);
uint64_t digest_end(const struct digest *d);

/* -- frames -- */

#define FRAME_MAX (256 * 1024)

struct packet {
	uint16_t ethertype; /* behind the VLAN tags */
	uint16_t vlans[3];
	unsigned int vlan_count;
	const uint8_t *l3;
	size_t l3_len; /* to the end of the frame */
	bool ip4, ip6;
	bool fragment, truncated;
	uint8_t proto;     /* when ip4 or ip6 */
	const uint8_t *l4; /* NULL when not there as a whole */
	size_t l4_len;
	uint16_t src_port, dst_port; /* of whole TCP and UDP packets */
};

/* False when not even an Ethernet header is there. */
bool packet_parse(const uint8_t *frame, size_t len, struct packet *ret_packet);

struct csum_counts {
	uint64_t packets, ip4, ip6, tcp, udp, other;
	uint64_t partial;   /* left to be completed; counted as bad where the pseudo sum is wrong */
	uint64_t unchecked; /* fragments, truncated, UDP over IPv4 without a checksum */
	uint64_t bad_ip, bad;
};

/* Verifies all checksums of a frame. Returns false for a bad one. */
bool csum_verify(const uint8_t *frame, size_t len, bool partial, struct csum_counts *counts);
/* The members of the JSON object, without braces. */
void csum_print(const struct csum_counts *counts);
/* Says on stderr which frame was bad. */
void print_frame(const char *what, const uint8_t *frame, size_t len);

struct received {
	size_t len;
	bool outgoing;
	bool partial;      /* checksum not completed yet */
	int stripped_vlan; /* VLAN id that the kernel took out of the frame, or -1 */
};

/* A promiscuous AF_PACKET socket on an interface, all protocols. */
int packet_open(const char *ifname);
unsigned int interface_index(const char *ifname);
/* Puts the tag that the kernel stripped back into the frame. False when there was none to read. */
bool packet_receive(int fd, uint8_t *frame, struct received *ret_received);
/* Packets that did not fit into the socket's buffer. */
uint64_t packet_dropped(int fd);

#define COMMAND(name) int name(const struct probe_command *command, int argc, char **argv)
COMMAND(cmd_frame_send);
COMMAND(cmd_frame_recv);
COMMAND(cmd_stream_send);
COMMAND(cmd_stream_recv);
COMMAND(cmd_tcp_sink);
COMMAND(cmd_tcp_source);
COMMAND(cmd_capture);
COMMAND(cmd_csum_check);
COMMAND(cmd_tap_create);
COMMAND(cmd_rate_send);
COMMAND(cmd_rate_recv);
COMMAND(cmd_rtt);
COMMAND(cmd_rtt_echo);
COMMAND(cmd_udp_send);
COMMAND(cmd_fuzz_flood);

#endif
