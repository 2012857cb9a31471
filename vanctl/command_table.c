// SPDX-License-Identifier: Apache-2.0
#include "lib/ctlproto.h"
#include "lib/netmap.h"
#include "vanctl/cmd.h"
#include "vanctl/command.h"

#define SECOND_MS 1000ll
#define HOUR_MS   (3600 * SECOND_MS)
#define DAY_MS    (24 * HOUR_MS)

static const char *const output_choices[] = {"table", "json", NULL};
static const char *const encryption_choices[] = {"aes-256-gcm", "integrity", NULL};

const struct option_row option_table[OPT__MAX] = {
	[OPT_OUTPUT] = {"output", 'o', VALUE_CHOICE, "table|json", .choices = output_choices,
		.default_text = "table",
		.help = "Print tables for people, or JSON for programs: the console's or the "
			"daemon's own object, unchanged."},
	[OPT_CONSOLE] = {"console", 0, VALUE_TEXT, "URL", .env = "VAN_CONSOLE",
		.help = "The console, for example https://console.example.com:8443, instead of "
			"that of the login."},
	[OPT_KEY_FILE] = {"key-file", 0, VALUE_FILE, "FILE", .env = "VAN_KEY_FILE",
		.help = "A file with the API key (- for standard input), instead of the key kept "
			"by the login."},
	[OPT_PIN] = {"pin", 0, VALUE_TEXT, "PIN", .env = "VAN_PIN",
		.help = "The pin of the console's TLS key (sha256//…), as in its file tls.pin."},
	[OPT_CA] = {"ca", 0, VALUE_FILE, "FILE", .env = "VAN_CA",
		.help = "A PEM file with the CA that signed the console's certificate."},
	[OPT_CONTEXT] = {"context", 0, VALUE_TEXT, "NAME", .env = "VAN_CONTEXT",
		.help = "The login to use, where there are several; login itself stores under this "
			"name."},
	[OPT_SOCKET] = {"socket", 0, VALUE_FILE, "PATH", .default_text = CTLPROTO_DEFAULT_SOCKET,
		.env = "VAND_SOCKET", .help = "The control socket of the local vand."},
	[OPT_TIMEOUT] = {"timeout", 0, VALUE_DURATION, "TIME", .min = 1, .max = DAY_MS,
		.default_text = "30s", .help = "How long to wait for an answer."},
	[OPT_QUIET] = {"quiet", 'q', VALUE_FLAG,
		.help = "Print no messages and warnings, only data and errors."},
	[OPT_VERBOSE] = {"verbose", 'v', VALUE_FLAG,
		.help = "Show every request on standard error, without its secrets."},
	[OPT_NO_COLOR] = {"no-color", 0, VALUE_FLAG,
		.help = "Use no bold text; the variable NO_COLOR does the same."},
	[OPT_HELP] = {"help", 'h', VALUE_FLAG, .help = "Explain the command."},

	[OPT_NETWORK] = {"network", 'n', VALUE_TEXT, "NETWORK",
		.help = "The network, by its name or id."},
	[OPT_CIDR] = {"cidr", 0, VALUE_CIDR4, "CIDR",
		.help = "The IPv4 network from which nodes get their addresses."},
	[OPT_CIDR6] = {"cidr6", 0, VALUE_CIDR6, "CIDR",
		.help = "An IPv6 network from which nodes get addresses as well."},
	[OPT_ENCRYPTION] = {"encryption", 0, VALUE_CHOICE, "aes-256-gcm|integrity",
		.choices = encryption_choices,
		.help = "aes-256-gcm (the default) hides and authenticates frames; integrity only "
			"authenticates them, for traffic that is encrypted already."},
	[OPT_MTU] = {"mtu", 0, VALUE_INT, "N", .min = NETMAP_MTU_MIN, .max = NETMAP_MTU_MAX,
		.help = "The MTU of the network's interfaces, in bytes (1280 to 9000; 1360 unless "
			"given)."},
	[OPT_USES] = {"uses", 0, VALUE_INT, "N", .min = 1, .max = 1000000,
		.help = "How many nodes may join with the token (1 unless given)."},
	[OPT_TTL] = {"ttl", 0, VALUE_DURATION, "TIME", .min = SECOND_MS, .max = 3650 * DAY_MS,
		.help = "How long the token can be used (1h unless given)."},
	[OPT_EPHEMERAL] = {"ephemeral", 0, VALUE_DURATION, "TIME", .min = 0, .max = 3650 * DAY_MS,
		.help = "Nodes that join with the token are removed when they have been away for "
			"this long."},
	[OPT_TOKEN_FILE] = {"token-file", 0, VALUE_FILE, "FILE|-",
		.help = "A file with the join token, or - to read it from standard input."},
	[OPT_LOGIN_TOKEN_FILE] = {"token-file", 0, VALUE_FILE, "FILE",
		.help = "The same as --key-file."},
	[OPT_NAME] = {"name", 0, VALUE_TEXT, "NODE",
		.help = "The node's name; the host's unless given. The console makes it unique."},
	[OPT_NEW_NAME] = {"name", 0, VALUE_TEXT, "NAME", .help = "The node's new name."},
	[OPT_ADDRESS] = {"address", 0, VALUE_IP, "IP",
		.help = "The node's address in the network; the next free one unless given."},
	[OPT_IFNAME] = {"ifname", 0, VALUE_IFNAME, "NAME",
		.help = "The name of the network's interface; the first free of vcider0, vcider1, "
			"… unless given."},
	[OPT_WAIT] = {"wait", 0, VALUE_DURATION, "TIME", .min = 1, .max = DAY_MS,
		.help = "How long to wait until the network is usable (as --timeout unless "
			"given)."},
	[OPT_COUNT] = {"count", 'c', VALUE_INT, "N", .min = 0, .max = INT32_MAX,
		.default_text = "4",
		.help = "How many probes to send; 0 goes on until interrupted."},
	[OPT_INTERVAL] = {"interval", 'i', VALUE_DURATION, "TIME", .min = 10, .max = HOUR_MS,
		.default_text = "1s", .help = "The time from one probe to the next."},
};

