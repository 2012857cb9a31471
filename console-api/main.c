/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console-api: the registry of VAN. This file is the table of contents: what is started in which
 * order, and taken down in the reverse one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "console-api/agent_clone.h"
#include "console-api/cmd.h"
#include "console-api/console.h"
#include "console-api/consoles.h"
#include "console-api/presence.h"
#include "console-api/store_open.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/notify.h"

#define HOUSEKEEPING_MS     5000
#define AUTH_FAILURES_PER_S 5
#define WORK_PER_REQUEST_MS 1 /* at rate_requests of 300: 300 ms of every second */
#define EXIT_USAGE          2

static void print_usage(FILE *out)
{
	fputs("Usage: console-api -c FILE\n"
	      "       console-api COMMAND [-c FILE] …\n"
	      "\n"
	      "The registry of VAN: keeps which networks and nodes exist, and tells the nodes.\n"
	      "\n"
	      "  -c, --config FILE        read the configuration from FILE and run\n"
	      "      --check-config       say whether the file of -c is right, and end\n"
	      "      --print-example-config\n"
	      "                           write a commented configuration with all options\n"
	      "      --print-man-options  write the options as a section of the manual page\n"
	      "  -h, --help               this text\n"
	      "  -V, --version            the version\n"
	      "\n"
	      "Commands, each with --help:\n",
		out);
	cmd_list(out);
	fputs("\nSee console-api(8) and console-api.conf(5).\n", out);
}

struct arguments {
	const char *config_path;
	bool check_config;
	int exit_code; /* when there is nothing to run */
};

/* True when there is something to run. */
static bool read_arguments(int argc, char **argv, struct arguments *args)
{
	enum { OPT_CHECK = 256, OPT_EXAMPLE, OPT_MAN };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, OPT_CHECK},
		{"print-example-config", no_argument, NULL, OPT_EXAMPLE},
		{"print-man-options", no_argument, NULL, OPT_MAN},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int opt;

	args->exit_code = EXIT_USAGE;
	while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			args->config_path = optarg;
			break;
		case OPT_CHECK:
			args->check_config = true;
			break;
		case OPT_EXAMPLE:
			conf_print_example(&config_schema, stdout);
			args->exit_code = 0;
			return false;
		case OPT_MAN:
			conf_print_man(&config_schema, stdout);
			args->exit_code = 0;
			return false;
		case 'h':
			print_usage(stdout);
			args->exit_code = 0;
			return false;
		case 'V':
			puts("console-api " VAN_VERSION);
			args->exit_code = 0;
			return false;
		default:
			fputs("console-api --help says more.\n", stderr);
			return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "console-api: \"%s\" is not expected here; see --help\n",
			argv[optind]);
		return false;
	}
	if (!args->config_path) {
		fputs("console-api: -c FILE is needed; --print-example-config writes one\n",
			stderr);
		return false;
	}
	return true;
}

/*
 * Everything that needs a capability (a port below 1024, a directory of somebody else) is done:
 * started by hand as root, keep root's files but none of root's powers. As another user there is
 * nothing to drop.
 */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capset, &header, none))
		log_warn("cannot drop capabilities: %s", strerror(errno));
}

static void reread_log_level(const char *path)
{
	const char *warning;
	enum log_level level;
	struct config config;
	struct err e = {0};

	if (config_load(path, &config, &warning, &e)) {
		log_error("SIGHUP: nothing changed: %s", e.text);
		return;
	}
	if (log_level_parse(config.log_level, &level))
		log_set_level(level);
	log_info("SIGHUP: log_level is %s now; other options need a restart", config.log_level);
	config_done(&config);
}

static void take_pins(struct console *c)
{
	const uint8_t *next_pin = tls_next_pin(c->tls);

	memcpy(c->registry->pin, tls_pin(c->tls), sizeof(c->registry->pin));
	c->registry->has_next_pin = next_pin;
	if (next_pin)
		memcpy(c->registry->next_pin, next_pin, sizeof(c->registry->next_pin));
}

