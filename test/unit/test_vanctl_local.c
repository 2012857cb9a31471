// SPDX-License-Identifier: Apache-2.0
/* The local commands from the words typed to the text printed, over a real control socket. */
#include "vanctl_support.h"

#include <signal.h>
#include <sodium.h>

#include "lib/json.h"
#include "lib/token.h"

struct setting {
	char home[32];
	struct fake_daemon daemon;
	bool running;
};

static int set_up(void **state)
{
	struct setting *s = calloc(1, sizeof(*s));

	make_home(s->home);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct setting *s = *state;

	if (s->running)
		fake_stop(&s->daemon);
	unsetenv("VAND_SOCKET");
	remove_home(s->home);
	free(s);
	return 0;
}

static void start(struct setting *s, const struct fake_answer *answers)
{
	fake_start(&s->daemon, s->home, answers);
	s->running = true;
}

/* A join token and a file with it. */
static void make_token(const struct setting *s, char ret_path[64], char ret_token[TOKEN_TEXT_MAX])
{
	struct token t = {.url = "https://console.example:8443"};
	char line[TOKEN_TEXT_MAX + 1];

	memset(t.secret, 7, sizeof(t.secret));
	token_format(&t, ret_token);
	snprintf(ret_path, 64, "%s/token", s->home);
	snprintf(line, sizeof(line), "%s\n", ret_token);
	write_file(ret_path, line, 0600);
}

#define STATUS                                                                                   \
	"{\"result\":{\"version\":\"0.1.0\",\"node\":{\"id\":\"node_1\",\"name\":\"web-1\","     \
	"\"public_key\":\"k\"},\"console\":{\"url\":\"https://c:8443\",\"connected\":false,"     \
	"\"last_contact_s\":130,\"error\":\"connection refused\"},\"mesh\":\"00\","              \
	"\"revision\":\"00.7\",\"port\":4826,\"workers\":2,\"cipher\":\"ipsec-mb\","             \
	"\"underlay\":[{\"ifname\":\"eth0\",\"address\":\"192.0.2.1\",\"mtu\":1500}],"           \
	"\"networks\":[{\"id\":\"net_1\",\"name\":\"prod\",\"van_id\":1,\"ifname\":\"vcider0\"," \
	"\"mac\":\"02:00:00:00:00:01\",\"ips\":[\"172.16.1.1/24\"],\"mtu\":1360,"                \
	"\"encryption\":\"aes-256-gcm\",\"peers\":3,\"peers_connected\":2,\"rx_bytes\":1258292," \
	"\"tx_bytes\":0,\"rx_packets\":1,\"tx_packets\":0,\"state\":\"up\",\"error\":null}],"    \
	"\"warnings\":[\"the clock is 400 s behind the console's\"]}}"

#define PEERS                                                                                         \
	"{\"result\":{\"items\":[{\"id\":\"node_2\",\"name\":\"web-2\",\"networks\":[\"prod\"],"      \
	"\"ips\":[\"172.16.1.10/24\"],\"state\":\"connected\",\"reason\":null,"                       \
	"\"endpoint\":\"192.0.2.2:4826\",\"candidates\":[],\"path_mtu\":1500,\"last_handshake_s\":3," \
	"\"last_received_s\":0,\"rx_bytes\":2048,\"tx_bytes\":10},{\"id\":\"node_3\","                \
	"\"name\":\"web-3\",\"networks\":[\"prod\"],\"ips\":[\"172.16.1.9/24\"],"                     \
	"\"state\":\"no path\",\"reason\":\"no answer from 198.51.100.7:4826\","                      \
	"\"endpoint\":null,\"last_handshake_s\":null,\"rx_bytes\":0,\"tx_bytes\":0}]}}"

static const struct fake_answer healthy[] = {
	{"status", STATUS},
	{"peers", PEERS},
	{"mac", "{\"result\":{\"items\":[{\"network\":\"prod\",\"mac\":\"02:00:00:00:00:02\","
		"\"peer\":\"web-2\",\"kind\":\"fixed\",\"age_s\":null}]}}"},
	{"stats", "{\"result\":{\"frames\":{\"from_tap\":12,\"to_tap\":7},\"drops\":{\"replay\":0,"
		  "\"source_mac\":3},\"handshakes\":{},\"offload\":{\"gso_sends\":1}}}"},
	{"join", "{\"result\":{\"network\":{\"id\":\"net_1\",\"name\":\"prod\"},\"node\":{\"id\":"
		 "\"node_1\",\"name\":\"web-1-2\"},\"ifname\":\"vcider0\",\"mac\":"
		 "\"02:00:00:00:00:01\",\"ips\":[\"172.16.1.1/24\",\"fd00::1/64\"]}}"},
	{"leave", "{\"result\":{\"network\":{\"id\":\"net_1\",\"name\":\"prod\"},"
		  "\"registry_told\":true}}"},
	{"ping",
		"{\"result\":{\"peer\":\"web-2\",\"endpoint\":\"192.0.2.2:4826\",\"rtt_ms\":1.25}}"},
	{"reload", "{\"result\":{}}"},
	{NULL, NULL},
};

