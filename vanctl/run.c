// SPDX-License-Identifier: Apache-2.0
/*
 * From the command line to the exit status: parse, run the command's handler, report what it says.
 * Everything that is for people goes through here, so that no control character gets through.
 */
#include "vanctl/vanctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "vanctl/help.h"
#include "vanctl/text.h"

static const struct {
	int code;
	enum exit_status status;
} exit_table[] = {
	{VAN_E_SYNTAX, EXIT_USAGE},
	{VAN_E_UNREACHABLE, EXIT_UNREACHABLE},
	{VAN_E_TLS, EXIT_UNREACHABLE},
	{ECONNREFUSED, EXIT_UNREACHABLE},
	{EHOSTUNREACH, EXIT_UNREACHABLE},
	{ENETUNREACH, EXIT_UNREACHABLE},
	{VAN_E_DENIED, EXIT_DENIED},
	{VAN_E_UNAUTHENTIC, EXIT_DENIED},
	{EACCES, EXIT_DENIED},
	{EPERM, EXIT_DENIED},
	{VAN_E_NOT_FOUND, EXIT_NOT_FOUND},
	{VAN_E_GONE, EXIT_NOT_FOUND},
	{VAN_E_CONFLICT, EXIT_CONFLICT},
	{EEXIST, EXIT_CONFLICT},
	{VAN_E_TIMEOUT, EXIT_TIMEOUT},
	{ETIMEDOUT, EXIT_TIMEOUT},
};

enum exit_status vanctl_exit_status(int code)
{
	if (code == 0)
		return EXIT_OK;
	for (size_t i = 0; i < sizeof(exit_table) / sizeof(exit_table[0]); i++) {
		if (exit_table[i].code == -code)
			return exit_table[i].status;
	}
	return EXIT_ERROR;
}

__attribute__((format(printf, 3, 0))) static void print_message(
	struct vanctl *v, const char *prefix, const char *fmt, va_list ap)
{
	char *text;

	if (v->quiet || vasprintf(&text, fmt, ap) < 0)
		return;
	fputs(prefix, v->err);
	text_clean(v->err, text);
	fputc('\n', v->err);
	fflush(v->err);
	free(text);
}

void vanctl_say(struct vanctl *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_message(v, "", fmt, ap);
	va_end(ap);
}

void vanctl_warn(struct vanctl *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_message(v, "warning: ", fmt, ap);
	va_end(ap);
}

static void print_error(FILE *to, const char *text)
{
	fputs("vanctl: ", to);
	text_clean(to, text);
	fputc('\n', to);
}

void vanctl_error(struct vanctl *v, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	print_error(v->err, text);
	free(text);
}

/* Which help is nearest to what went wrong. */
static void print_hint(FILE *to, const struct command_args *args)
{
	const struct command *c = args->command;

	if (c) {
		fputs("Usage: vanctl ", to);
		help_usage(to, c);
		fputc('\n', to);
	} else if (args->noun) {
		fprintf(to, "Try 'vanctl %s --help'.\n", args->noun);
	} else {
		fputs("Try 'vanctl --help'.\n", to);
	}
}

static void print_help(FILE *to, const struct command_args *args)
{
	if (args->command)
		help_command(to, args->command);
	else if (args->noun)
		help_noun(to, args->noun);
	else
		help_all(to);
}

/* What has been written may still be on its way to a full disk. */
static enum exit_status finish(FILE *out, FILE *err, enum exit_status status)
{
	if (fflush(out) != 0 || ferror(out)) {
		fprintf(err, "vanctl: cannot write the output: %s\n", strerror(errno));
		return status == EXIT_OK ? EXIT_ERROR : status;
	}
	return status;
}

/* Words for other programs than people's: shells, and the build. */
static bool run_internal(int argc, char *const argv[], FILE *out)
{
	if (argc < 2)
		return false;
	if (strcmp(argv[1], "--print-man") == 0 && argc == 2) {
		man_print(out);
		return true;
	}
	if (strcmp(argv[1], "--complete") == 0) {
		bool marked = argc > 2 && strcmp(argv[2], "--") == 0;

		completion_words(out, argc - 2 - marked, argv + 2 + marked);
		return true;
	}
	return false;
}

static enum exit_status run_command(struct vanctl *v)
{
	struct err e = {0};
	int rc = v->args->command->run(v, &e);
	enum exit_status status;

	if (rc == 0)
		return finish(v->out, v->err, EXIT_OK);
	status = finish(v->out, v->err, vanctl_exit_status(rc));
	if (*e.text)
		print_error(v->err, e.text);
	if (status == EXIT_USAGE)
		print_hint(v->err, v->args);
	return status;
}

static bool want_bold(FILE *out, const struct command_args *args)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && !args->set[OPT_NO_COLOR] && !(no_color && *no_color) &&
	       !(term && strcmp(term, "dumb") == 0);
}

int vanctl_run(int argc, char *const argv[], FILE *in, FILE *out, FILE *err)
{
	char version[] = "version";
	char *const version_words[] = {version, version, NULL};
	struct command_args args;
	struct vanctl v;
	struct err e = {0};
	int rc;

	if (run_internal(argc, argv, out))
		return finish(out, err, EXIT_OK);
	/* Also as an option, for those who try that first. */
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		argv = version_words;
	rc = command_parse(argc, argv, &args, &e);
	if (rc < 0) {
		print_error(err, e.text);
		print_hint(err, &args);
		return rc == -VAN_E_SYNTAX ? EXIT_USAGE : EXIT_ERROR;
	}
	if (args.help) {
		print_help(out, &args);
		return finish(out, err, EXIT_OK);
	}
	v = (struct vanctl){
		.in = in,
		.out = out,
		.err = err,
		.args = &args,
		.timeout_ms = (unsigned int)args.number[OPT_TIMEOUT],
		.quiet = args.set[OPT_QUIET],
		.verbose = args.set[OPT_VERBOSE],
		.err_is_tty = isatty(fileno(err)),
	};
	v.output = (struct output){
		.writer = strcmp(args.text[OPT_OUTPUT], "json") == 0 ? &output_json : &output_table,
		.to = out,
		.bold = want_bold(out, &args),
		.now_wall_s = (int64_t)(clock_wall_ns() / NS_PER_S),
	};
	return run_command(&v);
}
