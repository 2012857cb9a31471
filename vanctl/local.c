// SPDX-License-Identifier: Apache-2.0
#include "vanctl/local.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/ctlproto.h"
#include "lib/json.h"
#include "vanctl/text.h"

/* Shows the request; the token is for nobody's eyes. */
static void trace_request(struct vanctl *v, const char *socket_path, struct json_object *request)
{
	fprintf(v->err, "> %s", socket_path);
	json_object_object_foreach(request, name, value)
	{
		const char *text = strcmp(name, "token") == 0 ? "(hidden)"
				   : value                    ? json_object_get_string(value)
							      : "null";

		fprintf(v->err, " %s=", name);
		text_clean(v->err, text);
	}
	fputc('\n', v->err);
}

int local_call(struct vanctl *v, const char *command, struct json_object *arguments,
	unsigned int timeout_ms, struct json_object **ret_result, struct err *e)
{
	const char *socket_path = v->args->text[OPT_SOCKET];
	CLEANUP(json)
	struct json_object *request = arguments ? arguments : json_object_new_object();
	CLEANUP(json) struct json_object *result = NULL;
	uint64_t started_ns = clock_boottime_ns();
	int rc;

	json_set_string(request, "command", command);
	if (v->verbose)
		trace_request(v, socket_path, request);
	rc = ctlproto_call(socket_path, request, timeout_ms, &result, e);
	if (v->verbose)
		fprintf(v->err, "< %s, %llu ms\n", rc ? err_name(rc) : "ok",
			(unsigned long long)((clock_boottime_ns() - started_ns) / NS_PER_MS));
	if (rc == -VAN_E_SYNTAX) /* not the command line: that is for our own parser to say */
		rc = -VAN_E_INVALID;
	if (rc)
		return rc;
	if (!json_object_is_type(result, json_type_object))
		return err_set(e, -VAN_E_PROTOCOL,
			"vand answers %s with something else than an object", command);
	if (ret_result)
		*ret_result = STEAL(result);
	return 0;
}
