/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-qsbr.h>
#include "lib/clock.h"
#include "vand/ecn.h"
#include "vand/forward.h"
#include "vand/network.h"
#include "vand/tap.h"

/* In front of a frame from the TAP: the inner header, and alignment of what follows Ethernet. */
#define FRAME_HEADROOM 66

/* What one source may take of a turn before the others are looked at. */
#define TAP_BUDGET_FRAMES  64
#define TAP_BUDGET_BYTES   (256 * 1024)
#define UDP_BUDGET_BATCHES 2
#define EVENTS_MAX         16

#define LOOK_MS 1000 /* at what waits: for a session, or for the rest of its parts */

/* epoll's 64 bits: what it is, and which. An id, not a pointer: the network may be gone by the time
 * that the worker looks. */
enum source { SOURCE_WAKE, SOURCE_UDP, SOURCE_TAP };

static uint64_t source_ref(enum source source, uint32_t id)
{
	return (uint64_t)source << 32 | id;
}

static int watch(const struct worker *w, int fd, uint64_t ref)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = ref};

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

unsigned int worker_tap_queue(const struct worker *w, const struct network *net)
{
	return w->index < net->tap->queues ? w->index : 0;
}

/* offload_emit: a frame, single or joined, is ready for its TAP. */
static void write_to_tap(void *ctx, const void *tap, const struct iovec *iov, unsigned int count,
	unsigned int segments, size_t len)
{
	struct worker *w = ctx;
	struct network *net = (struct network *)tap;
	struct network_counters *counters = &net->counters[w->index];

	if (tap_write(net->tap, worker_tap_queue(w, net), iov, count) < 0) {
		stats_add(&w->counters.drops[DROP_tap_failed], segments);
		return;
	}
	stats_count(&w->counters, STAT_frames_to_tap, 1);
	if (segments > 1) {
		struct virtio_net_hdr vnet; /* not aligned in the frame's buffer */

		memcpy(&vnet, iov[0].iov_base, sizeof(vnet));
		len += (segments - 1) * (size_t)vnet.hdr_len; /* as they came, like those sent */
		stats_count(&w->counters, STAT_superframes_to_tap, 1);
		stats_count(&w->counters, STAT_segments_joined, segments);
	}
	stats_add(&counters->rx_packets, segments);
	stats_add(&counters->rx_bytes, len);
}

static int allocate(struct worker *w)
{
	int rc;

	w->frame_memory = aligned_alloc(4096, (FRAME_HEADROOM + OFFLOAD_FRAME_MAX + 4095) & ~4095);
	if (!w->frame_memory)
		return -ENOMEM;
	w->frame = w->frame_memory + FRAME_HEADROOM;
	rc = udp_tx_init(&w->tx, w->udp, w->index, &w->counters);
	if (rc < 0)
		return rc;
	rc = udp_rx_init(&w->rx);
	if (rc < 0)
		return rc;
	return fragment_init(&w->fragments, &w->counters);
}

int worker_new(const struct worker_config *config, struct worker **ret_worker)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	int rc;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->udp = config->udp;
	w->sessions = config->sessions;
	w->networks = config->networks;
	w->backend = config->backend;
	w->upcall = config->upcall;
	w->index = config->index;
	w->lane = (uint8_t)(MESSAGE_LANE_WORKER + config->index);
	w->several = config->several;
	w->copy_tos = config->copy_tos;
	w->busy_poll_ns = (uint64_t)config->busy_poll_us * NS_PER_US;
	w->wake_fd = -1;
	pending_init(&w->pending);
	offload_join_init(&w->join, config->join_tcp, config->join_udp, write_to_tap, w);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = w->epoll_fd < 0 ? -errno : 0;
	if (rc == 0) {
		w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		rc = w->wake_fd < 0 ? -errno : watch(w, w->wake_fd, source_ref(SOURCE_WAKE, 0));
	}
	for (unsigned int family = 0; rc == 0 && family < UDP_FAMILIES; family++) {
		int fd = w->udp->of[w->index].main[family];

		if (fd >= 0)
			rc = watch(w, fd, source_ref(SOURCE_UDP, family));
	}
	if (rc == 0)
		rc = allocate(w);
	if (rc < 0) {
		worker_free(w);
		return rc;
	}
	*ret_worker = w;
	return 0;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->running) {
		atomic_store(&w->stop, true);
		worker_wake(w);
		pthread_join(w->thread, NULL);
	}
	pending_done(&w->pending);
	udp_tx_done(&w->tx);
	udp_rx_done(&w->rx);
	fragment_done(&w->fragments);
	free(w->frame_memory);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	free(w);
}

