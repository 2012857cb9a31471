// SPDX-License-Identifier: Apache-2.0
#include "vanctl_support.h"

#include "vanctl/command.h"

/* Splits at blanks; "" within the text stands for an empty word. */
static int parse(const char *line, struct command_args *ret_args, struct err *e)
{
	static char buffer[512];
	char *argv[32] = {(char *)"vanctl"};
	int argc = 1;

	snprintf(buffer, sizeof(buffer), "%s", line);
	for (char *word = strtok(buffer, " "); word; word = strtok(NULL, " ")) {
		assert_true(argc < 31);
		argv[argc++] = strcmp(word, "\"\"") == 0 ? (char *)"" : word;
	}
	memset(e, 0, sizeof(*e));
	return command_parse(argc, argv, ret_args, e);
}

/* Every form that the reference gives for a command of this version. */
static void takes_every_documented_form(void **state)
{
	static const struct {
		const char *line, *noun, *verb, *first;
	} cases[] = {
		{"login --console https://c:8443 --key-file k", "login", NULL, NULL},
		{"login --console https://c:8443 --key-file k --pin sha256//x", "login", NULL,
			NULL},
		{"login --console https://c:8443 --key-file k --ca ca.pem", "login", NULL, NULL},
		{"login --console https://c:8443 --token-file k", "login", NULL, NULL},
		{"network create prod --cidr 172.16.1.0/24", "network", "create", "prod"},
		{"network create prod --cidr 10.0.0.0/8 --cidr6 fd00::/64 --encryption integrity "
		 "--mtu 1400",
			"network", "create", "prod"},
		{"network create prod --cidr 10.0.0.0/8 --encryption aes-256-gcm", "network",
			"create", "prod"},
		{"network list", "network", "list", NULL},
		{"network show prod", "network", "show", "prod"},
		{"network delete prod", "network", "delete", "prod"},
		{"token issue prod", "token", "issue", "prod"},
		{"token issue prod --uses 3 --ttl 1h --ephemeral 10m", "token", "issue", "prod"},
		{"token list", "token", "list", NULL},
		{"token list prod", "token", "list", "prod"},
		{"token list -n prod", "token", "list", NULL},
		{"token revoke tok_1", "token", "revoke", "tok_1"},
		{"join --token-file f", "join", NULL, NULL},
		{"join --token-file -", "join", NULL, NULL},
		{"join --token-file - --name n --address 172.16.1.5 --ifname vcider7 --wait 30s",
			"join", NULL, NULL},
		{"leave prod", "leave", NULL, "prod"},
		{"status", "status", NULL, NULL},
		{"peers", "peers", NULL, NULL},
		{"mac", "mac", NULL, NULL},
		{"stats", "stats", NULL, NULL},
		{"ping web-2", "ping", NULL, "web-2"},
		{"ping web-2 -c 3 -i 200ms --timeout 2s", "ping", NULL, "web-2"},
		{"reload", "reload", NULL, NULL},
		{"node list -n prod", "node", "list", NULL},
		{"node list", "node", "list", NULL},
		{"node show web-1 -n prod", "node", "show", "web-1"},
		{"node delete web-1 -n prod", "node", "delete", "web-1"},
		{"node add web-1 -n prod", "node", "add", "web-1"},
		{"node add web-1 -n prod --address 172.16.1.9", "node", "add", "web-1"},
		{"node set web-1 -n prod --address fd00::5", "node", "set", "web-1"},
		{"node set web-1 -n prod --name web-9", "node", "set", "web-1"},
		{"reservation list -n prod", "reservation", "list", NULL},
		{"reservation create 172.16.1.5 -n prod --node web-1 --note x", "reservation",
			"create", "172.16.1.5"},
		{"reservation create 172.16.1.64/26 -n prod --name printer", "reservation",
			"create", "172.16.1.64/26"},
		{"reservation delete 172.16.1.5 -n prod", "reservation", "delete", "172.16.1.5"},
		{"gateway candidates -n prod", "gateway", "candidates", NULL},
		{"gateway list -n prod", "gateway", "list", NULL},
		{"gateway show dc -n prod", "gateway", "show", "dc"},
		{"gateway add dc -n prod --prefix 10.0.0.0/8,0.0.0.0/0 --mode nat --metric 5 "
		 "--health icmp:10.0.0.1 --name up --note x",
			"gateway", "add", "dc"},
		{"gateway set dc -n prod --enabled no", "gateway", "set", "dc"},
		{"gateway remove dc -n prod", "gateway", "remove", "dc"},
		{"cloak show -n prod", "cloak", "show", NULL},
		{"cloak on -n prod --scope all --keep-ssh no --confirm-within 5m", "cloak", "on",
			NULL},
		{"cloak off -n prod", "cloak", "off", NULL},
		{"cloak allow -n prod", "cloak", "allow", NULL},
		{"cloak allow tcp/443 -n prod --from 10.0.0.0/8 --node a --interface eth0 "
		 "--priority 5 --note x",
			"cloak", "allow", "tcp/443"},
		{"cloak deny -n prod --from 10.0.0.0/8 --confirm-within 0", "cloak", "deny", NULL},
		{"cloak remove rule_1 -n prod", "cloak", "remove", "rule_1"},
		{"cloak confirm -n prod", "cloak", "confirm", NULL},
		{"fip list -n prod", "fip", "list", NULL},
		{"fip create 172.16.1.9 -n prod --name db --candidates a,b --assign a --vrid 7",
			"fip", "create", "172.16.1.9"},
		{"fip assign db web-1 -n prod", "fip", "assign", "db"},
		{"fip assign db -n prod", "fip", "assign", "db"},
		{"fip set db -n prod --candidates any", "fip", "set", "db"},
		{"fip delete db -n prod", "fip", "delete", "db"},
		{"export", "export", NULL, NULL},
		{"export prod", "export", NULL, "prod"},
		{"import f.json", "import", NULL, "f.json"},
		{"import - --dry-run --name copy --confirm-within 1m", "import", NULL, "-"},
		{"hosts -n prod", "hosts", NULL, NULL},
		{"completion bash", "completion", NULL, "bash"},
		{"completion zsh", "completion", NULL, "zsh"},
		{"version", "version", NULL, NULL},
		{"help", "help", NULL, NULL},
		{"help network create", "help", NULL, "network"},
		/* global options, wherever they stand */
		{"-o json network list", "network", "list", NULL},
		{"network -o json list", "network", "list", NULL},
		{"network list -o json", "network", "list", NULL},
		{"network list --output=json --socket /s --console https://c --key-file k --context x "
		 "-q -v --no-color --timeout 5s",
			"network", "list", NULL},
		{"--socket /s status", "status", NULL, NULL},
		{"node -n prod list", "node", "list", NULL},
		{"node -n prod show web-1", "node", "show", "web-1"},
		{"network show -- -odd", "network", "show", "-odd"},
		{"-qv -ojson status", "status", NULL, NULL},
	};
	char home[32];

	(void)state;
	make_home(home);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command_args args;
		struct err e;

		if (parse(cases[i].line, &args, &e) != 0)
			fail_msg("%s: %s", cases[i].line, e.text);
		assert_non_null(args.command);
		assert_string_equal(args.command->noun, cases[i].noun);
		if (cases[i].verb)
			assert_string_equal(args.command->verb, cases[i].verb);
		else
			assert_null(args.command->verb);
		if (cases[i].first)
			assert_string_equal(args.positionals[0], cases[i].first);
		else
			assert_null(args.positionals[0]);
	}
	remove_home(home);
}

