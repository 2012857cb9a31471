/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/load/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static void usage(FILE *out)
{
	fputs("Usage: agentload --console URL --pin PIN --key-file FILE [options]\n"
	      "\n"
	      "  -n, --agents N        how many agents (100)\n"
	      "      --parallel N      enrolments at a time (32)\n"
	      "      --network NAME    network to join; made when it is not there (load)\n"
	      "      --networks N      that many, NAME, NAME-1, …; agents are spread over them (1)\n"
	      "      --changes N       rounds of a change (5)\n"
	      "      --removals N      rounds of a removal (2)\n"
	      "      --report S        seconds between reports (10)\n"
	      "      --idle S          seconds of rest in which the console's CPU is measured (10)\n"
	      "      --verify N        agents that apply patches and check hashes (10)\n"
	      "      --old             agents of version 0.1: whole maps, no statistics\n"
	      "      --fresh           a new connection for every request\n"
	      "      --resume          new connections resume TLS sessions\n"
	      "      --sources N       loopback addresses to come from (16)\n"
	      "      --seed TEXT       of the agents' keys: nodes of an earlier run come back\n"
	      "      --pid PID         the console's process, for its CPU and memory\n"
	      "      --limit S         give up after so long (90)\n"
	      "      --json            the result as JSON\n",
		out);
}

static size_t number(const char *text, size_t min, size_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < min || value > max) {
		fprintf(stderr, "agentload: %s must be a number from %zu to %zu\n", text, min, max);
		exit(2);
	}
	return value;
}

enum {
	OPT_CONSOLE = 256,
	OPT_PIN,
	OPT_KEY_FILE,
	OPT_PARALLEL,
	OPT_NETWORK,
	OPT_NETWORKS,
	OPT_CHANGES,
	OPT_REMOVALS,
	OPT_REPORT,
	OPT_IDLE,
	OPT_VERIFY,
	OPT_OLD,
	OPT_FRESH,
	OPT_RESUME,
	OPT_SOURCES,
	OPT_SEED,
	OPT_PID,
	OPT_LIMIT,
	OPT_JSON
};

static void take_option(struct options *o, int option, const char *value)
{
	switch (option) {
	case 'n':
		o->agents = number(value, 1, AGENTS_MAX);
		break;
	case OPT_CONSOLE:
		o->console = value;
		break;
	case OPT_PIN:
		o->pin = value;
		break;
	case OPT_KEY_FILE:
		o->key_file = value;
		break;
	case OPT_PARALLEL:
		o->parallel = number(value, 1, AGENTS_MAX);
		break;
	case OPT_NETWORK:
		o->network = value;
		break;
	case OPT_NETWORKS:
		o->nets = number(value, 1, NETS_MAX);
		break;
	case OPT_CHANGES:
		o->changes = (unsigned int)number(value, 0, ROUNDS_MAX);
		break;
	case OPT_REMOVALS:
		o->removals = (unsigned int)number(value, 0, ROUNDS_MAX);
		break;
	case OPT_REPORT:
		o->report_s = (unsigned int)number(value, 1, 3600);
		break;
	case OPT_IDLE:
		o->idle_s = (unsigned int)number(value, 0, 3600);
		break;
	case OPT_VERIFY:
		o->verify = number(value, 0, AGENTS_MAX);
		break;
	case OPT_OLD:
		o->old = true;
		break;
	case OPT_FRESH:
		o->fresh = true;
		break;
	case OPT_RESUME:
		o->resume = true;
		break;
	case OPT_SOURCES:
		o->sources = (unsigned int)number(value, 0, 65000);
		break;
	case OPT_SEED:
		o->seed = value;
		break;
	case OPT_PID:
		o->pid = (pid_t)number(value, 1, 4194304);
		break;
	case OPT_LIMIT:
		o->limit_s = (unsigned int)number(value, 1, 86400);
		break;
	case OPT_JSON:
		o->json = true;
		break;
	default:
		usage(option == 'h' ? stdout : stderr);
		exit(option == 'h' ? 0 : 2);
	}
}

struct options options_read(int argc, char **argv)
{
	static const struct option table[] = {
		{"agents", required_argument, NULL, 'n'},
		{"console", required_argument, NULL, OPT_CONSOLE},
		{"pin", required_argument, NULL, OPT_PIN},
		{"key-file", required_argument, NULL, OPT_KEY_FILE},
		{"parallel", required_argument, NULL, OPT_PARALLEL},
		{"network", required_argument, NULL, OPT_NETWORK},
		{"networks", required_argument, NULL, OPT_NETWORKS},
		{"changes", required_argument, NULL, OPT_CHANGES},
		{"removals", required_argument, NULL, OPT_REMOVALS},
		{"report", required_argument, NULL, OPT_REPORT},
		{"idle", required_argument, NULL, OPT_IDLE},
		{"verify", required_argument, NULL, OPT_VERIFY},
		{"old", no_argument, NULL, OPT_OLD},
		{"fresh", no_argument, NULL, OPT_FRESH},
		{"resume", no_argument, NULL, OPT_RESUME},
		{"sources", required_argument, NULL, OPT_SOURCES},
		{"seed", required_argument, NULL, OPT_SEED},
		{"pid", required_argument, NULL, OPT_PID},
		{"limit", required_argument, NULL, OPT_LIMIT},
		{"json", no_argument, NULL, OPT_JSON},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options o = {.network = "load",
		.agents = 100,
		.nets = 1,
		.parallel = 32,
		.verify = 10,
		.changes = 5,
		.removals = 2,
		.report_s = 10,
		.idle_s = 10,
		.sources = 16,
		.limit_s = 90};
	int option;

	while ((option = getopt_long(argc, argv, "n:h", table, NULL)) != -1)
		take_option(&o, option, optarg);
	/* A node that is removed is seen to go in its own network only. */
	if (!o.console || !o.pin || !o.key_file || optind < argc || o.nets > o.agents ||
		(o.nets > 1 && o.removals)) {
		usage(stderr);
		exit(2);
	}
	return o;
}