/* `console-api tls` has been at work on the files. */
static void reload_tls(struct console *c)
{
	bool changed = false;
	struct err e = {0};

	registry_lock(c->registry);
	if (tls_reload(c->tls, &changed, &e))
		log_error("SIGHUP: the TLS key stays as it was: %s", e.text);
	if (changed) {
		take_pins(c);
		consoles_announce(c->registry, clock_wall_ns() / NS_PER_S);
		log_info("SIGHUP: the TLS keys are others now; nodes are told their pins");
	}
	registry_unlock(c->registry);
}

/* Until SIGTERM or SIGINT. */
static int run(struct console *c, int signal_fd, const char *config_path)
{
	struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
		{.fd = store_poll_fd(c->registry->store), .events = POLLIN}};
	uint64_t next_ns = clock_boottime_ns();

	for (;;) {
		struct signalfd_siginfo info;
		uint64_t now_ns = clock_boottime_ns();

		if (now_ns >= next_ns) {
			registry_lock(c->registry);
			registry_housekeeping(c->registry);
			stats_sweep(c->stats, c->registry->store);
			registry_unlock(c->registry);
			next_ns = now_ns + HOUSEKEEPING_MS * NS_PER_MS;
		}
		if (poll(fds, 2, HOUSEKEEPING_MS) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents) {
			registry_lock(c->registry);
			store_poll(c->registry->store);
			registry_unlock(c->registry);
		}
		if (!(fds[0].revents & POLLIN) || read(signal_fd, &info, sizeof(info)) < 0)
			continue;
		if (info.ssi_signo == SIGHUP) {
			reread_log_level(config_path);
			reload_tls(c);
			continue;
		}
		log_info("stopping");
		notify_send("STOPPING=1");
		return 0;
	}
}

/* Before any thread is made, so that all of them inherit the mask. */
static int open_signals(int *ret_fd, struct err *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "cannot take signals: %s", strerror(errno));
	*ret_fd = fd;
	return 0;
}

/* Makes a TLS key at the first start: of the store, or of another console on a store that several
 * share. */
static int open_tls(struct console *c, struct store *store, struct err *e)
{
	CLEANUP(free) char *host = tls_host_of(c->config.public_url);
	CLEANUP(store_item) struct store_item item = {0};
	int rc = store_get(store, "/console", &item);

	if (rc && rc != -ENOENT)
		return err_set(e, rc, "cannot read the store: %s", err_name(rc));
	return tls_open(
		c->config.state_dir, host, rc == -ENOENT || store_is_shared(store), &c->tls, e);
}

static int open_registry(struct console *c, struct err *e)
{
	CLEANUP(free) char *key_path = xasprintf("%s/admin.key", c->config.state_dir);
	enum clone_policy policy = CLONE_ALARM;
	struct store *store;
	int rc = store_open(&c->config, STORE_WRITE, &store, e);

	if (rc)
		return rc;
	rc = registry_check_imported(store, e);
	if (!rc)
		rc = open_tls(c, store, e);
	if (!rc)
		rc = registry_open(store, key_path, &c->registry, e);
	if (rc) {
		store_close(store);
		return rc;
	}
	c->registry->public_url = c->config.public_url;
	c->registry->audit_days = (unsigned int)c->config.audit_days;
	c->registry->event_days = (unsigned int)c->config.event_days;
	memcpy(c->registry->limits, c->config.limits, sizeof(c->registry->limits));
	take_pins(c);
	clone_policy_parse(c->config.clone_policy, &policy);
	c->registry->clone_policy = policy;
	c->registry->mesh_signatures =
		c->config.mesh_signatures && strcmp(c->config.store, "etcd") != 0;
	consoles_announce(c->registry, clock_wall_ns() / NS_PER_S);
	return 0;
}

/* Without a privilege: it makes a thread. */
static int start_stats(struct console *c, struct err *e)
{
	CLEANUP(free) char *path = xasprintf("%s/stats.db", c->config.state_dir);
	int rc;

	c->stats = stats_new((size_t)c->config.stats_memory_mb << 20);
	rc = stats_file_open(
		path, c->stats, (unsigned int)c->config.stats_save_s, &c->stats_file, e);
	if (rc)
		return rc;
	c->metrics = metrics_new();
	store_time_commits(c->registry->store, metrics_commit, c->metrics);
	store_on_change(c->registry->store, stats_on_change, c->stats);
	return c->config.metrics_listen
		       ? metrics_server_start(c, &c->config.metrics_on, &c->metrics_server, e)
		       : 0;
}