static void values_arrive(void **state)
{
	struct command_args args;
	struct err e;

	(void)state;
	assert_int_equal(parse("token issue prod --uses 3 --ttl 1h30m -n x", &args, &e),
		-VAN_E_SYNTAX); /* -n is not an option of issue */
	assert_int_equal(parse("token issue prod --uses 3 --ttl 1h30m", &args, &e), 0);
	assert_int_equal(args.number[OPT_USES], 3);
	assert_int_equal(args.number[OPT_TTL], 5400000);
	assert_false(args.set[OPT_EPHEMERAL]);
	assert_int_equal(args.number[OPT_TIMEOUT], 30000);
	assert_false(args.set[OPT_TIMEOUT]);
	assert_string_equal(args.text[OPT_OUTPUT], "table");
	assert_int_equal(parse("ping x", &args, &e), 0);
	assert_int_equal(args.number[OPT_COUNT], 4);
	assert_int_equal(args.number[OPT_INTERVAL], 1000);
	assert_int_equal(parse("node -n a list -n b", &args, &e), 0);
	assert_string_equal(args.text[OPT_NETWORK], "b"); /* the last one counts */
	assert_int_equal(parse("node set x -n a --name y", &args, &e), 0);
	assert_true(args.set[OPT_NEW_NAME]);
	assert_string_equal(args.text[OPT_NEW_NAME], "y");
	assert_int_equal(parse("join --token-file f --name y", &args, &e), 0);
	assert_true(args.set[OPT_NAME]);
	assert_true(args.set[OPT_TOKEN_FILE]);
	assert_int_equal(parse("login --token-file f", &args, &e), 0);
	assert_true(args.set[OPT_LOGIN_TOKEN_FILE]);
}

