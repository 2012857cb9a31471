/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>
#include "console-api/conn.h"
#include "lib/clock.h"

#define S NS_PER_S

static unsigned int told;

static void tell(struct conn *conn)
{
	(void)conn;
	told++;
}

/* Both ends of a connection. */
struct pair {
	struct conn *conn;
	int near, far;
};

static struct pair open_pair(struct conns *conns, uint64_t now_ns)
{
	struct pair p;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p.near = fds[0];
	p.far = fds[1];
	p.conn = conn_open(conns, NULL, p.near, now_ns);
	return p;
}

static void close_pair(struct pair *p)
{
	conn_close(p->conn);
	close(p->near);
	close(p->far);
}

static bool is_shut(const struct pair *p)
{
	char c;

	return recv(p->far, &c, 1, MSG_DONTWAIT) == 0;
}

static void each_phase_has_its_time(void **state)
{
	static const struct {
		enum conn_phase phase;
		unsigned int limit_s;
		unsigned int told;
	} cases[] = {
		{CONN_FIRST_HEAD, CONN_FIRST_HEAD_S, 1},
		{CONN_NEXT_HEAD, CONN_NEXT_HEAD_S, 0},
		{CONN_BODY, CONN_BODY_S, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t due = 100 * S + cases[i].limit_s * S;
		struct conns conns;
		struct pair p;

		told = 0;
		conns_init(&conns, 10, tell);
		p = open_pair(&conns, 90 * S);
		conn_enter(&conns, p.conn, cases[i].phase, 100 * S);
		assert_int_equal(conns_sweep(&conns, due - 1), due);
		assert_false(is_shut(&p));
		assert_int_equal(conns_sweep(&conns, due), 0);
		assert_true(is_shut(&p));
		assert_int_equal(told, cases[i].told);
		assert_int_equal(conns.count, 0);
		/* What is doomed is left alone. */
		conn_enter(&conns, p.conn, CONN_BODY, due);
		assert_int_equal(conns_sweep(&conns, due + 1000 * S), 0);
		close_pair(&p);
		assert_int_equal(conns.count, 0);
	}
}

static void an_answer_takes_as_long_as_it_takes(void **state)
{
	struct conns conns;
	struct pair p;

	(void)state;
	conns_init(&conns, 10, NULL);
	p = open_pair(&conns, S);
	conn_enter(&conns, p.conn, CONN_BODY, S);
	conn_enter(&conns, p.conn, CONN_ANSWER, S);
	assert_int_equal(conns_sweep(&conns, 100000 * S), 0);
	assert_false(is_shut(&p));
	conn_enter(&conns, p.conn, CONN_NEXT_HEAD, 100000 * S);
	assert_int_equal(conns_sweep(&conns, 100000 * S), (100000 + CONN_NEXT_HEAD_S) * S);
	close_pair(&p);
	assert_int_equal(conns_sweep(&conns, 200000 * S), 0);
}

static void the_oldest_that_is_unproven_gives_way(void **state)
{
	struct pair p[8];
	struct conns conns;

	(void)state;
	conns_init(&conns, 4, NULL);
	for (size_t i = 0; i < 4; i++)
		p[i] = open_pair(&conns, i * S);
	conn_prove(p[0].conn, "a", 1);
	conn_enter(&conns, p[2].conn, CONN_BODY, 5 * S); /* what it does is no excuse */
	for (size_t i = 4; i < 7; i++)
		p[i] = open_pair(&conns, 10 * S);
	assert_false(is_shut(&p[0]));
	for (size_t i = 1; i < 4; i++)
		assert_true(is_shut(&p[i]));
	for (size_t i = 4; i < 7; i++)
		assert_false(is_shut(&p[i]));
	assert_int_equal(conns.count, 4);
	/* When all have shown who they are, one more is let in: the library has a limit too. */
	for (size_t i = 4; i < 7; i++)
		conn_prove(p[i].conn, "a", 1);
	p[7] = open_pair(&conns, 11 * S);
	assert_int_equal(conns.count, 5);
	for (size_t i = 4; i < 8; i++)
		assert_false(is_shut(&p[i]));
	for (size_t i = 0; i < 8; i++)
		close_pair(&p[i]);
	assert_int_equal(conns.count, 0);
}

/* Of those that have shown a key: whoever has many makes room, and who has few never. */
static void whoever_has_most_makes_room(void **state)
{
	struct pair others[4], many[40];
	struct conns conns;

	(void)state;
	conns_init(&conns, 40, NULL); /* of which 30 */
	for (size_t i = 0; i < 4; i++) {
		others[i] = open_pair(&conns, S);
		conn_prove(others[i].conn, &i, sizeof(i));
	}
	for (size_t i = 0; i < 40; i++) {
		many[i] = open_pair(&conns, 2 * S);
		conn_prove(many[i].conn, "greedy", 6);
		conn_prove(many[i].conn, "greedy", 6); /* once */
	}
	assert_int_equal(conns.count, 30);
	for (size_t i = 0; i < 4; i++)
		assert_false(is_shut(&others[i]));
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(is_shut(&many[i]), i < 14);
	assert_true(conns.any_doomed);
	for (size_t i = 0; i < 4; i++)
		close_pair(&others[i]);
	for (size_t i = 0; i < 40; i++)
		close_pair(&many[i]);
	assert_int_equal(conns.count, 0);
	/* Many that have one each may have all. */
	for (size_t i = 0; i < 40; i++) {
		many[i] = open_pair(&conns, 2 * S);
		conn_prove(many[i].conn, &i, sizeof(i));
	}
	assert_int_equal(conns.count, 40);
	for (size_t i = 0; i < 40; i++)
		close_pair(&many[i]);
}

static void nobody_is_late_while_the_server_stands_still(void **state)
{
	struct conns conns;
	struct pair p;

	(void)state;
	conns_init(&conns, 10, NULL);
	p = open_pair(&conns, 0);
	conns_stalled(&conns, 60 * S);
	assert_int_equal(conns_sweep(&conns, 60 * S), (60 + CONN_FIRST_HEAD_S) * S);
	assert_false(is_shut(&p));
	conn_enter(&conns, p.conn, CONN_BODY, 70 * S);
	assert_int_equal(conns_sweep(&conns, 71 * S), (70 + CONN_BODY_S) * S);
	assert_int_equal(conns_sweep(&conns, (70 + CONN_BODY_S) * S), 0);
	assert_true(is_shut(&p));
	close_pair(&p);
}

/* Connected over TCP: the kernel knows there how much the other side has. */
static struct pair open_tcp(struct conns *conns)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(at);
	struct pair p;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	p.far = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(p.far, (struct sockaddr *)&at, len), 0);
	p.near = accept(listener, NULL, NULL);
	assert_true(p.near >= 0);
	close(listener);
	p.conn = conn_open(conns, NULL, p.near, 0);
	return p;
}

