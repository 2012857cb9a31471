/* SPDX-License-Identifier: Apache-2.0 */
#include "vand/dataplane.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "vand/ctl.h"
#include "vand/ecn.h"
#include "vand/reconcile.h"
#include "vand/route.h"
#include "vand/seal.h"
#include "vand/state.h"
#include "vand/tap.h"
#include "vand/udp.h"
#include "vand/upcall.h"
#include "vand/vand.h"
#include "vand/worker.h"

/* Upcalls handled before the loop looks at anything else: a flood of handshakes must not keep the
 * timers of sessions waiting. */
#define UPCALL_BUDGET 256

/* Beyond this many, sharing caches and queues eats up what another thread brings. */
#define AUTO_WORKERS_MAX 8

/* -- what the session engine asks for (struct session_io) -- */

static int io_send(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct vand *v = ctx;
	int rc = udp_send(v->dataplane.udp, to, msg, len);

	if (rc < 0)
		stats_drop(&v->dataplane.control, DROP_send_failed);
	return rc;
}

static int io_send_whole(void *ctx, const struct endpoint *to, const void *msg, size_t len)
{
	struct vand *v = ctx;
	int rc = udp_send_whole(v->dataplane.udp, to, msg, len);

	if (rc < 0 && rc != -EMSGSIZE)
		stats_drop(&v->dataplane.control, DROP_send_failed);
	return rc;
}

static int io_next_stamp(void *ctx, uint8_t ret_stamp[MESSAGE_STAMP_LEN])
{
	struct vand *v = ctx;

	return state_next_stamp(v->state, clock_wall_ns(), ret_stamp);
}

static uint64_t io_epoch(void *ctx)
{
	struct vand *v = ctx;
	const struct netmap *map = reconcile_map(v->reconcile);

	return map ? map->number : 0;
}

static uint16_t io_underlay_mtu(void *ctx, const struct endpoint *to)
{
	struct vand *v = ctx;
	const struct ip ip = endpoint_ip(to);
	uint32_t mtu = route_mtu_to(v->route, &ip, NULL);

	return mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu;
}

static void forget_datagram_max(void *ctx, struct peer *peer)
{
	(void)ctx;
	atomic_store_explicit(&peer->datagram_max, 0, memory_order_relaxed);
}

static void io_changed(void *ctx, struct peer *peer, enum peer_state state)
{
	struct vand *v = ctx;

	/* A new key is a good moment to find out anew what the path takes. */
	forget_datagram_max(NULL, peer);
	reconcile_session_changed(v->reconcile, peer, state);
	for (unsigned int i = 0; i < v->dataplane.worker_count; i++) {
		if (v->dataplane.workers[i]) /* none any more while the sessions end */
			worker_wake(v->dataplane.workers[i]);
	}
}

static void io_control(void *ctx, struct peer *peer, uint32_t van_id, uint8_t kind,
	const uint8_t *payload, size_t len)
{
	struct vand *v = ctx;

	/* Kinds that version 1 reserves. A peer that is newer than we are may send them. */
	(void)peer;
	(void)van_id;
	(void)kind;
	(void)payload;
	(void)len;
	stats_drop(&v->dataplane.control, DROP_reserved_kind);
}

static void io_probed(void *ctx, struct peer *peer, uint64_t token, uint64_t rtt_ns)
{
	struct vand *v = ctx;

	ctl_probed(v->ctl, peer, token, rtt_ns);
}

static void io_rearm(void *ctx, uint64_t deadline_ns)
{
	struct vand *v = ctx;

	loop_timer_set(&v->loop, &v->dataplane.tick, deadline_ns);
}

/* -- upcalls and the tick -- */

static void on_tick(struct loop_timer *timer, uint64_t now_ns)
{
	struct dataplane *d = container_of(timer, struct dataplane, tick);
	struct vand *v = container_of(d, struct vand, dataplane);

	loop_timer_set(&v->loop, timer, sessions_tick(d->sessions, now_ns));
}

static void on_upcall(struct vand *v, const struct upcall_message *m, uint64_t now_ns)
{
	struct sessions *s = v->dataplane.sessions;
	struct peer *peer;

	switch (m->kind) {
	case UPCALL_HANDSHAKE:
		sessions_receive(s, m->data, m->len, &m->from, now_ns);
		break;
	case UPCALL_WANT:
		peer = sessions_find_ref(s, m->peer_ref);
		if (peer)
			sessions_want(s, peer, now_ns);
		break;
	case UPCALL_CONFIRMED:
		sessions_confirmed(s, m->local_index, now_ns);
		break;
	case UPCALL_MOVED:
		sessions_moved(s, m->local_index, &m->from, now_ns);
		break;
	case UPCALL_CONTROL:
		sessions_control(s, m->local_index, m->van_id, m->message_kind, m->data,
			m->message_kind == MESSAGE_PROBE ? m->message_len : m->len, now_ns);
		break;
	}
}

