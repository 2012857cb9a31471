/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a request, as the library sends it. */
#ifndef CONSOLE_API_REPLY_H
#define CONSOLE_API_REPLY_H

#include <microhttpd.h>
#include "console-api/conn.h"
#include "console-api/request.h"

/* What the handler filled in. read: how a stream is read (its cls is q). */
enum MHD_Result reply_send(struct request *q, MHD_ContentReaderCallback read);
/* q->problem. */
enum MHD_Result reply_problem(struct request *q);
/* 408, past the library: it takes no answer before a request is whole. For conns_init(). */
void reply_timeout(struct conn *conn);

#endif