/* Sends n bytes, and does not return before the other side has them. */
static void pass_on(const struct pair *p, size_t n)
{
	static char block[4096];
	int left = 1;

	for (size_t done = 0; done < n; done += sizeof(block)) {
		assert_int_equal(send(p->near, block, sizeof(block), 0), sizeof(block));
		assert_int_equal(recv(p->far, block, sizeof(block), MSG_WAITALL), sizeof(block));
	}
	while (left)
		assert_int_equal(ioctl(p->near, SIOCOUTQ, &left), 0);
}

static void who_takes_an_answer_may_take_long(void **state)
{
	uint64_t now_ns = CONN_SEND_S * S;
	struct conns conns;
	struct pair p;

	(void)state;
	conns_init(&conns, 10, NULL);
	p = open_tcp(&conns);
	conn_enter(&conns, p.conn, CONN_SEND, 0);
	for (int i = 0; i < 5; i++, now_ns += CONN_SEND_S * S) {
		pass_on(&p, CONN_SEND_LEAST + 4096);
		assert_int_equal(conns_sweep(&conns, now_ns), now_ns + CONN_SEND_S * S);
	}
	pass_on(&p, CONN_SEND_LEAST / 2);
	assert_int_equal(conns_sweep(&conns, now_ns), 0);
	assert_true(is_shut(&p));
	close_pair(&p);
}

static void the_next_one_is_told(void **state)
{
	struct pair a, b, c;
	struct conns conns;

	(void)state;
	conns_init(&conns, 10, NULL);
	a = open_pair(&conns, 0);
	b = open_pair(&conns, 3 * S);
	c = open_pair(&conns, 0);
	conn_enter(&conns, c.conn, CONN_BODY, 4 * S);
	assert_int_equal(conns_sweep(&conns, 5 * S), CONN_FIRST_HEAD_S * S);
	assert_int_equal(conns_sweep(&conns, CONN_FIRST_HEAD_S * S), (3 + CONN_FIRST_HEAD_S) * S);
	assert_true(is_shut(&a));
	assert_int_equal(conns_sweep(&conns, (3 + CONN_FIRST_HEAD_S) * S), (4 + CONN_BODY_S) * S);
	assert_true(is_shut(&b));
	close_pair(&a);
	close_pair(&b);
	close_pair(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_phase_has_its_time),
		cmocka_unit_test(an_answer_takes_as_long_as_it_takes),
		cmocka_unit_test(the_oldest_that_is_unproven_gives_way),
		cmocka_unit_test(whoever_has_most_makes_room),
		cmocka_unit_test(nobody_is_late_while_the_server_stands_still),
		cmocka_unit_test(who_takes_an_answer_may_take_long),
		cmocka_unit_test(the_next_one_is_told),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
