/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/cmd.h"

#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/clock.h"
#include "lib/log.h"

#define PROGRESS_NS (200 * NS_PER_MS)

static const struct command {
	const char *name;
	const char *usage; /* after "console-api NAME" */
	const char *brief;
	const char *text;
	size_t words; /* exactly so many */
	bool has_noted;
	int (*run)(struct cmd_args *a);
} commands[] = {
	{.name = "export",
		.usage = "[-c FILE] OUT|-",
		.brief = "write the whole mesh to a file",
		.text = "Writes everything that the store holds to OUT (mode 0600; \"-\": standard output), as\n"
			"of one moment; the console may be running. `import` reads it into any kind of store.\n"
			"The TLS key and admin.key in the state directory are not part of it.\n",
		.words = 1,
		.run = cmd_export},
	{.name = "import",
		.usage = "[-c FILE] IN",
		.brief = "read such a file, or a backup, into an empty store",
		.text = "Reads what `export` or `backup` wrote into the store of the configuration, which must be\n"
			"empty: stop the console before, and start it afterwards. Nodes find everything as it\n"
			"was; they get their whole maps once. The audit trail stays verifiable. An import that\n"
			"was interrupted is done again: the store is not usable before.\n",
		.words = 1,
		.run = cmd_import},
	{.name = "backup",
		.usage = "[-c FILE] OUT",
		.brief = "copy the store while the console runs",
		.text = "Copies the store to OUT (mode 0600), as of one moment; the console may be running. OUT is\n"
			"replaced when the copy is whole and on the disk. Of a store in etcd it is an export, which may go\n"
			"to standard output (\"-\").\n"
			"To restore it: `import` into an empty store.\n",
		.words = 1,
		.run = cmd_backup},
	{.name = "audit",
		.usage = "verify [-c FILE] [--noted FILE]",
		.brief = "verify that nobody altered the audit trail",
		.text = "Walks the whole audit trail and reports every row that was altered, moved, put in or\n"
			"taken out. On success it prints, for each chain, its name, its last row's number and that\n"
			"row's hash. Keep these lines at another place: with --noted, the trail must hold the rows\n"
			"that such lines name. Nothing else tells of a trail that was made anew from some row on,\n"
			"or of one whose end was cut off by somebody who put back its head as well.\n"
			"Exit code 3: the trail is broken.\n",
		.words = 1,
		.has_noted = true,
		.run = cmd_audit},
	{.name = "check",
		.usage = "[-c FILE]",
		.brief = "check that everything in the store fits together",
		.text = "Reads everything that the store holds, as of one moment, and reports what does not fit\n"
			"together: it should be nothing. The console may be running.\n"
			"Exit code 3: something does not fit.\n",
		.words = 0,
		.run = cmd_check},
	{.name = "tls",
		.usage = "status|next|switch|new [-c FILE]",
		.brief = "change the TLS key while nodes know the pins of both",
		.text = "next: makes the key that will follow and prints its pin; after a SIGHUP (systemctl reload)\n"
			"the console tells it to all nodes beside the present one. switch: the next key takes the\n"
			"place of the present one; the console uses it after another SIGHUP. In between, wait until\n"
			"all nodes have had contact: one that has not heard of the new key will refuse it, and needs\n"
			"to join again with a new token. Join tokens and logins carry the pin of the key that was in\n"
			"use when they were made. status: prints the pins. new: makes a key where it was lost, or\n"
			"where a store was imported without it; all nodes have to join again then.\n",
		.words = 1,
		.run = cmd_tls},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

void cmd_list(FILE *out)
{
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %-32s %s\n", commands[i].name, commands[i].usage,
			commands[i].brief);
}

static void print_help(const struct command *c)
{
	printf("Usage: console-api %s %s\n\n%s\n"
	       "  -c, --config FILE        the console's configuration; default: %s\n",
		c->name, c->usage, c->text, CMD_CONFIG);
	if (c->has_noted)
		puts("      --noted FILE         lines that were printed before");
	puts("  -q, --quiet              no progress and no summary\n"
	     "  -h, --help               this text\n\n"
	     "Exit codes: 0 done, 1 error, 2 usage.");
}

static int usage_error(const struct command *c)
{
	fprintf(stderr, "Usage: console-api %s %s\nconsole-api %s --help says more.\n", c->name,
		c->usage, c->name);
	return CMD_USAGE;
}

int cmd_fail(const char *command, const struct err *e)
{
	fprintf(stderr, "console-api %s: %s\n", command, e->text);
	return CMD_FAILED;
}

int cmd_become_owner(const char *dir, struct err *e)
{
	struct stat st;

	if (geteuid() != 0 || stat(dir, &st) || st.st_uid == 0)
		return 0;
	if (setgroups(0, NULL) || setgid(st.st_gid) || setuid(st.st_uid))
		return err_set(
			e, -errno, "cannot become the owner of %s: %s", dir, strerror(errno));
	return 0;
}

void cmd_progress(void *ctx, uint64_t done, uint64_t all)
{
	struct cmd_progress *p = ctx;
	uint64_t now_ns = clock_boottime_ns();

	if (!p->what || !isatty(STDERR_FILENO) || now_ns - p->shown_ns < PROGRESS_NS)
		return;
	p->shown_ns = now_ns;
	p->shown = true;
	if (all)
		fprintf(stderr, "\r%s: %llu of %llu (%llu %%) ", p->what, (unsigned long long)done,
			(unsigned long long)all, (unsigned long long)(done * 100 / all));
	else
		fprintf(stderr, "\r%s: %llu ", p->what, (unsigned long long)done);
}

void cmd_progress_done(struct cmd_progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* 0: to be run. Otherwise *ret_exit is the exit code. */
static int read_arguments(const struct command *c, int argc, char **argv, struct cmd_args *a,
	const char **ret_config, int *ret_exit)
{
	enum { OPT_NOTED = 256 };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"noted", required_argument, NULL, OPT_NOTED},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	*ret_exit = CMD_USAGE;
	while ((opt = getopt_long(argc, argv, "c:qh", options, NULL)) != -1) {
		if (opt == 'c') {
			*ret_config = optarg;
		} else if (opt == 'q') {
			a->quiet = true;
		} else if (opt == OPT_NOTED && c->has_noted) {
			a->noted = optarg;
		} else if (opt == 'h') {
			print_help(c);
			*ret_exit = CMD_OK;
			return -1;
		} else {
			*ret_exit = usage_error(c);
			return -1;
		}
	}
	for (; optind < argc && a->word_count < CMD_WORDS; optind++)
		a->words[a->word_count++] = argv[optind];
	if (optind < argc || a->word_count != c->words) {
		*ret_exit = usage_error(c);
		return -1;
	}
	return 0;
}

int cmd_main(int argc, char **argv)
{
	const struct command *c = command_find(argv[0]);
	const char *config_path = CMD_CONFIG;
	struct cmd_args args = {0};
	struct err e = {0};
	int code;

	if (!c) {
		fprintf(stderr, "console-api: there is no command \"%s\"; see --help\n", argv[0]);
		return CMD_USAGE;
	}
	log_init("console-api", LOG_LEVEL_WARN);
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	if (read_arguments(c, argc, argv, &args, &config_path, &code))
		return code;
	if (sodium_init() < 0) {
		fputs("console-api: cannot start libsodium\n", stderr);
		return CMD_FAILED;
	}
	if (config_load(config_path, &args.config, NULL, &e))
		return cmd_fail(c->name, &e);
	code = c->run(&args);
	config_done(&args.config);
	return code;
}