static void status_for_people(void **state)
{
	struct setting *s = *state;
	struct ran r;

	start(s, healthy);
	r = RUN("status");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	assert_contains(r.out, "web-1 (node_1)");
	assert_contains(r.out, "NOT CONNECTED, last contact 2 min ago: connection refused");
	assert_contains(r.out, "eth0 192.0.2.1 (MTU 1500)");
	assert_contains(r.out, "prod     vcider0    172.16.1.1/24  2 of 3");
	assert_contains(r.out, "1.2 MiB");
	assert_contains(r.out, "\nWARNING: the clock is 400 s behind the console's\n");
	assert_lacks(r.out, "\033");
	ran_done(&r);
}

static void json_is_the_daemons(void **state)
{
	struct setting *s = *state;
	struct json_object *sent = NULL, *got = NULL;
	struct ran r;

	start(s, healthy);
	r = RUN("-o", "json", "status");
	assert_int_equal(r.status, 0);
	assert_int_equal(json_parse(STATUS, strlen(STATUS), &sent, NULL), 0);
	assert_int_equal(json_parse(r.out, strlen(r.out), &got, NULL), 0);
	assert_true(json_object_equal(output_member(sent, "result"), got));
	json_object_put(sent);
	json_object_put(got);
	ran_done(&r);
	r = RUN("reload", "-o", "json", "-q");
	assert_int_equal(json_parse(r.out, strlen(r.out), &got, NULL), 0);
	assert_int_equal(json_object_object_length(got), 0);
	json_object_put(got);
	assert_string_equal(r.err, "");
	ran_done(&r);
}

static void a_node_without_networks(void **state)
{
	static const struct fake_answer answers[] = {
		{"status", "{\"result\":{\"version\":\"0.1.0\",\"node\":null,\"console\":null,"
			   "\"port\":4826,\"networks\":[],\"warnings\":[]}}"},
		{"peers", "{\"result\":{\"items\":[]}}"},
		{NULL, NULL},
	};
	struct setting *s = *state;
	struct ran r;

	start(s, answers);
	r = RUN("status");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "not in any network yet");
	assert_lacks(r.out, "NETWORK");
	ran_done(&r);
	r = RUN("peers");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "No peers.\n");
	ran_done(&r);
	r = RUN("peers", "-q");
	assert_string_equal(r.err, "");
	ran_done(&r);
}

static void tables(void **state)
{
	struct setting *s = *state;
	struct ran r;

	start(s, healthy);
	r = RUN("peers", "-n", "prod");
	assert_int_equal(r.status, 0);
	assert_contains(s->daemon.last, "\"network\":\"prod\"");
	assert_string_equal(r.out,
		"NAME   ADDRESS         STATE      ENDPOINT         MTU  HANDSHAKE       RX    TX  REASON\n"
		"web-2  172.16.1.10/24  connected  192.0.2.2:4826  1500  3 s ago    2.0 KiB  10 B\n"
		"web-3  172.16.1.9/24   no path    -                  -  never          0 B   0 B  "
		"no answer from 198.51.100.7:4826\n");
	ran_done(&r);
	r = RUN("mac");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "prod     02:00:00:00:00:02  web-2  fixed  -\n");
	ran_done(&r);
	r = RUN("stats");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "frames\n  from_tap    12\n  to_tap      7\n");
	assert_contains(r.out, "drops\n  replay      0\n  source_mac  3\n");
	ran_done(&r);
}