static int start_http(struct console *c, struct err *e)
{
	int rc;

	const struct auth_rates rates = {.requests = (unsigned int)c->config.rate_requests,
		.address = (unsigned int)c->config.rate_address,
		.enrolments = (unsigned int)c->config.rate_enrolments,
		.failures = AUTH_FAILURES_PER_S,
		.work_ms = (unsigned int)c->config.rate_requests * WORK_PER_REQUEST_MS};
	c->auth = auth_new(&rates, clock_wall_ns() / NS_PER_S);
	rc = httpd_new(c, &c->httpd, e);
	if (rc)
		return rc;
	c->watch = watch_new((size_t)c->config.max_connections / 2);
	store_on_change(c->registry->store, watch_on_change, c->watch);
	store_on_change(c->registry->store, httpd_on_change, c->httpd);
	/* Capabilities are a thread's own: before the server's thread is made. */
	drop_capabilities();
	presence_new(c->registry, clock_boottime_ns());
	rc = store_start(c->registry->store, e);
	if (!rc)
		rc = start_stats(c, e);
	return rc ? rc : httpd_start(c->httpd, e);
}

static int console_main(struct console *c, const char *config_path, struct err *e)
{
	CLEANUP(close) int lock_fd = -1;
	CLEANUP(close) int signal_fd = -1;
	int rc = open_signals(&signal_fd, e);

	if (rc)
		return rc;
	rc = state_dir_lock(c->config.state_dir, &lock_fd, e);
	if (rc)
		return rc;
	rc = open_registry(c, e);
	if (rc)
		goto err_tls;
	rc = start_http(c, e);
	if (rc)
		goto err_registry;
	log_info("console-api " VAN_VERSION " listens on %s, nodes reach it at %s",
		c->config.listen, c->config.public_url);
	notify_send("READY=1");
	rc = run(c, signal_fd, config_path);
	if (rc)
		err_set(e, rc, "waiting failed: %s", err_name(rc));

err_registry:
	metrics_server_stop(c->metrics_server);
	httpd_free(c->httpd);
	store_off_change(c->registry->store, c->httpd); /* nobody but us uses the store now */
	store_off_change(c->registry->store, c->watch);
	watch_free(c->watch);
	auth_free(c->auth);
	stats_file_close(c->stats_file);
	store_off_change(c->registry->store, c->stats);
	store_time_commits(c->registry->store, NULL, NULL);
	stats_free(c->stats);
	metrics_free(c->metrics);
	registry_free(c->registry);
	free(c->openapi);
err_tls:
	tls_close(c->tls);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	struct console c = {0};
	const char *warning;
	enum log_level level;
	enum log_format format;
	struct err e = {0};
	int rc;

	/* One heap for all threads: what one of them loads at the start and another replaces bit by bit
	 * (statistics) would otherwise be there twice after a month. */
	mallopt(M_ARENA_MAX, 1);
	if (argc > 1 && argv[1][0] != '-')
		return cmd_main(argc - 1, argv + 1);
	if (!read_arguments(argc, argv, &args))
		return args.exit_code;
	log_init("console-api", LOG_LEVEL_INFO);
	umask(077);
	rc = config_load(args.config_path, &c.config, &warning, &e);
	if (rc) {
		log_error("%s", e.text);
		return 1;
	}
	if (log_level_parse(c.config.log_level, &level))
		log_set_level(level);
	if (log_format_parse(c.config.log_format, &format))
		log_set_format(format);
	if (warning)
		log_warn("%s", warning);
	if (args.check_config) {
		puts("the configuration is right");
		config_done(&c.config);
		return 0;
	}
	if (sodium_init() < 0) {
		log_error("cannot start libsodium");
		return 1;
	}
#ifndef __SANITIZE_ADDRESS__                /* it looks for leaks as a debugger does */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core with keys in it */
#endif
	rc = console_main(&c, args.config_path, &e);
	config_done(&c.config);
	if (rc)
		log_error("%s", e.text);
	return rc ? 1 : 0;
}