static void read_tap(struct worker *w, struct network *net)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < TAP_BUDGET_FRAMES && bytes < TAP_BUDGET_BYTES; i++) {
		struct virtio_net_hdr vnet;
		ssize_t len = tap_read(net->tap, w->index, &vnet, w->frame, OFFLOAD_FRAME_MAX);

		if (len < 0)
			break;
		forward_from_tap(w, net, &vnet, (size_t)len);
		bytes += (size_t)len;
	}
}

static void read_udp(struct worker *w, int fd)
{
	for (unsigned int batch = 0; batch < UDP_BUDGET_BATCHES; batch++) {
		int n = udp_rx_batch(&w->rx, fd);

		for (int i = 0; i < n; i++) {
			const struct udp_rx_slot *slot = &w->rx.slots[i];
			uint32_t at = 0;

			w->outer_ecn = slot->tos & ECN_MASK;
			do {
				uint32_t left = slot->len - at;

				forward_from_peer(w, slot->data + at,
					left < slot->segment_len ? left : slot->segment_len,
					&slot->from);
				at += slot->segment_len;
			} while (at < slot->len);
		}
		forward_release(w);
		if (n > 0)
			stats_count(&w->counters, STAT_receives, (uint64_t)n);
		offload_join_flush(&w->join);
		if (n < UDP_RX_SLOTS)
			break;
	}
}

static void handle_event(struct worker *w, uint64_t ref)
{
	uint32_t id = (uint32_t)ref;
	struct network *net;
	uint64_t count;

	switch ((enum source)(ref >> 32)) {
	case SOURCE_TAP:
		net = table_get(&w->networks->by_van_id, id);
		if (net)
			read_tap(w, net);
		break;
	case SOURCE_UDP:
		read_udp(w, w->udp->of[w->index].main[id]);
		break;
	case SOURCE_WAKE:
		if (read(w->wake_fd, &count, sizeof(count)) > 0)
			forward_pending(w);
		break;
	}
}

/* Looks for work without sleeping, for as long as the configuration allows. Whoever else wants the
 * processor has it first: the work that is waited for may be theirs to make. */
static int busy_poll(struct worker *w, struct epoll_event *events)
{
	const uint64_t until_ns = clock_boottime_ns() + w->busy_poll_ns;
	int n;

	do {
		rcu_quiescent_state();
		n = epoll_wait(w->epoll_fd, events, EVENTS_MAX, 0);
		if (n == 0)
			sched_yield();
	} while (n == 0 && clock_boottime_ns() < until_ns &&
		 !atomic_load_explicit(&w->stop, memory_order_relaxed));
	return n;
}

/* Waits for something to do. The worker ceases to be a reader while it may sleep, so that the
 * control thread need not wait for it: cheaper than asking first whether it would sleep. */
static int wait_for_events(struct worker *w, struct epoll_event *events)
{
	int n = w->busy_poll_ns ? busy_poll(w, events) : 0;

	if (n != 0)
		return n;
	rcu_thread_offline();
	n = epoll_wait(w->epoll_fd, events, EVENTS_MAX,
		w->pending.head || w->fragments.count ? LOOK_MS : -1);
	rcu_thread_online();
	return n;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[EVENTS_MAX];
	char name[16];

	snprintf(name, sizeof(name), "vand-worker%u", w->index);
	pthread_setname_np(pthread_self(), name);
	rcu_register_thread();
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		int n = wait_for_events(w, events);

		stats_count(&w->counters, STAT_wakeups, 1);
		w->now_ns = clock_boottime_ns();
		for (int i = 0; i < n; i++)
			handle_event(w, events[i].data.u64);
		if (n == 0 && w->pending.head)
			forward_pending(w);
		if (w->fragments.count)
			fragment_expire(&w->fragments, w->now_ns);
		udp_tx_flush(&w->tx);
	}
	rcu_unregister_thread();
	return NULL;
}

int worker_start(struct worker *w, struct err *e)
{
	int error = pthread_create(&w->thread, NULL, run, w);

	if (error)
		return err_set(e, -error, "cannot start a worker thread: %s", strerror(error));
	w->running = true;
	return 0;
}

int worker_watch(struct worker *w, const struct network *net)
{
	return watch(w, net->tap->fd[w->index], source_ref(SOURCE_TAP, net->van_id));
}

void worker_unwatch(struct worker *w, const struct network *net)
{
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, net->tap->fd[w->index], NULL);
}

void worker_wake(struct worker *w)
{
	const uint64_t one = 1;

	/* Full only after 2⁶⁴−2 wakes; and then the worker is awake. */
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}