static void joining(void **state)
{
	struct setting *s = *state;
	char path[64], token[TOKEN_TEXT_MAX];
	struct ran r;

	start(s, healthy);
	make_token(s, path, token);
	r = RUN("join", "--token-file", path, "--name", "web-1", "--address", "172.16.1.1",
		"--ifname", "vcider0", "--wait", "45s", "-v");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "Joined network prod as node web-1-2.\n"
				   "  interface  vcider0 (02:00:00:00:00:01)\n"
				   "  address    172.16.1.1/24, fd00::1/64\n");
	assert_contains(s->daemon.last, token);
	assert_contains(s->daemon.last, "\"timeout_ms\":45000");
	assert_contains(s->daemon.last, "\"name\":\"web-1\"");
	assert_contains(s->daemon.last, "\"address\":\"172.16.1.1\"");
	assert_contains(s->daemon.last, "\"ifname\":\"vcider0\"");
	assert_contains(r.err, "token=(hidden)");
	assert_lacks(r.err, token);
	ran_done(&r);

	/* From standard input; what is not given is not sent. */
	r = RUN_WITH(token, "join", "--token-file", "-", "-o", "json");
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "\"ifname\": \"vcider0\"");
	assert_lacks(s->daemon.last, "\"name\"");
	assert_lacks(s->daemon.last, "\"address\"");
	assert_contains(s->daemon.last, "\"timeout_ms\":30000");
	ran_done(&r);

	/* Others may read the file: said, not refused. */
	chmod(path, 0644);
	r = RUN("join", "--token-file", path);
	assert_int_equal(r.status, 0);
	assert_contains(r.err, "warning: others may read");
	ran_done(&r);
	r = RUN("leave", "prod");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "Left network prod.\n");
	assert_contains(s->daemon.last, "\"network\":\"prod\"");
	ran_done(&r);
}

static void damaged_tokens_stay_here(void **state)
{
	struct setting *s = *state;
	char path[64], token[TOKEN_TEXT_MAX];
	struct ran r;

	start(s, healthy);
	make_token(s, path, token);
	token[40] = token[40] == 'A' ? 'B' : 'A';
	r = RUN_WITH(token, "join", "--token-file", "-");
	assert_int_equal(r.status, 1);
	assert_lacks(r.err, token + 5);
	assert_lacks(r.err, "Usage");
	ran_done(&r);
	r = RUN_WITH("", "join", "--token-file", "-");
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "standard input is empty");
	ran_done(&r);
	r = RUN("join", "--token-file", "/nonexistent");
	assert_int_equal(r.status, 1);
	ran_done(&r);
	r = RUN("join", "--token-file", token);
	assert_int_equal(r.status, 2);
	assert_contains(r.err, "visible to every user");
	assert_lacks(r.err, token + 5);
	ran_done(&r);
	assert_int_equal(s->daemon.requests, 0);
}

static void errors_become_exit_codes(void **state)
{
	static const struct {
		const char *line;
		int status;
	} cases[] = {
		{"{\"error\":{\"code\":\"not_found\",\"detail\":\"no network prod\"}}", 5},
		{"{\"error\":{\"code\":\"denied\",\"detail\":\"used up\"}}", 4},
		{"{\"error\":{\"code\":\"conflict\",\"detail\":\"address taken by web-7\"}}", 6},
		{"{\"error\":{\"code\":\"timeout\",\"detail\":\"the console is slow\"}}", 7},
		{"{\"error\":{\"code\":\"unreachable\",\"detail\":\"no console\"}}", 3},
		{"{\"error\":{\"code\":\"syntax\",\"detail\":\"what?\"}}", 1},
		{"{\"error\":{\"code\":\"brand_new\",\"detail\":\"?\"}}", 1},
		{"{\"result\":[]}", 1},
		{"{}", 1},
		{"nonsense", 1},
		{NULL, 1},
	};
	struct setting *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct fake_answer answers[] = {{"leave", cases[i].line}, {NULL, NULL}};
		struct ran r;

		start(s, answers);
		r = RUN("leave", "prod");
		/* A daemon that hangs up may as well count as unreachable. */
		if (!cases[i].line)
			assert_true(r.status == 1 || r.status == 3);
		else
			assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.out, "");
		assert_memory_equal(r.err, "vanctl: ", 8);
		ran_done(&r);
		fake_stop(&s->daemon);
		s->running = false;
		unlink(s->daemon.path);
	}
}

static void no_daemon(void **state)
{
	struct setting *s = *state;
	char path[64];
	struct ran r;

	snprintf(path, sizeof(path), "%s/none.sock", s->home);
	r = RUN("status", "--socket", path);
	assert_int_equal(r.status, 3);
	assert_contains(r.err, path);
	ran_done(&r);
	/* A ping without a daemon is not a lost packet. */
	r = RUN("ping", "web-2", "--socket", path);
	assert_int_equal(r.status, 3);
	ran_done(&r);
}