static void run_upcalls(struct vand *v, enum upcall_channel channel)
{
	struct dataplane *d = &v->dataplane;
	struct upcall_message m;

	for (unsigned int i = 0; i < UPCALL_BUDGET && d->running; i++) {
		int rc = upcall_receive(d->upcall, channel, &m);

		if (rc == -EAGAIN)
			break;
		if (rc == 0)
			on_upcall(v, &m, v->loop.now_ns);
	}
}

static void on_own_upcalls(struct loop_source *source, uint32_t events)
{
	(void)events;
	run_upcalls(container_of(source, struct vand, dataplane.upcalls[UPCALL_OWN]), UPCALL_OWN);
}

static void on_strangers_upcalls(struct loop_source *source, uint32_t events)
{
	(void)events;
	run_upcalls(container_of(source, struct vand, dataplane.upcalls[UPCALL_STRANGERS]),
		UPCALL_STRANGERS);
}

static void unwatch_upcalls(struct vand *v)
{
	for (int i = 0; i < UPCALL_CHANNELS; i++)
		loop_remove(&v->loop, &v->dataplane.upcalls[i]);
}

static int watch_upcalls(struct vand *v)
{
	struct dataplane *d = &v->dataplane;
	int rc = 0;

	d->upcalls[UPCALL_OWN].ready = on_own_upcalls;
	d->upcalls[UPCALL_STRANGERS].ready = on_strangers_upcalls;
	for (int i = 0; rc == 0 && i < UPCALL_CHANNELS; i++) {
		d->upcalls[i].fd = d->upcall->control_fd[i];
		rc = loop_add(&v->loop, &d->upcalls[i], EPOLLIN);
	}
	if (rc < 0)
		unwatch_upcalls(v);
	return rc;
}

/* -- start and stop -- */

static unsigned int count_workers(const struct vand *v)
{
	cpu_set_t cpus;
	int count = 1;

	if (v->config.workers)
		return (unsigned int)v->config.workers;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		count = CPU_COUNT(&cpus);
	return count < AUTO_WORKERS_MAX ? (unsigned int)count : AUTO_WORKERS_MAX;
}

int dataplane_open(struct vand *v, uint16_t port, uint16_t *ret_port, struct err *e)
{
	const struct udp_options options = {.workers = count_workers(v),
		.gso = v->config.udp_gso,
		.gro = v->config.udp_gro,
		.tos = v->config.ecn};
	struct udp *udp;
	int rc = tap_probe(&v->dataplane.vnet, &v->dataplane.uso, e);

	if (rc < 0)
		return rc;
	udp = calloc(1, sizeof(*udp));
	if (!udp)
		return err_set(e, -ENOMEM, "out of memory");
	rc = udp_open(udp, port, &options, e);
	if (rc < 0) {
		free(udp);
		return rc;
	}
	v->dataplane.udp = udp;
	v->dataplane.worker_count = udp->workers;
	*ret_port = udp->port;
	return 0;
}

static const struct seal_backend *choose_backend(const struct vand *v)
{
	const char *name = v->config.cipher;

	return seal_backend_find(!name || !strcmp(name, "auto") ? NULL : name);
}

static int start_sessions(
	struct vand *v, const uint8_t mesh[MESSAGE_MESH_LEN], const struct seal_backend *backend)
{
	const struct session_io io = {.ctx = v,
		.send = io_send,
		.send_whole = io_send_whole,
		.next_stamp = io_next_stamp,
		.epoch = io_epoch,
		.underlay_mtu = io_underlay_mtu,
		.changed = io_changed,
		.control = io_control,
		.probed = io_probed,
		.rearm = io_rearm};
	struct session_config config = {.identity = v->identity,
		.lanes = (uint8_t)(MESSAGE_LANE_WORKER + v->dataplane.worker_count),
		.backend = backend};

	memcpy(config.mesh, mesh, sizeof(config.mesh));
	memcpy(config.psk, v->psk, sizeof(config.psk));
	session_timers_default(&config.timers);
	config.timers.rekey_after = (uint64_t)v->config.rekey_after_s * NS_PER_S;
	if (v->config.pmtu_discovery)
		config.pmtu_raise_ns = (uint64_t)v->config.pmtu_raise_s * NS_PER_S;
	return sessions_new(&config, &io, &v->dataplane.control, &v->dataplane.sessions);
}

static void free_workers(struct dataplane *d)
{
	for (unsigned int i = 0; i < d->worker_count; i++)
		worker_free(STEAL(d->workers[i]));
}