static void environment_fills_in(void **state)
{
	struct command_args args;
	struct err e;

	(void)state;
	setenv("VAND_SOCKET", "/from/env", 1);
	setenv("VAN_CONTEXT", "", 1); /* empty is unset */
	assert_int_equal(parse("status", &args, &e), 0);
	assert_string_equal(args.text[OPT_SOCKET], "/from/env");
	assert_true(args.set[OPT_SOCKET]);
	assert_false(args.set[OPT_CONTEXT]);
	assert_int_equal(parse("status --socket /typed", &args, &e), 0);
	assert_string_equal(args.text[OPT_SOCKET], "/typed");
	unsetenv("VAND_SOCKET");
	unsetenv("VAN_CONTEXT");
	assert_int_equal(parse("status", &args, &e), 0);
	assert_string_equal(args.text[OPT_SOCKET], "/run/van/vand.sock");
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *said;
	} cases[] = {
		{"", "no command"},
		{"-q", "no command"},
		{"\"\"", "unknown command ''"},
		{"netwrok list", "did you mean 'network'?"},
		{"networks list", "did you mean 'network'?"},
		{"statsu", "did you mean"},
		{"zebra", "unknown command 'zebra'"},
		{"network", "network needs one of: create, list, show, set, stats, delete"},
		{"network -q", "needs one of"},
		{"network crate x", "did you mean 'create'?"},
		{"network frobnicate", "unknown command of network 'frobnicate'"},
		{"network create", "NAME is missing"},
		{"network create \"\" --cidr 10.0.0.0/8", "NAME is empty"},
		{"network create x", "--cidr CIDR is missing"},
		{"network create x y --cidr 10.0.0.0/8", "unexpected argument 'y'"},
		{"network create x --cidr", "needs a value"},
		{"network create x --cdir 1", "did you mean '--cidr'?"},
		{"network create x --zzzzzz", "unknown option '--zzzzzz'"},
		{"network create x --cidr 10.0.0.1/8", "did you mean 10.0.0.0/8?"},
		{"network create x --cidr 10.0.0.0", "is no IPv4 network"},
		{"network create x --cidr fd00::/64", "is no IPv4 network"},
		{"network create x --cidr 10.0.0.0/8 --cidr6 10.0.0.0/8", "is no IPv6 network"},
		{"network create x --cidr 10.0.0.0/8 --mtu 100", "out of range (1280 to 9000)"},
		{"network create x --cidr 10.0.0.0/8 --mtu 15e2", "is no number"},
		{"network create x --cidr 10.0.0.0/8 --mtu -1", "is no number"},
		{"network create x --cidr 10.0.0.0/8 --mtu 99999999999999999999", "is no number"},
		{"network create x --cidr 10.0.0.0/8 --encryption rot13",
			"is not aes-256-gcm or integrity"},
		{"network list x", "unexpected argument 'x'"},
		{"network set x --require-approval maybe", "is not yes or no"},
		{"network set x --labels a", "is not of the form KEY=VALUE"},
		{"network set x --labels =b", "is not of the form KEY=VALUE"},
		{"network set x --labels -", "is not of the form KEY=VALUE"},
		{"network set x --labels a=b,,c=d", "is not of the form KEY=VALUE"},
		{"network set x --labels a=b,", "is not of the form KEY=VALUE"},
		{"network set x --unset mtu,,name", "a word of 'mtu,,name' is empty"},
		{"network set x --unset ,mtu", "is empty"},
		{"network set x --unset mtu,", "is empty"},
		{"network set x --if-revision 0", "out of range"},
		{"network list --filter name", "is not of the form MEMBER=VALUE"},
		{"network list --filter name-", "is not of the form MEMBER=VALUE"},
		{"user create x --role console", "is not viewer, operator or admin"},
		{"user create x", "--role viewer|operator|admin is missing"},
		{"node move x -n a", "--to NETWORK is missing"},
		{"watch --count 0", "out of range"},
		{"token issue p --ttl soon", "is no duration"},
		{"token issue p --ttl 0s", "out of range"},
		{"token issue p --uses 0", "out of range"},
		{"join", "--token-file FILE|- is missing"},
		{"join --token-file f --address 1.2.3", "is no address"},
		{"join --token-file f --ifname a/b", "is no interface name"},
		{"join --token-file f --ifname sixteen-letters-", "is no interface name"},
		{"join --token-file f x", "the token is read from a file"},
		{"leave", "NETWORK is missing"},
		{"node add x", "--network NETWORK is missing"},
		{"hosts", "--network NETWORK is missing"},
		{"completion fish", "'fish' is not bash|zsh"},
		{"status -x", "unknown option '-x'"},
		{"status --quiet=3", "--quiet takes no value"},
		{"status --co", "short for several"},
		{"status -o", "--output needs a value"},
		{"status -o xml", "'xml' is not table or json"},
		{"status --timeout 0", "out of range"},
		{"--bogus status", "unknown option '--bogus'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command_args args;
		struct err e;

		if (parse(cases[i].line, &args, &e) != -VAN_E_SYNTAX)
			fail_msg("'%s' is taken", cases[i].line);
		if (!strstr(e.text, cases[i].said))
			fail_msg("'%s': %s", cases[i].line, e.text);
		assert_null(strchr(e.text, '\n'));
	}
}

