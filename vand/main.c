/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vand: the table of contents. main() reads the command line, sets the daemon up step by step, runs
 * its loop, and takes it down in the reverse order.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "lib/log.h"
#include "lib/notify.h"
#include "vand/caps.h"
#include "vand/ctl.h"
#include "vand/reconcile.h"
#include "vand/registry.h"
#include "vand/reload.h"
#include "vand/route.h"
#include "vand/state.h"
#include "vand/stats.h"
#include "vand/vand.h"

#define EXIT_USAGE 2

static const char usage[] =
	"Usage: vand -c FILE\n"
	"The node daemon of VAN: carries the Ethernet frames of private networks between machines.\n"
	"\n"
	"  -c, --config FILE           the configuration (see vand.conf(5))\n"
	"      --check-config          read the configuration, say whether it is right, and exit\n"
	"      --print-example-config  print a commented example configuration\n"
	"      --version               print the version\n"
	"  -h, --help                  print this text\n"
	"\n"
	"Join a network with `vanctl join --token-file FILE`.\n";

enum action { RUN, CHECK_CONFIG };

/* -1: go on; otherwise the exit status. */
static int parse_arguments(int argc, char **argv, const char **ret_config, enum action *ret_action)
{
	enum { OPT_EXAMPLE = 256, OPT_MAN, OPT_COUNTERS, OPT_VERSION, OPT_CHECK };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, OPT_CHECK},
		{"print-example-config", no_argument, NULL, OPT_EXAMPLE},
		{"print-man-options", no_argument, NULL, OPT_MAN},
		{"print-man-counters", no_argument, NULL, OPT_COUNTERS},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			*ret_config = optarg;
			break;
		case OPT_CHECK:
			*ret_action = CHECK_CONFIG;
			break;
		case OPT_EXAMPLE:
			conf_print_example(&vand_config_schema, stdout);
			return 0;
		case OPT_MAN:
			conf_print_man(&vand_config_schema, stdout);
			return 0;
		case OPT_COUNTERS:
			stats_print_man(stdout);
			return 0;
		case OPT_VERSION:
			puts("vand " VAN_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try `vand --help`.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || !*ret_config) {
		fprintf(stderr, "vand: %s\nTry `vand --help`.\n",
			*ret_config ? "no arguments are taken besides the options"
				    : "a configuration is needed: vand -c FILE");
		return EXIT_USAGE;
	}
	return -1;
}

/* -- signals -- */

struct signals {
	struct vand *v;
	struct loop_source source;
};

static void on_signal(struct loop_source *source, uint32_t events)
{
	struct signals *s = container_of(source, struct signals, source);
	struct signalfd_siginfo info;
	struct err e = {0};

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP) {
		notify_send("STOPPING=1");
		loop_stop(&s->v->loop);
		return;
	}
	notify_send("RELOADING=1");
	if (vand_reload(s->v, &e) < 0)
		log_error("configuration not reloaded: %s", e.text);
	notify_send("READY=1");
}

/* Blocked before any thread starts, so that only the loop sees them. */
static int watch_signals(struct signals *s, struct vand *v)
{
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->v = v;
	s->source.ready = on_signal;
	s->source.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->source.fd < 0)
		return -errno;
	rc = loop_add(&v->loop, &s->source, EPOLLIN);
	if (rc < 0)
		close(s->source.fd);
	return rc;
}

/* -- the daemon -- */

static void on_underlay_changed(void *ctx)
{
	struct vand *v = ctx;

	dataplane_underlay_changed(v);
	if (v->registry)
		registry_report_soon(v->registry);
}

/* The UDP port: the one configured, or for 0 the one that we had last time if it is still free. */
static int open_port(struct vand *v, struct err *e)
{
	uint16_t wanted = (uint16_t)v->config.port;
	uint16_t last = state_port(v->state);
	int rc;

	if (wanted == 0 && last != 0 && dataplane_open(v, last, &v->port, NULL) == 0)
		return 0;
	rc = dataplane_open(v, wanted, &v->port, e);
	if (rc == 0 && wanted == 0)
		rc = state_set_port(v->state, v->port, e);
	return rc;
}

