/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/conn.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "console-api/xalloc.h"
#include "lib/clock.h"

static const unsigned int limits_s[CONN_ANSWER] = {
	[CONN_FIRST_HEAD] = CONN_FIRST_HEAD_S,
	[CONN_NEXT_HEAD] = CONN_NEXT_HEAD_S,
	[CONN_BODY] = CONN_BODY_S,
	[CONN_SEND] = CONN_SEND_S,
};

void conns_init(struct conns *conns, size_t max, void (*say_timeout)(struct conn *conn))
{
	*conns = (struct conns){.max = max, .say_timeout = say_timeout};
	for (size_t i = 0; i < CONN_ANSWER; i++)
		list_init(&conns->timed[i]);
	list_init(&conns->unproven);
	share_init(&conns->proven, max * CONN_PROVEN_PART);
}

static void forget(struct conn *conn)
{
	conn->conns->count--;
	list_del(&conn->timed);
	list_del(&conn->unproven);
	share_leave(&conn->conns->proven, &conn->proven);
}

void conn_doom(struct conn *conn)
{
	if (conn->doomed)
		return;
	conn->doomed = true;
	conn->conns->any_doomed = true;
	forget(conn);
	shutdown(conn->fd, SHUT_RDWR);
}

/* What the other side has acknowledged; 0 where the kernel cannot say. */
static uint64_t acked(const struct conn *conn)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) ||
		len < offsetof(struct tcp_info, tcpi_bytes_received))
		return 0;
	return info.tcpi_bytes_acked;
}

void conn_enter(struct conns *conns, struct conn *conn, enum conn_phase phase, uint64_t now_ns)
{
	if (conn->doomed)
		return;
	list_del(&conn->timed);
	conn->phase = phase;
	if (phase == CONN_ANSWER)
		return;
	if (phase == CONN_SEND)
		conn->acked = acked(conn);
	conn->due_ns = now_ns - conns->stalled_ns + limits_s[phase] * NS_PER_S;
	list_add_tail(&conns->timed[phase], &conn->timed);
}

struct conn *conn_open(
	struct conns *conns, struct MHD_Connection *connection, int fd, uint64_t now_ns)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->conns = conns;
	share_holder_init(&conn->proven);
	if (conns->count >= conns->max && !list_empty(&conns->unproven))
		conn_doom(container_of(conns->unproven.next, struct conn, unproven));
	conn->connection = connection;
	conn->fd = fd;
	list_init(&conn->timed);
	list_add_tail(&conns->unproven, &conn->unproven);
	conns->count++;
	conn_enter(conns, conn, CONN_FIRST_HEAD, now_ns);
	return conn;
}

void conn_close(struct conn *conn)
{
	if (!conn->doomed)
		forget(conn);
	free(conn);
}

void conn_prove(struct conn *conn, const void *name, size_t len)
{
	struct conns *conns = conn->conns;
	struct share_holder *over;

	if (conn->doomed || conn->proven.amount)
		return;
	list_del(&conn->unproven);
	share_take(&conns->proven, &conn->proven, name, len, 1);
	while ((over = share_over(&conns->proven, CONN_FEW + conns->max / 64)))
		conn_doom(container_of(over, struct conn, proven));
}

void conns_stalled(struct conns *conns, uint64_t by_ns)
{
	conns->stalled_ns += by_ns;
}

/* Of one whose time to take an answer is over: it took enough, and may go on. */
static bool takes_its_answer(struct conn *conn)
{
	return acked(conn) >= conn->acked + CONN_SEND_LEAST;
}

uint64_t conns_sweep(struct conns *conns, uint64_t now_ns)
{
	uint64_t next_ns = 0, clock_ns = now_ns - conns->stalled_ns;

	for (size_t i = 0; i < CONN_ANSWER; i++) {
		while (!list_empty(&conns->timed[i])) {
			struct conn *conn = container_of(conns->timed[i].next, struct conn, timed);

			if (conn->due_ns > clock_ns) {
				if (!next_ns || conn->due_ns + conns->stalled_ns < next_ns)
					next_ns = conn->due_ns + conns->stalled_ns;
				break;
			}
			if (i == CONN_SEND && takes_its_answer(conn)) {
				conn_enter(conns, conn, CONN_SEND, now_ns);
				continue;
			}
			/* After an answer silence is the custom: the client may have gone. */
			if (conns->say_timeout && i != CONN_NEXT_HEAD && i != CONN_SEND)
				conns->say_timeout(conn);
			conn_doom(conn);
		}
	}
	return next_ns;
}