/* Wherever somebody puts a token, it is refused and not repeated. */
static void secrets_in_arguments(void **state)
{
	static const char *const cases[] = {
		"join van1_SECRET",
		"join --token van1_SECRET",
		"join --token=van1_SECRET",
		"join --token-file van1_SECRET",
		"join --token-file f van1_SECRET",
		"join --secret van1_SECRET",
		"join --secret=van1_SECRET",
		"van1_SECRET",
		"network van1_SECRET",
		"network show van1_SECRET",
		"login --console https://c --token-file van1_SECRET",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command_args args;
		struct err e;

		assert_int_equal(parse(cases[i], &args, &e), -VAN_E_SYNTAX);
		assert_lacks(e.text, "SECRET");
	}
}

static void help_is_found(void **state)
{
	struct command_args args;
	struct err e;

	(void)state;
	assert_int_equal(parse("--help", &args, &e), 0);
	assert_true(args.help && !args.noun && !args.command);
	assert_int_equal(parse("network --help", &args, &e), 0);
	assert_true(args.help && args.noun && !args.command);
	assert_int_equal(parse("network create -h", &args, &e), 0);
	assert_true(args.help && args.command);
	assert_string_equal(args.command->verb, "create");
	assert_int_equal(parse("--help network create", &args, &e), 0);
	assert_true(args.help && args.command);
	assert_int_equal(parse("join --help", &args, &e), 0); /* nothing is missing then */
	assert_true(args.help && args.command);
}