static void pinging(void **state)
{
	struct setting *s = *state;
	struct json_object *got = NULL;
	struct ran r;

	start(s, healthy);
	r = RUN("ping", "web-2", "-c", "3", "-i", "10ms", "--timeout", "2s");
	assert_int_equal(r.status, 0);
	assert_contains(s->daemon.last, "\"peer\":\"web-2\"");
	assert_contains(s->daemon.last, "\"timeout_ms\":2000");
	assert_contains(r.out, "reply from web-2 by 192.0.2.2:4826: seq=1 time=1.250 ms\n");
	assert_contains(r.out, "seq=3");
	assert_lacks(r.out, "seq=4");
	assert_contains(
		r.out, "3 sent, 3 received, 0% lost\nrtt min/avg/max = 1.250/1.250/1.250 ms\n");
	ran_done(&r);
	r = RUN("ping", "web-2", "-c", "2", "-i", "10ms", "-o", "json");
	assert_int_equal(r.status, 0);
	assert_int_equal(json_parse(r.out, strlen(r.out), &got, NULL), 0);
	assert_int_equal(json_object_get_int(output_member(got, "sent")), 2);
	assert_int_equal(json_object_get_int(output_member(got, "received")), 2);
	assert_int_equal(json_object_array_length(output_member(got, "samples")), 2);
	assert_contains(r.out, "\"avg_ms\": 1.250");
	json_object_put(got);
	ran_done(&r);
}

static void pinging_the_dead(void **state)
{
	static const struct fake_answer lost[] = {
		{"status", STATUS},
		{"ping", "{\"error\":{\"code\":\"timeout\",\"detail\":\"no answer within 5 s\"}}"},
		{NULL, NULL},
	};
	static const struct fake_answer stranger[] = {
		{"status", STATUS},
		{"ping", "{\"error\":{\"code\":\"not_found\",\"detail\":\"no peer web-9\"}}"},
		{NULL, NULL},
	};
	struct setting *s = *state;
	struct ran r;

	start(s, lost);
	r = RUN("ping", "web-2", "-c", "2", "-i", "10ms");
	assert_int_equal(r.status, 1);
	assert_contains(r.out, "no reply: seq=1 no answer within 5 s\n");
	assert_contains(r.out, "2 sent, 0 received, 100% lost\n");
	assert_lacks(r.out, "rtt");
	assert_string_equal(r.err, "");
	ran_done(&r);
	r = RUN("ping", "web-2", "-c", "1", "-o", "json");
	assert_int_equal(r.status, 1);
	assert_contains(r.out, "\"min_ms\": null");
	assert_contains(r.out, "\"error\": \"no answer within 5 s\"");
	ran_done(&r);
	s->daemon.answers = stranger;
	r = RUN("ping", "web-9");
	assert_int_equal(r.status, 5);
	assert_contains(r.err, "no peer web-9");
	ran_done(&r);
}

/* Without a login the local daemon knows who is in its networks. */
static void hosts_from_the_daemon(void **state)
{
	struct setting *s = *state;
	struct ran r;

	start(s, healthy);
	r = RUN("hosts", "-n", "prod");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "172.16.1.1\tweb-1\n"
				   "172.16.1.9\tweb-3\n"
				   "172.16.1.10\tweb-2\n");
	ran_done(&r);
	r = RUN("hosts", "-n", "prod", "-o", "json");
	assert_contains(r.out, "\"next\": null");
	assert_contains(r.out, "\"172.16.1.9\"");
	assert_lacks(r.out, "endpoint");
	ran_done(&r);
	r = RUN("hosts", "-n", "other");
	assert_int_equal(r.status, 5);
	ran_done(&r);
}

static void ping_ends_on_a_signal(void **state)
{
	struct setting *s = *state;
	sigset_t set, before;
	struct ran r;

	start(s, healthy);
	/* Pending before it starts: taken at the first pause. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	pthread_kill(pthread_self(), SIGINT);
	r = RUN("ping", "web-2", "-c", "0", "-i", "1h");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "1 sent, 1 received");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(status_for_people, set_up, tear_down),
		cmocka_unit_test_setup_teardown(json_is_the_daemons, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_node_without_networks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(joining, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_tokens_stay_here, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors_become_exit_codes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_daemon, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pinging, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pinging_the_dead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hosts_from_the_daemon, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ping_ends_on_a_signal, set_up, tear_down),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