/* Takes up the mesh that the state knows, from the cache, without waiting for the console. */
static int resume_membership(struct vand *v, struct err *e)
{
	const struct state_membership *m = state_membership(v->state);
	int rc;

	if (!m)
		return 0;
	rc = dataplane_start(v, m->mesh, e);
	if (rc < 0)
		return rc;
	registry_start(v->registry);
	return 0;
}

static int set_up_and_run(struct vand *v, struct err *e)
{
	struct signals signals;
	int rc;

	rc = loop_init(&v->loop);
	if (rc < 0)
		return err_set(e, rc, "cannot start: %s", err_name(rc));
	rc = watch_signals(&signals, v);
	if (rc < 0) {
		err_set(e, rc, "cannot start: %s", err_name(rc));
		goto err_loop;
	}
	rc = state_open(v->config.state_dir, &v->state, e);
	if (rc < 0)
		goto err_signals;
	v->identity = state_identity(v->state);
	rc = route_open(&v->loop, on_underlay_changed, v, &v->route, e);
	if (rc < 0)
		goto err_state;
	rc = open_port(v, e);
	if (rc < 0)
		goto err_route;
	rc = reconcile_new(v, &v->reconcile);
	if (rc < 0)
		goto err_dataplane;
	rc = registry_new(v, &v->registry);
	if (rc < 0)
		goto err_reconcile;
	rc = ctl_open(v, &v->ctl, e);
	if (rc < 0)
		goto err_registry;
	rc = caps_drop(e); /* after ports below 1024, before the first thread */
	if (rc < 0)
		goto err_ctl;
	rc = resume_membership(v, e);
	if (rc < 0)
		goto err_ctl;

	log_info("vand " VAN_VERSION " ready, control socket %s", v->config.control_socket);
	notify_send("READY=1");
	rc = loop_run(&v->loop);
	if (rc < 0)
		err_set(e, rc, "event loop: %s", err_name(rc));
	log_info("stopping");
	registry_stop(v->registry);
	reconcile_clear(v->reconcile);
	dataplane_stop(v);

err_ctl:
	ctl_close(v->ctl);
err_registry:
	registry_free(v->registry);
err_reconcile:
	reconcile_free(v->reconcile);
err_dataplane:
	dataplane_close(v);
err_route:
	route_close(v->route);
err_state:
	state_close(v->state);
err_signals:
	loop_remove(&v->loop, &signals.source);
	close(signals.source.fd);
err_loop:
	loop_done(&v->loop);
	if (rc < 0 && e->code == 0)
		err_set(e, rc, "cannot start: %s", err_name(rc));
	return rc;
}

int main(int argc, char **argv)
{
	struct vand *v;
	struct err e = {0};
	enum action action = RUN;
	enum log_level level = LOG_LEVEL_INFO;
	enum log_format format;
	const char *config_path = NULL;
	int rc = parse_arguments(argc, argv, &config_path, &action);

	if (rc >= 0)
		return rc;
	log_init("vand", level);
	if (sodium_init() < 0) {
		log_error("libsodium does not start");
		return EXIT_FAILURE;
	}
	v = aligned_alloc(64, (sizeof(*v) + 63) & ~(size_t)63);
	if (!v) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	memset(v, 0, sizeof(*v));
	v->config_path = config_path;
	rc = vand_config_load(config_path, &v->config, &e);
	if (rc == 0)
		rc = vand_config_psk(&v->config, v->psk, &e);
	if (rc == 0 && log_level_parse(v->config.log_level, &level))
		log_set_level(level);
	if (rc == 0 && log_format_parse(v->config.log_format, &format))
		log_set_format(format);
	if (rc == 0 && action == RUN)
		rc = set_up_and_run(v, &e);
	if (rc < 0)
		log_error("%s", e.text);
	else if (action == CHECK_CONFIG)
		printf("%s is right\n", config_path);
	sodium_memzero(v->psk, sizeof(v->psk));
	conf_free(&vand_config_schema, &v->config);
	free(v);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
