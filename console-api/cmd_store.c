/* SPDX-License-Identifier: Apache-2.0 */
#include "console-api/cmd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console-api/audit.h"
#include "console-api/check.h"
#include "console-api/store_open.h"
#include "console-api/store_sqlite.h"
#include "console-api/transfer.h"
#include "console-api/xalloc.h"
#include "lib/cleanup.h"
#include "lib/file.h"

static struct cmd_progress progress_of(const struct cmd_args *a, const char *what)
{
	return (struct cmd_progress){.what = a->quiet ? NULL : what};
}

static void on_fault(void *ctx, const char *line)
{
	(void)ctx;
	puts(line);
}

static int flush_stdout(const char *command)
{
	struct err e = {0};

	if (!fflush(stdout) && !ferror(stdout))
		return CMD_OK;
	err_set(&e, -EIO, "cannot write: %s", strerror(errno));
	return cmd_fail(command, &e);
}

/* -- export, backup -- */

static int export_to(struct cmd_args *a, FILE *out, uint64_t *ret_keys, struct err *e)
{
	struct cmd_progress progress = progress_of(a, "exporting");
	struct store *s;
	int rc = store_open(&a->config, STORE_READ, &s, e);

	if (rc)
		return rc;
	rc = transfer_export(s, out, cmd_progress, &progress, ret_keys, e);
	cmd_progress_done(&progress);
	store_close(s);
	return rc;
}

static int export_to_file(struct cmd_args *a, const char *path, uint64_t *ret_keys, struct err *e)
{
	CLEANUP(file_new) struct file_new f = {.fd = -1};
	CLEANUP(fclose) FILE *out = NULL;
	int rc = file_new_start(path, 0600, &f, e);
	int fd;

	if (rc)
		return rc;
	fd = dup(f.fd);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return err_set(e, -errno, "cannot write %s: %s", path, strerror(errno));
	rc = export_to(a, out, ret_keys, e);
	return rc ? rc : file_new_finish(&f, e);
}

static bool is_stdout(const struct cmd_args *a)
{
	return !strcmp(a->words[0], "-");
}

static int export_any(struct cmd_args *a, uint64_t *ret_keys, struct err *e)
{
	return is_stdout(a) ? export_to(a, stdout, ret_keys, e)
			    : export_to_file(a, a->words[0], ret_keys, e);
}

int cmd_export(struct cmd_args *a)
{
	uint64_t keys = 0;
	struct err e = {0};
	int rc = export_any(a, &keys, &e);

	if (rc)
		return cmd_fail("export", &e);
	if (!a->quiet)
		fprintf(stderr, "%llu keys were exported\n", (unsigned long long)keys);
	return CMD_OK;
}

static void on_pages(void *ctx, int left, int pages)
{
	cmd_progress(ctx, (uint64_t)(pages - left), (uint64_t)pages);
}

int cmd_backup(struct cmd_args *a)
{
	struct cmd_progress progress = progress_of(a, "copying pages");
	CLEANUP(free) char *path = xasprintf("%s/registry.db", a->config.state_dir);
	bool is_etcd = !strcmp(a->config.store, "etcd");
	uint64_t keys;
	struct err e = {0};
	int rc;

	if (is_etcd) {
		rc = export_any(a, &keys, &e);
	} else if (is_stdout(a)) {
		fputs("console-api backup: a copy of SQLite is a file, no stream: name one, or use "
		      "\"export -\"\n",
			stderr);
		return CMD_USAGE;
	} else {
		rc = store_sqlite_backup(path, a->words[0], on_pages, &progress, &e);
		cmd_progress_done(&progress);
	}
	if (rc)
		return cmd_fail("backup", &e);
	if (!a->quiet)
		fprintf(stderr, "the store is backed up%s%s\n", is_stdout(a) ? "" : " in ",
			is_stdout(a) ? "" : a->words[0]);
	return CMD_OK;
}

/* -- import -- */

static int import_from(struct cmd_args *a, struct transfer_source *from, struct err *e)
{
	struct cmd_progress progress = progress_of(a, "importing");
	CLEANUP(free) char *place = store_place(&a->config);
	CLEANUP(close) int lock_fd = -1;
	struct store *s;
	int rc = cmd_become_owner(a->config.state_dir, e); /* the input is open: it may be root's */

	if (!rc)
		rc = state_dir_lock(a->config.state_dir, &lock_fd, e);
	if (!rc)
		rc = store_open(&a->config, STORE_WRITE, &s, e);
	if (rc)
		return rc;
	rc = transfer_import(s, from, cmd_progress, &progress, e);
	cmd_progress_done(&progress);
	store_close(s);
	return rc ? err_prefix(e, rc, "%s", place) : 0;
}

