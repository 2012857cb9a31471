/* SPDX-License-Identifier: Apache-2.0 */
/* JSON merge patches (RFC 7396). */
#ifndef LIB_MERGEPATCH_H
#define LIB_MERGEPATCH_H

#include <json-c/json.h>

/* What the patch makes of the target (both borrowed, NULL is JSON's null). A value of its own, owned
 * by the caller: changing it changes neither of them. */
struct json_object *mergepatch_apply(struct json_object *target, struct json_object *patch);

#endif
