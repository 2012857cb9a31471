/* SPDX-License-Identifier: Apache-2.0 */
/* Joining segments into super-frames: order, limits, many flows, random traffic. */
#include "test/unit/offload_join_fixture.h"

/* Pure ACKs keep behind what was there before them, without ending the super-frame. */
static void acks(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 400), whole = s, ack = base_spec(f, 0),
		    next = following(&s, 400);
	struct spec other = ack;

	feed(f, &ack); /* nothing open: at once */
	assert_int_equal(f->count, 1);
	assert_single(f, 0, &ack);
	clear(f);

	feed(f, &s);
	ack.id = 1;
	feed(f, &ack);
	feed(f, &next);
	ack.id = 2;
	feed(f, &ack);
	other.src_port++;
	feed(f, &other); /* another flow's does not wait */
	assert_int_equal(f->count, 1);
	assert_single(f, 0, &other);
	offload_join_flush(&f->join);
	assert_int_equal(f->count, 4);
	whole.payload_len = 800;
	assert_super(f, 1, &whole, 400);
	ack.id = 1;
	assert_single(f, 2, &ack);
	ack.id = 2;
	assert_single(f, 3, &ack);
	clear(f);

	/* Data with a newer acknowledgement comes behind the ACK before it. */
	feed(f, &s);
	ack.ack++;
	feed(f, &ack);
	next.ack = ack.ack;
	feed(f, &next);
	assert_int_equal(f->count, 2);
	assert_single(f, 0, &s);
	assert_single(f, 1, &ack);
	offload_join_flush(&f->join);
	assert_single(f, 2, &next);
	clear(f);

	/* One too many ends the flow; order is kept. */
	feed(f, &s);
	for (uint16_t i = 0; i <= OFFLOAD_JOIN_ACKS; i++) {
		ack.id = i;
		feed(f, &ack);
	}
	assert_int_equal(f->count, 2 + OFFLOAD_JOIN_ACKS);
	assert_single(f, 0, &s);
	for (uint16_t i = 0; i <= OFFLOAD_JOIN_ACKS; i++) {
		ack.id = i;
		assert_single(f, 1u + i, &ack);
	}
}

/* What has no ports comes behind the flows of the same two MACs, and of no others. */
static void frames_without_flow(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 100), other = s;
	uint8_t ping[64] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, [23] = 1};
	uint8_t from_other[64];

	memcpy(from_other + 16, ping, 48);
	other.src_mac = 99;
	feed(f, &other);
	feed(f, &s);
	offload_join_frame(&f->join,
		&(struct offload_frame){
			.data = from_other + 16, .len = 48, .tap = &tap_a, .sender = &peer_b});
	offload_join_frame(&f->join,
		&(struct offload_frame){
			.data = from_other + 16, .len = 48, .tap = &tap_b, .sender = &peer_a});
	assert_int_equal(f->count, 2);
	clear_emitted(f);
	feed_bytes(f, ping, sizeof(ping), false, 0, 0);
	assert_int_equal(f->count, 2);
	assert_single(f, 0, &s);
	assert_memory_equal(f->out[1].frame, ping, sizeof(ping));
	for (size_t len = 1; len < sizeof(ping); len++)
		feed_bytes(f, ping, len, false, 0, 0);
	assert_int_equal(f->count, 1 + sizeof(ping));
	offload_join_flush(&f->join);
	assert_single(f, 1 + sizeof(ping), &other);
}

