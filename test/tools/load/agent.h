/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated agent: it enrols with a token, polls for its netmap and reports, on two connections,
 * as vand does, with statistics of a busy node. It looks into a map only for what is being measured,
 * but for the first few, which apply every patch and hold it against its hash.
 */
#ifndef TEST_LOAD_AGENT_H
#define TEST_LOAD_AGENT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/key.h"
#include "lib/netmap.h"
#include "test/tools/load/conn.h"

enum agent_state { AGENT_NEW, AGENT_ENROLLING, AGENT_UP, AGENT_REMOVED };

struct agent {
	struct load *load;
	size_t number;
	enum agent_state state;
	struct identity identity;
	const char *secret; /* of the join token, as it goes into an enrolment */
	char node_id[NETMAP_ID_MAX + 1], net_id[NETMAP_ID_MAX + 1];
	uint64_t instance, up_ns; /* when it enrolled */
	uint64_t counted[4];      /* traffic that it has reported */
	struct conn poll, report;
	bool polling, reporting;
	uint64_t poll_at_ns, report_at_ns; /* when the next one is due; 0: not */
	char revision[NETMAP_REVISION_TEXT_LEN];
	struct json_object *map; /* of a verifying one: the keyed form; NULL: none */
	uint64_t reached_ns;     /* when it had what is being measured; 0: not yet */
};

/* What is to be seen in a map. */
struct mark {
	char text[96];
	bool gone; /* the id in text must be in no map, or as null in a patch */
};

struct load {
	struct conn_target target;
	struct agent *agents;
	size_t count;
	char console_id[NETMAP_ID_MAX + 1];
	size_t verify;
	unsigned int report_s;
	bool old; /* agents of version 0.1: no header VAN-Agent, no patches, no statistics */
	bool fresh;
	const char *seed; /* of identities; NULL: drawn */
	struct mark mark;
	size_t reached;
	uint64_t changed_ns; /* the last time that any agent got a map */
	/* what happened */
	uint64_t enrolled, polls, maps, patches, reports, failures, refused, wrong;
	uint64_t map_bytes;
};

void agent_init(struct load *l, struct agent *a, size_t number);
void agent_done(struct agent *a);
void agent_enroll(struct agent *a);
/* Sends what is due. */
void agent_tick(struct agent *a, uint64_t now_ns);
/* A header line with the agent's signature; heap. */
char *agent_sign(const struct agent *a, const char *node, const char *console, const char *method,
	const char *path, const char *body);

#endif