static int make_workers(struct vand *v, const struct seal_backend *backend)
{
	struct dataplane *d = &v->dataplane;
	struct worker_config config = {.udp = d->udp,
		.sessions = d->sessions,
		.networks = &d->networks,
		.backend = backend,
		.upcall = d->upcall,
		.several = d->worker_count > 1,
		.copy_tos = (uint8_t)((v->config.ecn ? ECN_COPY : 0) |
				      (v->config.copy_dscp ? ECN_COPY_DSCP : 0)),
		.busy_poll_us = (uint32_t)v->config.busy_poll_us,
		.join_tcp = v->config.tap_offload && d->vnet,
		.join_udp = v->config.tap_offload && v->config.udp_super_frames && d->uso};
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < d->worker_count; i++) {
		config.index = i;
		rc = worker_new(&config, &d->workers[i]);
	}
	if (rc < 0)
		free_workers(d);
	return rc;
}

static int start_workers(struct dataplane *d, struct err *e)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < d->worker_count; i++)
		rc = worker_start(d->workers[i], e);
	return rc;
}

int dataplane_start(struct vand *v, const uint8_t mesh[MESSAGE_MESH_LEN], struct err *e)
{
	struct dataplane *d = &v->dataplane;
	const struct seal_backend *backend = choose_backend(v);
	int rc;

	if (!backend)
		return err_set(e, -ENOTSUP,
			"cipher \"%s\" is not usable on this machine; set cipher = \"auto\"",
			v->config.cipher);
	d->upcall = calloc(1, sizeof(*d->upcall));
	if (!d->upcall)
		return err_set(e, -ENOMEM, "out of memory");
	rc = upcall_init(d->upcall);
	if (rc < 0)
		goto err_upcall;
	rc = start_sessions(v, mesh, backend);
	if (rc < 0)
		goto err_upcall_done;
	rc = make_workers(v, backend);
	if (rc < 0)
		goto err_sessions;
	rc = networks_init(&d->networks, d->workers, d->worker_count);
	if (rc < 0)
		goto err_workers;
	rc = watch_upcalls(v);
	if (rc < 0)
		goto err_networks;
	rc = start_workers(d, e);
	if (rc < 0)
		goto err_loop;
	d->tick.fire = on_tick;
	loop_timer_set(&v->loop, &d->tick, v->loop.now_ns);
	d->running = true;
	log_info("data plane up: UDP port %u, %s, %u worker%s", v->port, backend->name,
		d->worker_count, d->worker_count == 1 ? "" : "s");
	return 0;

err_loop:
	unwatch_upcalls(v);
err_networks:
	free_workers(d); /* some may run; they look at the networks */
	networks_done(&d->networks);
err_workers:
	free_workers(d);
err_sessions:
	sessions_free(d->sessions, false, 0);
	d->sessions = NULL;
err_upcall_done:
	upcall_done(d->upcall);
err_upcall:
	free(d->upcall);
	d->upcall = NULL;
	if (e && !e->code)
		err_set(e, rc, "cannot start the data plane: %s", err_name(rc));
	return rc;
}

void dataplane_stop(struct vand *v)
{
	struct dataplane *d = &v->dataplane;

	if (!d->running)
		return;
	d->running = false;
	loop_timer_cancel(&v->loop, &d->tick);
	unwatch_upcalls(v);
	networks_clear(&d->networks);
	free_workers(d);
	networks_done(&d->networks);
	sessions_free(STEAL(d->sessions), true, clock_boottime_ns());
	upcall_done(d->upcall);
	free(STEAL(d->upcall));
}

void dataplane_close(struct vand *v)
{
	dataplane_stop(v);
	if (!v->dataplane.udp)
		return;
	udp_close(v->dataplane.udp);
	free(v->dataplane.udp);
	v->dataplane.udp = NULL;
}

void dataplane_underlay_changed(struct vand *v)
{
	if (!v->dataplane.running)
		return;
	sessions_each(v->dataplane.sessions, forget_datagram_max, NULL);
	sessions_underlay_changed(v->dataplane.sessions, v->loop.now_ns);
}

uint64_t dataplane_drops(const struct vand *v, enum drop_reason reason)
{
	uint64_t n = stats_read(&v->dataplane.control.drops[reason]);

	for (unsigned int i = 0; i < v->dataplane.worker_count; i++) {
		if (v->dataplane.workers[i])
			n += stats_read(&v->dataplane.workers[i]->counters.drops[reason]);
	}
	return n;
}

uint64_t dataplane_events(const struct vand *v, enum stat_event event)
{
	uint64_t n = stats_read(&v->dataplane.control.events[event]);

	for (unsigned int i = 0; i < v->dataplane.worker_count; i++) {
		if (v->dataplane.workers[i])
			n += stats_read(&v->dataplane.workers[i]->counters.events[event]);
	}
	return n;
}