static void limits(void **state)
{
	struct fixture *f = *state;
	struct spec s = base_spec(f, 10), whole = s;

	for (int i = 0; i < OFFLOAD_JOIN_SEGMENTS; i++) {
		assert_int_equal(f->count, 0);
		feed(f, &s);
		s = following(&s, 10);
	}
	assert_int_equal(f->count, 1);
	whole.payload_len = 10 * OFFLOAD_JOIN_SEGMENTS;
	assert_super(f, 0, &whole, 10);
	clear(f);
	/* 64 KiB - 1 of IP packet, and not one byte more. */
	for (int ip6 = 0; ip6 < 2; ip6++) {
		size_t overhead = ip6 ? 40 + 32 : 20 + 32, fill = 65535 - overhead - 7 * 9000;

		for (size_t extra = 0; extra < 2; extra++) {
			whole = s = base_spec(f, 9000);
			whole.ip6 = s.ip6 = ip6;
			for (int i = 0; i < 7; i++) {
				feed(f, &s);
				s = following(&s, 9000);
			}
			s.payload_len = fill + extra;
			feed(f, &s);
			offload_join_flush(&f->join);
			whole.payload_len = 7 * 9000 + (extra ? 0 : fill);
			assert_int_equal(f->count, 1 + extra);
			assert_super(f, 0, &whole, 9000);
			clear(f);
		}
	}
}

static void interleaved_flows(void **state)
{
	struct fixture *f = *state;
	struct spec flows[OFFLOAD_JOIN_FLOWS], whole[OFFLOAD_JOIN_FLOWS], one_more;

	for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
		flows[i] = base_spec(f, 100 + i);
		flows[i].src_port = (uint16_t)(flows[i].src_port + i);
		flows[i].udp = i % 3 == 2;
		flows[i].ip6 = i % 2;
		whole[i] = flows[i];
		whole[i].payload_len *= 10;
	}
	for (int n = 0; n < 10; n++) {
		for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
			feed(f, &flows[i]);
			flows[i] = following(&flows[i], flows[i].payload_len);
		}
	}
	assert_int_equal(f->count, 0);
	one_more = base_spec(f, 5);
	one_more.dst_port++;
	feed(f, &one_more);
	assert_int_equal(f->count, 1); /* one had to go, none is lost */
	offload_join_flush(&f->join);
	assert_int_equal(f->count, OFFLOAD_JOIN_FLOWS + 1);
	for (unsigned int i = 0; i < OFFLOAD_JOIN_FLOWS; i++) {
		unsigned int at = 0;

		while (at < f->count && f->out[at].vnet.gso_size != 100 + i)
			at++;
		assert_super(f, at, &whole[i], 100 + i);
	}
}

/* Cuts an emitted super-frame again and hands out each segment with a complete checksum. */
struct expanded {
	uint8_t frame[1600];
	size_t len;
	unsigned int data_before; /* for a pure ACK */
};