/* Rows that break the rules of the table would do harm far away from it. */
static void the_table_is_sound(void **state)
{
	(void)state;
	for (const struct command *c = command_table; c->noun; c++) {
		assert_non_null(c->run);
		assert_non_null(c->help);
		assert_non_null(c->example);
		assert_memory_equal(
			c->example, strcmp(c->noun, "completion") == 0 ? "source" : "vanctl", 6);
		assert_ptr_equal(command_find(c->noun, c->verb), c);
		for (const struct command *d = c + 1; d->noun; d++) {
			/* One noun either is a command or has verbs, and they stand together. */
			if (strcmp(c->noun, d->noun) == 0) {
				assert_true(c->verb && d->verb);
				assert_string_not_equal(c->verb, d->verb);
				assert_string_equal(d[-1].noun, d->noun);
			}
		}
		for (enum option_id a = OPT_END + 1; a < OPT__MAX; a++) {
			for (enum option_id b = a + 1; b < OPT__MAX; b++) {
				if (!command_takes(c, a) || !command_takes(c, b))
					continue;
				assert_string_not_equal(option_table[a].name, option_table[b].name);
				assert_true(!option_table[a].letter ||
					    option_table[a].letter != option_table[b].letter);
			}
		}
	}
	for (enum option_id id = OPT_END + 1; id < OPT__MAX; id++) {
		assert_non_null(option_table[id].name);
		assert_non_null(option_table[id].help);
		assert_int_equal(option_table[id].kind == VALUE_FLAG, !option_table[id].metavar);
		assert_int_equal(option_table[id].kind == VALUE_CHOICE ||
					 option_table[id].kind == VALUE_YES_NO,
			!!option_table[id].choices);
	}
}

static void near_words(void **state)
{
	static const char *const words[] = {"list", "show", "create", "delete"};

	(void)state;
	assert_string_equal(command_nearest("lits", words, 4), "list");
	assert_string_equal(command_nearest("creat", words, 4), "create");
	assert_string_equal(command_nearest("dlete", words, 4), "delete");
	assert_null(command_nearest("xyz", words, 4));
	assert_null(command_nearest("", words, 4));
	assert_null(
		command_nearest("a-word-that-is-far-longer-than-any-command-there-is", words, 4));
}

static void exit_codes(void **state)
{
	(void)state;
	assert_int_equal(vanctl_exit_status(0), 0);
	assert_int_equal(vanctl_exit_status(-EIO), 1);
	assert_int_equal(vanctl_exit_status(-ENOENT), 1);
	assert_int_equal(vanctl_exit_status(-VAN_E_INVALID), 1);
	assert_int_equal(vanctl_exit_status(-VAN_E_LIMIT), 1);
	assert_int_equal(vanctl_exit_status(-VAN_E_PROTOCOL), 1);
	assert_int_equal(vanctl_exit_status(-VAN_E_SYNTAX), 2);
	assert_int_equal(vanctl_exit_status(-VAN_E_UNREACHABLE), 3);
	assert_int_equal(vanctl_exit_status(-VAN_E_TLS), 3);
	assert_int_equal(vanctl_exit_status(-VAN_E_DENIED), 4);
	assert_int_equal(vanctl_exit_status(-EACCES), 4);
	assert_int_equal(vanctl_exit_status(-VAN_E_NOT_FOUND), 5);
	assert_int_equal(vanctl_exit_status(-VAN_E_GONE), 5);
	assert_int_equal(vanctl_exit_status(-VAN_E_CONFLICT), 6);
	assert_int_equal(vanctl_exit_status(-VAN_E_TIMEOUT), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_every_documented_form),
		cmocka_unit_test(values_arrive),
		cmocka_unit_test(environment_fills_in),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(secrets_in_arguments),
		cmocka_unit_test(help_is_found),
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(near_words),
		cmocka_unit_test(exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
