/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "lib/file.h"
#include "test/unit/tmpdir.h"
#include "vand/config.h"

static struct tmpdir dir;

static const char *write_text(const char *name, const char *text)
{
	const char *path = tmpdir_file(&dir, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static int load(const char *text, struct vand_config *ret_config, struct err *e)
{
	return vand_config_load(write_text("vand.conf", text), ret_config, e);
}

/* The text is refused, with a line that names the file and every word. */
static void refused(const char *text, ...)
{
	struct vand_config config;
	struct err e = {0};
	const char *word;
	va_list words;

	assert_int_equal(load(text, &config, &e), -VAN_E_CONFIG);
	assert_non_null(strstr(e.text, "vand.conf"));
	va_start(words, text);
	while ((word = va_arg(words, const char *))) {
		if (!strstr(e.text, word))
			fail_msg("'%s' is not in: %s", word, e.text);
	}
	va_end(words);
	assert_null(strchr(e.text, '\n'));
}

static void defaults_stand(const struct vand_config *c)
{
	assert_string_equal(c->state_dir, "/var/lib/van/vand");
	assert_string_equal(c->control_socket, "/run/van/vand.sock");
	assert_int_equal(c->port, 4826);
	assert_int_equal(c->advertise.count, 0);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->busy_poll_us, 0);
	assert_null(c->psk_file);
	assert_string_equal(c->log_level, "info");
	assert_string_equal(c->cipher, "auto");
	assert_true(c->tap_offload && c->udp_gso && c->udp_gro && c->udp_super_frames);
	assert_true(c->pmtu_discovery && c->ecn && !c->copy_dscp);
	assert_int_equal(c->pmtu_raise_s, 600);
	assert_int_equal(c->rekey_after_s, 120);
	assert_int_equal(c->max_stale_s, 0);
}

static void empty_file_is_a_configuration(void **state)
{
	struct vand_config c;

	(void)state;
	assert_int_equal(load("", &c, NULL), 0);
	defaults_stand(&c);
	conf_free(&vand_config_schema, &c);
}

static void example_says_the_defaults(void **state)
{
	const char *path = tmpdir_file(&dir, "vand.conf");
	struct vand_config c;
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	conf_print_example(&vand_config_schema, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(vand_config_load(path, &c, NULL), 0);
	defaults_stand(&c);
	conf_free(&vand_config_schema, &c);
}

static void settings_are_taken(void **state)
{
	struct vand_config c;

	(void)state;
	assert_int_equal(load("state_dir = \"/x\"; control_socket = \"/y\"; port = 0;\n"
			      "advertise = [\"192.0.2.1\", \"[2001:db8::1]:5000\"];\n"
			      "cipher = \"openssl\"; udp_gso = false; rekey_after_s = 5; "
			      "max_stale_s = 3600;",
				 &c, NULL),
		0);
	assert_string_equal(c.state_dir, "/x");
	assert_int_equal(c.port, 0);
	assert_int_equal(c.advertise.count, 2);
	assert_string_equal(c.advertise.items[1], "[2001:db8::1]:5000");
	assert_string_equal(c.cipher, "openssl");
	assert_false(c.udp_gso);
	assert_true(c.udp_gro);
	assert_int_equal(c.rekey_after_s, 5);
	assert_int_equal(c.max_stale_s, 3600);
	conf_free(&vand_config_schema, &c);
}

static void wrong_settings_are_named(void **state)
{
	(void)state;
	refused("no_such_key = 1;", "no_such_key", NULL);
	refused("port = 65536;", "port", "65535", NULL);
	refused("port = -1;", "port", NULL);
	refused("log_level = \"loud\";", "log_level", "debug", NULL);
	refused("cipher = \"rot13\";", "cipher", NULL);
	refused("rekey_after_s = 121;", "rekey_after_s", "120", NULL);
	refused("workers = 0;", "workers", "\"auto\"", NULL);
	refused("workers = \"many\";", "workers", "63", NULL);
	refused("workers = 64;", "workers", NULL);
	refused("state_dir = \"\";", "state_dir", NULL);
	refused("port = = 3;", NULL);
	/* sun_path's length */
	refused("control_socket = \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\";",
		"control_socket", "107", NULL);
}

static void advertised_addresses_are_checked(void **state)
{
	static const char *const wrong[] = {"not an address", "192.0.2.1:0", "192.0.2.1:99999",
		"2001:db8::1:4826:x", "example.com:4826", "0.0.0.0", "[::]:4826", "127.0.0.1:4826",
		"169.254.1.1", "[fe80::1]:4826", "224.0.0.1", ""};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "advertise = [\"192.0.2.9\", \"%s\"];", wrong[i]);
		refused(text, "advertise", wrong[i], NULL);
	}
	refused("advertise = [\"192.0.2.1\",\"192.0.2.2\",\"192.0.2.3\",\"192.0.2.4\",\"192.0.2.5\","
		"\"192.0.2.6\",\"192.0.2.7\",\"192.0.2.8\",\"192.0.2.9\"];",
		"advertise", "9", NULL);
}