int cmd_import(struct cmd_args *a)
{
	struct transfer_source from = {0};
	struct err e = {0};
	int rc = transfer_source_open(a->words[0], &from, &e);

	if (!rc)
		rc = import_from(a, &from, &e);
	if (!rc && !a->quiet)
		fprintf(stderr, "%llu keys were imported\n", (unsigned long long)from.keys);
	transfer_source_close(&from);
	return rc ? cmd_fail("import", &e) : CMD_OK;
}

/* -- audit -- */

/* Lines "CHAIN NUMBER HASH", as verify prints them. */
static int read_noted(const char *path, struct audit_report *report, struct err *e)
{
	CLEANUP(fclose) FILE *in = fopen(path, "re");
	CLEANUP(free) char *line = NULL;
	size_t room = 0;

	if (!in)
		return err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
	for (unsigned int n = 1; getline(&line, &room, in) > 0; n++) {
		char chain[STORE_INSTANCE_MAX + 1], hash[2 * HASH_LEN + 1];
		unsigned long long seq;

		if (line[0] == '\n' || line[0] == '#')
			continue;
		if (sscanf(line, "%32s %llu %64s", chain, &seq, hash) != 3 ||
			strlen(hash) != 2 * (size_t)HASH_LEN)
			return err_set(e, -VAN_E_SYNTAX,
				"%s:%u: must be CHAIN NUMBER HASH, as \"audit verify\" prints it",
				path, n);
		audit_note(report, chain, seq, hash);
	}
	return 0;
}

static int report_audit(const struct cmd_args *a, const struct audit_report *report)
{
	if (report->faults) {
		fprintf(stderr,
			"console-api audit: the trail is broken: %llu faults, %llu rows are right\n",
			(unsigned long long)report->faults, (unsigned long long)report->rows);
		return CMD_BROKEN;
	}
	for (size_t i = 0; i < report->chain_count; i++) {
		const struct audit_chain *c = &report->chains[i];

		printf("%s %llu %s\n", c->name, (unsigned long long)c->seq, c->hash);
		if (c->base_seq && !a->quiet)
			fprintf(stderr,
				"chain %s begins after row %llu: older ones were removed for their age\n",
				c->name, (unsigned long long)c->base_seq);
	}
	if (!a->quiet)
		fprintf(stderr, "%llu row%s in %zu chain%s: as written\n",
			(unsigned long long)report->rows, report->rows == 1 ? "" : "s",
			report->chain_count, report->chain_count == 1 ? "" : "s");
	if (!a->quiet && report->unchained)
		fprintf(stderr, "%llu older rows are not chained: they cannot be verified\n",
			(unsigned long long)report->unchained);
	return flush_stdout("audit");
}

int cmd_audit(struct cmd_args *a)
{
	struct audit_report report = {.fault = on_fault};
	struct store *s = NULL;
	struct err e = {0};
	int rc = 0, code;

	if (strcmp(a->words[0], "verify") != 0) {
		fprintf(stderr, "console-api audit: there is no \"%s\", only \"verify\"\n",
			a->words[0]);
		return CMD_USAGE;
	}
	if (a->noted)
		rc = read_noted(a->noted, &report, &e);
	if (!rc)
		rc = store_open(&a->config, STORE_READ, &s, &e);
	if (!rc) {
		rc = audit_verify(s, &report);
		if (rc)
			err_set(&e, rc, "cannot read the store: %s", err_name(rc));
	}
	code = rc ? cmd_fail("audit", &e) : report_audit(a, &report);
	store_close(s);
	audit_report_done(&report);
	return code;
}

/* -- check -- */

int cmd_check(struct cmd_args *a)
{
	struct cmd_progress progress = progress_of(a, "reading");
	struct check_result result;
	struct store *s = NULL;
	struct err e = {0};
	int rc = store_open(&a->config, STORE_READ, &s, &e);

	if (!rc)
		rc = check_store(s, on_fault, NULL, cmd_progress, &progress, &result, &e);
	cmd_progress_done(&progress);
	store_close(s);
	if (rc)
		return cmd_fail("check", &e);
	if (!a->quiet)
		fprintf(stderr, "%llu keys, %llu faults\n", (unsigned long long)result.keys,
			(unsigned long long)result.faults);
	rc = flush_stdout("check");
	return rc ? rc : result.faults ? CMD_BROKEN : CMD_OK;
}
