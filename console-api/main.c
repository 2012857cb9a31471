/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console-api: the registry of VAN. This file is the table of contents: what is started in which
 * order, and taken down in the reverse one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "console-api/console.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/notify.h"

#define HOUSEKEEPING_MS     5000
#define AUTH_FAILURES_PER_S 5
#define EXIT_USAGE          2

static void print_usage(FILE *out)
{
	fputs("Usage: console-api -c FILE\n"
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
	      "See console-api(8) and console-api.conf(5).\n",
		out);
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

/* One console at a time on a state directory: the store's change notices are within the process. */
static int lock_state_dir(const char *dir, int *ret_fd, struct err *e)
{
	CLEANUP(free) char *path = xasprintf("%s/lock", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return err_set(
			e, -EBUSY, "another console-api is running on %s: stop it first", dir);
	}
	*ret_fd = fd;
	return 0;
}

static int prepare_state_dir(const char *dir, int *ret_lock_fd, struct err *e)
{
	int rc = file_make_dirs(dir, 0700, e);

	return rc ? rc : lock_state_dir(dir, ret_lock_fd, e);
}

/* The host of "https://host:port", without the brackets of an IPv6 address. */
static char *host_of(const char *url)
{
	const char *host = url + strlen("https://");
	const char *end;

	if (host[0] == '[')
		return xasprintf("%.*s", (int)strcspn(host + 1, "]"), host + 1);
	end = strchr(host, ':');
	return xasprintf("%.*s", end ? (int)(end - host) : (int)strlen(host), host);
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

/* Until SIGTERM or SIGINT. */
static int run(struct console *c, int signal_fd, const char *config_path)
{
	struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
		{.fd = httpd_timer_fd(c->httpd), .events = POLLIN}};
	uint64_t next_ns = clock_boottime_ns();

	for (;;) {
		struct signalfd_siginfo info;
		uint64_t now_ns = clock_boottime_ns();

		if (now_ns >= next_ns) {
			registry_lock(c->registry);
			registry_housekeeping(c->registry);
			registry_unlock(c->registry);
			next_ns = now_ns + HOUSEKEEPING_MS * NS_PER_MS;
		}
		if (poll(fds, 2, HOUSEKEEPING_MS) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			httpd_on_timer(c->httpd);
		if (!(fds[0].revents & POLLIN) || read(signal_fd, &info, sizeof(info)) < 0)
			continue;
		if (info.ssi_signo == SIGHUP) {
			reread_log_level(config_path);
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

static int open_registry(struct console *c, struct err *e)
{
	CLEANUP(free) char *store_path = xasprintf("%s/registry.db", c->config.state_dir);
	CLEANUP(free) char *key_path = xasprintf("%s/admin.key", c->config.state_dir);
	struct store *store;
	int rc = store_sqlite_open(store_path, &store, e);

	if (rc)
		return rc;
	rc = registry_open(store, key_path, &c->registry, e);
	if (rc) {
		store_close(store);
		return rc;
	}
	c->registry->public_url = c->config.public_url;
	c->registry->audit_days = (unsigned int)c->config.audit_days;
	memcpy(c->registry->pin, c->tls.pin, sizeof(c->registry->pin));
	return 0;
}

static int start_http(struct console *c, struct err *e)
{
	int rc;

	c->auth = auth_new((unsigned int)c->config.rate_requests,
		(unsigned int)c->config.rate_enrolments, AUTH_FAILURES_PER_S,
		clock_wall_ns() / NS_PER_S);
	rc = httpd_new(c, &c->httpd, e);
	if (rc)
		return rc;
	store_on_change(c->registry->store, httpd_on_change, c->httpd);
	/* Capabilities are a thread's own: before the server's thread is made. */
	drop_capabilities();
	return httpd_start(c->httpd, e);
}

static int console_main(struct console *c, const char *config_path, struct err *e)
{
	CLEANUP(free) char *host = host_of(c->config.public_url);
	CLEANUP(close) int lock_fd = -1;
	CLEANUP(close) int signal_fd = -1;
	int rc = open_signals(&signal_fd, e);

	if (rc)
		return rc;
	rc = prepare_state_dir(c->config.state_dir, &lock_fd, e);
	if (rc)
		return rc;
	rc = tls_load_or_create(c->config.state_dir, host, &c->tls, e);
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
	httpd_free(c->httpd);
	store_on_change(c->registry->store, NULL, NULL); /* nobody but us uses the store now */
	auth_free(c->auth);
	registry_free(c->registry);
err_tls:
	tls_done(&c->tls);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	struct console c = {0};
	const char *warning;
	enum log_level level;
	struct err e = {0};
	int rc;

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
	rc = console_main(&c, args.config_path, &e);
	config_done(&c.config);
	if (rc)
		log_error("%s", e.text);
	return rc ? 1 : 0;
}