static unsigned int expand(const struct emitted *e, struct expanded *out)
{
	struct offload_cut cut;
	uint8_t *segment;
	unsigned int n = 0;
	size_t len;

	if (e->vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		memcpy(out->frame, e->frame, e->len);
		out->len = e->len;
		if (e->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			offload_complete_checksum(
				out->frame, e->len, e->vnet.csum_start, e->vnet.csum_offset);
		return 1;
	}
	assert_int_equal(offload_cut_init(&cut, e->frame, e->len, &e->vnet), 0);
	assert_int_equal(offload_cut_count(&cut), e->segments);
	for (; offload_cut_next(&cut, &segment, &len); n++) {
		memcpy(out[n].frame, segment, len);
		out[n].len = len;
		assert_int_equal(offload_complete_checksum(
					 out[n].frame, len, cut.csum_start, cut.csum_offset),
			0);
	}
	return n;
}

/* The one thing that joining may change. */
static void forget_id(struct expanded *x, const struct spec *s)
{
	uint8_t *ip = x->frame + spec_l3(s);

	if (s->ip6 || naive_sum(0, ip, 20) != 0xffff)
		return;
	naive_put(ip + 4, 0);
	naive_put(ip + 10, 0);
	naive_put(ip + 10, 0xffff - naive_sum(0, ip, 20));
}

/* Cut, joined, cut: the same bytes as after the first cut, IDs included as they went up by one. */
static void cut_join_cut(void **state)
{
	struct fixture *f = *state;

	for (unsigned int kind = 0; kind < 4; kind++) {
		struct spec s = base_spec(f, 60000), seg;
		uint8_t *frame = malloc(65550), *segment;
		struct expanded *out = calloc(OFFLOAD_JOIN_SEGMENTS, sizeof(*out));
		struct virtio_net_hdr vnet = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_size = 1337,
		};
		unsigned int n;
		struct offload_cut cut;
		size_t len;

		s.ip6 = kind & 1;
		s.udp = kind & 2;
		s.tags = 1;
		s.flags |= PSH;
		vnet.gso_type = s.udp   ? VIRTIO_NET_HDR_GSO_UDP_L4
				: s.ip6 ? VIRTIO_NET_HDR_GSO_TCPV6
					: VIRTIO_NET_HDR_GSO_TCPV4;
		vnet.csum_start = (uint16_t)spec_l4(&s);
		vnet.csum_offset = (uint16_t)spec_csum_offset(&s);
		len = build_frame(frame, &s);
		assert_int_equal(offload_cut_init(&cut, frame, len, &vnet), 0);
		while (offload_cut_next(&cut, &segment, &len))
			feed_bytes(f, segment, len, true, cut.csum_start, cut.csum_offset);
		assert_int_equal(f->count, 1);
		assert_super(f, 0, &s, 1337);
		n = expand(&f->out[0], out);
		assert_int_equal(n, 45);
		seg = s;
		for (unsigned int i = 0; i < n; i++) {
			seg.payload_len = i + 1 < n ? 1337 : 60000 - 44 * 1337;
			seg.full_csum = true;
			seg.flags = i + 1 < n ? ACK : ACK | PSH;
			assert_int_equal(out[i].len, build_frame(frame, &seg));
			assert_memory_equal(out[i].frame, frame, out[i].len);
			seg = following(&seg, 0);
		}
		free(out);
		free(frame);
		clear(f);
	}
}

#define RANDOM_FLOWS 12

/* What went into a flow. Pure ACKs are counted by themselves, for data may overtake them. */
struct history {
	struct expanded data[EMITS_MAX], acks[EMITS_MAX];
	unsigned int data_fed, acks_fed, data_seen, acks_seen;
};

static bool is_pure_ack(const struct expanded *x, const struct spec *flow)
{
	const uint8_t *th = x->frame + spec_l4(flow);

	return !flow->udp && x->len == spec_l4(flow) + (th[12] >> 4) * 4u && th[13] == ACK;
}

static void feed_random(struct fixture *f, struct spec *flow, struct history *h, uint64_t *seed)
{
	unsigned int dice = next_random(seed) % 60;
	struct spec s = *flow;
	struct expanded x;

	if (dice == 0)
		s.payload_len = 1 + next_random(seed) % s.payload_len;
	else if (dice == 1)
		s.flags |= PSH;
	else if (dice == 2 && !s.udp)
		differences_tcp[next_random(seed) % COUNT(differences_tcp)].change(&s);
	else if (dice == 3)
		s.ttl--;
	else if (dice < 8 && !s.udp)
		s.payload_len = 0;
	s.id = (uint16_t)next_random(seed);
	x.len = build_frame(x.frame, &s);
	if (dice == 20)
		x.frame[x.len - 1] ^= 1;
	if (dice == 21)
		x.frame[spec_l4(&s) + spec_csum_offset(&s)] ^= 1;
	feed_bytes(f, x.frame, x.len, !s.full_csum, spec_l4(&s), spec_csum_offset(&s));
	if (!s.full_csum)
		offload_complete_checksum(
			x.frame, x.len, (uint16_t)spec_l4(&s), (uint16_t)spec_csum_offset(&s));
	x.data_before = h->data_fed;
	if (is_pure_ack(&x, flow))
		h->acks[h->acks_fed++] = x;
	else
		h->data[h->data_fed++] = x;
	*flow = following(flow, flow->payload_len);
	flow->seq = s.seq + (uint32_t)s.payload_len;
	if (flow->payload + 4000 > f->payload + 200000)
		flow->payload = f->payload;
}