const struct command command_table[] = {
	{"login", NULL, .options = {OPT_LOGIN_TOKEN_FILE}, .run = cmd_login,
		.help = "Check an API key with a console and remember both",
		.text = "The first admin key is in <state_dir>/admin.key on the console, the pin in "
			"<state_dir>/tls.pin. Without --pin and --ca the console's certificate must "
			"be signed by a CA that this system trusts. The login is kept under "
			"$XDG_CONFIG_HOME/van, readable by its owner only; --context NAME keeps "
			"several, and the last one that was logged in to is used unless told "
			"otherwise.",
		.usage = "--console URL --key-file FILE [--pin PIN | --ca FILE] [--context NAME]",
		.positional_hint = "login takes no arguments; the key is read from a file: "
				   "--key-file FILE",
		.example = "vanctl login --console https://console.example.com:8443 "
			   "--key-file admin.key --pin \"$(cat tls.pin)\""},

	{"network", "create", {"NAME"}, {OPT_CIDR}, {OPT_CIDR6, OPT_ENCRYPTION, OPT_MTU},
		cmd_network_create, .help = "Create a network",
		.example = "vanctl network create prod --cidr 172.16.1.0/24"},
	{"network", "list", .run = cmd_network_list, .help = "List the networks",
		.example = "vanctl network list -o json"},
	{"network", "show", {"NAME"}, .run = cmd_network_show, .help = "Show a network",
		.example = "vanctl network show prod"},
	{"network", "delete", {"NAME"}, .run = cmd_network_delete,
		.help = "Delete a network, its tokens and the membership of its nodes",
		.text = "The nodes stay enrolled and keep their other networks.",
		.example = "vanctl network delete prod"},

	{"token", "issue", {"NETWORK"}, .options = {OPT_USES, OPT_TTL, OPT_EPHEMERAL},
		.run = cmd_token_issue, .help = "Issue a join token and print it",
		.text = "Standard output gets the token alone. It is shown this once: the console "
			"keeps only a hash of it. Whoever has it can join, so hand it over like a "
			"password.",
		.example = "vanctl token issue prod --uses 3 --ttl 10m > prod.token"},
	{"token", "list", {"[NETWORK]"}, .options = {OPT_NETWORK}, .run = cmd_token_list,
		.help = "List the join tokens, of one network or of all",
		.example = "vanctl token list prod"},
	{"token", "revoke", {"ID"}, .run = cmd_token_revoke, .help = "Revoke a join token",
		.text = "Nodes that have joined with it stay.",
		.example = "vanctl token revoke tok_4f0c"},

	{"join", NULL, .required = {OPT_TOKEN_FILE},
		.options = {OPT_NAME, OPT_ADDRESS, OPT_IFNAME, OPT_WAIT}, .run = cmd_join,
		.help = "Join this machine to a network, with a token",
		.text = "Done when the interface has its address and the first map of the network "
			"is applied. A second token adds a network to the same node.",
		.positional_hint = "join takes no arguments; the token is read from a file or from "
				   "standard input: --token-file FILE|-",
		.example = "vanctl join --token-file prod.token --name web-1"},
	{"leave", NULL, {"NETWORK"}, .run = cmd_leave, .help = "Leave a network",
		.text = "The interface goes away and the console forgets the membership.",
		.example = "vanctl leave prod"},

	{"status", NULL, .run = cmd_status, .help = "Show the state of the local node",
		.example = "vanctl status"},
	{"peers", NULL, .options = {OPT_NETWORK}, .run = cmd_peers,
		.help = "List the peers of the local node and the paths to them",
		.example = "vanctl peers -n prod"},
	{"mac", NULL, .options = {OPT_NETWORK}, .run = cmd_mac,
		.help = "List the MAC addresses that the local node knows",
		.example = "vanctl mac"},
	{"stats", NULL, .run = cmd_stats, .help = "Print the counters of the local node",
		.text = "Frames, handshakes, offloads, and for every reason how many frames were "
			"dropped.",
		.example = "vanctl stats -o json"},
	{"ping", NULL, {"PEER"}, .options = {OPT_COUNT, OPT_INTERVAL}, .run = cmd_ping,
		.help = "Measure the way to a peer inside its session",
		.text = "PEER is a name, an id or an overlay address. The probe is authenticated and "
			"answered by the peer's vand, so it works where the host drops ICMP. "
			"--timeout is the time for each answer (5s unless given). Ends with 1 when "
			"no answer came at all.",
		.example = "vanctl ping web-2 -c 10 -i 200ms"},
	{"reload", NULL, .run = cmd_reload,
		.help = "Let the local vand read its configuration again",
		.example = "vanctl reload"},

	{"node", "list", .options = {OPT_NETWORK}, .run = cmd_node_list,
		.help = "List the nodes, of one network or of all",
		.example = "vanctl node list -n prod"},
	{"node", "show", {"NODE"}, .options = {OPT_NETWORK}, .run = cmd_node_show,
		.help = "Show a node, or with -n its membership of a network",
		.example = "vanctl node show web-1 -n prod"},
	{"node", "add", {"NODE"}, {OPT_NETWORK}, {OPT_ADDRESS}, cmd_node_add,
		.help = "Add an enrolled node to a network",
		.text = "Nothing has to be typed on the node.",
		.example = "vanctl node add web-1 -n backup"},
	{"node", "set", {"NODE"}, {OPT_NETWORK}, {OPT_ADDRESS, OPT_NEW_NAME}, cmd_node_set,
		.help = "Change a node's address or name",
		.usage = "NODE -n NETWORK --address IP | --name NAME",
		.example = "vanctl node set web-1 -n prod --address 172.16.1.50"},
	{"node", "delete", {"NODE"}, .options = {OPT_NETWORK}, .run = cmd_node_delete,
		.help = "Take a node out of a network, or without -n delete it wholly",
		.text = "A node that was deleted wholly cannot come back without a new token.",
		.example = "vanctl node delete web-1 -n prod"},

	{"hosts", NULL, .required = {OPT_NETWORK}, .run = cmd_hosts,
		.help = "Print names and addresses in the form of /etc/hosts",
		.text = "Asks the console; on a node where nobody has logged in, the local vand.",
		.example = "vanctl hosts -n prod"},

	{"completion", NULL, {"bash|zsh"}, .run = cmd_completion,
		.help = "Print the completion script for a shell",
		.example = "source <(vanctl completion bash)"},
	{"version", NULL, .run = cmd_version, .help = "Print the version",
		.example = "vanctl version"},
	{"help", NULL, {"[COMMAND]", "[VERB]"}, .run = cmd_help, .help = "Explain a command",
		.example = "vanctl help token issue"},
	{.noun = NULL},
};
