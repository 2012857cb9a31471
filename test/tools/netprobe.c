/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netprobe: sends, receives and checks what the network tests are about. `netprobe --help` lists
 * its subcommands; each is in probe/, and explains itself with --help.
 */
#include <stdio.h>
#include <string.h>
#include "test/tools/probe/probe.h"

static const struct probe_command commands[] = {
	{"frame-send", "IFNAME", 1, 1, "sends raw Ethernet frames with a payload known from a seed",
		cmd_frame_send},
	{"frame-recv", "IFNAME", 1, 1, "receives such frames, one line each; 0 when all came",
		cmd_frame_recv},
	{"stream-send", "IP PORT", 2, 2, "sends numbered UDP datagrams at a steady pace",
		cmd_stream_send},
	{"stream-recv", "[IP] PORT", 1, 2,
		"counts them: lost, duplicated, reordered; 0 when all came", cmd_stream_recv},
	{"tcp-sink", "[IP] PORT", 1, 2, "receives TCP streams, with speed and digest",
		cmd_tcp_sink},
	{"tcp-source", "IP PORT", 2, 2, "sends one, with speed and digest", cmd_tcp_source},
	{"capture", "IFNAME", 1, 1, "counts packets on an interface, and byte strings in them",
		cmd_capture},
	{"csum-check", "IFNAME", 1, 1, "verifies the checksums of all packets on an interface",
		cmd_csum_check},
	{"tap-create", "IFNAME", 1, 1, "creates a TAP without offloads and holds it until SIGTERM",
		cmd_tap_create},
	{"rate-send", "IP PORT", 2, 2, "sends datagrams of one size as fast as it can",
		cmd_rate_send},
	{"rate-recv", "[IP] PORT", 1, 2, "counts them", cmd_rate_recv},
	{"rtt", "IP PORT", 2, 2, "measures round-trip times of datagrams", cmd_rtt},
	{"rtt-echo", "[IP] PORT", 1, 2, "answers them, until SIGTERM", cmd_rtt_echo},
	{"udp-send", "IP PORT", 2, 2, "sends a datagram and counts what comes back", cmd_udp_send},
	{"fuzz-flood", "IP PORT", 2, 2, "sends malformed datagrams and counts what comes back",
		cmd_fuzz_flood},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fprintf(to, "usage: netprobe COMMAND [ARGUMENTS] [--help]\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-12s %-10s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fprintf(to,
		"\nResults are on stdout, messages on stderr. Exit codes: 0 as expected, 1 not as\n"
		"expected, 2 usage, 3 a system call failed.\n");
}

int main(int argc, char **argv)
{
	if (argc >= 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		usage(stdout);
		return PROBE_OK;
	}
	for (size_t i = 0; argc >= 2 && i < COMMAND_COUNT; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(&commands[i], argc - 1, argv + 1);
	}
	usage(stderr);
	return PROBE_USAGE;
}