/* One frame that came out is the next of its flow. */
static void check_random(struct expanded *out, const struct spec *flows, struct history *histories,
	unsigned int flow_count)
{
	struct expanded *expected;
	struct history *h;
	unsigned int i = 0;

	/* The source port tells the flow, wherever it lies in this one. */
	while (naive_get(out->frame + spec_l4(&flows[i])) != 1000 + i ||
		naive_get(out->frame + spec_l3(&flows[i]) - 2) != (flows[i].ip6 ? 0x86dd : 0x0800))
		assert_true(++i < flow_count);
	h = &histories[i];
	if (is_pure_ack(out, &flows[i])) {
		assert_true(h->acks_seen < h->acks_fed);
		expected = &h->acks[h->acks_seen++];
		assert_true(h->data_seen >= expected->data_before);
	} else {
		assert_true(h->data_seen < h->data_fed);
		expected = &h->data[h->data_seen++];
	}
	assert_int_equal(out->len, expected->len);
	forget_id(expected, &flows[i]);
	forget_id(out, &flows[i]);
	assert_memory_equal(out->frame, expected->frame, out->len);
}

/*
 * Random traffic of more flows than can be open, with random differences, damage, ACKs, short
 * segments and flushes. Whatever comes out, cut again where it was joined, must be for each flow
 * the very frames that went in, in their order; a pure ACK never comes before data it was behind.
 */
static void random_traffic(void **state)
{
	struct fixture *f = *state;
	struct history *histories = calloc(RANDOM_FLOWS, sizeof(*histories));
	struct expanded *out = calloc(OFFLOAD_JOIN_SEGMENTS, sizeof(*out));
	unsigned int joined = 0;

	for (uint64_t round = 1; round <= 150; round++) {
		uint64_t seed = round * 0x9e3779b97f4a7c15ull;
		unsigned int flow_count = 1 + next_random(&seed) % RANDOM_FLOWS;
		struct spec flows[RANDOM_FLOWS];

		for (unsigned int i = 0; i < flow_count; i++) {
			flows[i] = base_spec(f, 50 + next_random(&seed) % 1000);
			flows[i].ip6 = next_random(&seed) & 1;
			flows[i].udp = next_random(&seed) % 4 == 0;
			flows[i].full_csum = next_random(&seed) % 4 == 0;
			flows[i].tags = next_random(&seed) % 3;
			flows[i].src_port = (uint16_t)(1000 + i);
			flows[i].seq = next_random(&seed);
			flows[i].payload += next_random(&seed) % 1000;
			histories[i].data_fed = histories[i].acks_fed = 0;
			histories[i].data_seen = histories[i].acks_seen = 0;
		}
		for (int n = 0; n < 300; n++) {
			unsigned int i = next_random(&seed) % flow_count;

			feed_random(f, &flows[i], &histories[i], &seed);
			if (next_random(&seed) % 100 == 0)
				offload_join_flush(&f->join);
		}
		offload_join_flush(&f->join);
		for (unsigned int e = 0; e < f->count; e++) {
			unsigned int n = expand(&f->out[e], out);

			joined += n > 1;
			for (unsigned int k = 0; k < n; k++)
				check_random(&out[k], flows, histories, flow_count);
		}
		for (unsigned int i = 0; i < flow_count; i++) {
			assert_int_equal(histories[i].data_seen, histories[i].data_fed);
			assert_int_equal(histories[i].acks_seen, histories[i].acks_fed);
		}
		clear(f);
	}
	print_message("%u super-frames\n", joined);
	assert_true(joined > 1000);
	free(histories);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(acks),
		T(frames_without_flow),
		T(limits),
		T(interleaved_flows),
		T(cut_join_cut),
		T(random_traffic),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
