/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes a vand say that it is of another version, for tests of version
 * skew. VAN_SAY_VERSION is that version, or "none": then it speaks as one of version 0.1 does, without
 * the header VAN-Agent and without asking for patches.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct curl_slist;
struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text);

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	static const char hello[] = "VAN-Agent: version=",
			  patches[] = "Accept: application/merge-patch";
	struct curl_slist *(*append)(struct curl_slist *, const char *);
	const char *version = getenv("VAN_SAY_VERSION");
	char other[256];

	*(void **)&append = dlsym(RTLD_NEXT, "curl_slist_append");
	if (version && !strcmp(version, "none")) {
		if (!strncmp(text, hello, strlen(hello)))
			return append(list, "X-Nothing: 1");
		if (!strncmp(text, patches, strlen(patches)))
			return append(list, "Accept: application/json");
	} else if (version && !strncmp(text, hello, strlen(hello))) {
		snprintf(other, sizeof(other), "%s%s%s", hello, version, text + strcspn(text, ","));
		return append(list, other); /* curl makes a copy */
	}
	return append(list, text);
}
