/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many datagrams of one size get through: one end sends as fast as it can, the other counts.
 * Plain datagrams, no UDP_SEGMENT and no UDP_GRO, many in each system call: so that neither end is
 * what is measured, as long as something slower stands between them.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "test/tools/probe/probe.h"

#define BATCH   64
#define LEN_MIN 8
#define LEN_MAX 9000
#define MAGIC   0x56414e5241544521ull

COMMAND(cmd_rate_send)
{
	uint64_t len = 64, batch = BATCH, sent = 0, failed = 0, start, end, now;
	double seconds = 3;
	const struct probe_option options[] = {
		{"len", OPTION_NUMBER, &len, "L", "bytes of payload (64)"},
		{"seconds", OPTION_SECONDS, &seconds, "S", "to send for (3)"},
		{"batch", OPTION_NUMBER, &batch, "N", "datagrams in a system call, 1 to 64 (64)"},
		{0},
	};
	static uint8_t payload[LEN_MAX];
	const uint64_t magic = htobe64(MAGIC);
	struct iovec iov = {.iov_base = payload};
	struct mmsghdr messages[BATCH] = {0};
	struct sockaddr_storage to;
	const char *args[4];
	socklen_t to_len;
	int fd;

	probe_arguments(command, options, argc, argv, args);
	if (len < LEN_MIN || len > LEN_MAX || !batch || batch > BATCH)
		die(PROBE_USAGE, "needs --len from %d to %d and --batch from 1 to %d", LEN_MIN,
			LEN_MAX, BATCH);
	to_len = parse_address(args[0], args[1], &to);
	fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, to_len) < 0)
		die(PROBE_SYSTEM, "%s port %s: %m", args[0], args[1]);
	memcpy(payload, &magic, sizeof(magic));
	iov.iov_len = len;
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &iov;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	start = now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	do {
		int n = sendmmsg(fd, messages, (unsigned int)batch, 0);

		if (n > 0)
			sent += (uint64_t)n;
		else if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR)
			failed++;
		else
			die(PROBE_SYSTEM, "sending: %m");
		now = now_ns();
	} while (now < end);
	printf("{\"sent\": %lu, \"failed\": %lu, \"seconds\": %.6f}\n", sent, failed,
		(double)(now - start) / 1e9);
	close(fd);
	return PROBE_OK;
}

struct count {
	uint64_t received, other, first_ns, last_ns;
};

/* Takes what is there, up to a batch: true when there may be more. Counts only what rate-send has
 * sent, whole. */
static bool count_batch(int fd, size_t len, struct count *count)
{
	static uint8_t buffers[BATCH][LEN_MAX + 1];
	struct mmsghdr messages[BATCH] = {0};
	const uint64_t magic = htobe64(MAGIC);
	struct iovec iov[BATCH];
	uint64_t good = 0;
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){.iov_base = buffers[i], .iov_len = sizeof(buffers[i])};
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die(PROBE_SYSTEM, "receiving: %m");
	for (int i = 0; i < n; i++)
		good += messages[i].msg_len == len &&
			memcmp(buffers[i], &magic, sizeof(magic)) == 0;
	if (n > 0)
		count->other += (uint64_t)n - good;
	if (good) {
		count->last_ns = now_ns();
		if (!count->received)
			count->first_ns = count->last_ns;
		count->received += good;
	}
	return n == BATCH;
}

COMMAND(cmd_rate_recv)
{
	uint64_t len = 64, silence_ms = 300, until;
	double timeout = 30, seconds;
	const struct probe_option options[] = {
		{"len", OPTION_NUMBER, &len, "L", "bytes of payload (64)"},
		{"silence", OPTION_NUMBER, &silence_ms, "MS", "that end it once some came (300)"},
		{"timeout", OPTION_SECONDS, &timeout, "S", "for everything (30)"},
		{0},
	};
	int fd, stop_fd, size = 8 << 20;
	struct count count = {0};
	struct sockaddr_storage addr;
	const char *args[4];
	socklen_t addr_len;

	probe_arguments(command, options, argc, argv, args);
	if (len < LEN_MIN || len > LEN_MAX)
		die(PROBE_USAGE, "needs --len from %d to %d", LEN_MIN, LEN_MAX);
	stop_fd = stop_signals();
	addr_len = parse_address(args[1] ? args[0] : "::", args[1] ? args[1] : args[0], &addr);
	fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die(PROBE_SYSTEM, "socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, addr_len) < 0)
		die(PROBE_SYSTEM, "port %s: %m", args[1] ? args[1] : args[0]);
	until = now_ns() + (uint64_t)(timeout * 1e9);
	say_ready();
	for (;;) {
		uint64_t wait_until = count.received ? count.last_ns + silence_ms * 1000000 : until;

		if (!wait_readable(fd, stop_fd, wait_until < until ? wait_until : until))
			break;
		while (count_batch(fd, len, &count) && count.last_ns < until)
			;
	}
	seconds = (double)(count.last_ns - count.first_ns) / 1e9;
	printf("{\"received\": %lu, \"other\": %lu, \"seconds\": %.6f, \"per_second\": %.1f}\n",
		count.received, count.other, seconds,
		seconds > 0 ? (double)count.received / seconds : 0);
	close(fd);
	close(stop_fd);
	return count.received ? PROBE_OK : PROBE_FAILED;
}