static const char psk_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char psk_base64[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

static int load_psk(const char *content, uint8_t ret_psk[32], struct err *e)
{
	char text[512];
	struct vand_config c;
	int rc;

	snprintf(text, sizeof(text), "psk_file = \"%s\";", write_text("psk", content));
	rc = load(text, &c, e);
	if (rc < 0)
		return rc;
	rc = vand_config_psk(&c, ret_psk, e);
	conf_free(&vand_config_schema, &c);
	return rc;
}

static void psk_forms(void **state)
{
	struct vand_config c = {0};
	char text[128];
	uint8_t psk[32];

	(void)state;
	for (int form = 0; form < 2; form++) {
		const char *content = form ? psk_base64 : psk_hex;

		for (int end = 0; end < 3; end++) {
			snprintf(text, sizeof(text), "%s%s", content,
				end == 0   ? ""
				: end == 1 ? "\n"
					   : " \r\n\n");
			memset(psk, 0xff, sizeof(psk));
			assert_int_equal(load_psk(text, psk, NULL), 0);
			for (uint8_t i = 0; i < 32; i++)
				assert_int_equal(psk[i], i);
		}
	}
	memset(psk, 0xff, sizeof(psk));
	assert_int_equal(vand_config_psk(&c, psk, NULL), 0);
	assert_true(sodium_is_zero(psk, sizeof(psk)));
}

static void wrong_psk_is_refused(void **state)
{
	struct err e = {0};
	uint8_t psk[32];
	char text[128];

	(void)state;
	assert_int_equal(load_psk("", psk, &e), -VAN_E_CONFIG);
	assert_int_equal(load_psk("secret\n", psk, &e), -VAN_E_CONFIG);
	assert_non_null(strstr(e.text, "psk"));
	assert_null(strstr(e.text, "secret"));
	snprintf(text, sizeof(text), "%.63s", psk_hex);
	assert_int_equal(load_psk(text, psk, &e), -VAN_E_CONFIG);
	snprintf(text, sizeof(text), "%s0", psk_hex);
	assert_int_equal(load_psk(text, psk, &e), -VAN_E_CONFIG);
	memset(text, '0', 64);
	text[64] = '\0';
	assert_int_equal(load_psk(text, psk, &e), -VAN_E_CONFIG);
	assert_non_null(strstr(e.text, "zeroes"));
}

static void missing_files_are_named(void **state)
{
	struct vand_config c;
	struct err e = {0};

	(void)state;
	assert_int_equal(vand_config_load(tmpdir_file(&dir, "none.conf"), &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "none.conf"));
	assert_int_equal(load("psk_file = \"/nonexistent/psk\";", &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/psk"));
	assert_non_null(strstr(e.text, "vand.conf"));
}

static int set_up(void **state)
{
	(void)state;
	tmpdir_make(&dir);
	return sodium_init() < 0;
}

static int tear_down(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_file_is_a_configuration),
		cmocka_unit_test(example_says_the_defaults),
		cmocka_unit_test(settings_are_taken),
		cmocka_unit_test(wrong_settings_are_named),
		cmocka_unit_test(advertised_addresses_are_checked),
		cmocka_unit_test(psk_forms),
		cmocka_unit_test(wrong_psk_is_refused),
		cmocka_unit_test(missing_files_are_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
